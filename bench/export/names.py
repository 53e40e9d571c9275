"""Labels and item ids as names of files: within a folder on every system, told apart, and the same in every export.

A name that a file system cannot hold as it is gets what it can hold and, behind `~`, a hash of the whole: two names
never become one file, and neither depends on what else is exported. `NAMES` says what each of them stands for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import files
from bench.errors import BenchError

NAMES = "names.json"
"""Beside exported images: what each file stands for whose name could not be kept."""

_LONGEST = 255
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_REPEAT = re.compile(r"#\d+$")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Names of devices, of which Windows makes no file."""


class NamedOutput(NamedTuple):
    """One output by the run's own names."""

    dataset: str
    method: str
    item: str
    repeat: int = 0
    """From 0."""


def safe_name(text: str, ending: str = "", *, marked: bool = False) -> str:
    """A label or item id, and what follows it, as a relative path that stays below its folder on every system.

    It is the text itself where that can be, else marked; `marked` asks for the mark in any case.
    """
    *folders, name = parts = _safe_parts(text)
    mark = _hash(text) if marked or "/".join(parts) != text or _REPEAT.search(name) else ""
    return "/".join([*map(_fitting, folders), _fitting(name, mark + ending)])


def one_folder(label: str, ending: str = "") -> str:
    """A label, and what follows it, as one name."""
    name = "_".join(_safe_parts(label))
    return _fitting(name, (_hash(label) if name != label else "") + ending)


def laid_out(units: Sequence[NamedOutput], suffixes: Sequence[str]) -> list[str]:
    """`DATASET/METHOD/ITEM.png` of each unit (`ITEM#2.png` for a second repeat), all different.

    Names that differ in letter case alone, or that another needs as a folder, are marked as well.
    """

    def path(unit: NamedOutput, suffix: str, *, marked: bool = False) -> str:
        ending = (f"#{unit.repeat + 1}" if unit.repeat else "") + suffix
        return f"{one_folder(unit.dataset)}/{one_folder(unit.method)}/{safe_name(unit.item, ending, marked=marked)}"

    plain = [path(unit, suffix) for unit, suffix in zip(units, suffixes, strict=True)]
    folded = [name.casefold() for name in plain]
    counts = Counter(folded)
    folders = {str(parent) for name in folded for parent in Path(name).parents}
    return [
        path(unit, suffix, marked=True) if counts[key] > 1 or key in folders else name
        for unit, suffix, name, key in zip(units, suffixes, plain, folded, strict=True)
    ]


def write_table(target: Path, units: Mapping[str, NamedOutput], suffixes: Mapping[str, str]) -> None:
    """`target/NAMES` with the files whose names are not the units' own; what it says of other files is kept.

    Raises `BenchError` where a file of that name is something else.
    """
    changed = {file: unit._asdict() for file, unit in units.items() if file != _as_it_is(unit, suffixes[file])}
    place = target / NAMES
    if not changed:
        return
    known = _read(place)
    known.update(changed)
    text = json.dumps(dict(sorted(known.items())), indent=1, allow_nan=False)  # ASCII: names may be of any bytes
    files.put(place, (text + "\n").encode("ascii"))


def _as_it_is(unit: NamedOutput, suffix: str) -> str:
    repeat = f"#{unit.repeat + 1}" if unit.repeat else ""
    return f"{unit.dataset}/{unit.method}/{unit.item}{repeat}{suffix}"


def _read(place: Path) -> dict[str, Any]:
    try:
        found = json.loads(place.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, dict) and "item" in one for one in found.values()):
        raise BenchError(f"{place} is not what an export wrote: move it away, or export to another folder")
    return found


def fingerprint(text: str) -> str:
    """Eight hex digits that tell a name from others of its look."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def _hash(text: str) -> str:
    return "~" + fingerprint(text)


def _fitting(part: str, ending: str = "") -> str:
    """A name of at most 255 bytes, the most that file systems take; a longer one is cut and told apart by its hash."""
    if len(os.fsencode(part + ending)) <= _LONGEST:
        return part + ending
    mark = ending if ending.startswith("~") else _hash(part) + ending
    kept = part
    while len(os.fsencode(kept + mark)) > _LONGEST:
        kept = kept[:-1]
    return kept + mark


def _safe_parts(text: str) -> list[str]:
    parts = [_UNSAFE.sub("_", part).strip() for part in unicodedata.normalize("NFC", text).split("/")]
    return [_named(part) for part in parts if part] or ["_"]


def _named(part: str) -> str:
    if part.endswith("."):  # Windows leaves it out; `.` and `..` lead elsewhere
        bare = part.rstrip(".")
        part = bare + "_" * (len(part) - len(bare))
    return f"_{part}" if _RESERVED.fullmatch(part) else part

"""Whether a dataset of the catalogue is on this machine, how it deviates from the official one, and taking it over.

For the commands that look and fetch; a run builds its datasets without it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench import paths
from bench.catalog.registry import Entry
from bench.data.build import build_dataset, takes
from bench.data.images import shown
from bench.data.items import Dataset
from bench.data.official import Incomplete, locate
from bench.data.pairing import LINES, check_sizes
from bench.errors import BenchError, ImageError, MissingFile


class Survey(NamedTuple):
    """What is there of a dataset."""

    status: Literal["here", "partial", "missing", "own"]
    """`own`: the user's data, which only a suite can name."""
    short: str
    """For a column: `yes`, `14/15`, `no` or nothing."""
    lines: list[str]
    """What there is, and every deviation, one line each."""


def survey(entry: Entry, options: Mapping[str, Any] | None = None, base: Path | None = None, *, deep: bool) -> Survey:
    """Look for a dataset with a suite's options; `deep` also reads every image's header and compares sizes.

    Raises `BenchError` for options that are wrong.
    """
    kind, given = entry.fields.get("kind"), dict(options or {})
    if kind in ("folder", "hub", "plugin") and not given:
        return Survey("own", "", [])
    try:
        dataset = build_dataset(entry, given, base)
    except Incomplete as error:
        lines = [str(error)]
        if deep:
            lines += deviations(entry, build_dataset(entry, {**given, "available": True}, base))
        return Survey("partial", error.have, lines)
    except MissingFile as error:
        return Survey("missing", "no", [str(error)])
    lines = [f"{entry.name}: {len(dataset.items)} images{' with references' if dataset.paired else ''}", *dataset.notes]
    return Survey("here", "yes", lines + (deviations(entry, dataset) if deep else []))


def deviations(entry: Entry, dataset: Dataset) -> list[str]:
    """One line for each way in which sizes are not what they should be; reads headers."""
    lines = check_sizes(dataset.items, dataset.scale)
    stated = re.fullmatch(r"([0-9]+)×([0-9]+)", str(entry.fields.get("size", "")))
    if stated is None or entry.fields.get("kind") != "official":
        return lines
    width, height = int(stated[1]), int(stated[2])
    other: list[str] = []
    unreadable = 0
    for item in dataset.items:
        try:
            found = item.lq.size() if item.lq is not None else (height, width)
        except ImageError:
            unreadable += 1
            continue
        if found != (height, width):
            other.append(f"{item.id} ({found[1]}×{found[0]})")
    if other:
        more = ", …" if len(other) > LINES else ""
        lines.append(
            f"{len(other)} of {len(dataset.items)} images are not {stated[0]}: {', '.join(other[:LINES])}{more}"
        )
    if unreadable:
        lines.append(f"{unreadable} of {len(dataset.items)} images cannot be read")
    return lines


def folder_of(entry: Entry) -> Path:
    """Where a dataset of the literature belongs in the cache folder."""
    return paths.home() / "data" / str((entry.fields.get("options") or {}).get("folder", entry.name))


def steps(entry: Entry) -> list[str]:
    """What brings a dataset here, in lines for a person."""
    fields = entry.fields
    layout = fields["options"]["layouts"][0]
    count = f"{fields['count']} images " if fields.get("count") else ""
    lines = [f"{fields['title']}; licence: {fields.get('licence', 'none stated')}; {fields.get('home', '')}"]
    archives = [file for file in fields.get("files", []) if file.get("unpack")]
    if fields.get("instructions"):
        lines += str(fields["instructions"]).splitlines()
    elif archives:
        pin = (
            "" if all(file.get("sha256") for file in archives) else " --pin, for not every archive has a published hash"
        )
        lines.append(f"bench fetch {entry.name}{pin}; or by hand, unpacked into the folder below:")
        lines += [f"  {_address(file['url'])}{_locked(file.get('password'))}" for file in archives]
    references = f" and references {layout['gt']}" if "gt" in layout else ""
    return [
        *lines,
        f"{count}{layout['lq']}{references} belong below {shown(folder_of(entry))}, or below a folder of your choice: "
        f"BENCH_DATA=DIR (DIR/{folder_of(entry).name}) or the option root in a suite",
        f"then: bench doctor {entry.name}",
    ]


def _locked(password: str | None) -> str:
    return "" if password is None else f" (password {password}; unrar or 7z opens it)"


def _address(url: str) -> str:
    """An address that a browser understands."""
    if url.startswith("gdrive://"):
        return f"https://drive.google.com/file/d/{url.removeprefix('gdrive://')}/view"
    path, _, revision = url.removeprefix("hf://").partition("@")
    owner, name, file = path.removeprefix("datasets/").split("/", 2)
    return f"https://huggingface.co/datasets/{owner}/{name}/resolve/{revision or 'main'}/{file}"


def adopt(entry: Entry, mirror: Path) -> int:
    """Copy a dataset from `mirror/data/<folder>` or `mirror/<folder>`, where one of its layouts fits; how many files.

    Files that are there already stay. Raises `BenchError` when a file leads out of the mirror or cannot be copied.
    """
    if entry.fields.get("kind") != "official":
        return 0
    target = folder_of(entry)
    places = [mirror / "data" / target.name, mirror / target.name]
    found = locate(entry.name, places, entry.fields["options"]["layouts"])
    if found is None:
        return 0
    copied = 0
    for listing in filter(None, (found.lq, found.gt)):
        for file in listing.files:
            source = listing.folder / file.name
            goal = target / source.relative_to(next(place for place in places if source.is_relative_to(place)))
            if not source.resolve().is_relative_to(mirror.resolve()):
                raise BenchError(f"{entry.name}: {shown(source)} leads out of the mirror")
            if goal.exists():
                continue
            part = goal.with_name(f".{goal.name}.part")
            try:
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, part)
                part.replace(goal)
            except OSError as error:
                raise BenchError(f"{entry.name}: {shown(source)} cannot be copied to {shown(goal)}: {error}") from error
            copied += 1
    return copied


def as_available(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that take what is there of a dataset, where its builder knows how to."""
    return {**options, "available": True} if takes(entry, "available") else dict(options)

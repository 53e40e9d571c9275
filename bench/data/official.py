"""Test sets of the literature, below a folder laid out as their publishers (or the codes that use them) lay them out.

Where the files lie is found among the known layouts, in their order. What the official set would have and the folder
has not is said by name; such a set is missing unless the caller takes what is there (`available`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bench import paths
from bench.data.expressions import compiled
from bench.data.image_files import Listing, list_below
from bench.data.images import shown
from bench.data.items import Dataset, Item
from bench.data.pairing import LINES, Listed, Pairing, id_pattern, item_id, pair, problems, select
from bench.data.told import by_name
from bench.errors import BenchError, MissingFile, having

LAYOUT_KEYS = {"lq", "gt", "id", "lq_id", "gt_id", "shared"}
_PARTS = {"all": "123", "train": "1", "val": "2", "test": "3"}
"""How ExDark's list numbers its parts, in its fifth column."""


_MOST_NAMES = 1_000_000
"""Of a range, which an official list spells out."""


class FoundLayout(NamedTuple):
    """Where a dataset lies, and in which of its layouts."""

    top: Path
    layout: dict[str, str]
    lq: Listing
    gt: Listing | None
    """None where the layout has references and none is there, and where it has none."""


class Incomplete(MissingFile):
    """Part of a dataset is there."""

    def __init__(self, message: str, have: str) -> None:
        super().__init__(message)
        self.have = have
        """In short, such as `14/15` or `no GT`."""


def official(
    name: str,
    base: Path | None,
    *,
    layouts: list[dict[str, str]],
    folder: str | None = None,
    root: str | None = None,
    count: int | None = None,
    names: list[int | str] | None = None,
    split: str | None = None,
    part: Literal["all", "train", "val", "test"] | None = None,
    skip: str | None = None,
    among: str | None = None,
    only: str | None = None,
    ground_truth: bool = False,
    available: bool = False,
    told: dict[str, Any] | None = None,
) -> Dataset:
    """A dataset with a known layout.

    `root`: the folder it lies in; else `BENCH_DATA/<folder>`, then `data/<folder>` of the cache folder, `folder` being
    the dataset's name unless the catalogue says otherwise. A layout may lie there or in one folder below. `layouts`:
    patterns `lq` and `gt` and the id options of `folder`, tried in order; `shared`: an id pattern that gives an
    input's reference where several inputs share one. `count`: images of the official set. `names` (`1..10` is a
    range) or `split` (a list in that folder, which `bench fetch` brings): their names; `part`: of ExDark's list.
    `among`: the ids of the set, where its siblings are in the folder too. `skip` leaves out ids that are not of the
    set, `only` (a suite's choice) all others. `ground_truth`: the references are the images, each once, and have none
    themselves. `available`: take what is there, without references if need be.
    `told`: how ids say what was done to the images (`bench.data.told`).
    Raises `MissingFile` with the command that helps, `Incomplete` where some is there, `BenchError` for bad options.
    """
    for layout in layouts:
        if "lq" not in layout or set(layout) - LAYOUT_KEYS:
            raise BenchError(f"dataset {name!r}: a layout has {', '.join(sorted(LAYOUT_KEYS))}, and lq always")
    places = places_of(name, folder, root, base)
    found = locate(name, places, layouts)
    if found is None:
        where = " or ".join(shown(place) for place in places)
        raise MissingFile(f"dataset {name!r} is not below {where} ({_patterns(layouts[0])}): bench fetch {name}")
    wanted = _wanted(name, names, split, part, [*places, paths.home() / "data" / (folder or name)])
    pairing, strangers = _pairing(found, among, skip, wanted)
    if available and wanted and all(item.lq is None for item in pairing.items):
        raise MissingFile(
            f"dataset {name!r}: none of its {len(wanted)} images is below {shown(found.lq.folder)}: bench fetch {name}"
        )
    short, have = _shortfall(name, found, pairing, wanted, count)
    if short and not available:
        raise Incomplete(f"{'; '.join(short)}: bench fetch {name}, or run what is there with --available", have)
    present = [item for item in pairing.items if item.lq is not None or not wanted]
    paired = found.gt is not None
    if only is not None:
        choice = compiled(only, f"dataset {name!r}: only")
        present = [item for item in present if choice.search(item.id)]
    if ground_truth and "gt" not in found.layout:
        raise BenchError(f"dataset {name!r} has no references: option 'ground_truth' does not apply")
    if ground_truth and not paired:
        raise Incomplete(
            f"{name}: no references ({found.layout['gt']}) below {shown(found.top)}: bench fetch {name}", have
        )
    if ground_truth:
        once = {item.gt.where: Item(item.id, item.gt) for item in reversed(present) if item.gt is not None}
        present, paired = sorted(once.values(), key=lambda item: item.id), False
    if not present:
        raise BenchError(f"dataset {name!r}: no image below {shown(found.top)} is left by its list and options")
    if told is not None and not ground_truth:
        present = by_name(f"dataset {name!r}", present, told)
    extra = _extra(found, pairing, wanted, count)
    notes = (
        *(f"{line.removeprefix(f'{name}: ')}; running what is there" for line in short),
        *extra,
        *strangers,
        *problems(present),
        *(side.left_out for side in (found.lq, found.gt) if side is not None and side.left_out),
    )
    return Dataset(name, tuple(present), paired, notes=(*notes, *pairing.notes))


def places_of(name: str, folder: str | None, root: str | None, base: Path | None) -> list[Path]:
    """Where a dataset may lie, in the order of precedence."""
    if root is not None:
        return [paths.find(root, base)]
    below = [paths.home() / "data" / (folder or name)]
    elsewhere = os.environ.get("BENCH_DATA")
    return [Path(elsewhere).expanduser().absolute() / (folder or name), *below] if elsewhere else below


def locate(name: str, places: Iterable[Path], layouts: Sequence[dict[str, str]]) -> FoundLayout | None:
    """The first place and layout that has inputs; one that has their references too goes before one that has not."""
    partial: FoundLayout | None = None
    several = ""
    for place in places:
        if not place.is_dir():
            continue
        below = sorted(one for one in place.iterdir() if one.is_dir() and not one.name.startswith("."))
        for layout in layouts:
            for tops in ([place], below):
                hits = [hit for hit in (_look(top, layout) for top in tops) if hit is not None]
                if len(hits) > 1:
                    folders = ", ".join(shown(hit.top.name) for hit in hits[:4])
                    several = several or f"{len(hits)} folders below {shown(place)} hold {layout['lq']} ({folders})"
                elif hits and (hits[0].gt is not None or "gt" not in layout):
                    return hits[0]
                elif hits:
                    partial = partial or hits[0]
    if partial is None and several:
        raise BenchError(f"dataset {name!r}: {several}: name one with the option root")
    return partial


def _look(top: Path, layout: dict[str, str]) -> FoundLayout | None:
    inputs = list_below(top, layout["lq"])
    if not inputs.files:
        return None
    references = list_below(top, layout["gt"]) if "gt" in layout else None
    return FoundLayout(top, layout, inputs, references if references and references.files else None)


def _wanted(
    name: str, names: list[int | str] | None, split: str | None, part: str | None, places: Sequence[Path]
) -> list[str]:
    """The names of the official set, or nothing where none are known."""
    if split is None:
        return [one for given in names or () for one in _range(str(given))]
    path = next((place / split for place in places if (place / split).is_file()), places[-1] / split)
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise MissingFile(f"dataset {name!r} needs its list of images, {shown(path)}: bench fetch {name}") from None
    except (OSError, ValueError) as error:
        raise BenchError(f"dataset {name!r}: list {shown(path)} cannot be read ({error})") from error
    if part is None:
        return [" ".join(line) for line in lines if line]
    return [line[0] for line in lines if len(line) == 5 and line[4] in _PARTS[part]]


def _range(text: str) -> list[str]:
    """`00690..00789` as its hundred names, anything else as it is."""
    ends = re.fullmatch(r"([0-9]+)\.\.([0-9]+)", text)
    if ends is None:
        return [text]
    first, last = int(ends[1]), int(ends[2])
    if last - first >= _MOST_NAMES:
        raise BenchError(f"the range {text} has {last - first + 1} names; {_MOST_NAMES} is the most")
    return [f"{number:0{len(ends[1])}d}" for number in range(first, last + 1)]


def _pairing(
    found: FoundLayout, among: str | None, skip: str | None, wanted: Sequence[str]
) -> tuple[Pairing, list[str]]:
    layout = found.layout
    inputs, references = found.lq.files, found.gt.files if found.gt else None
    left_out: list[str] = []
    if among is not None:
        own = compiled(among, "among")
        inputs = [file for file in inputs if own.search(item_id(file.name))]
    if skip is not None:
        pattern = compiled(skip, "skip")
        kept = [file for file in inputs if not pattern.search(item_id(file.name))]
        if len(kept) < len(inputs):
            left_out = [f"{len(inputs) - len(kept)} images are not of this set by their names ({skip})"]
        inputs = kept
    if "shared" in layout and references is not None:
        pairing = pair_shared(inputs, references, layout["shared"], layout.get("gt_id"))
    else:
        pairing = pair(
            inputs,
            references,
            lq_id=id_pattern(layout.get("lq_id", layout.get("id")), "lq_id"),
            gt_id=id_pattern(layout.get("gt_id", layout.get("id")), "gt_id"),
        )
    return (select(pairing, wanted, "the official list") if wanted else pairing), left_out


def pair_shared(inputs: Sequence[Listed], references: Sequence[Listed], shared: str, gt_id: str | None) -> Pairing:
    """Inputs under their own ids, each with the reference that `shared` finds in its id; several may have the same.

    A reference of exactly that id goes first, else the only one whose name contains it.
    """
    asks, named = id_pattern(shared, "shared"), id_pattern(gt_id, "gt_id")
    assert asks is not None
    known: dict[str, list[Listed]] = {}
    for file in references:
        match = named.search(item_id(file.name)) if named else None
        key = "/".join(match.groups("")) if match else item_id(file.name)
        known.setdefault(key, []).append(file)
    items: list[Item] = []
    for file in inputs:
        identity = item_id(file.name)
        match = asks.search(identity)
        key = "/".join(match.groups("")) if match else identity
        hits = known.get(key) or [one for name, files in known.items() if key in name for one in files]
        if len(hits) == 1:
            items.append(Item(identity, file.source, hits[0].source))
        else:
            said = having(len(hits), "GT file") if hits else "no GT file has"
            items.append(Item(identity, file.source, problem=f"{said} the id {key!r} of {shown(file.name)}"))
    return Pairing(sorted(items, key=lambda item: item.id), [])


def _shortfall(
    name: str, found: FoundLayout, pairing: Pairing, wanted: Sequence[str], count: int | None
) -> tuple[list[str], str]:
    """What the official set has and the folder has not, one line each, and what there is in short."""
    whole = len({item_id(one) for one in wanted}) or count
    there = [item for item in pairing.items if item.lq is not None]
    lines: list[str] = []
    have = f"{len(there)}/{whole}" if whole else str(len(there))
    if whole and len(there) < whole:
        gone = [item.id for item in pairing.items if item.lq is None] if wanted else []
        lines.append(f"{name}: {len(there)} of {whole} images below {shown(found.lq.folder)}{_missing(gone)}")
    if "gt" in found.layout and found.gt is None:
        lines.append(f"{name}: no references ({found.layout['gt']}) below {shown(found.top)}")
        have += " no GT"
    elif found.gt is not None:
        gone = [item.id for item in there if item.gt is None]
        if gone:
            got = len(there) - len(gone)
            lines.append(f"{name}: {got} of {len(there)} references below {shown(found.gt.folder)}{_missing(gone)}")
            have += f" {got} GT"
    return lines, have


def _extra(found: FoundLayout, pairing: Pairing, wanted: Sequence[str], count: int | None) -> list[str]:
    over = len(found.lq.files) - len(pairing.items)
    if not wanted and count is not None and len(pairing.items) > count:
        return [f"{len(pairing.items)} images below {shown(found.lq.folder)}, the official set has {count}"]
    if wanted and over > 0:
        return [f"{over} more images below {shown(found.lq.folder)} are not of its list"]
    return []


def _missing(ids: Sequence[str]) -> str:
    if not ids:
        return ""
    return f", missing {', '.join(ids[:LINES])}" + (f" and {len(ids) - LINES} more" if len(ids) > LINES else "")


def _patterns(layout: dict[str, str]) -> str:
    return " and ".join(layout[side] for side in ("lq", "gt") if side in layout)

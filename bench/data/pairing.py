"""Which input belongs to which reference: pairing by id, never by position.

A pure function from two lists of names to items and notes. Nothing is guessed: a file that has no partner, or two
candidates, is an item with a `problem` (counted as expected, and failed) or a note, and never silently left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import NamedTuple

from bench.data.expressions import Expression, compiled
from bench.data.images import IMAGE_SUFFIXES, shown
from bench.data.items import ImageSource, Item
from bench.errors import BenchError, ImageError, having

LINES = 10
"""How many files of one kind of trouble are named before the rest is only counted."""


class Listed(NamedTuple):
    """An image under the name that its id is taken from."""

    name: str
    """Posix path below the listed folder, with suffix."""
    source: ImageSource


class Pairing(NamedTuple):
    """Items in the order of their ids, and notes on files that are in no item."""

    items: list[Item]
    notes: list[str]


def item_id(name: str) -> str:
    """The id of a file: its posix path without the image suffix, NFC, control characters escaped."""
    path = PurePosixPath(name)
    stem = str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else str(path)
    return shown(unicodedata.normalize("NFC", stem))


def id_pattern(text: str | None, option: str) -> Expression | None:
    """A compiled id pattern, or a `BenchError` when it is no regular expression or has no group."""
    if text is None:
        return None
    pattern = compiled(text, option)
    if pattern.groups < 1:
        raise BenchError(f"{option}: {text!r} needs a group around the part that is the id, such as 'low([0-9]+)'")
    return pattern


def id_of(pattern: Expression, name: str) -> str:
    """What a pattern makes of a file's name: its groups, joined by `/`; empty where it finds nothing."""
    match = pattern.search(item_id(name))
    return "/".join(group for group in match.groups() if group) if match else ""


def pair(
    lq: Sequence[Listed],
    gt: Sequence[Listed] | None,
    *,
    lq_id: Expression | None = None,
    gt_id: Expression | None = None,
    every_gt: bool = False,
    alone: tuple[str, str] = ("GT file", "no LQ file"),
) -> Pairing:
    """Pair inputs and references whose ids are equal.

    An id pattern is searched for in the default id (`item_id`), and its groups, joined by `/`, are the id: with
    `low([0-9]+)` and `normal([0-9]+)`, `low00690` and `normal00690` belong together. `gt` is None for LQ-only data.
    An input whose partner is missing keeps `lq` and has a `problem`; one with two candidates on a side has neither
    image. References that no input asks for are notes, or with `every_gt` items with a `problem`: where the inputs are
    somebody's outputs, one is due for every reference. `alone`: what such a note calls them, and says that they have.
    """
    items: list[Item] = []
    notes: list[str] = []
    inputs, unnamed = _by_id(lq, lq_id)
    for file in unnamed:
        problem = f"{shown(file.name)} does not match the id pattern {lq_id.pattern if lq_id else ''!r}"
        items.append(Item(item_id(file.name), None, problem=problem))
    references, strangers = _by_id(gt or (), gt_id)
    for identity, files in inputs.items():
        found = references.get(identity, [])
        if len(files) > 1:
            items.append(
                Item(identity, None, problem=f"{len(files)} LQ files have this id: {_names(files)}", several=True)
            )
        elif gt is None:
            items.append(Item(identity, files[0].source))
        elif len(found) > 1:
            items.append(
                Item(identity, None, problem=f"{len(found)} GT files have this id: {_names(found)}", several=True)
            )
        elif not found:
            items.append(Item(identity, files[0].source, problem=f"no GT file has the id of {shown(files[0].name)}"))
        else:
            items.append(Item(identity, files[0].source, found[0].source))
    extra = [file for identity, files in references.items() if identity not in inputs for file in files]
    if every_gt:
        lost = {identity: files for identity, files in references.items() if identity not in inputs}
        items += [
            Item(identity, None, files[0].source, f"no file for {_names(files)}") for identity, files in lost.items()
        ]
        extra = []
    items = _unique(items)
    if extra:
        notes.append(f"{having(len(extra), alone[0])} {alone[1]}: {_first(extra)}")
    if strangers:
        pattern = gt_id.pattern if gt_id else ""
        notes.append(f"{having(len(strangers), 'GT file')} no id by the pattern {pattern!r}: {_first(strangers)}")
    return Pairing(items, notes)


def select(pairing: Pairing, wanted: Iterable[str], where: str) -> Pairing:
    """The items that a split file lists, in its order.

    An entry is an id, a file name with suffix, or the last part of either where that is unambiguous. One that names
    nothing, or several items, becomes an item with a `problem`.
    """
    ids = {item.id: item for item in pairing.items}
    tails: dict[str, list[Item]] = {}
    for item in pairing.items:
        tails.setdefault(item.id.rpartition("/")[2], []).append(item)
    chosen: dict[str, Item] = {}
    repeated = 0
    for entry in wanted:
        exact = shown(unicodedata.normalize("NFC", entry))
        name = exact if exact in ids else item_id(entry)
        near = [ids[name]] if name in ids else tails.get(name, [])
        if len(near) == 1:
            item = near[0]
        else:
            reason = f"matches {len(near)} items" if near else "no LQ file has that id"
            item = Item(name, None, problem=f"listed in {where}, but {reason}")
        repeated += item.id in chosen
        chosen.setdefault(item.id, item)
    notes = [f"{where} lists {repeated} names more than once; each is used once"] if repeated else []
    return Pairing(list(chosen.values()), [*notes, *pairing.notes])


def problems(items: Sequence[Item]) -> list[str]:
    """What to say before any work about the items that have a `problem`: a count, and the first ten by name."""
    broken = [item for item in items if item.problem]
    if not broken:
        return []
    lines = [f"{len(broken)} of {len(items)} items cannot be paired and will count as failed:"]
    lines += [f"  {item.id}: {item.problem}" for item in broken[:LINES]]
    return lines + ([f"  … and {len(broken) - LINES} more"] if len(broken) > LINES else [])


def check_sizes(items: Iterable[Item], scale: int = 1) -> list[str]:
    """One line for each pair whose GT is not `scale` times as large as its LQ, at most ten and then a count.

    Reads headers only. A file whose header cannot be read is left to the run, which makes it a failure row.
    """
    lines: list[str] = []
    for item in items:
        if item.lq is None or item.gt is None:
            continue
        try:
            (height, width), (rows, columns) = item.lq.size(), item.gt.size()
        except ImageError:
            continue
        if (height * scale, width * scale) != (rows, columns):
            times = f" × {scale}" if scale != 1 else ""
            lines.append(f"{item.id}: LQ {width}×{height}{times} and GT {columns}×{rows} differ in size")
    if len(lines) > LINES:
        lines = [*lines[:LINES], f"… and {len(lines) - LINES} more pairs differ in size"]
    return lines


def _by_id(files: Iterable[Listed], pattern: Expression | None) -> tuple[dict[str, list[Listed]], list[Listed]]:
    """Files by id in the order of the ids, and the files that the pattern does not match."""
    found: dict[str, list[Listed]] = {}
    unnamed: list[Listed] = []
    for file in files:
        identity = item_id(file.name) if pattern is None else id_of(pattern, file.name)
        if identity:
            found.setdefault(identity, []).append(file)
        else:
            unnamed.append(file)
    return dict(sorted(found.items())), unnamed


def _unique(items: list[Item]) -> list[Item]:
    """Sorted by id; an unmatched file whose own name is another item's id gets a mark, so that ids stay unique."""
    taken: set[str] = set()
    kept: list[Item] = []
    for item in sorted(items, key=lambda item: (item.id, item.lq is None)):
        identity = item.id
        while identity in taken:
            identity += " (unmatched)"
        taken.add(identity)
        kept.append(item if identity == item.id else replace(item, id=identity))
    return kept


def _names(files: Sequence[Listed]) -> str:
    names = ", ".join(shown(file.name) for file in files[:4])
    return names if len(files) <= 4 else f"{names}, …"


def _first(files: Sequence[Listed]) -> str:
    return ", ".join(shown(file.name) for file in files[:LINES]) + (", …" if len(files) > LINES else "")

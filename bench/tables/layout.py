"""A run laid out for printing: the pivot, ranks, intervals, tests and the footer, whatever the format.

Best and second best are told per dataset and metric, among complete cells only. Every table ends with the signatures of
its numbers, and with the reason for every value that is missing.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from bench.results.view import SCORED, Cell, ItemScore, RunView
from bench.tables import derived, footnotes, gains, significance
from bench.tables.notes import Note, legend, told
from bench.tables.significance import intervals, paired_test
from bench.tables.statistics import Interval

_WORDS = {"n/a": "n/a", "unavailable": "unavailable", "pending": "pending"}
"""Statuses by what the footer calls them; any other has failed."""
_MOST_REASONS = 12
_MOST_PLACES = 4
_EMPTY = {"n/a": "n/a", "unavailable": "–", "pending": "…", "failed": "failed", "input": "failed", "nan": "nan"}


class Shown(NamedTuple):
    """One cell as a reader sees it."""

    text: str
    rank: int
    """1 best, 2 second best, 0 neither."""
    beside: str = ""
    """What stands behind the value and is no part of it: an increment over a base."""
    mark: str = ""
    """Letter of the footer's line that says why the value is missing or incomplete."""
    reason: str = ""
    """What that line says."""
    interval: str = ""
    """Low and high end of the interval of the mean, in square brackets."""
    stars: str = ""
    """How sure it is that the value differs from that of the method it is tested against."""
    doubts: tuple[int, ...] = ()
    """Numbers of the footer's lines that say what is doubtful about a paper's value."""


class Row(NamedTuple):
    """One method on one dataset."""

    dataset: str
    method: str
    cells: Sequence[Shown]
    scored: str
    """`n scored / n expected`: items for which every value is there."""
    first: bool
    """First row of its dataset."""
    venue: str = ""
    """Where the method was published, empty where that is unknown."""
    sign: str = ""
    """‡ where the method was trained on what the dataset tests."""

    @property
    def named(self) -> str:
        """The method with its sign."""
        return self.method + self.sign


class Extras(NamedTuple):
    """What a table shows beside the values."""

    ci: bool = False
    """Bootstrap intervals of the means."""
    against: str | None = None
    """Label of the method that every other one is tested against."""
    venue: bool | None = None
    """Where each method was published; None leaves it to the format."""
    seconds: bool = False
    """The time that the run itself spent per image."""
    gain: bool | None = None
    """One number for what a method gains over its base; None leaves it to the suite."""
    increments: bool | None = None
    """What a method gains over its base, behind each value; None leaves it to the suite."""
    whole: RunView | None = None
    """The run that a selection was taken from: what a method is held against need not be shown itself."""
    formulas: tuple[str, ...] = ()
    """Composite scores, by the catalogue's names of formulas."""
    derived: Collection[str] | None = None
    """Names of the derived columns to show; None: all that there are."""
    order: Sequence[str] | None = None
    """Methods in the order of their rows, a paper's among them; None: as the run has them."""
    all_published: bool = False
    """With a paper's table, its other datasets and metrics as well."""
    rank_published: bool = False
    """With a paper's table, its rows are ranked among ours."""


PLAIN = Extras()


class Table(NamedTuple):
    """A run laid out for printing, whatever the format."""

    title: str
    header: Sequence[str]
    """Metrics as a reader knows them, without arrows."""
    arrows: Sequence[str]
    """↑ or ↓ per metric."""
    rows: Sequence[Row]
    notes: Sequence[Note]
    counted: bool = True
    """Whether the numbers of items are shown; a paper's table has none."""
    venues: bool = False
    """Whether a column says where each method was published."""
    columns: Sequence[str] = ()
    """What JSON and CSV call each column."""
    asides: Mapping[str, Mapping[str, str]] = {}
    """Columns of words beside the methods: heading → method → text."""
    first: str = "Method"
    """What the column of methods is called."""

    @property
    def footer(self) -> list[str]:
        """All notes as lines."""
        return [note.text for note in self.notes]


def lay_out(data: RunView, extras: Extras = PLAIN) -> Table:
    """The pivot of a run with its ranks and its notes."""
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells))
    whole = extras.whole or data
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in whole.cells}
    more = derived_columns(data, extras)
    extras = extras._replace(increments=gains.increments_wanted(whole, extras.increments))
    over = gains.bases(whole) if extras.increments else {}
    shared = footnotes.overlaps(data)
    made_for = footnotes.prior(data)
    nearest = footnotes.nearest(data)
    reasons = _Reasons(data.cells)
    ranges = intervals(data.cells) if extras.ci else {}
    rows = list(_rows(data, extras, _Marks(grid, over, _ranks(data.cells), reasons, shared, ranges), more))
    directions = {cell.column.label: cell.column.higher_is_better for cell in data.cells}
    headings = {cell.column.label: cell.column.heading for cell in data.cells}
    header = [headings[label] + "†" * (label in made_for) + "¶" * (label in nearest) for label in labels]
    notes = [*_notes(data, reasons), *significance.notes(data, whole, ci=extras.ci, against=extras.against)]
    notes += [legend(gains.increment_line(whole), "(+x): by how much better than its base.")] if over else []
    notes += [told(line) for one in more for line in one.footer]
    notes += [
        *([legend(footnotes.PRIOR_LINE, footnotes.PRIOR_BRIEF)] if made_for else []),
        *map(legend, nearest.values()),
        *map(legend, footnotes.overlap_lines(shared)),
    ]
    return Table(
        data.record.title or data.record.suite,
        [*header, *(one.heading for one in more)],
        [*("↑" if directions[label] else "↓" for label in labels), *(one.arrow for one in more)],
        rows,
        notes,
        venues=any(row.venue for row in rows),
        columns=[*labels, *(one.name for one in more)],
    )


def derived_columns(data: RunView, extras: Extras) -> list[derived.Derived]:
    """The derived columns that a table shows; they follow from the whole run, whatever was chosen of it."""
    found = derived.columns(extras.whole or data, gain=extras.gain, seconds=extras.seconds, formulas=extras.formulas)
    shown = {method.label for method in data.record.methods}
    found = [one for one in found if extras.derived is None or one.name in extras.derived]
    return [
        one for one in found if any(entry.expected and method in shown for (_, method), entry in one.entries.items())
    ]


class _Marks(NamedTuple):
    """What stands beside the values of a run's cells."""

    grid: Mapping[tuple[str, str, str], Cell]
    over: Mapping[str, str]
    ranks: Mapping[int, int]
    reasons: _Reasons
    overlaps: Sequence[footnotes.Overlap]
    ranges: Mapping[int, Interval]
    """By a cell's `id`, the interval of its mean."""

    def shown(self, cell: Cell, extras: Extras) -> Shown:
        letter, reason = self.reasons.of(cell)
        increment = plus(cell, self.grid, self.over)
        stars = _stars(cell, self.grid, extras.against)
        return Shown(_text(cell), self.ranks.get(id(cell), 0), increment, letter, reason, self.interval(cell), stars)

    def interval(self, cell: Cell) -> str:
        """The interval of a cell's mean, in square brackets; empty where none is shown."""
        found = self.ranges.get(id(cell))
        digits = cell.column.digits
        return "" if found is None else f"[{format_value(found.low, digits)}, {format_value(found.high, digits)}]"


def _rows(data: RunView, extras: Extras, marks: _Marks, more: Sequence[derived.Derived]) -> Iterator[Row]:
    venues = venues_of(data) if extras.venue else {}
    signs = {(one.dataset, one.method): "‡" for one in marks.overlaps}
    for dataset in data.record.datasets:
        mine: dict[str, list[Cell]] = {}
        for cell in data.cells:
            if cell.dataset == dataset.label:
                mine.setdefault(cell.method, []).append(cell)
        for position, (method, cells) in enumerate(mine.items()):
            shown = [marks.shown(cell, extras) for cell in cells]
            shown += [_derived(one.entries[dataset.label, method]) for one in more]
            scored = f"{_fully_scored(cells)}/{min(cell.expected for cell in cells)}{_times(cells)}"
            sign = signs.get((dataset.label, method), "")
            yield Row(dataset.label, method, shown, scored, position == 0, venues.get(method, ""), sign)


def venues_of(data: RunView) -> dict[str, str]:
    """Where each method was published, by label, as the catalogue says today; empty where it does not."""
    from bench.catalog.registry import registry
    from bench.methods.availability import venue

    known = registry("method")
    named = {method.label: method.name for method in data.record.methods}
    return {label: venue(known.get(name)) if name in known else "" for label, name in named.items()}


def common_items(data: RunView) -> RunView:
    """The same run on the items that every method of a dataset has a value for, metric by metric."""
    peers: dict[tuple[str, str], list[Cell]] = {}
    for cell in data.cells:
        peers.setdefault((cell.dataset, cell.column.label), []).append(cell)
    common = {place: _common([cell for cell in cells if cell.n], "valued") for place, cells in peers.items()}
    kept: list[Cell] = []
    lost: dict[tuple[str, int, int], dict[str, dict[str, None]]] = {}
    for cell in data.cells:
        if cell.n and not cell.column.is_set:
            shared = common[cell.dataset, cell.column.label]
            if len(shared) < cell.expected:
                lacking = lost.setdefault((cell.dataset, len(shared), cell.expected), {})
                lacking.setdefault(cell.column.heading, {}).update(
                    {cell.method: None} if cell.n < cell.expected else {}
                )
            cell = replace(cell, scores=cell.columns.of_items(shared), expected=len(shared))
        kept.append(cell)
    whole = any(cell.column.is_set and cell.n for cell in data.cells)
    return data._replace(cells=kept, remarks=(*data.remarks, *_left_out(lost, whole)))


def _left_out(
    lost: Mapping[tuple[str, int, int], Mapping[str, Mapping[str, None]]], whole: bool
) -> Iterator[tuple[str, str]]:
    """(dataset, line): what `common_items` left out, for each number of items."""
    for (dataset, count, expected), columns in lost.items():
        methods = ", ".join(dict.fromkeys(method for lacking in columns.values() for method in lacking))
        line = (
            f"Only the {count} of {expected} items of {dataset} that every method has a value for, in "
            f"{', '.join(columns)}; others were left out for {methods}."
        )
        yield dataset, line
    if lost and whole:
        yield "", "Values of whole sets are of all items that a method has, left out or not."


def _common(cells: Sequence[Cell], having: Literal["valued", "whole"]) -> set[str]:
    """Items that all of some cells have a value of, or have scored."""
    if not cells:
        return set()
    masks = [(cell.columns.grid.items, getattr(cell.columns, having)) for cell in cells]
    if all(items is masks[0][0] for items, _ in masks):
        masks = [(masks[0][0], np.logical_and.reduce([mask for _, mask in masks]))]
    return set.intersection(*(set(itertools.compress(items, mask.tolist())) for items, mask in masks))


def _fully_scored(cells: Sequence[Cell]) -> int:
    """Items for which every applicable metric has a value."""
    applicable = [cell for cell in cells if cell.status != "n/a"]
    # Metrics need not be of the same items: `common_items` leaves whole sets as they are.
    return len(_common(applicable, "whole"))


def _times(cells: Sequence[Cell]) -> str:
    """How often every item was restored, where that is more than once."""
    repeats = max(cell.repeats for cell in cells)
    return f" × {repeats} repeats" if repeats > 1 else ""


def _text(cell: Cell) -> str:
    value = cell.value
    if value is None:
        return _EMPTY.get(cell.status, cell.status)
    text = format_value(value, cell.column.digits)
    if cell.infinite:
        text += f" ({cell.infinite} of {cell.n})"
    if cell.complete:
        return text
    if cell.column.is_set and cell.repeats > 1:  # outputs enter a set, whichever items have all of theirs
        return f"{text} ({int(cell.columns.scored.sum())}/{len(cell.scores)} outputs)"
    return f"{text} ({cell.n}/{cell.expected})"


def _derived(entry: derived.DerivedValue) -> Shown:
    return Shown(entry.text, 0, reason=entry.reason or "")


def plus(cell: Cell, grid: Mapping[tuple[str, str, str], Cell], over: Mapping[str, str]) -> str:
    """The increment over the base, in brackets; empty for a method without one."""
    base = grid.get((cell.dataset, over[cell.method], cell.column.label)) if cell.method in over else None
    more = None if base is None else gains.increment(base, cell)
    return "" if more is None else f" ({signed(more, cell.column.digits)})"


def signed(value: float, digits: int) -> str:
    """A difference with its sign; never a negative zero."""
    return f"{value:+z.{digits}f}"


def _stars(cell: Cell, grid: Mapping[tuple[str, str, str], Cell], against: str | None) -> str:
    base = None if against is None else grid.get((cell.dataset, against, cell.column.label))
    if base is None or cell.value is None or cell.method == against:
        return ""
    test = paired_test(base, cell)
    return "" if test is None else significance.stars(test.p_randomisation)


def format_value(value: float, digits: int) -> str:
    """A value with the metric's number of decimals; never a negative zero."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:z.{digits}f}"


def _ranks(cells: Sequence[Cell]) -> dict[int, int]:
    """Best (1) and second best (2) per dataset and metric, by the value as printed.

    Incomplete cells never rank, nor do infinite means: one black image on both sides makes any method's PSNR infinite.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.complete and cell.expected and cell.value is not None and math.isfinite(cell.value):
            groups.setdefault((cell.dataset, cell.column.label), []).append(cell)
    ranks: dict[int, int] = {}
    for group in groups.values():
        if len(group) < 2:
            continue
        sign = 1 if group[0].column.higher_is_better else -1
        printed = {id(cell): _printed(cell) for cell in group}
        levels = sorted(set(printed.values()), key=lambda value: sign * value, reverse=True)[:2]
        for cell in group:
            if printed[id(cell)] in levels:
                ranks[id(cell)] = levels.index(printed[id(cell)]) + 1
    return ranks


def _printed(cell: Cell) -> float:
    return round(cell.value or 0.0, cell.column.digits)


class _Reasons:
    """Why values are missing. Every cell without a value, or with fewer items than expected, has a letter; equal
    reasons share a line, and what else went wrong follows as long as there is room."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._places: dict[tuple[str, str], list[str]] = {}
        self._letters: dict[tuple[str, str], str] = {}
        for cell in cells:
            found = list(_missing(cell))
            for key, place in found:
                places = self._places.setdefault(key, [])
                if place not in places[-2:]:
                    places.append(place)
            if found and found[0][0] not in self._letters:
                self._letters[found[0][0]] = _letter(len(self._letters))

    def of(self, cell: Cell) -> tuple[str, str]:
        """(letter, reason) of a cell; both empty where nothing is missing."""
        for key, _ in _missing(cell):
            return self._letters[key], f"{key[0]}: {key[1]}"
        return "", ""

    def lines(self) -> Iterator[str]:
        left = max(_MOST_REASONS - len(self._letters), 0)
        dropped = 0
        for key, places in self._places.items():
            letter = self._letters.get(key)
            if letter is None and left == 0:
                dropped += 1
                continue
            left -= letter is None
            distinct = list(dict.fromkeys(places))
            also = "; ".join(distinct[1:_MOST_PLACES])
            if len(distinct) > _MOST_PLACES:
                also += f" and {len(distinct) - _MOST_PLACES} more"
            line = ": ".join(part for part in (key[0], distinct[0], key[1]) if part) + (
                f" (also {also})" if also else ""
            )
            yield f"[{letter}] {line}" if letter else line
        if dropped:
            yield f"… and {dropped} more reasons (bench export RUN --format csv has every row)"


def _missing(cell: Cell) -> Iterator[tuple[tuple[str, str], str]]:
    """((what, reason), where) of everything that a cell lacks, what decides about its value first."""
    whole = [cell.set_score] if cell.set_score is not None and cell.set_score.status not in SCORED else []
    lacks = [*whole, *cell.columns.lacking()]
    for score in lacks:
        what = _WORDS.get(score.status, "failed")
        yield (what, score.reason or score.status), _place(cell, score, what)
    if not lacks and (cell.value is None or not cell.complete):  # a dataset that is not here has no items to speak of
        yield (_WORDS.get(cell.status, cell.status), cell.reason or "no items"), "" if cell.reason else cell.dataset


def _place(cell: Cell, score: ItemScore, what: str) -> str:
    if what == "n/a":
        return cell.dataset
    if what == "pending":
        return "some items"
    where = f"{cell.method} on {cell.dataset}"
    return f"{where}, {printable(score.item)}" if what == "failed" and score.item else where


def _letter(index: int) -> str:
    """a … z, aa, ab …"""
    return ("" if index < 26 else _letter(index // 26 - 1)) + chr(ord("a") + index % 26)


def _notes(data: RunView, reasons: _Reasons) -> Iterator[Note]:
    yield from map(told, _signature_lines(data))
    places = {"", *(cell.dataset for cell in data.cells)}
    yield from (legend(line) for dataset, line in data.remarks if dataset in places)
    yield told("Values are means over items; n: items with every value / items expected.")
    yield told("Best is bold, second best underlined, per dataset and among complete cells.")
    yield from map(told, _repeated([cell for cell in data.cells if cell.repeats > 1]))
    yield from map(told, footnotes.detection_lines(cell.column for cell in data.cells))
    if any(cell.infinite for cell in data.cells):
        yield legend(
            "inf (k of n): k of n items have an infinite value, as the PSNR of an output equal to its reference; such "
            "a mean has no interval and no rank."
        )
    shown = {cell.method for cell in data.cells}
    yield from (told(line) for one in data.record.methods if one.label in shown for line in one.lossy or ())
    yield from (legend(line) if line.startswith("[") else told(line) for line in reasons.lines())
    remarks = (cell for cell in data.cells if cell.set_score is not None and cell.set_score.status in SCORED)
    remarks = (cell for cell in remarks if cell.complete and cell.reason)
    yield from map(told, dict.fromkeys(f"{cell.dataset}: {cell.reason}." for cell in remarks))
    if len(data.devices) > 1:
        yield told(f"Outputs were made on different devices: {', '.join(sorted(data.devices))}.")


def _signature_lines(data: RunView) -> Iterator[str]:
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells))
    told: set[str] = set()
    for label in labels:
        used = {cell.dataset: cell.column for cell in data.cells if cell.column.label == label}
        signatures = {column.signature for column in used.values()}
        heading = next(iter(used.values())).heading
        whole, slash, _ = label.rpartition("/")
        if slash and all(column.annotated for column in used.values()):  # a column for each class says it once
            if whole in told:
                continue
            told.add(whole)
            heading = f"{heading.partition(' ')[0]} of each class, and their mean"
            signatures = {re.sub(r"\|class:[^|]*", "|class:each", one) for one in signatures}
        if len(signatures) == 1:
            yield f"{heading}: {signatures.pop()}"
        else:
            for dataset, column in used.items():
                yield f"{heading} on {dataset}: {column.signature}"


def _repeated(cells: Sequence[Cell]) -> Iterator[str]:
    """What the repeats of items are, and that they are no further items."""
    kinds = {
        "each with a seed of its own": [cell for cell in cells if cell.members == 1],
        "by members that differ in their options, such as weights": [
            cell for cell in cells if cell.members == cell.repeats > 1
        ],
        "by members that differ in their options, each with several seeds": [
            cell for cell in cells if 1 < cell.members < cell.repeats
        ],
    }
    for how, of_kind in kinds.items():
        if of_kind:
            methods = dict.fromkeys(cell.method for cell in of_kind)
            yield (
                f"{', '.join(methods)}: every item was restored{_times(of_kind)}, {how}; an item's value is the mean "
                "of its repeats, and n counts items."
            )


def printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)

"""A run laid out for printing: the pivot, ranks, intervals, tests and the footer, whatever the format.

Best and second best are told per dataset and metric, among complete cells only. Every table ends with the signatures of
its numbers, and with the reason for every value that is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.tables import statistics
from bench.tables.frame import Cell, RunData

_EMPTY = {"n/a": "n/a", "unavailable": "–", "pending": "…", "failed": "failed", "input": "failed", "nan": "nan"}


class Shown(NamedTuple):
    """One cell as a reader sees it."""

    text: str
    rank: int
    """1 best, 2 second best, 0 neither."""


class Row(NamedTuple):
    """One method on one dataset."""

    dataset: str
    method: str
    cells: Sequence[Shown]
    scored: str
    """`n scored / n expected`: items for which every value is there."""
    first: bool
    """First row of its dataset."""


class Extras(NamedTuple):
    """What a table shows beside the values."""

    ci: bool = False
    """Bootstrap intervals of the means."""
    against: str | None = None
    """Label of the method that every other one is tested against."""


PLAIN = Extras()


class Table(NamedTuple):
    """A run laid out for printing, whatever the format."""

    title: str
    header: Sequence[str]
    """Metrics as a reader knows them, without arrows."""
    arrows: Sequence[str]
    """↑ or ↓ per metric."""
    rows: Sequence[Row]
    footer: Sequence[str]
    counted: bool = True
    """Whether the numbers of items are shown; a paper's table has none."""


def lay_out(data: RunData, extras: Extras = PLAIN) -> Table:
    """The pivot of a run with its ranks and its footer."""
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells))
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in data.cells}
    ranks = _ranks(data.cells)
    methods = [method["label"] for method in data.record.methods]
    rows: list[Row] = []
    for dataset in data.record.datasets:
        for position, method in enumerate(methods):
            cells = [grid[dataset["label"], method, label] for label in labels]
            full = _fully_scored(cells)
            shown = [Shown(_text(cell) + beside(cell, grid, extras), ranks.get(id(cell), 0)) for cell in cells]
            rows.append(Row(dataset["label"], method, shown, f"{full}/{cells[0].expected}", position == 0))
    directions = {cell.column.label: cell.column.higher_is_better for cell in data.cells}
    arrows = ["↑" if directions[label] else "↓" for label in labels]
    headings = {cell.column.label: cell.column.heading for cell in data.cells}
    header = [headings[label] for label in labels]
    footer = [*_footer(data), *_statistics_footer(data, extras)]
    return Table(data.record.title or data.record.suite, header, arrows, rows, footer)


def common_items(data: RunData) -> RunData:
    """The same run on the items that every method of a dataset has a value for, metric by metric."""
    kept: list[Cell] = []
    for cell in data.cells:
        if cell.column.is_set:
            kept.append(cell)
            continue
        peers = [
            other for other in data.cells if (other.dataset, other.column.label) == (cell.dataset, cell.column.label)
        ]
        shared = set.intersection(
            *({score.item for score in other.scores if score.value is not None} or {""} for other in peers if other.n)
        ) if any(other.n for other in peers) else set()  # fmt: skip
        scores = [score for score in cell.scores if score.item in shared]
        kept.append(replace(cell, scores=scores, expected=len(scores)) if cell.n else cell)
    return data._replace(cells=kept)


def _fully_scored(cells: Sequence[Cell]) -> int:
    """Items for which every applicable metric has a value."""
    applicable = [cell for cell in cells if cell.status != "n/a"]
    if not applicable:
        return 0
    return sum(
        all(score.status in ("ok", "inf") for score in scores)
        for scores in zip(*(cell.scores for cell in applicable), strict=True)
    )


def _text(cell: Cell) -> str:
    value = cell.value
    if value is None:
        return _EMPTY.get(cell.status, cell.status)
    text = format_value(value, cell.column.digits)
    return text if cell.complete else f"{text} ({cell.n}/{cell.expected})"


def beside(cell: Cell, grid: Mapping[tuple[str, str, str], Cell], extras: Extras) -> str:
    """The interval of a cell's mean and its p-value against the chosen method, as far as they are asked for."""
    text = ""
    digits = cell.column.digits
    interval = interval_of(cell) if extras.ci else None
    if interval is not None:
        text += f" [{format_value(interval.low, digits)}, {format_value(interval.high, digits)}]"
    if extras.against is not None and cell.value is not None:
        if cell.method == extras.against:
            text += " (base)"
        else:
            test = paired_test(grid[cell.dataset, extras.against, cell.column.label], cell)
            text += f" ({statistics.p_text(test.p_randomisation)})" if test is not None else ""
    return text


def interval_of(cell: Cell) -> statistics.Interval | None:
    """Bootstrap interval of a mean; None for set metrics, whose value is no mean."""
    if cell.column.is_set:
        return None
    return statistics.bootstrap([score.value for score in cell.scores if score.value is not None])


def paired_test(base: Cell, other: Cell) -> statistics.Paired | None:
    """Paired test of two cells on the items that both have a value for; None for set metrics."""
    if base.column.is_set or base.column.signature != other.column.signature:
        return None
    first = {(score.item, score.repeat): score.value for score in base.scores if score.value is not None}
    second = {(score.item, score.repeat): score.value for score in other.scores if score.value is not None}
    shared = [key for key in first if key in second]
    return statistics.paired([first[key] for key in shared], [second[key] for key in shared])


def _statistics_footer(data: RunData, extras: Extras) -> Iterator[str]:
    if extras.ci:
        yield (
            f"[low, high] is the {statistics.LEVEL:.0%} percentile bootstrap interval of the mean "
            f"({statistics.RESAMPLES} resamples of the items, seed {statistics.SEED}): how far it would move with "
            "other items of the same kind, not with another training run."
        )
    if extras.against is not None:
        yield (
            f"p is the chance of a difference at least as large as the one to {extras.against} if the two methods were "
            f"interchangeable on every item (approximate randomisation, two-sided, {statistics.TRIALS} trials, seed "
            f"{statistics.SEED}); a small p is not a large difference."
        )
    if extras.ci or extras.against is not None:
        for dataset in data.record.datasets:
            count = len(dataset["items"])
            if count < statistics.FEW:
                yield f"{dataset['label']} has only {count} items: its intervals and tests are rough."


def format_value(value: float, digits: int) -> str:
    """A value with the metric's number of decimals."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.{digits}f}"


def _ranks(cells: Sequence[Cell]) -> dict[int, int]:
    """Best (1) and second best (2) per dataset and metric, by the value as printed; incomplete cells never rank."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.complete and cell.expected and cell.value is not None and not math.isnan(cell.value):
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
    value = cell.value or 0.0
    return value if math.isinf(value) else round(value, cell.column.digits)


def _footer(data: RunData) -> Iterator[str]:
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells))
    for label in labels:
        used = {cell.dataset: cell.column for cell in data.cells if cell.column.label == label}
        signatures = {column.signature for column in used.values()}
        heading = next(iter(used.values())).heading
        if len(signatures) == 1:
            yield f"{heading}: {signatures.pop()}"
        else:
            for dataset, column in used.items():
                yield f"{heading} on {dataset}: {column.signature}"
    yield "Values are means over items; n: items with every value / items expected."
    yield "Best is bold, second best underlined, per dataset and among complete cells."
    seen: dict[str, int] = {}
    for cell in data.cells:
        for score in [*cell.scores, *([cell.set_score] if cell.set_score else [])]:
            if score.status not in ("ok", "inf"):
                what = {"n/a": "n/a", "unavailable": "unavailable", "pending": "pending"}.get(score.status, "failed")
                where = cell.dataset if score.status == "n/a" else f"{cell.method} on {cell.dataset}"
                if what == "failed" and score.item:
                    where += f", {printable(score.item)}"
                if what == "pending":
                    where = "some items"
                line = f"{what}: {where}: {score.reason}"
                seen[line] = seen.get(line, 0) + 1
    shown = list(seen)[:12]
    yield from shown
    if len(seen) > len(shown):
        yield f"… and {len(seen) - len(shown)} more reasons (bench export RUN --format csv has every row)"
    if len(data.devices) > 1:
        yield f"Outputs were made on different devices: {', '.join(sorted(data.devices))}."


def printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)

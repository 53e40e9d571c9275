"""Quality against latency: which methods of a run no other one beats in both.

Only complete cells and methods with a time take part; why others do not is said.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from bench.errors import BenchError, suggest
from bench.results.view import Cell, RunView
from bench.tables import render
from bench.tables.layout import format_value, printable
from bench.tables.time_column import setting_line, short


class Point(NamedTuple):
    """One method on one dataset."""

    dataset: str
    method: str
    quality: float
    milliseconds: float
    front: bool
    """Whether no other method is at least as good and at least as fast, and better in one of the two."""
    noise: str
    """What disturbed its time; empty where nothing did."""


class Front(NamedTuple):
    """All points of a metric, dataset by dataset, each in the order of time."""

    column: str
    """The metric as readers know it, with its arrow."""
    higher_is_better: bool
    digits: int
    points: Sequence[Point]
    absent: Sequence[str]
    """Lines that tell which methods have no point, and why."""
    setting: str
    """What the times rest on."""


def front(data: RunView, metric: str) -> Front:
    """The points of a run, with the front of each dataset. Raises `BenchError` where there is nothing to compare."""
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells))
    wanted = next((label for label in labels if label.casefold() == metric.casefold()), None)
    if wanted is None:
        raise BenchError(f"no metric {metric!r} in this run{suggest(metric, labels)} (it has {', '.join(labels)})")
    if not data.timings:
        raise BenchError(
            f"run {data.number} ({data.record.suite}) has no times: write latency: {{size: 512}} into its suite and "
            "run it again, which repeats no other work"
        )
    cells = [cell for cell in data.cells if cell.column.label == wanted]
    column = cells[0].column
    times = {timing.label: timing for timing in data.timings if timing.ok}
    points: list[Point] = []
    for dataset in dict.fromkeys(cell.dataset for cell in cells):
        found = [
            Point(dataset, cell.method, cell.value, times[cell.method].median_ms, False,
                  "; ".join(times[cell.method].noise))
            for cell in cells
            if cell.dataset == dataset and cell.method in times and _whole(cell) and cell.value is not None
        ]  # fmt: skip
        marked = [point._replace(front=not _beaten(point, found, column.higher_is_better)) for point in found]
        points += sorted(marked, key=lambda point: point.milliseconds)
    if not points:
        raise BenchError(f"no method of run {data.number} has both a time and a complete value of {wanted}")
    return Front(
        f"{column.heading} {'↑' if column.higher_is_better else '↓'}", column.higher_is_better, column.digits, points,
        list(_absent(cells, data, times.keys())), setting_line(data.timings),
    )  # fmt: skip


def _whole(cell: Cell) -> bool:
    return cell.complete and cell.value is not None and math.isfinite(cell.value)


def _beaten(point: Point, others: Sequence[Point], higher: bool) -> bool:
    sign = 1 if higher else -1
    return any(
        sign * other.quality >= sign * point.quality
        and other.milliseconds <= point.milliseconds
        and (other.quality, other.milliseconds) != (point.quality, point.milliseconds)
        for other in others
    )


def _absent(cells: Sequence[Cell], data: RunView, timed: Collection[str]) -> Iterator[str]:
    reasons = {timing.label: timing.reason for timing in data.timings if not timing.ok}
    seen = set()
    for cell in cells:
        if cell.method not in timed and cell.method not in seen:
            seen.add(cell.method)
            yield f"{cell.method}: no time ({reasons.get(cell.method) or 'not timed'})"
        elif cell.method in timed and not _whole(cell):
            finite = cell.n - cell.infinite
            yield f"{cell.method} on {cell.dataset}: {finite} of {cell.expected} items have a finite value"


def text(found: Front, style: str, title: str) -> str:
    """As a table in one of `render.FORMATS`. Raises `BenchError` for another word."""
    render.check_style(style)
    if style in render.LISTINGS:
        rows = [
            {"dataset": one.dataset, "method": one.method, "metric": found.column[:-2], "value": one.quality,
             "median_ms": one.milliseconds, "front": one.front, "noise": one.noise}
            for one in found.points
        ]  # fmt: skip
        return render.LISTINGS[style](rows)
    shown = [
        {"dataset": printable(one.dataset), "method": printable(one.method),
         found.column: format_value(one.quality, found.digits),
         "latency, ms ↓": short(one.milliseconds) + "~" * bool(one.noise), "on the front": "yes" if one.front else ""}
        for one in found.points
    ]  # fmt: skip
    body = render.of_rows(shown, style, ("dataset", "method", "on the front"))
    noisy = {f"~ noisy: {one.method}: {one.noise}" for one in found.points if one.noise}
    notes = [
        f"{title}: on the front: no other method is at least as good and as fast, and better in one of the two.",
        found.setting, *sorted(noisy), *found.absent,
    ]  # fmt: skip
    prefix = {"markdown": "- ", "latex": "% ", "html": "<p>", "terminal": "• "}[style]
    return body + "\n" + "".join(f"{prefix}{printable(note)}\n" for note in notes)

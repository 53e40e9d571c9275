"""The seconds that a run itself spent per image, as it stored them when it made its outputs.

Not a latency measurement: first calls, other programs and other sizes of images are in them. `bench latency` measures.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from bench.catalog import published
from bench.results.view import RunView, Seconds

COLUMN = "seconds"
"""What JSON and CSV call the column."""
METRIC = "time-s"
"""What the papers' tables call seconds per image."""


def printed(data: RunView) -> bool:
    """Whether the paper's table that the run's suite names prints seconds, so that ours belong beside them."""
    key = data.record.definition.get("published")
    if key is None or not published.folder().is_dir() or key not in published.names():
        return False
    return METRIC in published.load(str(key)).metrics


class Spent(NamedTuple):
    """What one method took per image of one dataset."""

    median: float | None
    """Seconds; None where nothing was restored."""
    n: int
    """Restorations that were timed, every repeat of an item among them."""
    expected: int
    reason: str | None


def spent(data: RunView) -> Iterator[tuple[str, str, Spent]]:
    """(dataset, method, seconds) of every method on every dataset that it is for, in the run's order."""
    expected = {(cell.dataset, cell.method): len(cell.scores) for cell in data.cells}
    for place, count in expected.items():
        took = data.seconds.get(place, Seconds())
        median = statistics.median(took.each) if took.each else None
        reason = None if took.each else took.reason or "nothing was restored here"
        yield *place, Spent(median, len(took.each), count, reason)


def footer(data: RunView) -> Iterator[str]:
    """What the numbers are, and what they are not."""
    how = sorted({line for took in data.seconds.values() for line in took.settings})
    if how:
        yield (
            "Seconds: median over the images of the time that this run's outputs took to make "
            f"({'; '.join(how)}), first calls and whatever else the machine did included. Not a latency measurement: "
            "bench latency makes one."
        )
    missing: dict[str, list[str]] = {}
    for dataset, method, one in spent(data):
        if one.reason is not None:
            missing.setdefault(one.reason, []).append(f"{method} on {dataset}")
    yield from (f"No seconds: {', '.join(places)}: {reason}." for reason, places in missing.items())

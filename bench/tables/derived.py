"""Columns that follow from a run's rows and are no metric's: gain over a base, rounds, seconds
per image, and the composite scores of challenges.

Each has a name that JSON and CSV call it by, one value per method and dataset, and lines below the table. They stand
behind the metrics and are never ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.catalog.formulas import find
from bench.results.view import RunView
from bench.tables import composites, gains, rounds, run_seconds


class DerivedValue(NamedTuple):
    """One value of a derived column."""

    value: float | None
    text: str
    n: int
    expected: int
    reason: str | None
    signature: str


class Derived(NamedTuple):
    """A column beside the metrics."""

    name: str
    heading: str
    arrow: str
    printed: str
    """What the papers' tables call it."""
    entries: Mapping[tuple[str, str], DerivedValue]
    """By (dataset, method)."""
    footer: tuple[str, ...]


def columns(
    data: RunView, *, gain: bool | None = None, seconds: bool = False, formulas: Sequence[str] = ()
) -> list[Derived]:
    """The derived columns of a run. Raises `BenchError` for gains that nothing can have, and unknown formulas."""
    composites.check(formulas)
    found = [_composite(data, name) for name in formulas]
    if gains.wanted(data, gain):
        found.append(_gain(data))
    if data.traces:
        found.append(_rounds(data))
    if seconds or run_seconds.printed(data):
        found.append(_seconds(data))
    return found


def _gain(data: RunView) -> Derived:
    entries = {
        (dataset, method): DerivedValue(
            one.percent, "–" if one.percent is None else f"{one.percent:z.2f}", int(one.percent is not None),
            int(one.base is not None), one.reason,
            f"gain|base:{one.base}|over:{'+'.join(one.metrics)}|unit:percent|v:1",
        )
        for dataset, method, one in gains.gains(data)
    }  # fmt: skip
    return Derived(gains.COLUMN, "Gain, %", "↑", gains.COLUMN, entries, tuple(gains.footer(data)))


def _composite(data: RunView, name: str) -> Derived:
    formula = find(name)
    entries = {
        (dataset, method): DerivedValue(
            one.value, "–" if one.value is None else f"{one.value:z.4f}", int(one.value is not None), 1, one.reason,
            one.signature,
        )
        for dataset, method, one in composites.scores(data, name)
    }  # fmt: skip
    arrow = "↑" if formula.better == "higher" else "↓"
    lacking: dict[str, list[str]] = {}
    for (dataset, method), entry in entries.items():
        if entry.reason is not None:
            lacking.setdefault(entry.reason, []).append(f"{method} on {dataset}")
    footer = composites.footer(name, {entry.signature for entry in entries.values()})
    told = [f"{formula.symbol}: none for {', '.join(places)}: {reason}" for reason, places in lacking.items()]
    return Derived(name, formula.symbol, arrow, name, entries, (*footer, *told))


def _seconds(data: RunView) -> Derived:
    entries = {
        (dataset, method): DerivedValue(
            one.median, _short(one.median), one.n, one.expected, one.reason, "seconds|median|in-run|v:1"
        )
        for dataset, method, one in run_seconds.spent(data)
    }
    return Derived(run_seconds.COLUMN, "Seconds", "↓", run_seconds.METRIC, entries, tuple(run_seconds.footer(data)))


def _rounds(data: RunView) -> Derived:
    entries = {
        (dataset, method): DerivedValue(
            one.mean, "–" if one.mean is None else f"{one.mean:.2f}", one.n, one.expected,
            None if one.n else "it tells no rounds", "rounds|mean|done|v:1",
        )
        for dataset, method, one in rounds.counted(data)
    }  # fmt: skip
    return Derived(rounds.COLUMN, "Rounds", "", rounds.METRIC, entries, tuple(rounds.footer(data)))


def _short(seconds: float | None) -> str:
    """Three significant digits of what takes milliseconds or more."""
    if seconds is None:
        return "–"
    return f"{seconds:.{2 if seconds >= 1 else 3 if seconds >= 0.1 else 4}f}"

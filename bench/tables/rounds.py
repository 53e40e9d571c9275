"""Rounds of the methods that work in rounds, as a run stored them, and the images on which a mechanism fired.

An average over all images hides what a mechanism does on the few that it touches; AgenticIR's ablations are scored on
those alone, and say how many they are.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from bench.errors import BenchError, suggest
from bench.methods.trace import FILLED, Trace
from bench.results.view import Cell, RunView, Seconds

COLUMN = METRIC = "rounds"
"""What JSON, CSV and the papers' tables call the column."""


class Rounds(NamedTuple):
    """Of one method on one dataset."""

    mean: float | None
    """How often something was done to an image, whether its result was taken or not; None without a trace."""
    n: int
    expected: int
    taken: float
    """Mean of how often the result was taken."""
    rolled_back: int
    """Images of which at least one result was rolled back."""
    reasons: Mapping[str, int]
    """Why rounds ended → images."""
    things: str = "images"
    """What `n`, `expected`, `rolled_back` and `reasons` count: where images were restored repeatedly, restorations."""


def counted(data: RunView) -> Iterator[tuple[str, str, Rounds]]:
    """(dataset, method, rounds) of every method on every dataset that it is for, in the run's order."""
    expected = {(cell.dataset, cell.method): len(cell.scores) for cell in data.cells}
    for place, count in expected.items():
        each = data.traces.get(place, ())
        traces = [told.trace for told in each]
        things = "restorations" if any(told.repeat for told in each) else "images"
        mean = statistics.fmean(trace.rounds for trace in traces) if traces else None
        taken = statistics.fmean(trace.taken for trace in traces) if traces else 0.0
        reasons = Counter(trace.reason for trace in traces)
        rolled = sum(trace.rolled_back > 0 for trace in traces)
        yield *place, Rounds(mean, len(traces), count, taken, rolled, dict(reasons.most_common()), things)


def footer(data: RunView) -> Iterator[str]:
    """What the numbers are, and how rounds ended."""
    yield "Rounds: mean over the images of how often something was done to one, taken or not; – without rounds."
    for dataset, method, one in counted(data):
        if one.n:
            ended = ", ".join(f"{reason or 'not said'} {100 * n / one.n:.0f} %" for reason, n in one.reasons.items())
            yield (
                f"Rounds of {method} on {dataset}: {one.taken:.2f} taken per {one.things[:-1]}; {one.rolled_back} of "
                f"{one.n} {one.things} with one rolled back; ended by {ended}."
            )


# Where a mechanism fired

MECHANISMS: Mapping[str, tuple[Callable[[Trace], bool], str]] = {
    "rollback": (lambda trace: trace.rolled_back > 0, "rolled a result back"),
    "kept": (
        lambda trace: any(step.verdict == "kept" for step in trace.steps),
        "took a result that was not judged better by enough",
    ),
    "stopping": (lambda trace: trace.reason in ("clean", "no gain", "fixed point"), "stopped by what was found"),
    "filled": (lambda trace: any(step.taken and step.action == FILLED for step in trace.steps), FILLED),
    "repeat": (lambda trace: trace.taken > 1, "took a second result"),
}
"""By what `--fired` calls them: whether it did on an image, and how that is said."""


def fired(data: RunView, wanted: str) -> RunView:
    """The run on the images of which a method's trace says that a mechanism fired, for all its methods.

    `wanted`: a mechanism, of the first method that has traces, or METHOD:MECHANISM. Values of whole sets are left out:
    they are of other images. Raises `BenchError` for a name that there is not.
    """
    label, _, name = wanted.rpartition(":")
    if name not in MECHANISMS:
        raise BenchError(f"no mechanism {name!r}{suggest(name, MECHANISMS)} (one of {', '.join(MECHANISMS)})")
    told = list(dict.fromkeys(method for _, method in data.traces))
    if not told:
        raise BenchError(f"run {data.number} ({data.record.suite}) has no method that tells its rounds, such as rar")
    if label and label not in told:
        raise BenchError(f"{label!r} tells no rounds in this run{suggest(label, told)} (those of {', '.join(told)})")
    label = label or told[0]
    does, said = MECHANISMS[name]
    on = {dataset: {one.item for one in each if does(one.trace)} for (dataset, who), each in data.traces.items()
          if who == label}  # fmt: skip
    cells = [_among(cell, on.get(cell.dataset, set())) for cell in data.cells if not cell.column.is_set]
    counts = ", ".join(
        f"{len(on.get(one.label, ()))} of {len(one.items)} on {one.label}" for one in data.record.datasets
    )
    title = f"{data.record.title or data.record.suite}: images on which {label} {said} ({counts})"
    traces = {
        place: [one for one in each if one.item in on.get(place[0], set())] for place, each in data.traces.items()
    }
    seconds = {place: Seconds(reason="seconds are of all images, not of some") for place in data.seconds}
    return data._replace(cells=cells, record=replace(data.record, title=title), traces=traces, seconds=seconds)


def _among(cell: Cell, items: set[str]) -> Cell:
    return replace(cell, scores=cell.columns.of_items(items), expected=len(items))

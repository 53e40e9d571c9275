"""What a method gains over the one it is made from: a host with a score, over the host alone.

A method has a base where the suite says so (`bases: {MINE: HOST}`), and where it is called NAME+ beside a NAME. Per
metric it is the increment: by how much the value is better than the base's, so that + is better also where lower is, as
the papers print it. Gain is one number for all: the mean, over the metrics, of the increment relative to the base. The
papers that print a Gain do not define it; from their printed values this gives theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.errors import BenchError
from bench.results.view import Cell, RunView, mean

COLUMN = "gain"
"""What JSON, CSV and the papers' tables call the column."""


class Gain(NamedTuple):
    """The gain of one method on one dataset, in percent, or why there is none."""

    base: str | None
    """Label of the method that it is held against; None where it has none."""
    metrics: tuple[str, ...]
    """Columns that it is the mean of."""
    percent: float | None
    reason: str | None


def base_of(label: str, labels: Collection[str], given: Mapping[str, str]) -> str | None:
    """The label that a method's gain is over: as `given`, else NAME for NAME+ (its options may follow)."""
    if label in given:
        return given[label] if given[label] in labels else None
    named = re.fullmatch(r"(.+)\+(?:\(.*\))?", label)
    return named[1] if named and named[1] in labels else None


def bases(data: RunView) -> dict[str, str]:
    """Method → its base, by label, for the methods of a run that have one."""
    labels = [method.label for method in data.record.methods]
    given = data.record.definition.get("bases") or {}
    found = {label: base_of(label, labels, given) for label in labels}
    return {label: base for label, base in found.items() if base is not None}


def wanted(data: RunView, asked: bool | None) -> bool:
    """Whether a table has the column: as asked, else as the suite says. Raises `BenchError` where none has a base."""
    if asked and not bases(data):
        raise BenchError(
            "no method of this run has a base to gain on: call it NAME+ beside NAME, or write bases: {MINE: HOST} into "
            "the suite and run it again, which repeats no work"
        )
    return bool(data.record.definition.get("gain")) and bool(bases(data)) if asked is None else asked


def increments_wanted(data: RunView, asked: bool | None) -> bool:
    """Whether increments stand behind values: as asked, else as the suite says. Raises as `wanted` does."""
    if asked:
        return wanted(data, True)
    return bool(data.record.definition.get("increments")) and bool(bases(data)) if asked is None else False


def increment(base: Cell, cell: Cell) -> float | None:
    """By how much a value is better than its base's; None unless both are complete, finite and mean the same."""
    if _reason(base, cell) is not None:
        return None
    assert base.value is not None and cell.value is not None
    return cell.value - base.value if cell.column.higher_is_better else base.value - cell.value


def improvement(base: Cell, cell: Cell) -> float | None:
    """The increment relative to the base; None without one, and over a base of 0."""
    more = increment(base, cell)
    if more is None or not base.value:
        return None
    return more / abs(base.value)


def gains(data: RunView) -> Iterator[tuple[str, str, Gain]]:
    """(dataset, method, gain) of every method on every dataset that it is for, in the run's order."""
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in data.cells}
    over = bases(data)
    for dataset, method in dict.fromkeys((cell.dataset, cell.method) for cell in data.cells):
        base = over.get(method)
        if base is None:
            yield dataset, method, Gain(None, (), None, "it has no base")
            continue
        pairs = {
            label: (grid[dataset, base, label], grid[dataset, method, label])
            for label in _columns(data, dataset)
            if (dataset, base, label) in grid and grid[dataset, method, label].status != "n/a"
        }
        yield dataset, method, _gain(base, pairs)


def _gain(base: str, pairs: Mapping[str, tuple[Cell, Cell]]) -> Gain:
    labels = tuple(pairs)
    if not pairs:
        return Gain(base, (), None, f"{base} has no value to gain on")
    for label, (first, second) in pairs.items():
        reason = _reason(first, second)
        if reason is None and not first.value:
            reason = f"{base} has the value 0"
        if reason is not None:
            return Gain(base, labels, None, f"{label}: {reason}")
    parts = [improvement(*pair) for pair in pairs.values()]
    return Gain(base, labels, 100 * mean([part for part in parts if part is not None]), None)


def _reason(base: Cell, cell: Cell) -> str | None:
    """Why two cells give no increment."""
    for one in (base, cell):
        if one.value is None or not one.complete:
            return f"{one.method} has {one.n} of {one.expected} values"
        if not math.isfinite(one.value):
            return f"{one.method} has the value {one.value}"
    if base.column.signature != cell.column.signature or base.column.mode != cell.column.mode:
        return "the two values do not mean the same"
    return None


def _columns(data: RunView, dataset: str) -> list[str]:
    """Columns that a gain on a dataset is the mean of: those that the suite lists for it, else all."""
    labels = list(dict.fromkeys(cell.column.label for cell in data.cells if cell.dataset == dataset))
    listed: Any = data.record.definition.get("gain")
    if not isinstance(listed, Mapping):
        return labels
    return [label for label in labels if label in listed.get(dataset, labels)]


def footer(data: RunView) -> Iterator[str]:
    """What the column means, and why some of it is empty."""
    found = list(gains(data))
    over = dict.fromkeys((gain.base, method) for _, method, gain in found if gain.base is not None)
    pairs = ", ".join(f"{method} over {base}" for base, method in over)
    by_dataset: dict[str, Sequence[str]] = {}
    for dataset, _, gain in found:
        if gain.metrics:
            by_dataset.setdefault(dataset, gain.metrics)
    headings = {cell.column.label: cell.column.heading for cell in data.cells}
    groups: dict[str, list[str]] = {}
    for dataset, labels in by_dataset.items():
        groups.setdefault(", ".join(headings[label] for label in labels), []).append(dataset)
    over_what = "; ".join(f"{names} on {', '.join(on)}" if len(groups) > 1 else names for names, on in groups.items())
    yield (
        f"Gain: mean of the relative improvements over the base, in percent ({pairs}), over {over_what}; where "
        "lower is better, a lower value improves."
    )
    missing = dict.fromkeys(
        f"{method} on {dataset}: {gain.reason}" for dataset, method, gain in found if gain.base and gain.reason
    )
    if missing:
        yield f"No gain: {'; '.join(missing)}."


def increment_line(data: RunView) -> str:
    pairs = ", ".join(f"{method} over {base}" for method, base in bases(data).items())
    return (
        f"(+x) behind a value: by how much it is better than its base's ({pairs}), (−x) worse, where both are complete."
    )

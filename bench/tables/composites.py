"""Composite scores of a run: a challenge's formula over the averaged values of its columns, or over measured times.

A score exists where every term does, for all items; what a challenge disqualifies has no score and the reason. Its
signature names the formula and the signatures of its terms, so that two scores are comparable exactly when they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.catalog.formulas import Formula, find
from bench.errors import BenchError
from bench.identity import digest
from bench.results.timings import Timing
from bench.results.view import Cell, RunView
from bench.suite.definition import label_of
from bench.tables import gains


class Composite(NamedTuple):
    """A score of one method on one dataset, or why there is none."""

    value: float | None
    reason: str | None
    signature: str


class _Missing(Exception):
    """The score cannot be had; the message is its reason."""


def scores(data: RunView, name: str) -> Iterator[tuple[str, str, Composite]]:
    """(dataset, method, score) in table order. Raises `BenchError` for an unknown formula."""
    formula = find(name)
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in data.cells}
    metrics = {label_of(spec): spec.metric for spec in data.record.metrics}
    for dataset, method in dict.fromkeys((cell.dataset, cell.method) for cell in data.cells):
        mine = [cell for (where, who, _), cell in grid.items() if (where, who) == (dataset, method)]
        signature = _signature(formula, mine, metrics)
        try:
            yield dataset, method, Composite(_score(data, formula, method, dataset, mine, metrics), None, signature)
        except _Missing as missing:
            yield dataset, method, Composite(None, str(missing), signature)


def _score(
    data: RunView, formula: Formula, method: str, dataset: str, mine: Sequence[Cell], metrics: Mapping[str, str]
) -> float:  # fmt: skip
    names = {term: _value(mine, metric, metrics) for term, metric in formula.terms.items()}
    if formula.costs:
        names |= _costs(data, formula, method)
    if formula.floor is not None:
        found = _value(mine, str(formula.floor["metric"]), metrics)
        if found < float(formula.floor["at_least"]):
            raise _Missing(
                f"{formula.floor['metric']} {found:.2f} is below {formula.floor['at_least']}: out of the race"
            )
    gate = _gate_cell(formula, mine, metrics)
    if gate is not None:
        _through(formula, gate, dataset)
    return formula.value(names)


def _cells(mine: Sequence[Cell], metric: str, metrics: Mapping[str, str]) -> list[Cell]:
    return [cell for cell in mine if metrics.get(cell.column.label, cell.column.label.partition("/")[0]) == metric]


def _value(mine: Sequence[Cell], metric: str, metrics: Mapping[str, str]) -> float:
    found = _cells(mine, metric, metrics)
    if len(found) != 1:
        raise _Missing(f"the run has {'no column' if not found else f'{len(found)} columns'} of {metric}")
    (cell,) = found
    if not cell.complete or cell.value is None or not math.isfinite(cell.value):
        raise _Missing(f"{metric}: {cell.n}/{cell.expected} items" + (f", {cell.reason}" if cell.reason else ""))
    return cell.value


def _costs(data: RunView, formula: Formula, method: str) -> dict[str, float]:
    """Runtime, operations and parameters of a method and of its base, as `bench latency` measured them."""
    labels = [each.label for each in data.record.methods]
    base = gains.base_of(method, labels, data.record.definition.get("bases") or {})
    if base is None:
        raise _Missing("it has no base to be set against: bases: {METHOD: BASELINE} in the suite")
    timed = {timing.label: timing for timing in data.timings if timing.ok}
    names: dict[str, float] = {}
    for label, before in ((method, ""), (base, "base_")):
        if label not in timed:
            raise _Missing(f"{label} has no measured time: latency: in the suite")
        names |= {f"{before}{cost}": _cost(timed[label], cost) for cost in formula.costs}
    return names


def _cost(timing: Timing, cost: str) -> float:
    value = timing.median_ms if cost == "runtime" else timing.record.get(cost)
    if not isinstance(value, int | float) or value <= 0:
        raise _Missing(f"{timing.label}: {cost} not known")
    return float(value)


def _gate_cell(formula: Formula, mine: Sequence[Cell], metrics: Mapping[str, str]) -> Cell | None:
    found = [] if formula.gate is None else _cells(mine, str(formula.gate["metric"]), metrics)
    return found[0] if found else None


def _through(formula: Formula, cell: Cell, dataset: str) -> None:
    """Raise `_Missing` where too many items lie below the gate's threshold of their dataset."""
    assert formula.gate is not None
    limits = [float(limit) for part, limit in formula.gate["below"].items() if part in dataset.lower().replace("-", "")]
    if not limits:
        raise _Missing(f"the gate has no threshold for {dataset}")
    below = sum(value < limits[0] for value in cell.items.values())
    if below > int(formula.gate["most"]):
        raise _Missing(f"{below} items have {cell.column.heading} below {limits[0]:g}: invalid")


def _signature(formula: Formula, mine: Sequence[Cell], metrics: Mapping[str, str]) -> str:
    """The formula, and a digest of what its terms are."""
    terms = [cell.column.signature for metric in formula.terms.values() for cell in _cells(mine, metric, metrics)]
    gate = "" if formula.gate is None else "|gate:" + ("yes" if _gate_cell(formula, mine, metrics) else "unchecked")
    return f"{formula.name}|terms:{digest([formula.formula, sorted(terms)]).hex()[:12]}{gate}|v:1"


def footer(name: str) -> Iterator[str]:
    """Lines below a table."""
    formula = find(name)
    yield f"{formula.symbol}: {formula.formula} ({formula.source})."
    if formula.gate is not None:
        yield (
            f"{formula.symbol} is valid where at most {formula.gate['most']} items lie below the threshold of "
            f"{formula.gate['metric']}; its signature says whether that was checked."
        )
    if formula.doubt:
        yield f"{formula.symbol}: {formula.doubt}."


def check(names: Sequence[str]) -> None:
    """Raise `BenchError` for a name that is no formula."""
    for place, name in enumerate(names):
        find(name)
        if name in names[:place]:
            raise BenchError(f"formula {name!r} is asked for twice")

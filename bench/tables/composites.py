"""Composite scores of a run: a challenge's formula over the averaged values of its columns, or over measured times.

A score exists where every term does, for all items; what a challenge disqualifies has no score and the reason. Its
signature names the formula and the signatures of its terms, so that two scores are comparable exactly when they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.catalog import published
from bench.catalog.formulas import Formula, find
from bench.errors import BenchError
from bench.identity import digest
from bench.results.timings import Timing
from bench.results.view import Cell, RunView
from bench.suite.definition import label_of
from bench.suite.setting import Setting
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
    metrics = {label_of(spec): published.canonical(spec.metric) for spec in data.record.metrics}
    for dataset, method in dict.fromkeys((cell.dataset, cell.method) for cell in data.cells):
        mine = [cell for (where, who, _), cell in grid.items() if (where, who) == (dataset, method)]
        signature = _signature(formula, mine, metrics, _Base.of(data, method) if formula.costs else None)
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
        found = _value(mine, str(formula.floor["metric"]), metrics, infinite=True)
        if found < float(formula.floor["at_least"]):
            raise _Missing(
                f"{formula.floor['metric']} {found:.2f} is below {formula.floor['at_least']}: out of the race"
            )
    if _gated(formula, mine, metrics):
        _through(formula, [cell for cell in data.cells if cell.method == method], metrics, dataset)
    return formula.value(names)


def _cells(mine: Sequence[Cell], metric: str, metrics: Mapping[str, str]) -> list[Cell]:
    wanted = published.canonical(metric)
    return [cell for cell in mine if metrics.get(cell.column.label, cell.column.label.partition("/")[0]) == wanted]


def _value(mine: Sequence[Cell], metric: str, metrics: Mapping[str, str], *, infinite: bool = False) -> float:
    """`infinite` where an infinite mean will do."""
    found = _cells(mine, metric, metrics)
    if len(found) != 1:
        raise _Missing(f"the run has {'no column' if not found else f'{len(found)} columns'} of {metric}")
    (cell,) = found
    if not cell.complete or cell.value is None:
        raise _Missing(f"{metric}: {cell.n}/{cell.expected} items" + (f", {cell.reason}" if cell.reason else ""))
    if not (math.isfinite(cell.value) or infinite):
        raise _Missing(f"{metric} is infinite")
    return cell.value


class _Base(NamedTuple):
    """What a method's costs are set against."""

    label: str
    what: Mapping[str, Any]
    """The method by its catalogue's name, options and identity, which one that is only timed lacks."""
    setting: Setting | None
    """At which it was timed; None where it was not."""

    @classmethod
    def of(cls, data: RunView, method: str) -> _Base | None:
        """A method's own base; of one that is others' base it is itself."""
        given = gains.bases(data)
        label = method if method in given.values() and method not in given else given.get(method)
        if label is None:
            return None
        at = next((timing.setting for timing in data.timings if timing.label == label), None)
        record = next(each for each in data.record.methods if each.label == label)
        what = {"name": record.name, "options": dict(record.options), "identity": dict(record.identity)}
        return cls(label, what, at)


def _costs(data: RunView, formula: Formula, method: str) -> dict[str, float]:
    """Runtime, operations and parameters of a method and of its base, as `bench latency` measured them."""
    base = _Base.of(data, method)
    if base is None:
        raise _Missing("it has no base to be set against: bases: {METHOD: BASELINE} in the suite")
    timed = {timing.label: timing for timing in data.timings if timing.ok}
    names: dict[str, float] = {}
    for label, before in ((method, ""), (base.label, "base_")):
        if label not in timed:
            raise _Missing(f"{label} has no measured time: latency: in the suite")
        names |= {f"{before}{cost}": _cost(timed[label], cost) for cost in formula.costs}
    return names


def _cost(timing: Timing, cost: str) -> float:
    value = timing.median_ms if cost == "runtime" else timing.record.get(cost)
    if not isinstance(value, int | float) or value <= 0:
        raise _Missing(f"{timing.label}: {cost} not known")
    return float(value)


def _gated(formula: Formula, mine: Sequence[Cell], metrics: Mapping[str, str]) -> list[Cell]:
    """The columns that the gate looks at; none where the formula has no gate, or the run no such column."""
    return [] if formula.gate is None else _cells(mine, str(formula.gate["metric"]), metrics)


def _through(formula: Formula, mine: Sequence[Cell], metrics: Mapping[str, str], dataset: str) -> None:
    """Raise `_Missing` where too many items of a method lie below the thresholds of their datasets.

    Challenges count over all their datasets together, and so the run's other datasets count too.
    """
    assert formula.gate is not None
    if _threshold(formula.gate, dataset) is None:
        raise _Missing(f"the gate has no threshold for {dataset}")
    below = 0
    for cell in _gated(formula, mine, metrics):
        limit = _threshold(formula.gate, cell.dataset)
        if limit is None:
            continue
        # An item without a value has not shown that it is above.
        if not cell.complete:
            raise _Missing(f"gate: {cell.column.heading} has {cell.n}/{cell.expected} items of {cell.dataset}")
        below += sum(value < limit for value in cell.items.values())
    if below > int(formula.gate["most"]):
        raise _Missing(f"{below} items have {formula.gate['metric']} below their threshold: invalid")


def _threshold(gate: Mapping[str, Any], dataset: str) -> float | None:
    plain = dataset.lower().replace("-", "")
    return next((float(limit) for part, limit in gate["below"].items() if part in plain), None)


def _signature(formula: Formula, mine: Sequence[Cell], metrics: Mapping[str, str], base: _Base | None) -> str:
    """The formula, and a digest of what its terms are; of what has a floor or costs, of these too: what the floor is
    measured by, the base by what it is, not by how the suite calls it, and the setting of the times."""
    terms = [cell.column.signature for metric in formula.terms.values() for cell in _cells(mine, metric, metrics)]
    told: list[Any] = [formula.formula, sorted(terms)]
    if formula.floor is not None:
        told.append(sorted(cell.column.signature for cell in _cells(mine, str(formula.floor["metric"]), metrics)))
    if formula.costs:
        told.append(None if base is None else [base.what, base.setting and list(base.setting)])
    gate = "" if formula.gate is None else "|gate:" + ("yes" if _gated(formula, mine, metrics) else "unchecked")
    return f"{formula.name}|terms:{digest(told).hex()[:12]}{gate}|v:1"


def footer(name: str, signatures: Collection[str] = ()) -> Iterator[str]:
    """Lines below a table whose scores have these signatures."""
    formula = find(name)
    yield f"{formula.symbol}: {formula.formula} ({formula.source})."
    if formula.gate is not None:
        gate = formula.gate
        yield (
            f"{formula.symbol} is valid where at most {gate['most']} items of all datasets together lie below the "
            f"thresholds of {gate['metric']}; its signature says whether that was checked."
        )
        if any("|gate:unchecked|" in signature for signature in signatures):
            what = f": {gate['measures']}" if "measures" in gate else ""
            yield (
                f"{formula.symbol}: the gate was not checked here, so these scores are of no valid entry yet; it "
                f"needs a column {gate['metric']}{what}."
            )
    if formula.doubt:
        yield f"{formula.symbol}: {formula.doubt}."


def check(names: Sequence[str]) -> None:
    """Raise `BenchError` for a name that is no formula."""
    for place, name in enumerate(names):
        find(name)
        if name in names[:place]:
            raise BenchError(f"formula {name!r} is asked for twice")

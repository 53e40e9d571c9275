"""The values of whole sets: what a run's stored features add up to, cell by cell, once its units are done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

from bench.apart import LEAST_PATIENCE, Helper, Lost
from bench.detection.boxes import scale_to
from bench.engines.local import Recipe
from bench.errors import BenchError, ItemError, one_line
from bench.methods.base import Method
from bench.metrics.base import SetMetric
from bench.plan import Cell, Plan, signature_of, wanted
from bench.plugins import made_elsewhere
from bench.resolve import BoundMetric
from bench.sets import Member, Placed, Value, aggregate, aggregate_boxes, boxed, complete, value_of
from bench.store import Restoration, Score, Store


class _Made(NamedTuple):
    """One output of a cell."""

    unit: int
    row: Restoration
    reference: int


class Apart:
    """Values of strangers' metrics, asked in another process that comes by them as the workers of a run do."""

    def __init__(self, recipe: Recipe, timeout: float | None) -> None:
        self._limit = None if timeout is None else max(timeout, LEAST_PATIENCE)
        self._helper = Helper("aggregate()", recipe.make_cells, recipe.arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._helper.close()

    def value(self, cell: Cell, metric: BoundMetric) -> Value | None:
        """How a cell's metric is asked; None for one that is ours, or that only this process has."""
        if not metric.entry.strange or not made_elsewhere(metric.entry):
            return None
        place = cell.index, cell.dataset.metrics.index(metric)

        def asked(measured: SetMetric, features: Any, references: Any) -> Score:
            try:
                return self._helper.call(_value, *place, features, references, timeout=self._limit)
            except Lost as lost:
                return Score("failed", None, f"{lost.how} while aggregating")
            except (BenchError, ItemError) as error:
                return Score("failed", None, one_line(error))

        return asked


def _value(cells: Sequence[Cell], cell: int, metric: int, features: Any, references: Any) -> Score:
    measured = cells[cell].measured(cells[cell].dataset.metrics[metric])
    assert isinstance(measured, SetMetric)
    return value_of(measured, features, references)


def aggregate_run(store: Store, plan: Plan, run: int, apart: Apart | None = None, *, anew: bool = False) -> None:
    """Aggregate the stored features of every complete or partial cell, and store the values; known ones only `anew`."""
    if not any(metric.is_set for dataset in plan.resolved.datasets for metric in dataset.metrics):
        return
    made = store.restorations_of(run)
    outputs: dict[int, list[_Made]] = {}
    for (index, unit), (restoration, reference) in store.units(run).items():
        if restoration in made and made[restoration][1].output is not None:
            outputs.setdefault(index, []).append(_Made(unit, made[restoration][1], reference))
    for cell in plan.cells:
        for metric in cell.dataset.metrics:
            if metric.is_set and metric.unavailable is None and wanted(cell, metric):
                _aggregate(store, cell, metric, outputs.get(cell.index, []), apart, anew)


def _aggregate(
    store: Store, cell: Cell, metric: BoundMetric, made: Sequence[_Made], apart: Apart | None, anew: bool
) -> None:
    extractor = signature_of(store, cell, metric)
    measured = cell.measured(metric)
    assert extractor is not None and isinstance(measured, SetMetric)
    placed = _placed(cell, made) if metric.annotated else {}
    given = [*placed] if metric.annotated else [_member(metric, one) for one in made]
    members = complete(store, given, extractor, two_sets=metric.two_sets)
    if not members:
        return
    place = store.set_place(members)
    assert place is not None
    signature = store.signature_id(metric.signature, cell.metric_mode(metric), of_sets=True)
    assert signature is not None
    known = store.scores([place[0]], signature).get(place)
    if known is not None and known.status != "failed" and not anew:
        return
    value = None if apart is None else apart.value(cell, metric)
    if metric.annotated:
        pairs = [(member, placed[member]) for member in members]
        score = aggregate_boxes(store, pairs, extractor, measured, value)
    else:
        score = aggregate(store, members, extractor, measured, value)
    store.put_score(*place, signature, score, anew=anew)


def _member(metric: BoundMetric, one: _Made) -> Member:
    assert one.row.output is not None and one.row.output_hash is not None
    return Member(one.row.output_hash, one.row.output, one.reference if metric.metric.mode == "FR" else 0)


def _placed(cell: Cell, made: Sequence[_Made]) -> dict[Member, Placed]:
    """The outputs of items that have an annotation, with it."""
    annotations = cell.dataset.annotations
    assert annotations is not None
    method = cell.method.method
    scale = method.scale if isinstance(method, Method) else None
    found: dict[Member, Placed] = {}
    for one in made:
        item, row = cell.item(one.unit).id, one.row
        if item in annotations.boxes:
            assert row.output is not None and row.output_hash is not None
            size = (row.height or 1, row.width or 1)
            inverse = partial(scale_to, made=size, annotated=annotations.sizes[item], scale=scale)
            found[Member(boxed(item, row.output_hash), row.output, 0)] = Placed(item, annotations.boxes[item], inverse)
    return found

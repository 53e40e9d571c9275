"""The values of whole sets: what a run's stored features add up to, cell by cell, once its units are done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from bench.data.boxes import scale_to
from bench.methods.base import Method
from bench.metrics.base import SetMetric
from bench.planning.bind import BoundMetric
from bench.planning.plan import Cell, Plan, signature_of, wanted
from bench.results.features import Member, Placed, aggregate, aggregate_boxes, boxed, complete
from bench.results.store import Restoration, Store


class _Made(NamedTuple):
    """One output of a cell."""

    unit: int
    row: Restoration
    reference: int


def aggregate_run(store: Store, plan: Plan, run: int, *, anew: bool = False) -> None:
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
                _aggregate(store, cell, metric, outputs.get(cell.index, []), anew)


def _aggregate(store: Store, cell: Cell, metric: BoundMetric, made: Sequence[_Made], anew: bool) -> None:
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
    if metric.annotated:
        pairs = [(member, placed[member]) for member in members]
        store.put_score(*place, signature, aggregate_boxes(store, pairs, extractor, measured), anew=anew)
    else:
        store.put_score(*place, signature, aggregate(store, members, extractor, measured), anew=anew)


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

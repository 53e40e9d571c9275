"""The values of whole sets: what a run's stored features add up to, job by job, once its units are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Self

from bench.catalog.helper_process import Helper, Lost, patience
from bench.catalog.plugins import made_elsewhere
from bench.data.boxes import scale_to
from bench.errors import BenchError, ItemError, one_line
from bench.methods.base import Method
from bench.metrics.base import SetMetric
from bench.metrics.kinds import Placed, SetMember
from bench.metrics.outcome import Status
from bench.planning.bind import BoundMetric
from bench.planning.jobs import Job, signature_of, wanted
from bench.planning.plan import Plan
from bench.planning.recorded import annotations_of, metrics_of
from bench.results import units
from bench.results.features import Value, aggregate, complete, value_of
from bench.results.record import Column, read
from bench.results.store import Score, Store, StoredRestoration
from bench.runner.engines.base import JobRecipe


class _Made(NamedTuple):
    """One output of a job."""

    unit: int
    row: StoredRestoration
    reference: int


class Apart:
    """Values of strangers' metrics, asked in another process that comes by them as the workers of a run do."""

    def __init__(self, recipe: JobRecipe, timeout: float | None) -> None:
        self._limit = patience(timeout)
        self._helper = Helper("aggregate()", recipe.make_jobs, recipe.arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._helper.close()

    def value(self, job: Job, metric: BoundMetric) -> Value | None:
        """How a job's metric is asked; None for one that is ours, or that only this process has."""
        if not metric.entry.strange or not made_elsewhere(metric.entry):
            return None
        place = job.index, job.dataset.metrics.index(metric)

        def asked(measured: SetMetric, features: Any, references: Any) -> Score:
            try:
                return self._helper.call(_value, *place, features, references, timeout=self._limit)
            except Lost as lost:
                return Score(Status.FAILED, None, f"{lost.how} while aggregating")
            except (BenchError, ItemError) as error:
                return Score(Status.FAILED, None, one_line(error))

        return asked


def _value(jobs: Sequence[Job], job: int, metric: int, features: Any, references: Any) -> Score:
    measured = jobs[job].measured(jobs[job].dataset.metrics[metric])
    assert isinstance(measured, SetMetric)
    return value_of(measured, features, references)


def aggregate_run(store: Store, plan: Plan, run: int, apart: Apart | None = None, *, anew: bool = False) -> None:
    """Aggregate the stored features of every complete or partial job, and store the values; known ones only `anew`."""
    if not any(metric.kind.of_sets for dataset in plan.resolved.datasets for metric in dataset.metrics):
        return
    made = store.restorations_of(run)
    outputs: dict[int, list[_Made]] = {}
    for (index, unit), (restoration, reference) in store.units(run).items():
        if restoration in made and made[restoration][1].output is not None:
            outputs.setdefault(index, []).append(_Made(unit, made[restoration][1], reference))
    for job in plan.jobs:
        for metric in job.dataset.metrics:
            if metric.kind.of_sets and metric.unavailable is None and wanted(job, metric):
                _aggregate(store, job, metric, outputs.get(job.index, []), apart, anew)


def _aggregate(
    store: Store, job: Job, metric: BoundMetric, made: Sequence[_Made], apart: Apart | None, anew: bool
) -> None:
    extractor = signature_of(store, job, metric)
    measured = job.measured(metric)
    assert extractor is not None and isinstance(measured, SetMetric)
    annotations = job.dataset.annotations
    unboxed = {} if annotations is None else annotations.problems
    fit = [one for one in made if metric.kind.not_for_item(job.item(one.unit).id, unboxed) is None]
    behind = [(_member(job, metric, one), one) for one in fit]
    truth = dict(behind)
    value = None if apart is None else apart.value(job, metric)
    names = _Names(extractor, metric.signature, job.metric_mode(metric))
    members = [member for member, _ in behind]
    _settle(store, members, names, measured, lambda member: _truth(job, truth[member]), value, anew)


class _Names(NamedTuple):
    """Under what a set's rows are stored."""

    extractor: int
    signature: str
    mode: str


def _settle(
    store: Store, given: Sequence[SetMember], names: _Names, measured: SetMetric,
    truth: Callable[[SetMember], Placed], value: Value | None, anew: bool,
) -> None:  # fmt: skip
    """Store the value of those members of a set that have all of their features, unless it is known."""
    members = complete(store, given, names.extractor, measured.kind)
    if not members:
        return
    place = store.set_place([one.output_hash for one in members], measured.kind.references(members))
    assert place is not None
    signature = store.signature_id(names.signature, names.mode, of_sets=True)
    assert signature is not None
    known = store.scores([place[0]], signature).get(place)
    if known is None or known.status == Status.FAILED or anew:
        score = aggregate(store, members, names.extractor, measured, truth, value)
        store.put_score(*place, signature, score, anew=anew)


def aggregate_recorded(store: Store, run: int, note: Callable[[str], object]) -> None:
    """Aggregate the sets of a run whose suite need not be here, such as one that was merged; tells what it cannot."""
    row = store.run(run)
    assert row is not None
    record, _ = read(row)
    if not any(column.kind.of_sets for dataset in record.datasets for column in dataset.columns):
        return
    later = f"{record.suite}: {{}}: bench run {record.suite} makes the values of whole sets"
    try:
        bound = metrics_of(record)
    except BenchError as error:
        note(later.format(one_line(error)))
        return
    for place in units.places(record):
        made = [unit for unit in units.of_place(store, run, place, {}) if unit.made is not None]
        known = {metric.label: metric for metric in bound[place.dataset.label]}
        for column in place.dataset.columns:
            if column.kind.of_sets and not (column.unavailable or place.method.unavailable):
                metric = known.get(column.label)
                if metric is None or metric.signature != column.signature or metric.entry.strange:
                    note(later.format(f"{column.label} is another metric here"))
                    return
                _aggregate_place(store, place, replace(column, mode=place.method.mode_of(column)), made, metric)


def _aggregate_place(
    store: Store, place: units.Place, column: Column, made: Sequence[units.Unit], metric: BoundMetric
) -> None:  # fmt: skip
    extractor = store.signature_id(column.row_signature, column.mode, create=False)
    measured, dataset = metric.metric, place.dataset
    if extractor is None or not isinstance(measured, SetMetric):
        return
    members = [
        (column.kind.member(unit.item, unit.made.output_hash, unit.made.output, unit.reference), unit)
        for unit in made
        if unit.made is not None and unit.made.output is not None and unit.made.output_hash is not None
        and column.kind.not_for_item(unit.item, dataset.unboxed) is None
    ]  # fmt: skip
    behind = dict(members)
    annotations = annotations_of(dataset) if column.kind.boxes else None

    def truth(member: SetMember) -> Placed:
        unit = behind[member]
        assert annotations is not None and unit.row is not None
        size, annotated = (unit.row.height or 1, unit.row.width or 1), annotations.sizes[unit.item]
        inverse = partial(scale_to, made=size, annotated=annotated, scale=place.method.scale)
        return Placed(unit.item, annotations.boxes[unit.item], inverse)

    names = _Names(extractor, column.signature, column.mode)
    _settle(store, [member for member, _ in members], names, measured, truth, None, False)


def _member(job: Job, metric: BoundMetric, one: _Made) -> SetMember:
    assert one.row.output is not None and one.row.output_hash is not None
    return metric.kind.member(job.item(one.unit).id, one.row.output_hash, one.row.output, one.reference)


def _truth(job: Job, one: _Made) -> Placed:
    """What is annotated in the item of an output."""
    annotations, method = job.dataset.annotations, job.method.method
    assert annotations is not None
    item, size = job.item(one.unit).id, (one.row.height or 1, one.row.width or 1)
    scale = method.scale if isinstance(method, Method) else None
    inverse = partial(scale_to, made=size, annotated=annotations.sizes[item], scale=scale)
    return Placed(item, annotations.boxes[item], inverse)

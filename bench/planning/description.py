"""The immutable description of a run, made from its plan: what is measured on what, by whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.data.lossy import note
from bench.errors import ItemError
from bench.methods.base import Method, StoredMethod
from bench.metrics.kinds import own_name
from bench.planning import detection_columns
from bench.planning.bind import BoundDataset, BoundMethod, BoundMetric
from bench.planning.plan import Plan
from bench.results.record import Column, DatasetRecord, MethodRecord, RunRecord


def describe_run(plan: Plan) -> RunRecord:
    """What a run measures."""
    resolved = plan.resolved
    return RunRecord(
        suite=resolved.file.name,
        title=resolved.file.suite.title,
        definition=resolved.file.suite.model_dump(mode="json", by_alias=True),
        datasets=[_dataset(plan, bound) for bound in resolved.datasets],
        methods=[_method(plan, index) for index in range(len(resolved.methods))],
    )


def _dataset(plan: Plan, bound: BoundDataset) -> DatasetRecord:
    metrics = [metric.metric for metric in bound.metrics]
    return DatasetRecord(
        label=bound.label,
        name=bound.name,
        paired=bound.dataset.paired,
        protocol=bound.protocol.name,
        items=[item.id for item in bound.dataset.items],
        columns=[_column(plan, bound, metric) for metric in bound.metrics],
        unavailable=bound.unavailable,
        annotation=None if bound.annotations is None else bound.annotations.as_json(),
        detector=None if bound.annotations is None else detection_columns.described(metrics),
    )


def _column(plan: Plan, bound: BoundDataset, metric: BoundMetric) -> Column:
    methods = [method.label for method in plan.resolved.methods]
    given, reason = metric.metric.given(bound.label, methods, [item.id for item in bound.dataset.items])
    return Column(
        label=metric.label,
        heading=metric.heading,
        signature=metric.signature,
        row_signature=metric.row_signature,
        mode=plan.jobs[0].metric_mode(metric),
        fr=metric.kind.fr,
        is_set=metric.kind.of_sets,
        higher_is_better=metric.metric.higher_is_better,
        digits=metric.digits,
        unavailable=metric.unavailable,
        two_sets=metric.kind.two_sets,
        annotated=metric.kind.boxes,
        given=given,
        not_given=reason,
        own_kind=own_name(metric.kind),
        voted=metric.metric.asked_of_people(),
    )


def _method(plan: Plan, index: int) -> MethodRecord:
    bound, job = plan.resolved.methods[index], plan.jobs[index]
    return MethodRecord(
        label=bound.label,
        name=bound.name,
        options=dict(bound.options),
        identity=dict(bound.identity),
        mode=job.mode,
        repeats=bound.repeats,
        unavailable=bound.unavailable,
        licence=bound.entry.fields.get("licence"),
        restores=isinstance(bound.method, Method),
        scale=bound.method.scale if isinstance(bound.method, Method) else None,
        datasets=None if bound.datasets is None else sorted(bound.datasets),
        modes=None if bound.detector is None else _modes(plan, index),
        lossy=list(_lossy(bound, plan.resolved.datasets)) or None,
        members=[dict(options) for options in bound.repeated] or None,
    )


def _modes(plan: Plan, method: int) -> Mapping[str, str]:
    """Numeric modes of a method with a detector of its own, by column."""
    jobs = [job for job in plan.jobs if job.index % len(plan.resolved.methods) == method]
    return {one.label: job.metric_mode(one) for job in jobs for one in job.dataset.metrics if one.kind.boxes}


def _lossy(bound: BoundMethod, datasets: Sequence[BoundDataset]) -> Iterator[str]:
    """A line per dataset for which somebody's outputs are lossy files."""
    stored = [one for one in map(bound.making, range(bound.repeats)) if isinstance(one, StoredMethod)]
    for dataset in datasets if stored else ():
        if bound.is_for(dataset.label):
            files = [_located(one, dataset.label, item.id) for one in stored for item in dataset.dataset.items]
            line = note(files)
            if line is not None:
                yield f"{bound.label} on {dataset.label}: {line}"


def _located(method: StoredMethod, dataset: str, item: str) -> Path | None:
    try:
        return method.locate(dataset, item)
    except ItemError:
        return None

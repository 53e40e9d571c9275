"""The immutable description of a run, made from its plan: what is measured on what, by whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.methods.base import Method
from bench.metrics.ratings import RatedMetric
from bench.planning import detection_columns, method_notes
from bench.planning.bind import BoundDataset, BoundMethod, BoundMetric
from bench.planning.plan import Plan
from bench.results.view import Column, Record


def _given(dataset: BoundDataset, metric: BoundMetric, methods: Sequence[BoundMethod]) -> dict[str, Any]:
    """What people say of a dataset's items, as the record keeps it; nothing for a metric that is computed."""
    if not isinstance(metric.metric, RatedMetric):
        return {}
    items = [item.id for item in dataset.dataset.items]
    rated = methods if metric.metric.ratings else ()
    given = {method.label: metric.metric.values(dataset.label, method.label, items) for method in rated}
    return {"given": given, "not_given": metric.metric.reason()}


def describe_run(plan: Plan) -> Record:
    """The immutable description of what a run measures."""
    resolved = plan.resolved
    first = dict(enumerate(plan.cells[: len(resolved.methods)]))
    return Record(
        suite=resolved.file.name,
        title=resolved.file.suite.title,
        definition=resolved.file.suite.model_dump(mode="json", by_alias=True),
        datasets=[
            {
                "label": bound.label,
                "name": bound.name,
                "paired": bound.dataset.paired,
                "protocol": bound.protocol.name,
                "items": [item.id for item in bound.dataset.items],
                **detection_columns.record(bound.annotations, (metric.metric for metric in bound.metrics)),
                **({} if bound.unavailable is None else {"unavailable": bound.unavailable}),
                "columns": [
                    Column(
                        label=metric.label,
                        heading=metric.heading,
                        signature=metric.signature,
                        row_signature=metric.row_signature,
                        mode=plan.cells[0].metric_mode(metric),
                        fr=metric.metric.mode == "FR",
                        is_set=metric.is_set,
                        higher_is_better=metric.metric.higher_is_better,
                        digits=metric.digits,
                        unavailable=metric.unavailable,
                        two_sets=metric.two_sets,
                        annotated=metric.annotated,
                        **_given(bound, metric, resolved.methods),
                    )._asdict()
                    for metric in bound.metrics
                ],
            }
            for bound in resolved.datasets
        ],
        methods=[
            {
                "label": bound.label,
                "name": bound.name,
                "options": dict(bound.options),
                "identity": dict(first[index].identity),
                "mode": first[index].mode,
                "repeats": bound.repeats,
                "unavailable": bound.unavailable,
                "licence": bound.entry.fields.get("licence"),
                "restores": isinstance(bound.method, Method),
                "scale": bound.method.scale if isinstance(bound.method, Method) else None,
                **method_notes.of_method(plan, index),
            }
            for index, bound in enumerate(resolved.methods)
        ],
    )

"""The metrics of a run that was recorded somewhere else, bound anew from its record alone: no data, no method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.data.boxes import Annotations
from bench.data.items import Dataset, Item
from bench.errors import BenchError
from bench.metrics.protocols import DEFAULT, protocol
from bench.planning import detection_columns
from bench.planning.bind import BoundMetric, metrics_for
from bench.results.record import DatasetRecord, RunRecord
from bench.suite.definition import DetectionSpec, Suite, SuiteFile, label_of


@dataclass(frozen=True)
class _Recorded:
    """An annotation as a record has it."""

    annotations: Annotations

    @property
    def classes(self) -> tuple[str, ...]:
        return self.annotations.classes

    def read(self, items: Sequence[Item]) -> Annotations:
        return self.annotations


def annotations_of(dataset: DatasetRecord) -> Annotations | None:
    """What is annotated in a recorded dataset."""
    return None if dataset.annotation is None else Annotations.read(dataset.annotation)


def metrics_of(record: RunRecord) -> Mapping[str, Sequence[BoundMetric]]:
    """By a dataset's label, its columns. Raises `BenchError` where this machine does not have what they are."""
    detection = record.definition.get("detection")
    # A record has a suite as it was understood, not as somebody wrote it.
    suite = Suite.model_construct(
        datasets=record.specs, metrics=record.metrics,
        detection=None if detection is None else DetectionSpec(**detection),
    )  # fmt: skip
    file = SuiteFile(record.suite, Path(f"{record.suite}.yaml"), suite, {})
    annotated = {one.label: annotations_of(one) for one in record.datasets}
    datasets = [
        Dataset(one.name, (), one.paired, annotations=None if known is None else _Recorded(known))
        for one in record.datasets for known in [annotated[one.label]]
    ]  # fmt: skip
    split = detection_columns.split_of(suite.detection)
    parts = {label_of(spec): detection_columns.name_of(spec, split) for spec in suite.datasets}
    problems: list[str] = []
    found = {
        one.label: metrics_for(
            file, protocol(one.protocol or DEFAULT), datasets, annotated[one.label], parts.get(one.label, ""), problems,
            [],
        )
        for one in record.datasets
    }  # fmt: skip
    if problems:
        raise BenchError(problems[0])
    return found

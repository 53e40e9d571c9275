"""What `detection:` in a suite means: which detector looks for what in which images, and the columns it makes.

The detector and the annotation become part of each metric that counts boxes; nothing is loaded or detected here.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bench.catalog.isolation import Guard
from bench.catalog.registry import registry
from bench.data.boxes import Annotations, plain
from bench.data.items import Dataset
from bench.detection.detector import Detector, build_detector
from bench.detection.training import Recipe
from bench.errors import BenchError
from bench.metrics.average_precision import AveragePrecision
from bench.metrics.base import Metric
from bench.suite.definition import DatasetSpec, DetectionSpec, FinetuneSpec, MetricSpec, SuiteFile, label_of

EACH = "per-class"
OWN = "own"
"""Name of a split that is not the protocol's."""


class SuiteColumn(NamedTuple):
    """One metric of a suite as one column; a metric asked for per class is several."""

    line: int
    """Place in the suite's list."""
    label: str
    spec: MetricSpec


class Split(NamedTuple):
    """A named protocol of detection: options of its dataset that give each part."""

    name: str
    dataset: str
    parts: Mapping[str, Mapping[str, Any]]
    """train, val, test."""


def split_of(spec: DetectionSpec | None) -> Split | None:
    """The split that a suite names. Raises `BenchError` for a protocol that is none of detection."""
    if spec is None or spec.protocol is None:
        return None
    entry = registry("protocol").get(spec.protocol)
    told = entry.fields.get("detection")
    if not told:
        known = [one.name for one in registry("protocol") if one.fields.get("detection")]
        raise BenchError(f"protocol {spec.protocol!r} says nothing of detection (those that do: {', '.join(known)})")
    parts = {part: dict(told[part]) for part in ("train", "val", "test") if part in told}
    return Split(entry.name, str(told["dataset"]), parts)


def recipe_of(spec: FinetuneSpec) -> Recipe:
    return Recipe(spec.epochs, spec.size, spec.batch, spec.seed)


def options_for(spec: DatasetSpec, split: Split | None) -> dict[str, Any]:
    """A dataset's options with the part that the split tests on; what the suite says itself wins."""
    if split is None or split.dataset != spec.dataset:
        return dict(spec.options)
    return {**split.parts["test"], **spec.options}


def name_of(spec: DatasetSpec, split: Split | None) -> str:
    """How signatures call the images of a dataset: the split's name, `own` where the suite departs from it."""
    if split is None or split.dataset != spec.dataset:
        return ""
    test = split.parts["test"]
    return split.name if all(spec.options.get(key, value) == value for key, value in test.items()) else OWN


def counts_boxes(file: SuiteFile) -> bool:
    """Whether any metric of a suite needs annotations."""
    metrics = registry("metric")
    targets = [str(metrics.get(spec.metric).target) for spec in file.suite.metrics if spec.metric in metrics]
    return any(target.startswith(f"{AveragePrecision.__module__}:") for target in targets)


def columns(file: SuiteFile, datasets: Iterable[Dataset]) -> Iterator[SuiteColumn]:
    """The suite's metrics, those asked for per class as a column for each class of the annotations and their mean."""
    classes: dict[str, str] = {}
    for dataset in datasets:
        for name in dataset.annotations.classes if dataset.annotations is not None else ():
            classes.setdefault(plain(name), name.casefold())
    for index, spec in enumerate(file.suite.metrics):
        options = dict(spec.options)
        each = options.pop(EACH, False)
        bare = spec.model_copy(update={"options": options})
        label = label_of(bare)
        if each is not True:
            yield SuiteColumn(index, label, bare)
            continue
        for name in classes.values():
            yield SuiteColumn(index, f"{label}/{name}", bare.model_copy(update={"options": {**options, "class": name}}))
        yield SuiteColumn(index, f"{label}/mean", bare)


def described(metrics: Iterable[Metric]) -> dict[str, Any] | None:
    """What a run writes down of the detector that looks at a dataset's images; None without one."""
    used = (metric.detector for metric in metrics if isinstance(metric, AveragePrecision))
    detector = next((one for one in used if one is not None), None)
    return None if detector is None else {"name": detector.name, "classes": list(detector.classes)}


def check(metrics: Iterable[Metric]) -> None:
    """Load every detector once, and let it go: what is wrong with its file is known before anything is restored.

    One that is still to be trained has none. Raises `BenchError`.
    """
    done: set[str] = set()
    for metric in metrics:
        detector = metric.detector if isinstance(metric, AveragePrecision) else None
        if detector is not None and not detector.tuned and str(detector.fields()) not in done:
            done.add(str(detector.fields()))
            Guard().call(type(detector), functools.partial(copy.copy(detector).load, "cpu"))


def bound(
    metric: Metric, name: str, file: SuiteFile, annotations: Annotations | None, split: str
) -> tuple[Metric, Detector | None]:
    """A metric that counts boxes with its detector and annotation; any other metric as it is.

    Raises `BenchError` for a suite that names no detector, or a wrong one.
    """
    if not isinstance(metric, AveragePrecision):
        return metric, None
    spec = file.suite.detection
    if spec is None:
        known = ", ".join(registry("detector").names())
        raise BenchError(f"metric {name!r} needs a detector: write detection: {{detector: yolox-nano}} ({known})")
    if annotations is None:
        return metric, None
    options = spec.options if spec.finetune is None else {**spec.options, "classes": "dataset"}
    detector = build_detector(spec.detector, options, annotations.classes, file.base)
    if spec.finetune is not None:
        detector.tuned = recipe_of(spec.finetune).text()
    elif detector.weights.architecture is not None:
        raise BenchError(f"detector {spec.detector!r}: {detector.weights.architecture} has no weights: add finetune:")
    if detector.weights.asset is None and (gone := detector.missing()) is not None:
        raise BenchError(gone)
    return metric.on(detector, annotations, split), detector

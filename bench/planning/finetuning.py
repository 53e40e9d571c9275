"""`finetune:` of a suite: a detector of its own for each method, trained on what that method makes of the train part.

First the train part is restored, as a run of its own; then one detector is trained per method, once, and kept by what
it was trained from (the order is that of `bench.runner.steps`). The run itself then differs from any other only in who
looks at a method's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.boxes import Annotations, Boxes
from bench.data.items import Item
from bench.detection import training
from bench.detection.detector import Detector, WeightFile, build_detector
from bench.detection.training import Example, Recipe
from bench.errors import BenchError
from bench.methods.base import Method
from bench.metrics.kinds import boxed
from bench.planning import detection_columns
from bench.planning.bind import BoundMethod, Resolved
from bench.results import artefacts
from bench.results.store import Store, StoredRestoration
from bench.results.view import RunView
from bench.suite.definition import FinetuneSpec, SuiteFile

TRAIN = "train"


class TrainingOutcome(NamedTuple):
    """What became of one method's training; picklable, for worker processes."""

    method: str
    path: str
    sha256: str
    problem: str = ""
    """Why there is no detector, in one line."""


class _Output(NamedTuple):
    item: Item
    row: StoredRestoration
    boxes: Boxes
    """In the output's pixels."""


def asked(file: SuiteFile) -> FinetuneSpec | None:
    """What a suite says of it."""
    return file.suite.detection.finetune if file.suite.detection is not None else None


def train_part(file: SuiteFile) -> SuiteFile:
    """The suite that restores the images to train on, and scores nothing. Raises `BenchError` where none are named."""
    spec, split = asked(file), detection_columns.split_of(file.suite.detection)
    assert spec is not None
    found = []
    for dataset in file.suite.datasets:
        options = spec.train or (
            split.parts.get(TRAIN) if split is not None and split.dataset == dataset.dataset else None
        )
        if options is not None:
            found.append(dataset.model_copy(update={"options": {**dataset.options, **options}}))
    if len(found) != 1:
        raise BenchError(
            f"{file.at('detection', 'finetune')}: finetune needs one dataset to train on, found {len(found)}: name a "
            "protocol that splits it, such as exdark/official, or train: {options of its train part}"
        )
    # Checked when the suite was read, so that it may be taken apart now: nothing is scored, and no metric is due.
    parts: Mapping[str, Any] = {"datasets": found, "metrics": [], "published": None, "latency": None}
    return replace(file, name=f"{file.name}-{TRAIN}", suite=file.suite.model_copy(update=dict(parts)))


def armed(resolved: Resolved, trained: Sequence[TrainingOutcome]) -> Resolved:
    """The same with each method's own detector; a method whose training failed is unavailable."""
    if not trained:
        return resolved
    known = {one.method: one for one in trained}
    return replace(
        resolved, methods=tuple(_armed(resolved, method, known.get(method.label)) for method in resolved.methods)
    )


def _armed(resolved: Resolved, method: BoundMethod, outcome: TrainingOutcome | None) -> BoundMethod:
    if method.method is None or outcome is None:
        return method
    if outcome.problem:
        return replace(method, method=None, unavailable=f"its detector was not trained: {outcome.problem}")
    return replace(method, detector=WeightFile(method.label, path=Path(outcome.path), sha256=outcome.sha256))


def prepare(
    resolved: Resolved, run: RunView, store: Store, device: str, note: Callable[[str], object]
) -> list[TrainingOutcome]:
    """Train the detectors of all methods, or find them trained. `run` has restored the train part that is resolved."""
    file = resolved.file
    spec, named = asked(file), file.suite.detection
    assert spec is not None and named is not None
    [dataset] = resolved.datasets
    if dataset.dataset.annotations is None:
        raise BenchError(f"{file.at('detection', 'finetune')}: {dataset.label} has no annotations to train on")
    truth = dataset.dataset.annotations.read(dataset.dataset.items)
    detector = build_detector(named.detector, {**named.options, "classes": "dataset"}, truth.classes, file.base)
    items = {item.id: item for item in dataset.dataset.items}
    found: list[TrainingOutcome] = []
    for method in resolved.methods:
        if method.method is None:
            continue
        outputs = [
            _Output(items[unit.item], unit.row, _in_output(truth, unit.item, unit.row, method))
            for unit in run.units[dataset.label, method.label]
            if unit.repeat == 0
            and unit.row is not None
            and unit.row.output_hash is not None
            and unit.item in truth.boxes
        ]
        whole = len(dataset.dataset.items)
        if len(outputs) < whole:
            note(f"{method.label}: its detector is trained on {len(outputs)} of {whole} images, the others failed")
        found.append(
            _trained(method.label, detector, detection_columns.recipe_of(spec), outputs, truth, store, device, note)
        )
    return found


def _trained(
    label: str, detector: Detector, recipe: Recipe, outputs: Sequence[_Output], truth: Annotations, store: Store,
    device: str, note: Callable[[str], object],
) -> TrainingOutcome:  # fmt: skip
    members = [boxed(one.item.id, one.row.output_hash or b"") for one in outputs]
    try:
        key = training.key_of(detector, recipe, members, truth.digest, device)
        made = training.find(key)
        if made is None:
            note(f"{label}: training {detector.name} on {len(outputs)} images, {recipe.text()}")
            told = {"classes": list(detector.classes), "images": len(outputs), "key": key}
            made = training.train(detector, recipe, _examples(outputs, store), key, device, told)
    except BenchError as error:
        return TrainingOutcome(label, "", "", str(error))
    return TrainingOutcome(label, str(made.path), made.sha256)


def _examples(outputs: Sequence[_Output], store: Store) -> Iterator[Example]:
    for one in sorted(outputs, key=lambda each: each.item.id):
        assert one.row.output_hash is not None
        if one.row.suffix is None:
            raise BenchError(f"the output of {one.item.id} was not kept, and a detector trains on it: run with --fresh")
        pixels = artefacts.read(store.folder, one.row.output_hash, one.row.suffix)
        if pixels is None:
            raise BenchError(f"the output of {one.item.id} was deleted: run again")
        if pixels.dtype != np.uint8:
            pixels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
        yield Example(one.item.id, pixels, one.boxes)


def _in_output(truth: Annotations, item: str, row: StoredRestoration, method: BoundMethod) -> Boxes:
    """What is annotated in an item, in the pixels of its output."""
    boxes, (height, width) = truth.boxes[item], truth.sizes[item]
    if isinstance(method.method, Method):
        across = down = float(method.method.scale)
    else:
        across, down = (row.width or width) / width, (row.height or height) / height
    return boxes._replace(corners=boxes.corners * [across, down, across, down])

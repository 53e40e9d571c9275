"""What a run's detector found, for other tools and for the eye: COCO JSON, and boxes drawn over the pictures.

The files hold what the run's own AP was computed from, in the annotated image's pixels, so that pycocotools pointed at
them gives the same numbers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import files
from bench.data.boxes import Annotations, coco_results, coco_truth, scale_to, translation
from bench.detection.draw import panel, side_by_side
from bench.errors import BenchError
from bench.export.names import one_folder, safe_name
from bench.metrics.outcome import Status
from bench.results.features import unpack
from bench.results.record import Column, DatasetRecord, MethodRecord
from bench.results.store import Store
from bench.results.view import RunView

SHOWN = 0.3
"""Score from which on a box is drawn, as YOLOX's demo draws them; the files hold all of them."""


class Written(NamedTuple):
    """What an export wrote."""

    files: int
    missing: int
    """Outputs without stored detections."""


class _Finds:
    """The detections of a run's outputs."""

    def __init__(self, store: Store, data: RunView) -> None:
        self._store, self._data = store, data

    def datasets(self) -> Iterator[tuple[DatasetRecord, Annotations, Column, Mapping[str, Any]]]:
        """(record, annotation, a column of boxes, detector) of each dataset that a detector looked at."""
        for dataset in self._data.record.datasets:
            columns = [column for column in dataset.columns if column.kind.boxes]
            if columns and dataset.annotation is not None and dataset.detector is not None:
                yield dataset, Annotations.read(dataset.annotation), columns[0], dataset.detector

    def of(
        self, dataset: str, annotations: Annotations, column: Column, method: MethodRecord, repeat: int
    ) -> dict[str, np.ndarray]:
        """Detections [K,6] by item, for one repeat of one method."""
        signature = self._store.signature_id(column.row_signature, method.mode_of(column), create=False)
        units = self._data.units.get((dataset, method.label), ())
        rows = {
            unit.item: unit.made
            for unit in units
            if unit.repeat == repeat and unit.made is not None and unit.item in annotations.boxes
        }
        outputs = [row.output for row in rows.values() if row.output is not None]
        held = {} if signature is None else self._store.extractions(outputs, signature)
        found: dict[str, np.ndarray] = {}
        for item, row in rows.items():
            place = (row.output or 0, 0)
            if signature is not None and place in held and held[place].status == Status.OK:
                boxes = unpack(self._store.features(*place, signature))
                size = (row.height or 1, row.width or 1)
                found[item] = scale_to(boxes, size, annotations.sizes[item], method.scale)
        return found


def export(store: Store, data: RunView, target: Path) -> Written:
    """`target/DATASET/ground-truth.json`, and `METHOD.json` (`METHOD#2.json` for a further repeat) beside it.

    Images are numbered from 1 in the order of their ids, classes from 1 in the annotation's order. Raises `BenchError`
    for a run without a detector.
    """
    finds, files, missing = _Finds(store, data), 0, 0
    for dataset, truth, column, detector in finds.datasets():
        folder = target / one_folder(dataset.label)
        items = sorted(truth.boxes)
        numbers = {item: number for number, item in enumerate(items, start=1)}
        _write(folder / "ground-truth.json", coco_truth(truth, items))
        files += 1
        ours = translation(truth.classes, detector["classes"], detector["name"])
        for method in data.record.methods:
            for repeat in range(method.repeats):
                found = finds.of(dataset.label, truth, column, method, repeat)
                missing += len(items) - len(found)
                ending = (f"#{repeat + 1}" if repeat else "") + ".json"
                numbered = {numbers[item]: found[item] for item in sorted(found)}
                _write(folder / one_folder(method.label, ending), coco_results(numbered, ours))
                files += 1
    if not files:
        raise BenchError(f"run {data.number} ({data.record.suite}) has no detections: its suite names no detector")
    return Written(files, missing)


def draw(store: Store, data: RunView, results: Path, target: Path) -> Written:
    """`target/DATASET/ITEM.png`: the input and every method's output side by side, what was found in each over it.

    Annotated objects are drawn over the input. Raises `BenchError` as `export` does.
    """
    from bench.results.pictures import Pictures

    finds, pictures, files, missing = _Finds(store, data), Pictures(store, data, results), 0, 0
    for dataset, truth, column, detector in finds.datasets():
        ours = translation(truth.classes, detector["classes"], detector["name"])
        found = {method.label: finds.of(dataset.label, truth, column, method, 0) for method in data.record.methods}
        for item in sorted(truth.boxes):
            panels = []
            for picture in pictures.of(dataset.label, item):
                if picture.pixels is None or picture.kind == "gt":
                    missing += picture.kind == "method"
                    continue
                boxes = truth.boxes[item]
                if picture.kind == "lq":
                    rows = [(*corners, 1.0, kind) for corners, kind in zip(boxes.corners, boxes.classes, strict=True)]
                    label = "input, annotated"
                else:
                    hits = found[picture.label].get(item, np.zeros((0, 6)))
                    rows = [(*hit[:5], ours[int(hit[5])]) for hit in hits if hit[4] >= SHOWN and ours[int(hit[5])] >= 0]
                    label = picture.label
                panels.append(panel(picture.pixels, rows, truth.classes, truth.sizes[item], label))
            place = target / one_folder(dataset.label) / safe_name(item, ".png")
            _write_picture(place, side_by_side(panels))
            files += 1
    if not files:
        raise BenchError(f"run {data.number} ({data.record.suite}) has no detections: its suite names no detector")
    return Written(files, missing)


def _write(place: Path, value: Any) -> None:
    files.put(place, (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8"))


def _write_picture(place: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    files.put(place, buffer.getvalue())

"""The pictures of a run: inputs, outputs and references, each only where it still holds the pixels that were measured.

Nothing is restored here. A picture that is gone or has changed is a sentence that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import paths
from bench.catalog.registry import registry
from bench.data.build import build_dataset
from bench.data.items import Dataset, ImageSource, Item
from bench.data.survey import as_available
from bench.errors import BenchError, ItemError, one_line
from bench.identity import content_hash
from bench.metrics.outcome import Status
from bench.results import artefacts
from bench.results.record import DatasetRecord
from bench.results.status import NOT_WORKED_ON
from bench.results.store import Store
from bench.results.traces import Told
from bench.results.units import Unit, references_of
from bench.results.view import RunView
from bench.suite import definition

LQ, GT = "LQ", "GT"


class Picture(NamedTuple):
    """One picture as it is shown."""

    label: str
    kind: str
    """lq, method or gt."""
    pixels: np.ndarray | None
    """uint8 [H,W,3] RGB; None where it cannot be shown."""
    missing: str = ""
    """Why, in one line."""


class _Begin(NamedTuple):
    """Where relative paths begin."""

    base: Path | None
    """Looked in after the working directory, as `paths.find` does."""
    first: Path | None
    """Looked in before it: a folder of that name may lie in the working directory and be another."""

    def placed(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options with every path that exists below `first` made absolute; what else they say stays."""
        return {name: self._placed(value) for name, value in options.items()}

    def _placed(self, value: Any) -> Any:
        if self.first is None or not isinstance(value, str) or Path(value).is_absolute():
            return value
        fixed = paths.fixed_part(Path(value))
        return str(self.first / value) if fixed.parts and (self.first / fixed).exists() else value


class Pictures:
    """Finds the pictures of a run's items. Files are read when an item is asked for."""

    def __init__(self, store: Store, data: RunView, results: Path) -> None:
        self._data = data
        self._results = results
        wanted = references_of(data.units)
        self._references: Mapping[int, bytes] = store.content_hashes(wanted)
        self._datasets: dict[tuple[str, _Begin], tuple[Dataset | None, str]] = {}

    def of(self, dataset: str, item: str, methods: list[str] | None = None) -> list[Picture]:
        """LQ, the methods' outputs (of the first repeat) in table order, and GT where the dataset has one."""
        wanted = [m.label for m in self._data.record.methods if methods is None or m.label in methods]
        found = [self.lq(dataset, item), *(self.output(dataset, method, item) for method in wanted)]
        if self._record(dataset).paired:
            found.append(self.gt(dataset, item))
        return [picture for picture in found if picture.missing != _NOT_FOR_IT]

    def lq(self, dataset: str, item: str) -> Picture:
        hashes = {unit.given for unit in self._given(dataset, item)}
        return self._first(LQ, "lq", dataset, item, lambda pixels: not hashes or content_hash(pixels) in hashes)

    def gt(self, dataset: str, item: str) -> Picture:
        units = self._units(dataset, item)
        references = {self._references[one.reference] for one in units if one.reference in self._references}
        rows = [unit.row for unit in self._given(dataset, item) if unit.row is not None]
        sizes = {(row.height, row.width) for row in rows}

        def same(pixels: np.ndarray) -> bool:
            # The reference of a method that crops is known by its crop alone, whose size then differs.
            cropped = bool(sizes) and pixels.shape[:2] not in sizes
            return not references or cropped or content_hash(pixels) in references

        return self._first(GT, "gt", dataset, item, same)

    def output(self, dataset: str, method: str, item: str) -> Picture:
        described = next(one for one in self._data.record.methods if one.label == method)
        if not described.is_for(dataset):
            return Picture(method, "method", None, _NOT_FOR_IT)
        if described.unavailable:
            return Picture(method, "method", None, described.unavailable)
        row = self._first_repeats[dataset, method][item].row
        if row is None:
            return Picture(method, "method", None, NOT_WORKED_ON)
        if row.output_hash is not None and row.suffix is None:
            return Picture(method, "method", None, "the output was not kept (--keep-outputs)")
        if row.output_hash is None or row.suffix is None:
            return Picture(method, "method", None, row.reason or row.status)
        pixels = artefacts.read(self._results, row.output_hash, row.suffix)
        if pixels is None:
            return Picture(method, "method", None, "the output was deleted: bench run makes it again")
        return Picture(method, "method", shown_pixels(pixels))

    def stages(self, told: Told) -> dict[int, np.ndarray]:
        """The images between the rounds of one restoration, by round; those that were deleted are not in it."""
        found = {}
        for number, picture in sorted(told.pictures.items()):
            pixels = artefacts.read(self._results, picture, "png")
            if pixels is not None:
                found[number] = shown_pixels(pixels)
        return found

    # Where things are

    @cached_property
    def _first_repeats(self) -> Mapping[tuple[str, str], Mapping[str, Unit]]:
        return {
            place: {unit.item: unit for unit in units if unit.repeat == 0} for place, units in self._data.units.items()
        }

    def _record(self, dataset: str) -> DatasetRecord:
        return next(one for one in self._data.record.datasets if one.label == dataset)

    def _units(self, dataset: str, item: str) -> list[Unit]:
        """Every method's first repeat."""
        return [units[item] for (label, _), units in self._first_repeats.items() if label == dataset and item in units]

    def _given(self, dataset: str, item: str) -> list[Unit]:
        """Of every method that could be given the input."""
        return [one for one in self._units(dataset, item) if one.row is not None and one.row.status != Status.INPUT]

    def _first(self, label: str, which: str, dataset: str, item: str, same: Callable[[np.ndarray], bool]) -> Picture:
        """The picture where the suite's paths lead from here, else from where the run was made; else why not."""
        first: Picture | None = None
        for begin in self._begins:
            picture = _read(label, which, *self._source(dataset, item, which, begin), same)
            if picture.pixels is not None:
                return picture
            first = first or picture
        assert first is not None
        return first

    def _source(self, dataset: str, item: str, which: str, begin: _Begin) -> tuple[ImageSource | None, str]:
        built, why = self._dataset(dataset, begin)
        if built is None:
            return None, why
        found: Item | None = next((one for one in built.items if one.id == item), None)
        if found is None:
            return None, "the dataset no longer has this item"
        source = found.lq if which == "lq" else found.gt
        return source, "" if source is not None else found.problem or "there is none"

    def _dataset(self, label: str, begin: _Begin) -> tuple[Dataset | None, str]:
        """The dataset built anew as the suite said, or why it cannot be."""
        if (label, begin) not in self._datasets:
            try:
                self._datasets[label, begin] = self._build(label, begin), ""
            except BenchError as error:
                self._datasets[label, begin] = None, f"the dataset is not on this machine: {one_line(error)}"
        return self._datasets[label, begin]

    @cached_property
    def _begins(self) -> list[_Begin]:
        """Where the suite's relative paths may begin: as a run from here would have it, then as the run itself had."""
        here, *then = bases(self._data)
        old = [one for one in then if one is not None]
        return [_Begin(here, None), *(_Begin(one, one) for one in old), *(_Begin(one, None) for one in old)]

    def _build(self, label: str, begin: _Begin) -> Dataset:
        spec = next((one for one in self._data.record.specs if definition.label_of(one) == label), None)
        if spec is None:
            raise BenchError(f"the run's record does not say how {label!r} is read")
        entry = registry("dataset").get(spec.dataset)
        return build_dataset(entry, as_available(entry, begin.placed(spec.options)), begin.base)


def bases(data: RunView) -> list[Path | None]:
    """Folders from which a suite's relative paths may be tried: that of the suite as it is found from here, None where
    it is not, then the working directory and the suite's folder of the run."""
    try:
        here = definition.find(data.record.suite).parent
    except BenchError:
        here = None
    return [here, *(Path(folder) for folder in data.provenance.get("folders", []))]


_NOT_FOR_IT = "this method is not for this dataset"


def _read(label: str, kind: str, source: ImageSource | None, why: str, same: Callable[[np.ndarray], bool]) -> Picture:
    if source is None:
        return Picture(label, kind, None, why)
    try:
        pixels = source.load()
    except ItemError as error:
        return Picture(label, kind, None, one_line(error))
    if not same(pixels):
        return Picture(label, kind, None, f"{source.where} has changed since the run")
    return Picture(label, kind, shown_pixels(pixels))


def shown_pixels(pixels: np.ndarray) -> np.ndarray:
    """uint8 of decoded pixels: 16 bits and floats in [0,1] are rounded, floats outside are clipped."""
    if pixels.dtype == np.uint16:
        return np.rint(pixels / 257).astype(np.uint8)
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)

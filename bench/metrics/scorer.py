"""One image, many metrics: the work that `bench score` and the run loop share.

An image becomes float64 once, each distinct view is applied once, and what goes wrong with one metric is that metric's
outcome and nobody else's. What a set's features add up to is not decided here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from bench.catalog.isolation import Guard
from bench.catalog.user_code import is_ours
from bench.errors import BenchError, ItemError, MissingFile, described, from_keyboard, kind_of
from bench.metrics.base import ImageMetric, Metric, SetMetric, Shared
from bench.metrics.kinds import NO_REFERENCE
from bench.metrics.levels import floats, values
from bench.metrics.outcome import Outcome, Status, of_number
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")

_RANGES = {"uint8": 255.0, "uint16": 65535.0}


class Scorer:
    """Metrics loaded once, then asked about image after image, from any number of threads.

    Native metrics run in parallel and on the CPU, whatever the device: their value, and so their key, does not know the
    device. Learned ones run on the device, one image at a time.
    """

    def __init__(self, metrics: Sequence[Metric], device: str, guard: Guard | None = None) -> None:
        self.metrics = list(metrics)
        self.device = device
        self.guard = guard or Guard()
        self._unguarded = guard is None and all(map(_is_harmless, metrics))
        """Where nothing but our own arithmetic runs, nobody has to look after it."""
        self._lock = threading.Lock()
        self._broken: dict[int, str] = {}
        """Why metrics could not be loaded, by place."""

    def load(self) -> None:
        """Bring all weights. Raises one `BenchError` that names everything that is missing or wrong.

        A metric whose code fails at it has that as the outcome of every image.
        """
        problems: list[BenchError] = []
        for place, metric in enumerate(self.metrics):
            device = self.device if metric.learned else "cpu"
            try:
                self.guard.call(type(metric), lambda metric=metric, device=device: metric.load(device))  # type: ignore[misc]
            except BenchError as error:
                problems.append(error)
            except BaseException as error:  # the failure of one metric is not the run's
                if from_keyboard(error):
                    raise
                self._broken[place] = f"metric cannot be loaded: {described(error)}"
        if not problems:
            return
        if len(problems) == 1:
            raise problems[0]
        lines = "; ".join(dict.fromkeys(str(problem) for problem in problems))
        kind = MissingFile if all(isinstance(problem, MissingFile) for problem in problems) else BenchError
        raise kind(f"{len(problems)} metrics cannot be loaded: {lines}")

    def score(
        self, restored: np.ndarray, reference: np.ndarray | None, wanted: Sequence[int] | None = None
    ) -> list[Outcome]:
        """Score one image with the metrics at the places `wanted` (all by default).

        Both are RGB [H,W,3], uint8, uint16 or floats in [0,1]. Nothing that goes wrong with the image or a metric is
        raised: it is that metric's outcome.
        """
        return list(self.outcomes(restored, reference, range(len(self.metrics)) if wanted is None else wanted))

    def outcomes(
        self, restored: np.ndarray, reference: np.ndarray | None, places: Sequence[int],
        began: Callable[[int], None] = lambda place: None,
    ) -> Iterator[Outcome]:  # fmt: skip
        """As `score`, each as soon as it is known; `began` is told which metric's code runs next."""
        image = _Pair(restored, reference)
        for place in places:
            if self.metrics[place].mode == "FR" and reference is None:
                yield Outcome(place, Status.NOT_APPLICABLE, None, None, NO_REFERENCE, 0.0)
            else:
                yield self._one(place, self.metrics[place], image, began)

    def references(
        self, reference: np.ndarray, places: Sequence[int], began: Callable[[int], None] = lambda place: None
    ) -> list[Outcome]:
        """Features of a reference by itself, for the `two_sets` metrics at these places."""
        image = _Pair(reference, None)
        return [self._one(place, self.metrics[place], image, began) for place in places]

    def _one(self, index: int, metric: Metric, image: _Pair, began: Callable[[int], None]) -> Outcome:
        start = time.perf_counter()
        try:
            if index in self._broken:
                raise ItemError(self._broken[index])
            value, features = self._measure(metric, image, lambda: began(index))
        except BaseException as error:  # whatever a metric throws is its own failure row, never the run's
            if from_keyboard(error):
                raise
            return Outcome(index, Status.FAILED, None, None, described(error), time.perf_counter() - start)
        seconds = time.perf_counter() - start
        if features is not None:
            if not np.isfinite(features).all():
                return Outcome(index, Status.NAN, None, None, "features are not finite", seconds)
            return Outcome(index, Status.OK, None, features, None, seconds)
        status = of_number(value)
        if status is Status.NAN:
            return Outcome(index, status, None, None, "the value is not a number", seconds)
        return Outcome(index, status, value, None, None, seconds)

    def _measure(
        self, metric: Metric, image: _Pair, began: Callable[[], None]
    ) -> tuple[float | None, np.ndarray | None]:
        mode = "FR" if metric.kind.pairs else "NR"
        if isinstance(metric, ImageMetric) and _is_harmless(metric):
            began()
            value = self._guarded(metric, lambda: _by_a_shorter_way(metric, image, mode))
            if value is not None:
                return value, None
        restored, reference = image.view(metric.view, mode)
        if not isinstance(metric, SetMetric):
            return self._run(metric, restored, reference, began)
        name = str(metric.extractor())
        if name not in image.features:  # metrics with one extractor share one pass
            features = self._run(metric, restored, reference, began)[1]
            assert features is not None
            image.features[name] = features
        return None, image.features[name]

    def _run(
        self, metric: Metric, restored: Tensor, reference: Tensor | None, began: Callable[[], None]
    ) -> tuple[float | None, np.ndarray | None]:
        import torch

        device = self.device if metric.learned else "cpu"

        def run() -> tuple[float | None, np.ndarray | None]:
            began()
            given, there = self._given(metric, restored, device), self._given(metric, reference, device)
            with torch.inference_mode():
                return _call(metric, given, there)

        if metric.learned or metric.serial:
            with self._lock:
                return self.guard.call(type(metric), run)
        return self._guarded(metric, run)

    def _guarded(self, metric: Metric, run: Callable[[], Result]) -> Result:
        return run() if self._unguarded else self.guard.call(type(metric), run)

    def _given(self, metric: Metric, image: Tensor | None, device: str) -> Any:
        """What a metric gets of an image that others see as well: a stranger's may write into it, and gets a copy."""
        if image is None:
            return None
        there = image.to(device)
        return there.clone() if there is image and not is_ours(type(metric)) else there


def _is_harmless(metric: Metric) -> bool:
    """Whether scoring runs nothing but arithmetic of ours, which changes nothing of the process."""
    return is_ours(type(metric)) and not metric.learned and not metric.serial


def _by_a_shorter_way(metric: ImageMetric, image: _Pair, mode: str) -> float | None:
    """The value of `score` with less work, where the metric knows how."""
    shared = image.shared.setdefault((mode, metric.view), {})
    if type(metric).score_levels is not ImageMetric.score_levels:
        levels = image.levels(metric.view, mode)
        value = None if levels is None else metric.score_levels(levels, shared)
        if value is not None:
            return value
    if type(metric).score_sharing is ImageMetric.score_sharing:
        return None
    restored, reference = image.view(metric.view, mode)
    return metric.score_sharing(restored[0], None if reference is None else reference[0], shared)


def _call(metric: Metric, restored: Tensor, reference: Tensor | None) -> tuple[float | None, np.ndarray | None]:
    if isinstance(metric, SetMetric):
        found = metric.extract(restored, reference)
        features = np.asarray(found)
        if features.dtype.kind not in "fiu" or not features.ndim or len(features) != 1:
            raise ItemError(f"extract returned {kind_of(found)}, expected real features [1,…]")
        return None, np.array(features[0], dtype=np.float64)  # a copy: the metric may use its memory again
    if isinstance(metric, ImageMetric):
        return float(one_value(metric.score(restored, reference))[0]), None
    raise TypeError(f"{type(metric).__name__} is neither an ImageMetric nor a SetMetric")


def one_value(value: Any) -> np.ndarray:
    """What a metric's `score` gave for one image, float64 [1]. Raises `ItemError` for anything else."""
    if tuple(getattr(value, "shape", ())) != (1,) or "float" not in str(value.dtype):
        raise ItemError(f"score returned {kind_of(value)}, expected float64 [1]")
    return np.array([float(value[0])])


class _Pair:
    """An image and its reference as float64, and the views of them, each made when it is first asked for."""

    def __init__(self, restored: np.ndarray, reference: np.ndarray | None) -> None:
        self.restored = restored
        self.reference = reference
        self._eight_bit = all(image.dtype == np.uint8 for image in (restored, reference) if image is not None)
        self._made: dict[object, tuple[Tensor, Tensor | None] | ItemError] = {}
        self._levels: dict[object, Levels | None] = {}
        self.shared: dict[object, Shared] = {}
        """What metrics of one view let each other use."""
        self.features: dict[str, np.ndarray] = {}
        """What set metrics extracted, by extractor."""

    def view(self, view: View, mode: str) -> tuple[Tensor, Tensor | None]:
        """What a metric of that mode sees. Raises the same `ItemError` to all who share the view."""

        def make() -> tuple[Tensor, Tensor | None]:
            if levels := self.levels(view, mode):
                meaning = values(single=levels.single)
                theirs = None if levels.reference is None else floats(levels.reference, meaning)
                return floats(levels.restored, meaning), theirs
            reference = self._floats("reference", self.reference) if mode == "FR" else None
            restored = self._floats("restored", self.restored)
            return view.apply(restored, reference, eight_bit=self._eight_bit)

        return self._once((mode, view), make)

    def levels(self, view: View, mode: str) -> Levels | None:
        """The same as 8-bit levels, where that is what the view gives."""
        if not self._eight_bit:
            return None
        key = (mode, view)
        if key not in self._levels:
            self._levels[key] = view.levels(self.restored, self.reference if mode == "FR" else None)
        return self._levels[key]

    def _floats(self, name: str, image: np.ndarray | None) -> Tensor:
        assert image is not None
        return self._once(name, lambda: (as_floats(image), None))[0]

    def _once(self, key: object, make: Callable[[], tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
        if key not in self._made:
            try:
                self._made[key] = make()
            except ItemError as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, ItemError):
            raise made
        return made


def as_floats(image: np.ndarray) -> Tensor:
    """RGB [H,W,3], uint8, uint16 or floats in [0,1] → float64 [1,3,H,W]. Raises `ItemError` for anything else."""
    import torch

    if image.ndim != 3 or image.shape[2] != 3:
        raise ItemError(f"an image is [H,W,3], this one is {list(image.shape)}")
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    if image.dtype.name in _RANGES:
        return torch.from_numpy(planes / np.float64(_RANGES[image.dtype.name]))[None]
    if image.dtype.kind != "f":
        raise ItemError(f"pixels are uint8, uint16 or floats, not {image.dtype.name}")
    if not np.isfinite(planes).all():
        raise ItemError("the image has NaN or infinite pixels")
    return torch.from_numpy(planes.astype(np.float64))[None]

"""A metric under test: what is claimed of it, and its values of the test images by the ways on which values are made.

What must be true of those values is the business of `promises` and `declarations`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.catalog.registry import Entry, registry
from bench.errors import ItemError
from bench.metrics.base import ImageMetric, Metric, SetMetric
from bench.metrics.build import build_metric
from bench.metrics.view import View
from bench.testing.checks import Broken
from bench.testing.generated import COUNT, Image, copies, photograph

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-12
"""Relative difference allowed where sums may be taken in another order."""
SIDES = (96, 128, 161, 192, 256, 320)


@dataclass(frozen=True)
class Claims:
    """What is true of a metric beyond what every metric promises."""

    tolerance: float = 0.0
    """Allowed difference, relative to max(1, |value|), where batch, order or threads differ; 0 asks for equal bits."""
    device_tolerance: float = 1e-3
    """The same between CPU and GPU for a learned metric. Others run on the CPU and must give equal bits."""
    best: float | None = None
    """FR: the value of an image against itself. None: it must only be no worse than that of any distorted copy."""
    symmetric: bool = False
    """FR: exchanging the two images leaves the value."""
    channels: Literal["same", "matter", "unstated"] = "unstated"
    """Whether a permutation of the channels (of both images) leaves the value or must change it."""
    worse_with: tuple[str, ...] | None = None
    """Distortions (`noise`, `blur`) whose growth must worsen the value; None is both for FR and none for NR."""
    size: int | None = None
    """Side of the test images, where the smallest one that scores is not representative."""
    undefined: bool = False
    """The definition has no value for ordinary images, only an `ItemError`: checks that need a value are left out."""
    reason: str = ""
    """Why the tolerance is not 0, or a claim differs from the usual."""


@dataclass(frozen=True)
class Subject:
    """A metric under test."""

    metric: Metric
    claims: Claims = field(default_factory=Claims)
    entry: Entry | None = None
    """Its catalogue entry, where it has one; then options go through `build_metric`, as a suite's would."""

    @classmethod
    def of(cls, metric: str | Metric, claims: Claims | None = None) -> Subject:
        """By catalogue name, or an instance. Raises `BenchError` for an unknown or unavailable name."""
        chosen = claims or Claims()
        if isinstance(metric, Metric):
            return cls(metric, chosen)
        entry = registry("metric").get(metric)
        return cls(build_metric(entry, {}, {}), chosen, entry)

    def vary(self, option: str, value: object) -> Metric:
        """The metric with one option changed. Raises `BenchError` where the metric refuses the value."""
        if self.entry is not None:
            return build_metric(self.entry, {option: value}, {})
        if option in {one.name for one in fields(View)}:
            return replace(self.metric, view=replace(self.metric.view, **{option: value}))  # type: ignore[arg-type,type-var]
        return replace(self.metric, **{option: value})  # type: ignore[type-var]

    @functools.cached_property
    def side(self) -> int:
        """Height of the test images: the smallest of a few that the metric scores."""
        if self.claims.size is not None:
            return self.claims.size
        if self.claims.undefined:
            return SIDES[0]
        floor = int(self.entry.fields.get("min_size", 1)) if self.entry is not None else 1
        for side in sorted({*(one for one in SIDES if one >= floor), max(floor, SIDES[0])}):
            with contextlib.suppress(ItemError):
                measure(self.metric, [photograph(side, 0)], [photograph(side, 1)])
                return side
        raise Broken(f"no photograph of {SIDES[0]} to {SIDES[-1]} pixels can be scored")

    @functools.cached_property
    def restored(self) -> list[Image]:
        return copies(self.side, "noise", 8)

    @functools.cached_property
    def reference(self) -> list[Image]:
        return [photograph(self.side, seed) for seed in range(COUNT)]

    @functools.cached_property
    def alone(self) -> list[np.ndarray]:
        """Value or features of each test image in a batch of its own."""
        pairs = zip(self.restored, self.reference, strict=True)
        return [measure(self.metric, [restored], [reference])[0] for restored, reference in pairs]


Check = Callable[[Subject], None]


def tensor(images: Sequence[Image]) -> Tensor:
    import torch

    # Contiguous as the scorer makes it: the last bit of a float32 sum may follow the layout of memory.
    return torch.from_numpy(np.ascontiguousarray(np.stack([image.transpose(2, 0, 1) for image in images])) / 255.0)


def measure(metric: Metric, restored: Sequence[Image], reference: Sequence[Image]) -> np.ndarray:
    """float64 values [B] or features [B,…], through the metric's view; `reference` is ignored for NR."""
    import torch

    ours, theirs = metric.view.apply(tensor(restored), tensor(reference) if metric.mode == "FR" else None)
    with torch.inference_mode():
        if isinstance(metric, SetMetric):
            found = np.asarray(metric.extract(ours, theirs))
        else:
            assert isinstance(metric, ImageMetric)
            values = metric.score(ours, theirs)
            if values.dtype != torch.float64 or values.shape != (len(restored),):
                raise Broken(f"score gives {values.dtype} {list(values.shape)}, not float64 [{len(restored)}]")
            found = values.cpu().numpy()
    if len(found) != len(restored):
        raise Broken(f"{len(restored)} images give {len(found)} results")
    return found


def number(metric: Metric, restored: Sequence[Image], reference: Sequence[Image]) -> float:
    """The value that a table would show: the mean of values, or what the features add up to."""
    pairs = zip(restored, reference, strict=True)
    found = np.stack([measure(metric, [one], [other])[0] for one, other in pairs])
    if not isinstance(metric, SetMetric):
        return float(found.mean())
    return metric.aggregate(found, *references(metric, reference))


def references(metric: SetMetric, reference: Sequence[Image]) -> list[np.ndarray]:
    """What `aggregate` takes besides the images' own features: those of the references, for a metric of two sets."""
    return [np.stack([measure(metric, [one], [one])[0] for one in reference])] if metric.kind.two_sets else []


def scored(metric: Metric, restored: np.ndarray, reference: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Value or features as `bench score` and the run loop get them."""
    from bench.metrics.scorer import Scorer

    scorer = Scorer([metric], device)
    scorer.load()
    (outcome,) = scorer.score(restored, reference)
    if outcome.status not in ("ok", "inf"):
        raise Broken(f"scoring a photograph is {outcome.status}: {outcome.reason}")
    return np.asarray(outcome.value if outcome.features is None else outcome.features)


def same(one: object, other: object, tolerance: float, what: str) -> None:
    left, right = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if left.shape != right.shape:
        raise Broken(f"{what}: results of shapes {left.shape} and {right.shape}")
    with np.errstate(invalid="ignore"):  # inf less inf
        bound = tolerance * np.maximum(1.0, np.maximum(np.abs(left), np.abs(right)))
        equal = (left == right) | ((np.abs(left - right) <= bound) & np.isfinite(bound))
    if not equal.all():
        place = np.unravel_index(int(np.argmin(equal)), equal.shape) if equal.ndim else ()
        raise Broken(f"{what}: {left[place]!r} against {right[place]!r}, allowed {tolerance:g}")


def better(metric: Metric, one: float, other: float) -> bool:
    return one > other if metric.higher_is_better else one < other

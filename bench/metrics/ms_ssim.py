"""Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003) with separable windows in float64.

Five scales with the paper's exponents: contrast and structure at every scale, luminance at the coarsest. How odd sizes
are halved, where negative structure is cut and how channels are combined differ between releases, and are fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents from the finest to the coarsest scale; they sum to 1."""
CHOICES = {
    "clamp": ("mean", "map"),
    "halving": ("symmetric", "zero-first"),
    "channels": ("mean", "pooled"),
}

_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = 0.01**2, 0.03**2
_SMALLEST = 2 * _RADIUS * 2 ** (len(WEIGHTS) - 1) + 1
"""161: the least side that, halved four times and rounded up, still holds the 11×11 window."""
_STRIP = 96
"""Rows computed at a time, so that a strip's maps stay in the cache. A constant: the order of sums depends on it."""


class _Means(NamedTuple):
    structure: float
    """Mean of the contrast-structure map."""
    ssim: float
    """Mean of the map with luminance; only looked at on the coarsest scale."""


@dataclass(frozen=True)
class MsSsim(ImageMetric):
    """MS-SSIM of each channel, averaged over channels. The defaults agree with the authors' `msssim.m` to 1e-9.

    Its product is complex where a scale's mean structure is negative; here such a scale counts as 0, as in TensorFlow.
    """

    view: View = field(default_factory=View)
    clamp: str = "mean"
    """`mean`: a negative mean becomes 0. `map`: every negative pixel does, as in pyiqa."""
    halving: str = "symmetric"
    """2×2 means; a last odd row is repeated (`symmetric`, MATLAB), or a black one put first (`zero-first`, pyiqa)."""
    channels: str = "mean"
    """`mean` of the channels' values (TensorFlow), or maps `pooled` over channels before the product (pyiqa)."""

    name = "ms-ssim"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                near = suggest(value, choices)
                raise BenchError(f"ms-ssim: {name} {value!r} is not one of {', '.join(choices)}{near}")

    def signature(self) -> Signature:
        own = [("scales", f"{len(WEIGHTS)}-wang2003"), ("win", "gauss11s1.5"), ("halving", self.halving)]
        rare = [("cs", self.clamp, "mean"), ("channels", self.channels, "mean")]
        own += [(key, value) for key, value, usual in rare if value != usual]
        return Signature.of("ms-ssim", [*self.view.signature("FR"), *own, ("v", 1)])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,C,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` below 161 pixels a side."""
        import torch

        assert reference is not None
        height, width = restored.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise ItemError(f"ms-ssim needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")
        values = [self._one(*pair) for pair in zip(restored.cpu().numpy(), reference.cpu().numpy(), strict=True)]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)

    def _one(self, ours: np.ndarray, theirs: np.ndarray) -> float:
        import numpy as np

        scales = np.array([self._scales(x, y) for x, y in zip(ours, theirs, strict=True)])
        if self.channels == "pooled":
            scales = scales.mean(axis=0, keepdims=True)
        return float(np.prod(np.maximum(scales, 0) ** WEIGHTS, axis=1).mean())

    def _scales(self, x: np.ndarray, y: np.ndarray) -> list[float]:
        """The factor of each scale, before its exponent, of two [H,W]."""
        factors = []
        for scale in range(len(WEIGHTS)):
            means = _means(x, y, self.clamp == "map")
            last = scale == len(WEIGHTS) - 1
            factors.append(means.ssim if last else means.structure)
            if not last:
                x, y = self._halved(x), self._halved(y)
        return factors

    def _halved(self, plane: np.ndarray) -> np.ndarray:
        import cv2
        import numpy as np

        odd = [size % 2 for size in plane.shape]
        if any(odd):
            symmetric = self.halving == "symmetric"
            margins = [(0, size) if symmetric else (size, 0) for size in odd]
            plane = np.pad(plane, margins, mode="edge" if symmetric else "constant")
        return cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _means(x: np.ndarray, y: np.ndarray, clamp: bool) -> _Means:
    """Means over the area where the window fits. Strips and OpenCV's per-pixel sums: no thread can change a bit."""
    import numpy as np

    height, width = x.shape
    rows = height - 2 * _RADIUS
    work = np.empty((6, min(_STRIP, rows) + 2 * _RADIUS, width))
    sums = [
        _strip_sums(x[top : top + _STRIP + 2 * _RADIUS], y[top : top + _STRIP + 2 * _RADIUS], work, clamp)
        for top in range(0, rows, _STRIP)
    ]
    structure, ssim = np.sum(sums, axis=0) / (rows * (width - 2 * _RADIUS))
    return _Means(float(structure), float(ssim))


def _strip_sums(x: np.ndarray, y: np.ndarray, work: np.ndarray, clamp: bool) -> tuple[float, float]:
    """Sums of the structure and the SSIM map inside a strip of rows; `work` is [6, rows, columns] to compute in."""
    import cv2
    import numpy as np

    taps = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * _SIGMA**2))
    taps /= taps.sum()
    power, cross, *means = work[:, : len(x)]
    np.add(np.multiply(x, x, out=power), np.multiply(y, y, out=cross), out=power)
    np.multiply(x, y, out=cross)
    for one, mean in zip((x, y, power, cross), means, strict=True):
        cv2.sepFilter2D(one, cv2.CV_64F, taps, taps, dst=mean, borderType=cv2.BORDER_CONSTANT)
    inner = slice(_RADIUS, len(x) - _RADIUS)
    mx, my, spread, structure = (mean[inner] for mean in means)
    both, squares = power[inner], cross[inner]
    np.multiply(mx, my, out=both)
    np.add(np.multiply(mx, mx, out=mx), np.multiply(my, my, out=my), out=squares)
    structure -= both
    structure *= 2
    structure += _C2
    spread -= squares
    spread += _C2
    structure /= spread
    if clamp:
        np.maximum(structure, 0, out=structure)
    both *= 2
    both += _C1
    squares += _C1
    both /= squares
    both *= structure
    return float(structure[:, _RADIUS:-_RADIUS].sum()), float(both[:, _RADIUS:-_RADIUS].sum())

"""Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003) with separable windows in float64.

Five scales with the paper's exponents: contrast and structure at every scale, luminance at the coarsest. How odd sizes
are halved, where negative structure is cut and how channels are combined differ between releases, and are fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import Shared, SharingMetric, Signature, once
from bench.metrics.primitives import ssim_maps as maps
from bench.metrics.primitives.ssim_maps import Constants, Means
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

_WINDOW = "gauss11s1.5"
_SMALLEST = 10 * 2 ** (len(WEIGHTS) - 1) + 1
"""161: the least side that, halved four times and rounded up, still holds the 11×11 window."""


@dataclass(frozen=True)
class MsSsim(SharingMetric):
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

    def score_sharing(self, restored: Tensor, reference: Tensor | None, shared: Shared) -> float:
        import numpy as np

        assert reference is not None
        self._check(restored)
        planes = list(zip(restored.numpy(), reference.numpy(), strict=True))
        finest = once(shared, (_WINDOW, False, self._constants), lambda: [self._means(*pair) for pair in planes])
        scales = np.array([self._scales(*pair, first) for pair, first in zip(planes, finest, strict=True)])
        if self.channels == "pooled":
            scales = scales.mean(axis=0, keepdims=True)
        return float(np.prod(np.maximum(scales, 0) ** WEIGHTS, axis=1).mean())

    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        import torch

        self._check(restored)
        x, y, c = restored, reference, self._constants
        factors = []
        for scale in range(len(WEIGHTS)):
            found = maps.batch_means(x, y, _WINDOW, c, c.c1, c.c2, reflect=False)
            last = scale == len(WEIGHTS) - 1
            factors.append(found.ssim if last else found.structure)
            if not last:
                x, y = self._halved_batch(x), self._halved_batch(y)
        scales = torch.stack(factors)
        if self.channels == "pooled":
            scales = scales.mean(dim=2, keepdim=True)
        exponents = torch.tensor(WEIGHTS, dtype=torch.float64, device=restored.device)[:, None, None]
        return (scales.clamp(min=0) ** exponents).prod(dim=0).mean(dim=1)

    @property
    def _constants(self) -> Constants:
        return Constants(clamp=self.clamp == "map")

    def _check(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise ItemError(f"ms-ssim needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")

    def _means(self, x: np.ndarray, y: np.ndarray) -> Means:
        return maps.means(x, y, _WINDOW, self._constants)

    def _scales(self, x: np.ndarray, y: np.ndarray, finest: Means) -> list[float]:
        """The factor of each scale, before its exponent, of two [H,W]."""
        factors = [finest.structure]
        for _ in WEIGHTS[1:]:
            x, y = self._halved(x), self._halved(y)
            means = self._means(x, y)
            factors.append(means.structure)
        factors[-1] = means.ssim
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

    def _halved_batch(self, planes: Tensor) -> Tensor:
        import torch.nn.functional as F

        below, right = (size % 2 for size in planes.shape[-2:])
        if self.halving == "symmetric":
            planes = F.pad(planes, (0, right, 0, below), mode="replicate")
        else:
            planes = F.pad(planes, (right, 0, below, 0))
        return F.avg_pool2d(planes, 2)

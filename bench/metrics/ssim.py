"""Structural similarity (Wang et al., TIP 2004) with separable windows in float64.

The rival definitions (Gaussian or uniform window, whole or valid area, population or sample covariance, clamped
contrast) are fields, each named in the signature. Not MS-SSIM, and without the downsampling of MATLAB's `ssim.m` demo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import Shared, SharingMetric, Signature, once
from bench.metrics.levels import values
from bench.metrics.primitives import ssim_maps as maps
from bench.metrics.primitives.ssim_maps import Constants, Means
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHOICES = {
    "window": maps.WINDOWS,
    "border": ("valid", "reflect"),
    "covariance": ("population", "sample", "sample25"),
    "data_range": ("1", "2", "restored"),
}


@dataclass(frozen=True)
class Ssim(SharingMetric):
    """Mean SSIM of each channel, averaged over channels. The defaults agree with BasicSR and MATLAB to 1e-9."""

    view: View = field(default_factory=View)
    window: str = "gauss11s1.5"
    """`gauss11s1.5`: 11×11, σ 1.5, sums to 1. `gauss13s1.5`: 13×13, σ 1.5, where SciPy's gaussian_filter cuts it off.
    `uniform7`: 7×7 box, scikit-image's default."""
    border: str = "valid"
    """`valid`: where the window fits (also scikit-image's mean). `reflect`: every pixel, mirrored with the edge."""
    covariance: str = "population"
    """`sample`: variances × n/(n−1), n the window's pixels, scikit-image's default. `sample25`: × 25/24 whatever the
    window, as FUnIE-GAN's script."""
    clamp: bool = False
    """Negative contrast-structure terms become 0, as in pyiqa."""
    data_range: str = "1"
    """`1`: the full range. `2`: what scikit-image before 0.20 took for floats that were given no range, which inflates
    the value (NU2Net). `restored`: max − min of the restored view, as RAVE's script."""
    k1: float = 0.01
    k2: float = 0.03

    name = "ssim"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise BenchError(f"ssim: {name} {value!r} is not one of {', '.join(choices)}{suggest(value, choices)}")
        if not (0 < self.k1 < 1 and 0 < self.k2 < 1):
            raise BenchError(f"ssim: k1 {self.k1!r} and k2 {self.k2!r} must lie between 0 and 1")

    def signature(self) -> Signature:
        rare = [
            ("cov", self.covariance, "population"),
            ("cs", "clamped" if self.clamp else "signed", "signed"),
            ("data", self.data_range, "1"),
            ("k", f"{self.k1},{self.k2}", "0.01,0.03"),
        ]
        own = [
            ("win", self.window),
            ("border", self.border),
            *((key, value) for key, value, usual in rare if value != usual),
        ]
        return Signature.of("ssim", [*self.view.signature("FR"), *own, ("v", 1)])

    def score_sharing(self, restored: Tensor, reference: Tensor | None, shared: Shared) -> float:
        assert reference is not None
        return self._mean(restored.numpy(), reference.numpy(), None, shared)

    def score_levels(self, levels: Levels, shared: Shared) -> float:
        assert levels.reference is not None
        return self._mean(levels.restored, levels.reference, values(single=levels.single), shared)

    def _mean(self, restored: np.ndarray, reference: np.ndarray, meaning: np.ndarray | None, shared: Shared) -> float:
        """Of two [C,H,W], floats or levels with their meaning."""
        self._check(restored.shape)
        constants = self._constants(self._span(restored, meaning))
        reflect = self.border == "reflect"

        def means() -> list[Means]:
            pairs = zip(restored, reference, strict=True)
            return [maps.means(x, y, self.window, constants, reflect=reflect, meaning=meaning) for x, y in pairs]

        found = once(shared, (self.window, reflect, constants), means)
        return sum(mean.ssim for mean in found) / len(found)

    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        import torch

        self._check(restored.shape)
        constants = self._constants(1.0)
        spans = torch.tensor([self._span(image) for image in restored], dtype=torch.float64, device=restored.device)
        c1, c2 = ((k * spans).square()[:, None, None, None] for k in (self.k1, self.k2))
        reflect = self.border == "reflect"
        return maps.batch_means(restored, reference, self.window, constants, c1, c2, reflect=reflect).ssim.mean(dim=1)

    def _check(self, shape: Sequence[int]) -> None:
        height, width = shape[-2:]
        size = len(maps.taps(self.window))
        if min(height, width) < size:
            raise ItemError(f"ssim needs {size}×{size} pixels or more, the view is {width}×{height}")

    def _span(self, restored: np.ndarray | Tensor, meaning: np.ndarray | None = None) -> float:
        if self.data_range != "restored":
            return float(self.data_range)
        lowest, highest = restored.min(), restored.max()
        span = float(highest - lowest if meaning is None else meaning[highest] - meaning[lowest])
        if span == 0:
            raise ItemError("ssim with data_range 'restored' is undefined: the restored image is flat")
        return span

    def _constants(self, span: float) -> Constants:
        pixels = {"sample": len(maps.taps(self.window)) ** 2, "sample25": 25}.get(self.covariance)
        scale = 1.0 if pixels is None else pixels / (pixels - 1)
        return Constants((self.k1 * span) ** 2, (self.k2 * span) ** 2, scale, self.clamp)

"""PSNR of the squared error pooled over a whole set, as torchmetrics computes it over an epoch.

It exists to name the rival of `psnr`: on the same images the two differ, because a mean of logarithms is not the
logarithm of a mean, and large images weigh more here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.metrics.base import SetMetric, Signature
from bench.metrics.psnr import squared_error
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class PsnrPooled(SetMetric):
    """10·log10(1 / mean squared error of all pixels of all images), dB; +inf when every image is identical."""

    view: View = field(default_factory=View)

    name = "psnr-pooled"

    def signature(self) -> Signature:
        return Signature.of("psnr-pooled", [*self.view.signature("FR"), ("v", 1)])

    def extractor(self) -> Signature:
        return Signature.of("squared-error", [*self.view.signature("FR"), ("v", 1)])

    def extract(self, restored: Tensor, reference: Tensor | None) -> np.ndarray:
        """→ float64 [B,2]: sum of squared error, number of values."""
        import numpy as np

        assert reference is not None
        sums = squared_error(restored, reference).cpu().numpy()
        return np.stack([sums, np.full_like(sums, restored[0].numel())], axis=1)

    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        import numpy as np

        if not len(features):
            return float("nan")
        total, count = features.sum(axis=0)
        with np.errstate(divide="ignore"):
            return float(-10 * np.log10(total / count))

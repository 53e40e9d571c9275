"""CIEDE2000: how different colours look, averaged over an image's pixels.

The colour difference of CIE 142-2001 between sRGB pixels seen under D65, by scikit-image. Not CIE76, which is larger
for saturated colours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.metrics.base import ImageMetric, Signature, of_pairs
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Ciede2000(ImageMetric):
    """Mean ΔE00 over pixels, kL = kC = kH = 1; 0 for equal images, about 1 where a difference begins to be seen."""

    view: View = field(default_factory=View)

    name = "ciede2000"
    higher_is_better = False
    spaces = ("rgb",)

    def signature(self) -> Signature:
        return Signature.of("ciede2000", [*self.view.signature("FR"), ("white", "d65"), ("v", 1)])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,3,H,W] in [0,1], as the view left them → float64 [B]."""
        return of_pairs(restored, reference, _difference)


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean ΔE00 of two [3,H,W]."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    return float(deltaE_ciede2000(*(rgb2lab(image.transpose(1, 2, 0)) for image in (ours, theirs))).mean())

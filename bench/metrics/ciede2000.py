"""CIEDE2000: how different colours look, averaged over an image's pixels.

The colour difference of CIE 142-2001 between sRGB pixels seen under D65, by scikit-image. Not CIE76, which is larger
for saturated colours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.metrics.base import ImageMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
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
        import torch
        from skimage.color import deltaE_ciede2000, rgb2lab

        assert reference is not None
        values = []
        for pair in zip(restored, reference, strict=True):
            ours, theirs = (rgb2lab(image.permute(1, 2, 0).cpu().numpy()) for image in pair)
            values.append(float(deltaE_ciede2000(ours, theirs).mean()))
        return torch.tensor(values, dtype=torch.float64, device=restored.device)

"""Peak signal-to-noise ratio as papers report it: one value per image, then their mean.

Not the pooled PSNR of some libraries, which averages the squared error over the whole set first (`psnr_pooled`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Psnr(ImageMetric):
    """PSNR in dB of images in [0, 1]. Agrees with BasicSR's NumPy version to 1e-9 on RGB.

    Identical images give +inf, which is kept and counted, never clipped to a number – unless `eps` is set.
    """

    view: View = field(default_factory=View)
    eps: float = 0.0
    """Added to the mean squared error; pyiqa's 1e-8 caps the value at 80 dB."""

    name = "psnr"

    def __post_init__(self) -> None:
        if not 0 <= self.eps < 1:
            raise BenchError(f"psnr: eps {self.eps!r} is not in [0, 1)")

    def signature(self) -> Signature:
        own = [("eps", self.eps)] if self.eps else []
        return Signature.of("psnr", [*self.view.signature("FR"), *own, ("v", 1)])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,C,H,W] in [0,1], as the view left them → float64 [B], dB."""
        assert reference is not None
        return -10 * (squared_error(restored, reference) / restored[0].numel() + self.eps).log10()


def squared_error(restored: Tensor, reference: Tensor) -> Tensor:
    """Sum of squared differences per image, float64 [B]; the same bits for every batch size and thread count."""
    import numpy as np
    import torch

    if restored.is_cuda:
        return (restored - reference).square().sum(dim=(1, 2, 3))
    sums = []
    for ours, theirs in zip(restored.numpy(), reference.numpy(), strict=True):
        # NumPy sums pairwise on one thread; a threaded sum would depend on how many cores the machine has.
        planes = [np.square(difference, out=difference).sum() for difference in map(np.subtract, ours, theirs)]
        sums.append(float(np.sum(planes)))
    return torch.tensor(sums, dtype=torch.float64)

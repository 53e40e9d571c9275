"""Peak signal-to-noise ratio as papers report it: one value per image, then their mean.

Not the pooled PSNR of some libraries, which averages the squared error over the whole set first (`psnr_pooled`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.metrics import levels as exact
from bench.metrics.base import ImageMetric, Shared, Signature
from bench.metrics.view import Levels, View

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
        return self._decibels(squared_error(restored, reference), restored[0].numel())

    def score_levels(self, levels: Levels, shared: Shared) -> float | None:
        import torch

        assert levels.reference is not None
        if levels.single:
            return None
        squares = whole_error(exact.squared_error(levels.restored, levels.reference))
        return float(self._decibels(torch.tensor([squares], dtype=torch.float64), levels.restored.size)[0])

    def _decibels(self, squares: Tensor, count: int) -> Tensor:
        return -10 * (squares / count + self.eps).log10()


def whole_error(squares: int) -> float:
    """Sum of squared differences of levels → of pixels in [0,1]."""
    return squares / 255**2


def squared_error(restored: Tensor, reference: Tensor) -> Tensor:
    """Sum of squared differences per image, float64 [B]; the same bits for every batch size and thread count.

    Of pixels on the 256 levels it is exact until the last division. Others are summed pairwise by NumPy on one thread:
    a threaded sum would depend on how many cores the machine has.
    """
    import torch

    if restored.is_cuda:
        return (restored - reference).square().sum(dim=(1, 2, 3))
    sums = [_squared_error(*pair) for pair in zip(restored, reference, strict=True)]
    return torch.tensor(sums, dtype=torch.float64)


def _squared_error(ours: Tensor, theirs: Tensor) -> float:
    import numpy as np

    levels = exact.on_levels(ours)
    if levels is not None and (others := exact.on_levels(theirs)) is not None:
        return whole_error(exact.squared_error(levels, others))
    differences = map(np.subtract, ours.numpy(), theirs.numpy())
    return float(np.sum([np.square(difference, out=difference).sum() for difference in differences]))

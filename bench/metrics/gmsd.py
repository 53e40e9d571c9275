"""Gradient magnitude similarity deviation (Xue et al., TIP 2014) in float64.

Prewitt gradients of the luma at half size, compared pixel by pixel; the value is the spread of that comparison, so 0
is best. Not GMSM (its mean), and without GMSD-c's colour terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Signature, of_pairs
from bench.metrics.view import LUMAS, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

HALVINGS = ("zero-last", "drop")

_T = 170 / 255**2
"""The paper's constant, for images in [0, 1]."""
_SMALLEST = 4


@dataclass(frozen=True)
class Gmsd(ImageMetric):
    """GMSD of the luma. The defaults agree with the authors' `GMSD.m` on 8-bit gray."""

    view: View = field(default_factory=lambda: View(space="yiq"))
    halving: str = "zero-last"
    """2×2 means; a last odd row is averaged with a black one (`zero-last`, MATLAB), or left out (`drop`, pyiqa)."""

    name = "gmsd"
    higher_is_better = False
    spaces = LUMAS

    def __post_init__(self) -> None:
        if self.halving not in HALVINGS:
            near = suggest(self.halving, HALVINGS)
            raise BenchError(f"gmsd: halving {self.halving!r} is not one of {', '.join(HALVINGS)}{near}")

    def signature(self) -> Signature:
        return Signature.of("gmsd", [*self.view.signature("FR"), ("halving", self.halving), ("t", 170), ("v", 1)])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,1,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` below 4 pixels a side."""
        assert reference is not None
        height, width = restored.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise ItemError(f"gmsd needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")
        if restored.device.type != "cpu":
            return self.score_batch(restored, reference)
        return of_pairs(
            restored[:, 0], reference[:, 0], lambda ours, theirs: _deviation(self._energy(ours), self._energy(theirs))
        )

    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        """As `score`, of a whole batch at once on its device, in torch."""
        from bench.metrics import batched

        return batched.gmsd(restored, reference, drop_odd=self.halving == "drop", constant=_T)

    def _energy(self, plane: np.ndarray) -> np.ndarray:
        """Squared gradient magnitude of [H,W] at half size, zeros beyond the border."""
        import cv2
        import numpy as np

        height, width = (size // 2 for size in plane.shape)
        odd = [size % 2 for size in plane.shape]
        if any(odd) and self.halving == "zero-last":
            plane = np.pad(plane, [(0, size) for size in odd])
            height, width = height + odd[0], width + odd[1]
        half = cv2.resize(plane[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        flat, steep = np.full(3, 1 / 3), np.array([1.0, 0.0, -1.0])
        across = cv2.sepFilter2D(half, cv2.CV_64F, steep, flat, borderType=cv2.BORDER_CONSTANT)
        down = cv2.sepFilter2D(half, cv2.CV_64F, flat, steep, borderType=cv2.BORDER_CONSTANT)
        across *= across
        down *= down
        across += down
        return across


def _deviation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Sample standard deviation of the similarity of two gradient magnitudes, given their squares."""
    import numpy as np

    similarity = (2 * np.sqrt(ours * theirs) + _T) / (ours + theirs + _T)
    return float(similarity.std(ddof=1))

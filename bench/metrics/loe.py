"""Lightness order error (Wang et al., TIP 2013): how often two pixels change places in the order of lightness.

Against the reference. Most low-light papers measure it against the dark input, which no metric here sees; the numbers
of the two are not comparable, and `against` in the signature says which this is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import ItemError
from bench.metrics.base import ImageMetric, Signature, of_pairs
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_REACH = 7
"""Pixels to each side whose brightest stands for a pixel."""
_SIDE = 50
"""Samples along the shorter side, at least."""


@dataclass(frozen=True)
class Loe(ImageMetric):
    """LOE as the authors' MATLAB code computes it: 0 for an equal order, at most the number of samples less one."""

    view: View = field(default_factory=View)

    name = "loe"
    higher_is_better = False
    spaces = ("rgb",)

    def signature(self) -> Signature:
        own = [("against", "gt"), ("window", 2 * _REACH + 1), ("side", _SIDE), ("v", 1)]
        return Signature.of("loe", [*self.view.signature("FR"), *own])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,3,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` below 50 pixels a side."""
        height, width = restored.shape[-2:]
        if min(height, width) < _SIDE:
            raise ItemError(f"loe needs {_SIDE}×{_SIDE} pixels or more, the view is {width}×{height}")
        return of_pairs(restored, reference, lambda ours, theirs: order_error(_samples(ours), _samples(theirs)))


def _samples(image: np.ndarray) -> np.ndarray:
    """[3,H,W] in [0,1] → lightness in 8-bit levels at a grid of places, each the brightest of its neighbourhood."""
    import cv2
    import numpy as np

    lightness = np.rint(image.max(axis=0) * 255)
    # The authors mirror the border; what is mirrored lies in the window already.
    brightest = cv2.dilate(lightness, np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8))
    step = min(lightness.shape) // _SIDE
    return np.asarray(brightest[step - 1 :: step, step - 1 :: step]).ravel()


def order_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Mean over samples of how many others are on the other side of it: [N], [N] → a number of samples."""
    import numpy as np

    total = 0
    for start in range(0, len(ours), 512):  # a quadratic table in parts
        part = slice(start, start + 512)
        first = ours[None, :] >= ours[part, None]
        second = theirs[None, :] >= theirs[part, None]
        total += int(np.count_nonzero(first != second))
    return total / len(ours)

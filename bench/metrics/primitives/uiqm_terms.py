"""What the definitions of UIQM in `uiqm_funie.py` and `uiqm_xueleichen.py` are built of, from 8-bit levels.

Values of pixels are whole numbers, so colour statistics come from exact histograms, and extremes of blocks from two
reductions of the whole plane.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class Parts(NamedTuple):
    """The three terms, before they are weighted."""

    colourfulness: float
    """UICM."""
    sharpness: float
    """UISM."""
    contrast: float
    """UIConM."""


class Counts(NamedTuple):
    """A histogram: `number[i]` pixels have the value `value[i]`, ascending."""

    value: np.ndarray
    number: np.ndarray

    def between(self, start: int, stop: int) -> Counts:
        """Of the sorted pixels, those at the places start..stop-1."""
        import numpy as np

        return Counts(self.value, np.diff(np.clip(self.number.cumsum(), start, stop), prepend=start))

    def mean(self) -> float:
        return float((self.value * self.number).sum() / self.number.sum())

    def spread(self, centre: float) -> float:
        """Mean squared distance from `centre`."""
        return Counts((self.value - centre) ** 2, self.number).mean()


def counted(differences: np.ndarray, low: int, high: int, unit: float = 1.0) -> Counts:
    """Histogram of int16 [H,W] whose values lie in low..high, in multiples of `unit`."""
    import cv2
    import numpy as np

    bins = high - low + 1
    shifted = (differences - low).view(np.uint16)
    rows = max(1, 2**24 // shifted.shape[1])  # OpenCV counts in float32, which holds whole numbers up to there
    parts = [
        cv2.calcHist([shifted[top : top + rows]], [0], None, [bins], [0, bins]).ravel().astype(np.int64)
        for top in range(0, len(shifted), rows)
    ]
    return Counts(np.arange(low, high + 1) * unit, np.sum(parts, axis=0))


def opponents(levels: np.ndarray, *, wrap: bool = False) -> tuple[Counts, Counts]:
    """Histograms of R − G and (R + G) / 2 − B; `wrap` as uint8 arithmetic leaves R − G and R + G."""
    import cv2
    import numpy as np

    red, green, blue = (plane.astype(np.int16) for plane in cv2.split(levels))
    first, total = red - green, red + green
    if wrap:
        first, total = first & np.int16(255), total & np.int16(255)
    return counted(first, -255, 255), counted(total - 2 * blue, -510, 510, 0.5)


def colourfulness(means: tuple[float, float], spreads: tuple[float, float]) -> float:
    return -0.0268 * math.hypot(*means) + 0.1586 * math.sqrt(sum(spreads))


def extremes(plane: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum of each block of [H,W], whose sides are multiples of `block`."""
    import numpy as np

    height, width = plane.shape
    rows = plane.reshape(height // block, block, width)
    # NumPy is slow along a short last axis: columns of blocks are taken apart first.
    low, high = ([ends[:, column::block] for column in range(block)] for ends in (rows.min(axis=1), rows.max(axis=1)))
    return np.minimum.reduce(low), np.maximum.reduce(high)


def squared_gradient(plane: np.ndarray, depth: int) -> np.ndarray:
    """Sum of squares of both Sobel derivatives of a uint8 plane, mirrored with the edge; exact whole numbers."""
    import cv2

    across, down = (
        cv2.Sobel(plane, depth, *order, ksize=3, borderType=cv2.BORDER_REFLECT) for order in ((1, 0), (0, 1))
    )
    across *= across
    down *= down
    across += down
    return across


def entropy(top: np.ndarray, bottom: np.ndarray) -> float:
    """Sum of c·log c of c = top / bottom, 0 where top is 0."""
    import numpy as np

    contrast = np.divide(top, bottom, out=np.ones_like(top), where=top != 0).astype(np.float64)
    return float((contrast * np.log(contrast)).sum())

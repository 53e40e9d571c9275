"""UIQM as xueleichen's `evaluate.py` computes it (@a591335), oddities included; `uiqm.py` names them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.errors import ItemError
from bench.metrics.primitives.uiqm_terms import Parts, colourfulness, entropy, extremes, opponents

if TYPE_CHECKING:
    import numpy as np

BLOCK = 8


def terms(levels: np.ndarray, *, wrap: bool) -> Parts:
    """uint8 RGB [H,W,3] → terms of xueleichen's script; `wrap` keeps its overflow of uint8 in R − G and R + G."""
    height, width = levels.shape[:2]
    if height * width < 10:
        raise ItemError(f"uiqm (xueleichen) needs 10 pixels or more, the view is {width}×{height}")
    return Parts(_colourfulness(levels, wrap), _sharpness(levels), _contrast(levels))


def _colourfulness(levels: np.ndarray, wrap: bool) -> float:
    """Means and spreads without a tenth at each end."""
    pixels = levels.shape[0] * levels.shape[1]
    cut = int(0.1 * pixels)
    kept = [counts.between(cut, pixels - cut) for counts in opponents(levels, wrap=wrap)]
    means = [counts.mean() for counts in kept]
    spreads = [counts.spread(mean) for counts, mean in zip(kept, means, strict=True)]
    return colourfulness((means[0], means[1]), (spreads[0], spreads[1]))


def _filled(plane: np.ndarray, block: int) -> np.ndarray:
    """Sides grown to multiples of `block` by repeating the last row and column, which leaves all extremes alone."""
    import cv2

    height, width = plane.shape
    return cv2.copyMakeBorder(plane, 0, -height % block, 0, -width % block, cv2.BORDER_REPLICATE)


def _sharpness(levels: np.ndarray) -> float:
    """EME of each channel × its Sobel magnitude (scikit-image's, of [0, 1]), rounded to 8 bits; zeros count as 1."""
    import cv2
    import numpy as np

    total = 0.0
    for plane, weight in zip(cv2.split(levels), (0.299, 0.587, 0.114), strict=True):
        low, high = _rounded_extremes(plane)
        ratio = np.maximum(high, 1) / np.maximum(low, 1)
        total += weight * 2 / low.size * float(np.log(ratio).sum())
    return total


def _rounded_extremes(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum in each block of round(plane × scikit-image's sobel(plane)).

    Rounding keeps order, so only extremes are rounded. Products half-way between two levels are common (equal
    derivatives, say), and there the last bit of scikit-image's float64 decides: such blocks are computed again.
    """
    import cv2
    import numpy as np

    slopes = (cv2.Sobel(plane, cv2.CV_32F, *order, borderType=cv2.BORDER_REFLECT) for order in ((1, 0), (0, 1)))
    edges = cv2.multiply(cv2.magnitude(*slopes), plane, scale=1 / (1020 * math.sqrt(2)), dtype=cv2.CV_32F)
    near = extremes(_filled(edges, BLOCK), BLOCK)
    low, high = (np.rint(ends).astype(np.float64) for ends in near)
    # float32 is off by less than 1e-4; 0.5 may go either way, as 0 and 1 count alike.
    doubtful = [(np.abs(ends - np.floor(ends) - 0.5) < 2e-4) & (ends > 1) for ends in near]
    rows, columns = np.nonzero(doubtful[0] | doubtful[1])
    if not len(rows):
        return low, high
    low[rows, columns], high[rows, columns] = _exact_extremes(plane, rows, columns)
    return low, high


def _exact_extremes(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for the blocks at these rows and columns, with scikit-image's float64."""
    import cv2
    import numpy as np

    around = np.arange(BLOCK + 2)
    # A block with its border; what lies beyond the image is taken from its last row and column, and left out below.
    down, across = (
        np.minimum(start[:, None] * BLOCK + around, side + 1)
        for start, side in zip((rows, columns), plane.shape, strict=True)
    )
    tiles = cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REFLECT)[down[:, :, None], across[:, None, :]]
    edges = np.rint(tiles[:, 1:-1, 1:-1] * _sobel(tiles * (1 / 255)))
    inside = (down[:, 1:-1, None] <= plane.shape[0]) & (across[:, None, 1:-1] <= plane.shape[1])
    axes = (1, 2)
    return np.where(inside, edges, np.inf).min(axes), np.where(inside, edges, -np.inf).max(axes)


def _sobel(padded: np.ndarray) -> np.ndarray:
    """scikit-image's sobel of all but the border of float64 [...,H,W], in its order of operations.

    SciPy adds a kernel's products row by row from the top left.
    """
    import numpy as np

    def near(down: int, across: int) -> np.ndarray:
        return padded[..., 1 + down : padded.shape[-2] - 1 + down, 1 + across : padded.shape[-1] - 1 + across]

    side = {-1: 0.25, 0: 0.5, 1: 0.25}
    down = sum(near(sign, place) * (sign * weight) for sign in (-1, 1) for place, weight in side.items())
    across = sum(near(place, sign) * (sign * weight) for place, weight in side.items() for sign in (-1, 1))
    return np.sqrt(down * down + across * across) / np.sqrt(2)


def _contrast(levels: np.ndarray) -> float:
    """logAMEE of gray in [0, 1] with PLIP arithmetic of 1026, made for 8-bit levels: all but plain there. Below 0."""
    import cv2
    import numpy as np

    # Weights × 10⁴ keep gray whole, and below 2²⁴, where float32 is exact.
    gray = cv2.transform(levels.astype(np.float32), np.array([[2125, 7154, 721]], np.float32))
    low, high = (ends / np.float64(2550000) for ends in extremes(_filled(gray, BLOCK), BLOCK))
    black = int((high == 0).sum())
    if black:
        raise ItemError(f"uiqm (xueleichen) divides by the brightness of a block, and {black} of {low.size} are black")
    total = entropy(1026 * (high - low) / (1026 - low), high + low - high * low / 1026)
    return 1026 - 1026 * (1 - total / 1026) ** (1 / low.size)

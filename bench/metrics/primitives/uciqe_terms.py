"""The three terms of UCIQE in each of the definitions that `uciqe.py` names, from 8-bit levels.

Only arithmetic: weights, names and sources are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ItemError

if TYPE_CHECKING:
    import numpy as np


class Parts(NamedTuple):
    """The three terms, before they are weighted."""

    chroma: float
    """Spread of chroma (of hue in the HSV family)."""
    contrast: float
    """Of luminance, between its darkest and its brightest percent."""
    saturation: float
    """Mean saturation."""


def jou_uip(levels: np.ndarray) -> Parts:
    import cv2

    return _lab_over_255(cv2.cvtColor(levels, cv2.COLOR_RGB2LAB))


def adpcc(levels: np.ndarray) -> Parts:
    import cv2
    import numpy as np

    return _lab_over_255(cv2.cvtColor(levels.astype(np.float32), cv2.COLOR_RGB2LAB))


def adpcc_unit(levels: np.ndarray) -> Parts:
    import cv2
    import numpy as np

    return _lab_over_255(cv2.cvtColor(levels.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB))


def _lab_over_255(lab: np.ndarray) -> Parts:
    """Pixels in the precision in which they come (uint8 gives float64), means in float64 and rounded to it.

    Chroma of 0 makes the first term inf or nan, and where it is also black the last one nan.
    """
    import cv2
    import numpy as np

    planes = cv2.split(lab)
    lightness, a, b = (plane / 255 for plane in planes)

    def mean(values: np.ndarray) -> np.floating:
        return values.dtype.type(values.mean(dtype=np.float64))

    a *= a
    b *= b
    a += b
    chroma = np.sqrt(a, out=a)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lightness *= lightness
        lightness += np.multiply(chroma, chroma, out=b)
        saturation = mean(np.divide(chroma, np.sqrt(lightness, out=lightness), out=lightness))
        ratio = np.divide(mean(chroma), chroma, out=b)
        ratio *= ratio
        spread = mean(np.abs(np.subtract(1, ratio, out=ratio), out=ratio))
        return Parts(float(np.sqrt(spread)), _binned_contrast(planes[0]), float(saturation))


def _binned_contrast(lightness: np.ndarray) -> float:
    """Distance of the 1 % and 99 % points in 65536 bins from minimum to maximum, 0..1; 0 where all is one level."""
    import numpy as np

    count, bins = lightness.size, 65536
    places = [_first_rank(count, reached) - 1 for reached in (lambda share: share > 0.01, lambda share: share >= 0.99)]
    points = np.partition(lightness, [0, *places, count - 1], axis=None)[[0, *places, count - 1]] / 255
    # The histogram of everything has its 1 % and 99 % points in the bins of these two.
    occupied = np.flatnonzero(np.histogram(points[1:3], bins, (points[0], points[3]))[0])
    return float(occupied[-1] - occupied[0]) / (bins - 1)


def _first_rank(count: int, reached: Callable[[float], bool]) -> int:
    """The smallest k of 1..count for which k / count has reached the share."""
    low, high = 1, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle / count) else (middle + 1, high)
    return low


def hsv_swapped(levels: np.ndarray) -> Parts:
    import cv2

    return _hsv_terms(cv2.cvtColor(levels, cv2.COLOR_BGR2HSV))


def hsv(levels: np.ndarray) -> Parts:
    import cv2

    return _hsv_terms(cv2.cvtColor(levels, cv2.COLOR_RGB2HSV))


def _hsv_terms(hsv: np.ndarray) -> Parts:
    """From the counts of 8-bit levels: all sums are exact."""
    import cv2
    import numpy as np

    pixels = hsv.shape[0] * hsv.shape[1]
    percent = pixels // 100
    if not percent:
        raise ItemError(f"uciqe (hsv) needs 100 pixels or more, the view is {hsv.shape[1]}×{hsv.shape[0]}")
    level = np.arange(256)
    hue, saturation, brightness = (np.bincount(plane.ravel(), minlength=256) for plane in cv2.split(hsv))
    mean = (hue * level).sum() / pixels
    deviation = math.sqrt((hue * np.square(level - mean)).sum() / pixels)
    darkest = np.diff(np.minimum(brightness.cumsum(), percent), prepend=0)
    brightest = np.diff(np.minimum(brightness[::-1].cumsum(), percent), prepend=0)[::-1]
    contrast = float(((brightest - darkest) * level).sum()) / (255 * percent)
    return Parts(deviation / 180, contrast, float((saturation * level).sum()) / pixels / 255)


def raw_lab(levels: np.ndarray) -> Parts:
    import numpy as np

    lightness, a, b = _cielab(levels)
    percent = round(0.01 * lightness.size)
    if not percent:
        raise ItemError(
            f"uciqe (raw-lab) needs 51 pixels or more, the view is {lightness.shape[1]}×{lightness.shape[0]}"
        )
    chroma = np.sqrt(a * a + b * b)
    ordered = np.partition(lightness, (percent - 1, lightness.size - percent), axis=None)
    contrast = ordered[-percent:].mean() - ordered[:percent].mean()
    saturation = np.divide(chroma, lightness, out=np.zeros_like(chroma), where=lightness != 0)
    return Parts(float(chroma.std()), float(contrast), float(saturation.mean()))


def _cielab(levels: np.ndarray) -> list[np.ndarray]:
    """sRGB levels → L, a, b of CIE 1976 under D65, with the constants of scikit-image."""
    import numpy as np

    grid = np.arange(256) / 255
    linear = np.where(grid > 0.04045, ((grid + 0.055) / 1.055) ** 2.4, grid / 12.92)
    red, green, blue = (linear[levels[..., channel]] for channel in range(3))
    roots = []
    for (r, g, b), white in zip(_XYZ, _D65, strict=True):
        ratio = (r * red + g * green + b * blue) / white
        roots.append(np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116))
    x, y, z = roots
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_D65 = (0.95047, 1.0, 1.08883)

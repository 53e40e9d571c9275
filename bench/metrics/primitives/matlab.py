"""What MATLAB's image functions do to pixels, where the metrics released as MATLAB code depend on it.

Gray conversion with MATLAB's rounding, and `imresize` with its antialiased bicubic kernel. Not a general image library:
only what a metric needs, on float64 arrays of levels.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from bench.metrics.levels import summed

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

_NEVER_TIES = 1e-9
"""Added before rounding: floats in [0, 1] miss a half by 1e-13, and no weighted level lies nearer to one than 1e-7."""

_WEIGHTS = {
    # First row of the inverse of the NTSC matrix, as MATLAB has computed it since rgb2gray exists.
    "matlab": (0.298936021293776, 0.587043074451121, 0.114020904255103),
    # OpenCV's BT.601 weights in 15-bit fixed point.
    "cv2": (9798 / 32768, 19235 / 32768, 3735 / 32768),
}

GRAYS = {
    "matlab": "rgb2gray of an 8-bit image: 0.2989 R + 0.5870 G + 0.1140 B, rounded half up to a level",
    "cv2": "OpenCV's 8-bit gray: 0.299 R + 0.587 G + 0.114 B in 15-bit fixed point, rounded half up to a level",
    "y": "BasicSR's luma, BT.601 studio range in float32, rounded half to even to a level",
}
"""The ways from 8-bit RGB to gray levels, and what each means."""


def gray_levels(planes: np.ndarray, kind: str) -> np.ndarray:
    """float64 RGB [3,H,W] in [0,1] → whole levels of 0..255, float64 [H,W], by one of `GRAYS`."""
    import numpy as np

    if kind == "y":
        levels = np.rint(planes * 255).astype(np.float32) / np.float32(255)
        luma = (65.481 * levels[0].astype(np.float64) + 128.553 * levels[1] + 24.966 * levels[2] + 16.0) / 255
        return np.rint(luma.astype(np.float32) * np.float32(255)).astype(np.float64)
    total, scratch = np.empty_like(planes[0]), np.empty_like(planes[0])
    red, green, blue = (255 * weight for weight in _WEIGHTS[kind])
    np.multiply(planes[0], red, out=total)
    for plane, weight in ((planes[1], green), (planes[2], blue)):
        np.multiply(plane, weight, out=scratch)
        total += scratch
    total += 0.5 + _NEVER_TIES
    return np.floor(total, out=total)


def gray_of_levels(levels: np.ndarray, kind: str) -> np.ndarray:
    """`gray_levels` of uint8 RGB [3,H,W], whose whole levels it equals."""
    import numpy as np

    if kind not in _WEIGHTS:
        return gray_levels(levels / np.float64(255), kind)
    tables = [np.arange(256) * weight for weight in _WEIGHTS[kind]]
    tables[0] += 0.5 + _NEVER_TIES
    total = summed(levels, tables)
    return np.floor(total, out=total)


def imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """MATLAB's `imresize(image, scale)`: float64 [H,W] → [⌈scale·H⌉, ⌈scale·W⌉], bicubic, antialiased when shrinking.

    Nothing is rounded or clipped. Borders are mirrored with the edge repeated. Rows are resized first, as in MATLAB for
    equal scales.
    """
    import numpy as np

    rows, columns = (resampling(size, scale) for size in image.shape)
    return np.ascontiguousarray((columns @ np.ascontiguousarray((rows @ image).T)).T)


@functools.lru_cache(maxsize=64)
def resampling(size: int, scale: float) -> csr_array:
    """The sparse matrix [⌈scale·size⌉, size] that resizes a column."""
    import numpy as np
    from scipy.sparse import csr_array

    # A whole product that floats put a hair above itself must not gain a pixel.
    length = math.ceil(round(scale * size, 9))
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = np.arange(1, length + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = np.floor(centre - width / 2)[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic((centre[:, None] - taps) * shrink)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])[(taps.astype(int) - 1) % (2 * size)]
    rows = np.repeat(np.arange(length), taps.shape[1])
    used = weights.ravel() != 0
    return csr_array((weights.ravel()[used], (rows[used], mirrored.ravel()[used])), shape=(length, size))


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = −1/2."""
    import numpy as np

    x = np.abs(distance)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))

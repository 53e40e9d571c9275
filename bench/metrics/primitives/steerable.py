"""The steerable pyramid of order 5 (Simoncelli and Freeman) by convolution, as far as VIF needs it.

Two of its six orientations, mirrored about the border pixels. No reconstruction, and no high-pass residue.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# One quarter of each filter of `sp5Filters`, the outer corner first: the lowpass filters are even both ways, the band
# is even down and odd across, and the orientation at right angles is its transpose.
_FIRST = (
    (0.00341614, -0.01551246, -0.03848215),
    (-0.01551246, 0.05586982, 0.15925570),
    (-0.03848215, 0.15925570, 0.40304148),
)
_LOW = (
    (0.00085404, -0.00244917, -0.00387812, -0.00944432, -0.00962054),
    (-0.00244917, -0.00523281, -0.00661117, 0.00410600, 0.01002988),
    (-0.00387812, -0.00661117, 0.01396746, 0.03277038, 0.03981393),
    (-0.00944432, 0.00410600, 0.03277038, 0.06426333, 0.08169618),
    (-0.00962054, 0.01002988, 0.03981393, 0.08169618, 0.10096540),
)
_BAND = (
    (0.00277643, -0.00986904, -0.01021852),
    (0.00496194, -0.00893064, -0.03075356),
    (0.01026699, 0.01189859, -0.08226445),
    (0.01455399, 0.02755155, -0.11732297),
)


class _Filters(NamedTuple):
    first: np.ndarray
    low: np.ndarray
    across: np.ndarray
    down: np.ndarray


@functools.cache
def kernels() -> _Filters:
    """The filters of the pyramid that VIF needs."""
    import numpy as np

    first, low = (np.pad(np.array(quarter), (0, len(quarter) - 1), mode="reflect") for quarter in (_FIRST, _LOW))
    half = np.pad(np.array(_BAND), ((0, 3), (0, 0)), mode="reflect")
    band = np.hstack([half, np.zeros((7, 1)), -half[:, ::-1]])
    return _Filters(first, 2 * low, band, band.T.copy())


def subbands(plane: np.ndarray, levels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """float64 [H,W] → per level, from the finest, the bands of the orientations across and down (up to the sign)."""
    import cv2

    def filtered(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_REFLECT_101)

    filters = kernels()
    low = filtered(plane, filters.first)
    for level in range(levels):
        if level:
            low = _halved(low, filters.low)
        yield filtered(low, filters.across), filtered(low, filters.down)


def _halved(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The plane under a filter of 9×9, every second sample both ways, from the first on; no other is computed.

    Each pixel of the plane meets a quarter of the kernel only, by whether its row and its column are even.
    """
    import cv2
    import numpy as np

    border = len(kernel) // 2
    padded = cv2.copyMakeBorder(plane, border, border, border, border, cv2.BORDER_REFLECT_101)
    height, width = (-(-size // 2) for size in plane.shape)
    total = np.zeros((height, width))
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        phase, quarter = (np.ascontiguousarray(each[down::2, across::2]) for each in (padded, kernel))
        filtered = cv2.filter2D(phase, cv2.CV_64F, quarter, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        total += filtered[:height, :width]
    return total

"""Moments of blocks of an image and of their products with their neighbours, in one pass."""

from __future__ import annotations

import numpy as np

from iqpir.compiled import compiled

_TILE = 64
"""Columns that are summed each by itself: the order of sums depends on it, and not on the processor."""


@compiled()
def moments(blocks: np.ndarray) -> np.ndarray:
    """Of contiguous float64 blocks [K,h,w] → [6,5,K], for the fields of `nss.fits`.

    Sum, sum of squares and number of the positive and of the negative values, in the order that `nss.fits_of` takes.
    """
    count, height, width = blocks.shape
    out = np.zeros((6, 5, count))
    lanes = np.zeros((5, 6 * _TILE))
    here, above = np.zeros(_TILE + 2), np.zeros(_TILE + 2)
    centre, ones = np.zeros(_TILE), np.ones(_TILE)
    for block in range(count):
        lanes[:] = 0
        for left in range(0, width, _TILE):
            right = min(left + _TILE, width)
            centre[:] = 0  # beyond the last column nothing counts
            _read(blocks[block, height - 1], left, right, above)
            for row in range(height):
                _read(blocks[block, row], left, right, here)
                centre[: right - left] = here[1 : 1 + right - left]
                _add(centre, ones, lanes[0])
                _add(centre, here, lanes[1])
                _add(centre, above[1:], lanes[2])
                _add(centre, above, lanes[3])
                _add(centre, above[2:], lanes[4])
                here, above = above, here
        for field in range(5):
            for kind in range(6):
                out[kind, field, block] = lanes[field, kind * _TILE : (kind + 1) * _TILE].sum()
    return out


@compiled()
def _read(row: np.ndarray, left: int, right: int, out: np.ndarray) -> None:
    """A tile of a row with a column on each side, as a circular shift sees them."""
    width = len(row)
    out[1 : 1 + right - left] = row[left:right]
    out[0] = row[left - 1 if left else width - 1]
    out[1 + right - left] = row[right if right < width else 0]


@compiled()
def _add(ours: np.ndarray, theirs: np.ndarray, lanes: np.ndarray) -> None:
    for column in range(_TILE):
        value = ours[column] * theirs[column]
        more, less = max(value, 0.0), min(value, 0.0)
        lanes[column] += more
        lanes[_TILE + column] += less
        lanes[2 * _TILE + column] += more * more
        lanes[3 * _TILE + column] += less * less
        lanes[4 * _TILE + column] += value > 0
        lanes[5 * _TILE + column] += value < 0

"""Pixels that lie on the 256 levels of a saved image, kept as integers: nine in ten of what is ever scored.

What is computed from them has the bits of the same computation on floats, or says how it is tied to it. Nothing here
knows of views or metrics.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor


def on_levels(image: Tensor) -> np.ndarray | None:
    """float64 [C,H,W] on the CPU → uint8 levels [C,H,W] where every pixel is one of k / 255; None where one is not."""
    import numpy as np

    planes = image.numpy()
    for rows in (planes[:, :1], planes):  # most images that are not on levels show it in their first row
        levels = np.rint(rows * 255)
        if not (np.array_equal(levels / 255, rows) and levels.min() >= 0 and levels.max() <= 255):
            return None
    return levels.astype(np.uint8)


def floats(levels: np.ndarray, values: np.ndarray) -> Tensor:
    """uint8 [C,H,W] of any strides → float64 [1,C,H,W], each level as the value [256] that it stands for."""
    import cv2
    import numpy as np
    import torch

    rows = np.ascontiguousarray(levels).reshape(-1, levels.shape[2])
    return torch.from_numpy(cv2.LUT(rows, values).reshape(1, *levels.shape))


@functools.cache
def values(*, single: bool = False) -> np.ndarray:
    """What the levels stand for: k / 255 in float64 [256]; with `single`, divided in float32."""
    import numpy as np

    levels = np.arange(256.0)
    table = (levels.astype(np.float32) / np.float32(255)).astype(np.float64) if single else levels / 255
    table.flags.writeable = False
    return table


def squared_error(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Sum of squared differences of uint8 [C,H,W], in levels: exact, and so the same in every order."""
    import cv2
    import numpy as np

    one, other = (np.ascontiguousarray(each).reshape(-1, each.shape[2]) for each in (ours, theirs))
    rows = max(1, (1 << 30) // max(1, one.shape[1]))  # OpenCV's float64 total of so many squares is a whole number
    return sum(
        round(cv2.norm(one[top : top + rows], other[top : top + rows], cv2.NORM_L2SQR))
        for top in range(0, len(one), rows)
    )


def yiq_luma(image: np.ndarray) -> np.ndarray:
    """pyiqa's 8-bit luma of RGB levels [H,W,3] → uint8 [H,W].

    Where 0.299 R + 0.587 G + 0.114 B is not exactly between two levels, its nearest one is a thousandth away or more
    and float32 finds it in any order of sums. The others, one colour in a thousand, are decided by `fused_luma`.
    """
    import cv2
    import numpy as np

    # Thousandths of a level: whole numbers below 2²⁴, exact in float32 in any order.
    total = cv2.transform(image.astype(np.float32), np.array([[299, 587, 114]], dtype=np.float32))
    luma = cv2.convertScaleAbs(total, alpha=0.001)
    total -= luma * np.float32(1000)
    ties = np.flatnonzero(np.abs(total, out=total) == 500)
    if ties.size:
        pixels = np.ascontiguousarray(image).reshape(-1, 3)[ties].T / np.float64(255)
        luma.reshape(-1)[ties] = fused_luma(pixels.astype(np.float32))
    return luma


def fused_luma(planes: np.ndarray) -> np.ndarray:
    """float32 [3,…] in [0,1] → levels of pyiqa's luma, float32 and whole.

    pyiqa's float32 matrix product sums in an order that differs between processors; here it is always a chain of fused
    multiply-adds (red, green, blue), followed in float64, so that the value is the same on every machine.
    """
    import numpy as np

    red, green, blue = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    total = planes[0] * red
    for plane, weight in ((planes[1], green), (planes[2], blue)):
        total = (plane * np.float64(weight) + total).astype(np.float32)
    total *= np.float32(255)
    return np.rint(total, out=total)


def weighted(levels: np.ndarray, weights: tuple[float, float, float]) -> np.ndarray:
    """uint8 [3,H,W] → w₀·(R/255) + w₁·(G/255) + w₂·(B/255), float64 [H,W], with the bits of that chain."""
    return summed(levels, [values() * weight for weight in weights])


def summed(levels: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [3,H,W], each channel by its table float64 [256], added from the first to the last → float64 [H,W]."""
    import numpy as np

    from bench.metrics.kernels import lookup

    red, green, blue = (np.ascontiguousarray(plane).ravel() for plane in levels)
    reds, greens, blues = tables
    out = np.empty(levels.shape[1:])
    lookup.summed(red, green, blue, reds, greens, blues, out.ravel())
    return out

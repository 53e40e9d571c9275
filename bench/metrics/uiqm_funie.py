"""UIQM as FUnIE-GAN's `Evaluation/uqim_utils.py` computes it (@8f934c8), oddities included; `uiqm.py` names them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bench.errors import ItemError
from bench.metrics.primitives.uiqm_terms import (
    Counts,
    Parts,
    colourfulness,
    entropy,
    extremes,
    opponents,
    squared_gradient,
)

if TYPE_CHECKING:
    import numpy as np

BLOCK = 10


def terms(levels: np.ndarray, sums: str) -> Parts:
    """uint8 RGB [H,W,3] → terms of FUnIE-GAN. `sums` is the precision of trimmed means, `float64` or `float32`."""
    height, width = levels.shape[:2]
    if min(height, width) < BLOCK:
        raise ItemError(f"uiqm (funie) needs {BLOCK}×{BLOCK} pixels or more, the view is {width}×{height}")
    whole = levels[: height - height % BLOCK, : width - width % BLOCK]
    return Parts(_colourfulness(levels, sums), _sharpness(levels), _contrast(whole))


def _colourfulness(levels: np.ndarray, sums: str) -> float:
    """Means without a tenth at each end – and, above the lower tenth, one pixel more –, spreads of all pixels."""
    import numpy as np

    moments = []
    for counts in opponents(levels):
        pixels = int(counts.number.sum())
        low, high = math.ceil(0.1 * pixels), math.floor(0.1 * pixels)
        kept = counts.between(low + 1, pixels - high)
        weight = 1 / (pixels - low - high)
        if sums == "float64":
            mean = weight * float((kept.value * kept.number).sum())
            moments.append((mean, counts.spread(mean)))
            continue
        # What Python's sum of float32 scalars gives with NumPy 2: one rounding for each pixel, in ascending order.
        total = np.add.accumulate(np.repeat(kept.value.astype(np.float32), kept.number), dtype=np.float32)[-1]
        single = np.float32(weight) * total
        distance = (counts.value.astype(np.float32) - single).astype(np.float64)
        moments.append((float(single), Counts(distance**2, counts.number).mean()))
    means, spreads = zip(*moments, strict=True)
    return colourfulness(means, spreads)


def _sharpness(levels: np.ndarray) -> float:
    """EME of each channel × its Sobel magnitude, which is scaled to a maximum of 255; float32, as there."""
    import cv2
    import numpy as np

    height, width = (side - side % BLOCK for side in levels.shape[:2])
    total = 0.0
    for plane, weight, name in zip(cv2.split(levels), (0.299, 0.587, 0.144), ("red", "green", "blue"), strict=True):
        edges = np.sqrt(squared_gradient(plane, cv2.CV_32F))
        strongest = edges.max()
        if not strongest:
            raise ItemError(f"uiqm (funie) divides by the strongest edge, and the {name} channel is flat: nan there")
        edges *= np.float32(255) / strongest
        edges *= plane
        low, high = extremes(edges[:height, :width], BLOCK)
        dark = low == 0
        ratio = np.divide(high, low, out=np.ones_like(high), where=~dark)
        total += weight * 2 / low.size * float(np.log(ratio, dtype=np.float64).sum())
    return total


def _contrast(levels: np.ndarray) -> float:
    """−mean of c·log c, c the Michelson contrast of a block of all three channels; no PLIP arithmetic."""
    import cv2
    import numpy as np

    lows, highs = zip(*(extremes(plane, BLOCK) for plane in cv2.split(levels)), strict=True)
    low, high = (np.stack(ends).astype(np.float32) for ends in (lows, highs))
    low, high = low.min(axis=0), high.max(axis=0)
    return -entropy(high - low, high + low) / low.size

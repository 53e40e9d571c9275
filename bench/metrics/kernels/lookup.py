"""Sums of what the levels of several channels stand for."""

from __future__ import annotations

import numpy as np

from iqpir.compiled import compiled


@compiled()
def summed(
    red: np.ndarray, green: np.ndarray, blue: np.ndarray,
    reds: np.ndarray, greens: np.ndarray, blues: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Contiguous uint8 [N] each, and the float64 value [256] of each level, into [N]: (red + green) + blue."""
    for place in range(len(out)):
        out[place] = reds[red[place]] + greens[green[place]] + blues[blue[place]]

"""The two-dimensional wavelet analysis that BIQI takes its statistics from: Daubechies 9, half-point symmetric borders.

What MATLAB's `wavedec2(image, levels, 'db9')` gives in its default extension mode. There is no synthesis.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_array

# Daubechies' wavelet with nine vanishing moments: the low-pass decomposition filter.
_LOW = (
    3.93473203162716e-05, -0.0002519631889427101, 0.00023038576352319597, 0.0018476468830562265,
    -0.00428150368246343, -0.004723204757751397, 0.022361662123679096, 0.00025094711483145197,
    -0.06763282906132997, 0.03072568147933338, 0.14854074933810638, -0.09684078322297646,
    -0.2932737832791749, 0.13319738582500756, 0.6572880780513005, 0.6048231236901112,
    0.24383467461259034, 0.038077947363878345,
)  # fmt: skip


class Details(NamedTuple):
    """Detail coefficients of one level."""

    horizontal: np.ndarray
    vertical: np.ndarray
    diagonal: np.ndarray


def details(image: np.ndarray, levels: int) -> list[Details]:
    """float64 [H,W] → the details of each level, finest first; a side of n gives ⌊(n + 17) / 2⌋ coefficients."""
    import numpy as np

    found = []
    for _ in range(levels):
        rows, columns = (_analysis(size) for size in image.shape)
        # [low; high] over rows, then over columns: the transposes keep both products on contiguous rows.
        both = np.ascontiguousarray((rows @ image).T)
        bands = np.ascontiguousarray((columns @ both).T)
        top, left = (matrix.shape[0] // 2 for matrix in (rows, columns))
        found.append(Details(bands[top:, :left], bands[:top, left:], bands[top:, left:]))
        image = np.ascontiguousarray(bands[:top, :left])
    return found


@functools.lru_cache(maxsize=64)
def _analysis(size: int) -> csr_array:
    """The sparse matrix [2·⌊(size + 17) / 2⌋, size] of both filters, every second sample, borders mirrored."""
    import numpy as np
    from scipy.sparse import csr_array

    low = np.array(_LOW)
    high = low[::-1] * np.where(np.arange(len(low)) % 2, 1, -1)
    length = (size + len(low) - 1) // 2
    # Output k of the full convolution, of which the odd ones stay, reads samples k, k − 1 … of the extended signal.
    sample = (2 * np.arange(length) + 1)[:, None] - np.arange(len(low))
    mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])[sample % (2 * size)]
    rows = np.repeat(np.arange(2 * length), len(low))
    values = np.concatenate([np.tile(low, length), np.tile(high, length)])
    return csr_array((values, (rows, np.tile(mirrored.ravel(), 2))), shape=(2 * length, size))

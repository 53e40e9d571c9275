"""BasicSR's float32 arithmetic, where the value of its NIQE depends on the order of sums.

Its `imresize` leaves that order to a matrix library, in which it follows from the layout in memory and from the
processor. Here it is written out, so that every machine has the same value. Nothing but halving is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.primitives import nss

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_TAPS = (-6, -18, 58, 222, 222, 58, -18, -6)
"""The antialiased bicubic kernel of one half, in 512ths: exact in float32, and so are those of every row and column."""

_MIRRORED = 3
"""Pixels of the border that are repeated on each side."""


def halved(levels: np.ndarray) -> np.ndarray:
    """BasicSR's `255 * imresize(levels / 255, 0.5)`: float32 [H,W], sides divisible by 4 → float32 [H/2,W/2].

    Bit for bit what it gives with the MKL of PyTorch's wheels on x86-64 in MKL's general code, nothing fused.
    Columns are summed tap by tap, rows four products at a time from where their pixels are aligned to 16 bytes: after
    two for even pixels of the output, after four for odd ones.
    """
    import numpy as np

    image = np.pad(levels / np.float32(255), _MIRRORED, mode="symmetric")
    taps = [np.float32(tap / 512) for tap in _TAPS]
    height, width = levels.shape
    half = _in_turn([image[k : k + height : 2] * tap for k, tap in enumerate(taps)])
    out = np.empty((height // 2, width // 2), dtype=np.float32)
    for first, lead in ((0, 2), (1, 4)):
        products = [half[:, 2 * first + k : 2 * first + k + width - 2 * first : 4] * tap for k, tap in enumerate(taps)]
        out[:, first::2] = _four_at_once(products, lead)
    return out * np.float32(255)


def _in_turn(products: Sequence[np.ndarray]) -> np.ndarray:
    """((a + b) + c) + …"""
    total = products[0].copy()
    for product in products[1:]:
        total += product
    return total


def _four_at_once(products: Sequence[np.ndarray], lead: int) -> np.ndarray:
    """The first `lead` in turn, then four in the lanes of a vector whose halves are added, then the others in turn."""
    a, b, c, d = products[lead : lead + 4]
    lanes = ((_in_turn(products[:lead]) + a) + c) + (b + d)
    return _in_turn([lanes, *products[lead + 4 :]])


def fits(blocks: np.ndarray) -> nss.Asymmetric:
    """`nss.fits` of float32 blocks [K,h,w] with its moments summed in float32 by NumPy's mean, as BasicSR has them.

    Where the nearest of the grid's shapes is undecided the last bits choose, and one step of 0.001 in one block moves
    the NIQE of a dark photograph by 1e-4.
    """
    import numpy as np

    ring = _wrapped(blocks)
    centre = ring[:, 1:, 1:-1]
    neighbours = (ring[:, 1:, :-2], ring[:, :-1, 1:-1], ring[:, :-1, :-2], ring[:, :-1, 2:])
    fields = [centre, *(centre * other for other in neighbours)]
    moments = np.array([[_moments(block.ravel()) for block in field] for field in fields])
    mean, power, left, right = np.moveaxis(moments, 2, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = left / right
        up, down = _power(ratio, 3) + 1, _power(ratio, 2) + 1
        target = _power(mean, 2) / power * up * (ratio + 1) / _power(down, 2)
    return nss.Asymmetric(nss.asymmetric_shape(target), left, right)


def _wrapped(blocks: np.ndarray) -> np.ndarray:
    """Blocks [K,h,w] with the last row before the first and a column on each side, as a circular shift sees them."""
    import numpy as np

    count, height, width = blocks.shape
    out = np.empty((count, height + 1, width + 2), dtype=blocks.dtype)
    out[:, 1:, 1:-1] = blocks
    out[:, 0, 1:-1] = blocks[:, -1]
    out[:, :, 0] = out[:, :, -2]
    out[:, :, -1] = out[:, :, 1]
    return out


def _moments(values: np.ndarray) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Mean of |x| and of x², root mean square of the negative and of the positive ones; NaN where there are none."""
    import numpy as np

    sides = (values[values < 0], values[values > 0])
    left, right = (np.sqrt(np.mean(side * side)) if side.size else np.float32(np.nan) for side in sides)
    return np.mean(np.abs(values)), np.mean(values * values), left, right


def _power(values: np.ndarray, exponent: int) -> np.ndarray:
    """Rounded once, as a single float32 is; a whole array's last bit depends on the processor."""
    import numpy as np

    return (values.astype(np.float64) ** exponent).astype(np.float32)

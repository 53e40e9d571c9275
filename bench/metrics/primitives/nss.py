"""Natural scene statistics: normalised coefficients, and generalised Gaussians fitted to them and to their products.

What NIQE, BRISQUE and BIQI share. The fits are moment matches over one grid of shapes, as in the LIVE releases; their
table is searched, not scanned, with the same result. No quality is computed here.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_BORDERS = {"replicate": 1, "zero": 0}
"""OpenCV's numbers of the borders."""

FLAT = 1e-10
"""Where a level and its mean are nearer than this, they are equal but for rounding."""

# Sign of x − μ in a flat area, one character per level of 0..255. MATLAB smooths with the two factors of a singular
# value decomposition, seven taps each, whose last bits decide and which no formula gives. This table is calibrated: a
# search over such factors, with fused multiply-adds, kept a pair that reproduces MATLAB's values of LIVE's releases on
# the five images that pyiqa publishes them for. Those values settle the signs of some sixteen levels; the others follow
# from the pair and may differ from MATLAB's. Images without flat areas, and black ones, do not depend on it.
_SIGNS = (
    "000-0+-000++--000000+0+0-0--000-0-0-0-00+-0-+000-00--0-+0-0+0+--"
    "00--0+-00+--0-00+--+00--+-00000+--0+00-0-00--0+-00-000+-00+--0--"
    "000+-0-000+---0000+--0-00+--0-00+0-0-0+00+0--0-0+---000+0-0-00++"
    "-0-000+00-00-+0--00-0+---000+---0000-00-0000+---0-0++--0-000----"
)


class Asymmetric(NamedTuple):
    """Asymmetric generalised Gaussians, one per sample."""

    shape: np.ndarray
    """α, on the grid 0.2, 0.201 … 10; 0.2 where a moment is not a number."""
    left: np.ndarray
    """Root mean square of the negative values; NaN where there are none."""
    right: np.ndarray
    """Root mean square of the positive values; NaN where there are none."""


class _Tables(NamedTuple):
    grid: np.ndarray
    one: np.ndarray
    """Γ(1/α) on the grid; `two` and `three` are Γ(2/α) and Γ(3/α)."""
    two: np.ndarray
    three: np.ndarray
    rising: np.ndarray
    """Γ(2/α)² / (Γ(1/α) Γ(3/α)), which grows with α."""
    falling: np.ndarray
    """Its inverse, which falls with α."""


@functools.cache
def _tables() -> _Tables:
    import numpy as np
    from scipy.special import gamma

    grid = np.arange(200, 10001) / 1000
    one, two, three = (gamma(k / grid) for k in (1, 2, 3))
    tables = _Tables(grid, one, two, three, two**2 / (one * three), one * three / two**2)
    for table in tables:
        table.flags.writeable = False
    return tables


def normalised(image: np.ndarray, *, border: str) -> np.ndarray:
    """Mean-subtracted, contrast-normalised coefficients (x − μ) / (σ + 1) of levels [H,W], float64.

    μ and σ under a 7×7 Gaussian of σ 7/6. `border` is `replicate` (NIQE's imfilter) or `zero` (BRISQUE's filter2).
    In a flat area x − μ is nothing but rounding, yet its sign decides on which side of a fit its pixels count, and can
    move a score by 10 %. There this returns the sign that MATLAB's rounding gives; see `flat_sign`.
    """
    return contrast(image, border=border, flat=FLAT)


def contrast(image: np.ndarray, *, border: str, flat: float = 0.0) -> np.ndarray:
    """`normalised`, with pixels that are nearer than `flat` to their mean that far away from it."""
    import cv2
    import numpy as np

    from bench.metrics.kernels.windows import normalised

    taps = window()
    radius = len(taps) // 2
    padded = cv2.copyMakeBorder(np.asarray(image, dtype=np.float64), *4 * (radius,), _BORDERS[border])
    out = np.empty(image.shape)
    normalised(padded, tuple(taps[: radius + 1].tolist()), _level_signs(), flat, out)
    return out


def smoothed(image: np.ndarray, *, border: str) -> np.ndarray:
    """The image under the 7×7 Gaussian of σ 7/6, float64."""
    import cv2

    taps = window()
    return cv2.sepFilter2D(image, cv2.CV_64F, taps, taps, borderType=_BORDERS[border])


def window() -> np.ndarray:
    """One side of the 7×7 Gaussian of σ 7/6."""
    import numpy as np

    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    return taps / taps.sum()


def flat_sign(levels: np.ndarray) -> np.ndarray:
    """Sign of x − μ that MATLAB's filter leaves in a flat area of that level of 0..255."""
    import numpy as np

    return _level_signs()[np.clip(np.rint(levels), 0, 255).astype(int)]


@functools.cache
def _level_signs() -> np.ndarray:
    import numpy as np

    signs = np.array([{"-": -1.0, "0": 0.0, "+": 1.0}[sign] for sign in _SIGNS])
    signs.flags.writeable = False
    return signs


def fits(blocks: np.ndarray) -> tuple[Asymmetric, np.ndarray, np.ndarray]:
    """Fits to each block [K,h,w] and to its products with the four circular shifts; fields of [5,K].

    The fields are the block itself and its products with the neighbour to the left, above, above left and above right
    (below left is the same set of products). Also returns the mean of the absolute values and of the squares, [5,K].
    """
    import numpy as np

    from bench.metrics.kernels.moments import moments

    return fits_of(moments(np.ascontiguousarray(blocks)), blocks[0].size)


def fits_of(sums: np.ndarray, size: int) -> tuple[Asymmetric, np.ndarray, np.ndarray]:
    """`fits` of blocks of that many pixels by their moments [6,5,K]: sums, sums of squares and counts of the positive
    and of the negative values."""
    import numpy as np

    plus, minus, right, left, positive, negative = sums
    mean, power = (plus - minus) / size, (right + left) / size
    with np.errstate(divide="ignore", invalid="ignore"):
        left, right = np.sqrt(left / negative), np.sqrt(right / positive)
        ratio = left / right
        target = mean**2 / power * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    return Asymmetric(asymmetric_shape(target), left, right), mean, power


def asymmetric_shape(target: np.ndarray) -> np.ndarray:
    """The shape on the grid whose Γ(2/α)² / (Γ(1/α) Γ(3/α)) is nearest; 0.2 where the target is no finite number."""
    return _tables().grid[_nearest(_tables().rising, target)]


def gammas(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Γ(1/α), Γ(2/α), Γ(3/α) of shapes on the grid."""
    import numpy as np

    tables = _tables()
    index = np.rint(shape * 1000).astype(int) - 200
    return tables.one[index], tables.two[index], tables.three[index]


def symmetric_shape(ratio: np.ndarray) -> np.ndarray:
    """Shape of the generalised Gaussian whose mean square ÷ squared mean absolute value is `ratio`, on the grid."""
    import numpy as np

    tables = _tables()
    # From the high end the table rises; of two equally near shapes the lower one is the later.
    index = len(tables.grid) - 1 - _nearest(tables.falling[::-1], np.asarray(ratio), later=True)
    return tables.grid[np.where(np.isfinite(ratio), index, 0)]


def _nearest(rising: np.ndarray, target: np.ndarray, *, later: bool = False) -> np.ndarray:
    """Index of the nearest value of a rising table; the earlier of two equally near, 0 for what is no finite number."""
    import numpy as np

    finite = np.where(np.isfinite(target), target, -np.inf)
    upper = np.clip(np.searchsorted(rising, finite), 1, len(rising) - 1)
    with np.errstate(invalid="ignore"):
        below, above = np.abs(finite - rising[upper - 1]), np.abs(rising[upper] - finite)
        return np.where((above <= below) & np.isfinite(above) if later else above < below, upper, upper - 1)

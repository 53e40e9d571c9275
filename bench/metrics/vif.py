"""Visual information fidelity (Sheikh and Bovik, TIP 2006) on a steerable pyramid, in float64.

The vector Gaussian scale mixture of the paper on 3×3 blocks of two orientations at four scales, as its release
`vifvec` computes it. Not the pixel-domain VIFp, which is another number.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ItemError
from bench.metrics.base import ImageMetric, Signature, of_pairs
from bench.metrics.primitives.steerable import subbands
from bench.metrics.view import LUMAS, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_LEVELS = 4
_NOISE = 0.4
"""Variance of the visual noise, for images in 0..255."""
_TOL = 1e-15
_FLAT = "vif is undefined: the reference is flat"
_SMALLEST = 41
"""Below it the coarsest level has no block away from the border."""


class _Information(NamedTuple):
    kept: float
    """Bits about the scene that the restored image gives."""
    whole: float
    """Bits that the reference gives."""


@dataclass(frozen=True)
class Vif(ImageMetric):
    """VIF of the luma; 1 for equal images, above 1 for an enhanced contrast. Agrees with `vifvec` on 8-bit gray."""

    view: View = field(default_factory=lambda: View(space="yiq"))

    name = "vif"
    spaces = LUMAS

    def signature(self) -> Signature:
        own = [("pyramid", "sp5-4"), ("block", 3), ("noise", _NOISE), ("v", 1)]
        return Signature.of("vif", [*self.view.signature("FR"), *own])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,1,H,W] in [0,1], as the view left them → float64 [B].

        `ItemError` below 41 pixels a side, and for a flat reference, which has no information to keep.
        """
        assert reference is not None
        height, width = restored.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise ItemError(f"vif needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")
        if restored.device.type != "cpu":
            return self.score_batch(restored, reference)
        return of_pairs(restored[:, 0], reference[:, 0], lambda ours, theirs: _fidelity(ours * 255, theirs * 255))

    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        """As `score`, of a whole batch at once on its device, in torch."""
        import torch

        from bench.metrics import batched

        if bool((reference.amin(dim=(1, 2, 3)) == reference.amax(dim=(1, 2, 3))).any()):
            raise ItemError(_FLAT)
        pyramids = (batched.subbands(planes * 255, _LEVELS) for planes in (restored, reference))
        kept = torch.zeros(len(restored), dtype=torch.float64, device=restored.device)
        whole = kept.clone()
        for level, (bands, references) in enumerate(zip(*pyramids, strict=True)):
            height, width = (size // 3 * 3 for size in bands[0].shape[1:])
            for one, other in zip(bands, references, strict=True):
                cut = one[:, :height, :width], other[:, :height, :width]
                found = batched.information(*cut, 2 ** (_LEVELS - level) + 1, noise=_NOISE, tol=_TOL)
                kept, whole = kept + found[0], whole + found[1]
        if bool((whole <= 0).any()):
            raise ItemError(_FLAT)
        return kept / whole


def _fidelity(ours: np.ndarray, theirs: np.ndarray) -> float:
    kept = whole = 0.0
    if theirs.min() != theirs.max():
        pyramids = zip(subbands(ours, _LEVELS), subbands(theirs, _LEVELS), strict=True)
        for level, (bands, references) in enumerate(pyramids):
            for band, reference in zip(bands, references, strict=True):
                found = _information(_whole_blocks(band), _whole_blocks(reference), 2 ** (_LEVELS - level) + 1)
                kept, whole = kept + found.kept, whole + found.whole
    if whole <= 0:
        raise ItemError(_FLAT)
    return kept / whole


def _whole_blocks(band: np.ndarray) -> np.ndarray:
    height, width = (size // 3 * 3 for size in band.shape)
    return band[:height, :width].copy()


def _information(band: np.ndarray, reference: np.ndarray, window: int) -> _Information:
    """Bits in one subband of both images, whose sides are multiples of 3; the channel is estimated in `window`²."""
    import numpy as np

    gain, noise = _channel(band, reference, window)
    values, vectors = np.linalg.eigh(_covariance(reference))
    kept = values > 1e-15 * values[-1]  # directions without variance have no inverse
    height, width = reference.shape
    blocks = reference.reshape(height // 3, 3, width // 3, 3).transpose(1, 3, 0, 2).reshape(9, -1)
    # einsum, not a matrix product: BLAS may divide the work, and so the rounding, among threads.
    scores = np.einsum("kp,ki->ip", blocks, vectors[:, kept])
    power = (np.einsum("ip,ip,i->p", scores, scores, 1 / values[kept]) / 9).reshape(gain.shape)
    edge = -(-(window // 2) // 3)
    gain, noise, power = (field[edge:-edge, edge:-edge] for field in (gain, noise, power))
    clean = power / _NOISE
    power = np.square(gain, out=gain) * power / (noise + _NOISE)
    # One logarithm of the product of nine factors, each far below the ninth root of the largest float.
    products = [functools.reduce(np.multiply, (1 + value * signal for value in values)) for signal in (power, clean)]
    return _Information(*(float(np.log2(one).sum()) for one in products))


def _channel(band: np.ndarray, reference: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Gain and noise variance of the distortion at the middle of each 3×3 block."""
    import cv2
    import numpy as np

    def summed(plane: np.ndarray) -> np.ndarray:
        side = (window, window)
        return cv2.boxFilter(plane, cv2.CV_64F, side, normalize=False, borderType=cv2.BORDER_REFLECT_101)[1::3, 1::3]

    count = window**2
    x, y = summed(reference), summed(band)
    covariance = summed(reference * band) - x * y / count
    xx = np.maximum(summed(reference * reference) - x * x / count, 0)
    yy = np.maximum(summed(band * band) - y * y / count, 0)
    gain = covariance / (xx + _TOL)
    noise = (yy - gain * covariance) / count
    silent = xx < _TOL
    gain[silent], noise[silent] = 0, yy[silent]
    silent = yy < _TOL
    gain[silent], noise[silent] = 0, 0
    inverted = gain < 0
    gain[inverted], noise[inverted] = 0, yy[inverted]
    return gain, np.maximum(noise, _TOL)


def _covariance(band: np.ndarray) -> np.ndarray:
    """Population covariance [9,9] of all overlapping 3×3 blocks, from the products of the band with itself shifted."""
    import numpy as np

    height, width = (size - 2 for size in band.shape)
    mean = _window_sums(band, np.ones_like(band), height, width).ravel() / (height * width)
    second = np.empty((3, 3, 3, 3))
    for down, across in product(range(3), range(-2, 3)):
        if down == 0 and across < 0:
            continue
        left, right = max(-across, 0), max(across, 0)
        still, shifted = (
            band[: band.shape[0] - down, left : band.shape[1] - right],
            band[down:, right : band.shape[1] - left],
        )
        sums = _window_sums(still, shifted, height, width)
        row, column = (np.arange(count) for count in sums.shape)
        one, other = (row[:, None], column + left), (row[:, None] + down, column + right)
        second[(*one, *other)] = second[(*other, *one)] = sums
    return second.reshape(9, 9) / (height * width) - np.outer(mean, mean)


def _window_sums(ours: np.ndarray, theirs: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sums of products over every window [height, width] that fits; few do, and they overlap."""
    import numpy as np

    rows, columns = (size - side + 1 for size, side in zip(ours.shape, (height, width), strict=True))
    # What all windows share is summed once. einsum, because a matrix product may be divided among threads.
    common = np.einsum("ij,ij->j", ours[rows - 1 : height], theirs[rows - 1 : height])
    first, last = ours[: rows - 1] * theirs[: rows - 1], ours[height:] * theirs[height:]
    sums = common + _sides(rows) @ np.concatenate([first, last])
    middle = sums[:, columns - 1 : width].sum(axis=1)
    sides = np.concatenate([sums[:, : columns - 1], sums[:, width:]], axis=1)
    return middle[:, None] + sides @ _sides(columns).T


@functools.cache
def _sides(windows: int) -> np.ndarray:
    """Which of what lies before and behind the common part belongs to each of so many windows: 0 and 1."""
    import numpy as np

    shape = windows, windows - 1
    return np.concatenate([1 - np.tri(*shape, -1), np.tri(*shape, -1)], axis=1)

"""Perception-based image quality evaluator, PIQE (Venkatanath et al., NCC 2015), in float64.

Blind and without training: the share of visible artefacts and noise in the active 16×16 blocks of the luma, 0 to 100,
where less is better. MATLAB's `piqe` and its Python ports scale and pad differently, which is a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.primitives.matlab import gray_levels
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

VARIANTS = ("matlab", "pyiqa")

_BLOCK, _SEGMENT = 16, 6
_ACTIVE = 0.1
"""Variance above which a block counts."""
_IMPAIRED = 0.1
"""Standard deviation of six neighbours on a block's edge below which the block shows an artefact."""


class _Blocks(NamedTuple):
    active: np.ndarray
    impaired: np.ndarray
    noisy: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Piqe(ImageMetric):
    """PIQE of the luma. The defaults follow MATLAB's `piqe`: a uniform image gives 100."""

    view: View = field(default_factory=View)
    variant: str = "matlab"
    """`matlab`: `rgb2gray` levels, the last row and column repeated up to whole blocks. `pyiqa`: unrounded 0.299,
    0.587, 0.114 luma scaled so that the brightest pixel is 255, then rounded; mirrored by the remainder of 16 only, so
    that a part may be left out."""

    name = "piqe"
    mode = "NR"
    higher_is_better = False
    spaces = ("rgb",)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            near = suggest(self.variant, VARIANTS)
            raise BenchError(f"piqe: variant {self.variant!r} is not one of {', '.join(VARIANTS)}{near}")

    def signature(self) -> Signature:
        own = [("block", _BLOCK), ("variant", self.variant), ("v", 1)]
        return Signature.of("piqe", [*self.view.signature("NR"), *own])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 [B,3,H,W] in [0,1], as the view left it → float64 [B]. `ItemError` below 16 pixels a side."""
        import torch

        height, width = restored.shape[-2:]
        if min(height, width) < _BLOCK:
            raise ItemError(f"piqe needs {_BLOCK}×{_BLOCK} pixels or more, the view is {width}×{height}")
        levels = _matlab_levels if self.variant == "matlab" else _pyiqa_levels
        values = [_score(_blocks(levels(planes))) for planes in restored.cpu().numpy()]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)


def _matlab_levels(planes: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.pad(gray_levels(planes, "matlab"), [(0, -size % _BLOCK) for size in planes.shape[1:]], mode="edge")


def _pyiqa_levels(planes: np.ndarray) -> np.ndarray:
    import numpy as np

    luma = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    brightest = luma.max()
    if brightest == 0:
        raise ItemError("piqe, variant pyiqa, is undefined: the image is black")
    return np.pad(np.rint(255 * (luma / brightest)), [(0, size % _BLOCK) for size in luma.shape], mode="symmetric")


def _blocks(plane: np.ndarray) -> _Blocks:
    """What each 16×16 block of the normalised luma shows; a remainder below and to the right is left out."""
    import cv2
    import numpy as np

    offsets = np.arange(-3, 4)
    taps = np.exp(-(offsets**2) / (2 * (7 / 6) ** 2))
    taps /= taps.sum()
    mean, power = (
        cv2.sepFilter2D(one, cv2.CV_64F, taps, taps, borderType=cv2.BORDER_REPLICATE) for one in (plane, plane * plane)
    )
    plane = (plane - mean) / (np.sqrt(np.abs(power - mean * mean)) + 1)
    rows, columns = (size // _BLOCK for size in plane.shape)
    shape = (rows, _BLOCK, columns, _BLOCK)
    blocks = plane[: rows * _BLOCK, : columns * _BLOCK].reshape(shape).swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)

    variance = blocks.var(axis=(1, 2), ddof=1)
    edges = np.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]])
    segments = np.lib.stride_tricks.sliding_window_view(edges, _SEGMENT, axis=-1)
    impaired = (segments.std(axis=-1, ddof=1) < _IMPAIRED).any(axis=(0, 2))
    return _Blocks(variance > _ACTIVE, impaired, _noisy(blocks, np.sqrt(variance)), variance)


def _noisy(blocks: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Where the two middle columns vary as much as their surround. The surround misses columns 7 and 9 of 0..15, not
    the middle 7 and 8: MATLAB takes out the second after the first is gone."""
    import numpy as np

    middle = blocks[:, :, 7:9].std(axis=(1, 2), ddof=1)
    surround = np.delete(blocks, (7, 9), axis=2).std(axis=(1, 2), ddof=1)
    quotient = np.divide(middle, surround, out=np.where(middle > 0, np.inf, 0.0), where=surround > 0)
    largest = np.maximum(deviation, quotient)
    # No number (a constant block, an infinite quotient) compares as false.
    beta = np.divide(
        np.abs(deviation - quotient),
        largest,
        out=np.full(len(blocks), np.nan),
        where=np.isfinite(largest) & (largest > 0),
    )
    return deviation > 2 * beta


def _score(blocks: _Blocks) -> float:
    import numpy as np

    distortion = blocks.impaired * (1 - blocks.variance) + blocks.noisy * blocks.variance
    active = blocks.active
    return 100 * (float(np.sum(distortion[active])) + 1) / (float(np.sum(active)) + 1)

"""Perception-based image quality evaluator, PIQE (Venkatanath et al., NCC 2015), in float64.

Blind and without training: the share of visible artefacts and noise in the active 16×16 blocks of the luma, 0 to 100,
where less is better. MATLAB's `piqe` and its Python ports scale and pad differently, which is a field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Shared, Signature
from bench.metrics.levels import weighted
from bench.metrics.primitives.matlab import gray_levels, gray_of_levels
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

VARIANTS = ("matlab", "pyiqa")

_STRIP = 8 * 16
"""Rows computed at a time, so that they stay in the cache; values do not depend on it."""
_LUMA = (0.299, 0.587, 0.114)
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
        import numpy as np
        import torch

        self._check(restored.shape)
        grays = _matlab_gray if self.variant == "matlab" else _pyiqa_gray
        planes = [grays(image) for image in restored.cpu().numpy()]
        if restored.device.type != "cpu":
            return self.score_batch(torch.from_numpy(np.stack(planes)).to(restored.device))
        return torch.tensor([_score(_blocks(gray)) for gray in planes], dtype=torch.float64)

    def score_batch(self, gray: Tensor) -> Tensor:
        """Of gray levels [B,H,W], made of images as for `score`: a whole batch at once on its device, in torch."""
        import torch

        from bench.metrics import batched

        found = [each.cpu().numpy() for each in batched.piqe_blocks(gray, _BLOCK, _SEGMENT)]
        values = [
            _score(_Blocks(variance > _ACTIVE, edge < _IMPAIRED, _noisy(variance**0.5, middle, surround), variance))
            for variance, edge, middle, surround in zip(*found, strict=True)
        ]
        return torch.tensor(values, dtype=torch.float64, device=gray.device)

    def score_levels(self, levels: Levels, shared: Shared) -> float:
        self._check(levels.restored.shape)
        if self.variant == "matlab":
            return _score(_blocks(_padded_to_blocks(gray_of_levels(levels.restored, "matlab"))))
        return _score(_blocks(_scaled(weighted(levels.restored, _LUMA))))

    def _check(self, shape: Sequence[int]) -> None:
        height, width = shape[-2:]
        if min(height, width) < _BLOCK:
            raise ItemError(f"piqe needs {_BLOCK}×{_BLOCK} pixels or more, the view is {width}×{height}")


def _matlab_gray(planes: np.ndarray) -> np.ndarray:
    return _padded_to_blocks(gray_levels(planes, "matlab"))


def _padded_to_blocks(gray: np.ndarray) -> np.ndarray:
    import numpy as np

    margins = [(0, -size % _BLOCK) for size in gray.shape]
    return np.pad(gray, margins, mode="edge") if any(map(any, margins)) else gray


def _pyiqa_gray(planes: np.ndarray) -> np.ndarray:
    return _scaled(_LUMA[0] * planes[0] + _LUMA[1] * planes[1] + _LUMA[2] * planes[2])


def _scaled(luma: np.ndarray) -> np.ndarray:
    import numpy as np

    brightest = luma.max()
    if brightest == 0:
        raise ItemError("piqe, variant pyiqa, is undefined: the image is black")
    luma /= brightest
    luma *= 255
    np.rint(luma, out=luma)
    margins = [(0, size % _BLOCK) for size in luma.shape]
    return np.pad(luma, margins, mode="symmetric") if any(map(any, margins)) else luma


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
    rows, columns = (size // _BLOCK for size in plane.shape)
    strips = []
    for top in range(0, rows * _BLOCK, _STRIP):
        inside = slice(top, min(top + _STRIP, rows * _BLOCK)), slice(columns * _BLOCK)
        strip, centre, spread = (np.ascontiguousarray(one[inside]) for one in (plane, mean, power))
        strip = strip - centre
        centre *= centre
        spread -= centre
        np.sqrt(np.abs(spread, out=spread), out=spread)
        spread += 1
        strip /= spread
        strips.append(_rows_of_blocks(strip.reshape(-1, _BLOCK, columns, _BLOCK)))
    return _Blocks(*(np.concatenate(each) for each in zip(*strips, strict=True)))


def _rows_of_blocks(blocks: np.ndarray) -> _Blocks:
    """[R,16,K,16], as blocks lie in an image → R·K blocks."""
    import numpy as np

    sums = blocks.sum(axis=1)  # of the columns: [R,K,16]
    variance = _variance(blocks, sums)
    middle = _variance(blocks[..., 7:9], sums[..., 7:9])
    # The surround misses columns 7 and 9, not the middle 7 and 8: MATLAB takes out the second after the first is gone.
    surround = _variance(blocks, sums, [*range(7), 8, *range(10, _BLOCK)])
    noisy = _noisy(*(np.sqrt(each).ravel() for each in (variance, middle, surround)))
    edges = [blocks[:, 0], blocks[:, -1], blocks[..., 0].transpose(0, 2, 1), blocks[..., -1].transpose(0, 2, 1)]
    variance = variance.ravel()
    return _Blocks(variance > _ACTIVE, _impaired(np.stack(edges).reshape(4, -1, _BLOCK)), noisy, variance)


def _variance(blocks: np.ndarray, sums: np.ndarray, columns: Sequence[int] | None = None) -> np.ndarray:
    """Sample variance [R,K] of blocks [R,16,K,C], of some of their columns, by deviations from the mean."""
    import numpy as np

    chosen = slice(None) if columns is None else columns
    count = _BLOCK * (blocks.shape[3] if columns is None else len(columns))
    deviations = blocks - (sums[..., chosen].sum(axis=2) / count)[:, None, :, None]
    variance: np.ndarray = np.square(deviations, out=deviations).sum(axis=1)[..., chosen].sum(axis=2) / (count - 1)
    return variance


def _impaired(edges: np.ndarray) -> np.ndarray:
    """Of the four edges of blocks [4,K,16]: whether six neighbours anywhere hardly differ."""
    import numpy as np

    runs = _BLOCK - _SEGMENT + 1
    along = np.ascontiguousarray(edges.transpose(2, 0, 1))  # [16,4,K]: neighbours lie in rows of their own
    segments = [along[k : k + runs] for k in range(_SEGMENT)]
    mean = sum(segments[1:], segments[0]) / _SEGMENT
    squares = sum(np.square(segment - mean) for segment in segments)
    return np.asarray((np.sqrt(squares / (_SEGMENT - 1)) < _IMPAIRED).any(axis=(0, 1)))


def _noisy(deviation: np.ndarray, middle: np.ndarray, surround: np.ndarray) -> np.ndarray:
    """Where the two middle columns of a block vary as much as their surround, by standard deviations."""
    import numpy as np

    quotient = np.divide(middle, surround, out=np.where(middle > 0, np.inf, 0.0), where=surround > 0)
    largest = np.maximum(deviation, quotient)
    # No number (a constant block, an infinite quotient) compares as false.
    beta = np.divide(
        np.abs(deviation - quotient),
        largest,
        out=np.full(len(deviation), np.nan),
        where=np.isfinite(largest) & (largest > 0),
    )
    return deviation > 2 * beta


def _score(blocks: _Blocks) -> float:
    import numpy as np

    distortion = blocks.impaired * (1 - blocks.variance) + blocks.noisy * blocks.variance
    active = blocks.active
    return 100 * (float(np.sum(distortion[active])) + 1) / (float(np.sum(active)) + 1)

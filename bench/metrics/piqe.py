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
from bench.metrics.live import shared_gray
from bench.metrics.primitives.matlab import gray_levels
from bench.metrics.primitives.nss import contrast
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

VARIANTS = ("matlab", "pyiqa")

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
        values = [_score(_judged(*variances)) for variances in zip(*found, strict=True)]
        return torch.tensor(values, dtype=torch.float64, device=gray.device)

    def score_levels(self, levels: Levels, shared: Shared) -> float:
        self._check(levels.restored.shape)
        if self.variant == "matlab":
            return _score(_blocks(_padded_to_blocks(shared_gray(levels, "matlab", shared))))
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
    from bench.metrics.kernels.blocks import variances

    return _judged(*variances(contrast(plane, border="replicate")))


def _judged(variance: np.ndarray, middle: np.ndarray, surround: np.ndarray, edge: np.ndarray) -> _Blocks:
    """Blocks by the variance of the whole, of its two middle columns, of their surround, and the least on its edges."""
    noisy = _noisy(variance**0.5, middle**0.5, surround**0.5)
    return _Blocks(variance > _ACTIVE, edge**0.5 < _IMPAIRED, noisy, variance)


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

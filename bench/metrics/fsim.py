"""Feature similarity, FSIM and FSIMc (Zhang et al., TIP 2011), in float64.

Phase congruency and gradient magnitude of the luma at about 256 pixels' height, and for FSIMc the two chroma
channels; each pixel weighs by its phase congruency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Signature, of_pairs
from bench.metrics.primitives.phase_congruency import phase_congruency, room
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_T1, _T2, _T3, _LAMBDA = 0.85, 160.0, 200.0, 0.03
_SMALLEST = 8
_FLAT = "fsim is undefined: neither image has any phase congruency (both are flat)"


class _Variant(NamedTuple):
    yiq: tuple[tuple[float, float, float], ...]
    epsilon: float
    """What keeps the mean phase of phase congruency finite."""
    original: bool
    """The authors' rules: MATLAB's round and `conv2(…, 'same')` for the size, median, powers of negative numbers."""


_LUMA = (0.299, 0.587, 0.114)
VARIANTS = {
    "matlab": _Variant((_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)), 1e-4, True),
    "pyiqa": _Variant((_LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)), 2.0**-23, False),
}


@dataclass(frozen=True)
class Fsim(ImageMetric):
    """FSIMc of RGB images, or FSIM of their luma. The defaults follow the authors' `FeatureSIM.m`."""

    view: View = field(default_factory=View)
    chroma: bool = True
    """FSIMc; without it FSIM, which sees the luma only."""
    variant: str = "matlab"
    """`matlab`, the release; `pyiqa`, whose downsampling, YIQ weights, median and negative chroma differ."""

    name = "fsim"
    spaces = ("rgb",)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            near = suggest(self.variant, VARIANTS)
            raise BenchError(f"fsim: variant {self.variant!r} is not one of {', '.join(VARIANTS)}{near}")

    def signature(self) -> Signature:
        own = [("chroma", self.chroma), ("variant", self.variant), ("v", 1)]
        return Signature.of("fsim", [*self.view.signature("FR"), *own])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,3,H,W] in [0,1], as the view left them → float64 [B].

        `ItemError` below 8 pixels a side, and where neither image has any feature (both flat).
        """
        assert reference is not None
        height, width = restored.shape[-2:]
        if min(height, width) < _SMALLEST:
            raise ItemError(f"fsim needs {_SMALLEST}×{_SMALLEST} pixels or more, the view is {width}×{height}")
        if restored.device.type != "cpu":
            return self.score_batch(restored, reference)
        variant = VARIANTS[self.variant]
        return of_pairs(restored, reference, lambda ours, theirs: _similarity(ours, theirs, variant, self.chroma))

    def score_batch(self, restored: Tensor, reference: Tensor) -> Tensor:
        """As `score`, of a whole batch at once on its device, in torch."""
        from bench.metrics import batched

        variant = VARIANTS[self.variant]
        ours, theirs = (_channels_of_batch(images, variant, self.chroma) for images in (restored, reference))
        constants = (_T1, _T2, _T3, _LAMBDA)
        local, total = batched.fsim(
            ours, theirs, epsilon=variant.epsilon, original=variant.original, constants=constants
        )
        if bool((total == 0).any()):
            raise ItemError(_FLAT)
        return local / total


def _similarity(restored: np.ndarray, reference: np.ndarray, variant: _Variant, chroma: bool) -> float:
    import numpy as np

    ours, theirs = (_channels(image, variant, chroma) for image in (restored, reference))
    work = room(*ours[0].shape)
    pc_ours, pc_theirs = (
        phase_congruency(planes[0], epsilon=variant.epsilon, lower_median=not variant.original, work=work)
        for planes in (ours, theirs)
    )
    weight = np.maximum(pc_ours, pc_theirs)
    total = float(weight.sum())
    if total == 0:
        raise ItemError(_FLAT)
    local = weight * _ratio(pc_ours, pc_theirs, _T1) * _ratio(_gradient(ours[0]), _gradient(theirs[0]), _T2)
    if chroma:
        colour = _ratio(ours[1], theirs[1], _T3) * _ratio(ours[2], theirs[2], _T3)
        local *= np.abs(colour) ** _LAMBDA
        if variant.original:  # the real part of a negative number's complex power
            local[colour < 0] *= math.cos(_LAMBDA * math.pi)
    return float(local.sum()) / total


def _channels(image: np.ndarray, variant: _Variant, chroma: bool) -> list[np.ndarray]:
    """RGB [3,H,W] in [0,1] → Y, or Y, I and Q, in 0..255, about 256 pixels on the shorter side."""
    import cv2
    import numpy as np

    factor, rows, columns, margins = _shrinking(image.shape[1], image.shape[2], variant)
    if any(map(any, margins)):
        image = np.pad(image, [(0, 0), *margins])
    if factor > 1:
        image = image[:, : rows * factor, : columns * factor]
        image = np.stack([cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_AREA) for plane in image])
    red, green, blue = image * 255
    return [r * red + g * green + b * blue for r, g, b in variant.yiq[: 3 if chroma else 1]]


class _Shrinking(NamedTuple):
    factor: int
    rows: int
    columns: int
    margins: list[tuple[int, int]]
    """Zeros before and after the rows, and the columns."""


def _shrinking(height: int, width: int, variant: _Variant) -> _Shrinking:
    side = min(height, width) / 256
    factor = max(1, math.floor(side + 0.5) if variant.original else round(side))
    if factor == 1 or not variant.original:
        return _Shrinking(factor, height // factor, width // factor, [(0, 0), (0, 0)])
    # MATLAB centres an odd window on the sample and puts an even one after it; beyond the image it sees zeros.
    lead = (factor - 1) // 2
    rows, columns = -(-height // factor), -(-width // factor)
    margins = [(lead, max(count * factor - lead - size, 0)) for count, size in ((rows, height), (columns, width))]
    return _Shrinking(factor, rows, columns, margins)


def _channels_of_batch(images: Tensor, variant: _Variant, chroma: bool) -> list[Tensor]:
    """`_channels` of [B,3,H,W], each [B,rows,columns]."""
    import torch.nn.functional as F

    factor, rows, columns, ((above, below), (left, right)) = _shrinking(images.shape[2], images.shape[3], variant)
    images = F.pad(images, (left, right, above, below))[..., : rows * factor, : columns * factor]
    red, green, blue = (F.avg_pool2d(images, factor) * 255).unbind(1)
    return [r * red + g * green + b * blue for r, g, b in variant.yiq[: 3 if chroma else 1]]


def _gradient(plane: np.ndarray) -> np.ndarray:
    """Magnitude of the Scharr gradient, zeros beyond the border."""
    import cv2
    import numpy as np

    smooth, steep = np.array([3.0, 10.0, 3.0]) / 16, np.array([1.0, 0.0, -1.0])
    across = cv2.sepFilter2D(plane, cv2.CV_64F, steep, smooth, borderType=cv2.BORDER_CONSTANT)
    down = cv2.sepFilter2D(plane, cv2.CV_64F, smooth, steep, borderType=cv2.BORDER_CONSTANT)
    return np.sqrt(across * across + down * down)


def _ratio(ours: np.ndarray, theirs: np.ndarray, constant: float) -> np.ndarray:
    return (2 * ours * theirs + constant) / (ours * ours + theirs * theirs + constant)

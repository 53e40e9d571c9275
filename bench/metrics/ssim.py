"""Structural similarity (Wang et al., TIP 2004) with separable windows in float64.

The rival definitions (Gaussian or uniform window, whole or valid area, population or sample covariance, clamped
contrast) are fields, each named in the signature. Not MS-SSIM, and without the downsampling of MATLAB's `ssim.m` demo.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

CHOICES = {
    "window": ("gauss11s1.5", "gauss13s1.5", "uniform7"),
    "border": ("valid", "reflect"),
    "covariance": ("population", "sample", "sample25"),
    "data_range": ("1", "2", "restored"),
}

_STRIP = 96
"""Rows computed at a time, so that a strip's maps stay in the cache. A constant: the order of sums depends on it."""


class _Constants(NamedTuple):
    c1: float
    c2: float
    scale: float
    """Covariance correction n / (n − 1), or 1."""
    clamp: bool


@dataclass(frozen=True)
class Ssim(ImageMetric):
    """Mean SSIM of each channel, averaged over channels. The defaults agree with BasicSR and MATLAB to 1e-9."""

    view: View = field(default_factory=View)
    window: str = "gauss11s1.5"
    """`gauss11s1.5`: 11×11, σ 1.5, sums to 1. `gauss13s1.5`: 13×13, σ 1.5, where SciPy's gaussian_filter cuts it off.
    `uniform7`: 7×7 box, scikit-image's default."""
    border: str = "valid"
    """`valid`: where the window fits (also scikit-image's mean). `reflect`: every pixel, mirrored with the edge."""
    covariance: str = "population"
    """`sample`: variances × n/(n−1), n the window's pixels, scikit-image's default. `sample25`: × 25/24 whatever the
    window, as FUnIE-GAN's script."""
    clamp: bool = False
    """Negative contrast-structure terms become 0, as in pyiqa."""
    data_range: str = "1"
    """`1`: the full range. `2`: what scikit-image before 0.20 took for floats that were given no range, which inflates
    the value (NU2Net). `restored`: max − min of the restored view, as RAVE's script."""
    k1: float = 0.01
    k2: float = 0.03

    name = "ssim"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise BenchError(f"ssim: {name} {value!r} is not one of {', '.join(choices)}{suggest(value, choices)}")
        if not (0 < self.k1 < 1 and 0 < self.k2 < 1):
            raise BenchError(f"ssim: k1 {self.k1!r} and k2 {self.k2!r} must lie between 0 and 1")

    def signature(self) -> Signature:
        rare = [
            ("cov", self.covariance, "population"),
            ("cs", "clamped" if self.clamp else "signed", "signed"),
            ("data", self.data_range, "1"),
            ("k", f"{self.k1},{self.k2}", "0.01,0.03"),
        ]
        own = [
            ("win", self.window),
            ("border", self.border),
            *((key, value) for key, value, usual in rare if value != usual),
        ]
        return Signature.of("ssim", [*self.view.signature("FR"), *own, ("v", 1)])

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,C,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` below the window's size."""
        import torch

        assert reference is not None
        taps = _taps(self.window)
        height, width = restored.shape[-2:]
        if min(height, width) < len(taps):
            raise ItemError(f"ssim needs {len(taps)}×{len(taps)} pixels or more, the view is {width}×{height}")
        mean = _mean_torch if restored.is_cuda else _mean_opencv
        values = [
            mean(ours, theirs, taps, self.border == "valid", self._constants(ours, len(taps)))
            for ours, theirs in zip(restored, reference, strict=True)
        ]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)

    def _constants(self, restored: Tensor, size: int) -> _Constants:
        span = float(restored.max() - restored.min()) if self.data_range == "restored" else float(self.data_range)
        if span == 0:
            raise ItemError("ssim with data_range 'restored' is undefined: the restored image is flat")
        pixels = {"sample": size**2, "sample25": 25}.get(self.covariance)
        scale = 1.0 if pixels is None else pixels / (pixels - 1)
        return _Constants((self.k1 * span) ** 2, (self.k2 * span) ** 2, scale, self.clamp)


def _taps(window: str) -> np.ndarray:
    import numpy as np

    if window == "uniform7":
        return np.full(7, 1 / 7)
    radius = 6 if window == "gauss13s1.5" else 5
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * 1.5**2))
    return taps / taps.sum()


def _mean_opencv(ours: Tensor, theirs: Tensor, taps: np.ndarray, valid: bool, constants: _Constants) -> float:
    """Mean SSIM of two [C,H,W]. Each output pixel has its own sum, so OpenCV's threads cannot change a bit."""
    import numpy as np

    radius = len(taps) // 2
    planes = [ours.numpy(), theirs.numpy()]
    if not valid:
        planes = [np.pad(plane, ((0, 0), (radius, radius), (radius, radius)), mode="symmetric") for plane in planes]
    _, height, width = planes[0].shape
    rows, columns = height - 2 * radius, width - 2 * radius
    # Written over by every strip: fresh arrays of this size would each cost page faults.
    work = np.empty((6, min(_STRIP, rows) + 2 * radius, width))
    sums = [
        _strip_sum(x[top : top + _STRIP + 2 * radius], y[top : top + _STRIP + 2 * radius], work, taps, constants)
        for x, y in zip(*map(np.ascontiguousarray, planes), strict=True)
        for top in range(0, rows, _STRIP)
    ]
    return float(np.sum(sums)) / (len(ours) * rows * columns)


def _strip_sum(x: np.ndarray, y: np.ndarray, work: np.ndarray, taps: np.ndarray, constants: _Constants) -> float:
    """Sum of the SSIM map over the inside of a strip of rows; `work` is [6, rows, columns] to compute in."""
    import cv2
    import numpy as np

    radius = len(taps) // 2
    power, cross, *means = work[:, : len(x)]
    np.multiply(x, x, out=power)
    np.multiply(y, y, out=cross)
    power += cross
    np.multiply(x, y, out=cross)
    for one, mean in zip((x, y, power, cross), means, strict=True):
        cv2.sepFilter2D(one, cv2.CV_64F, taps, taps, dst=mean, borderType=cv2.BORDER_CONSTANT)
    inner = slice(radius, len(x) - radius)
    mx, my, spread, structure = (mean[inner] for mean in means)
    luminance, squares = power[inner], cross[inner]
    np.multiply(mx, my, out=luminance)
    mx *= mx
    my *= my
    np.add(mx, my, out=squares)
    structure -= luminance
    structure *= 2 * constants.scale
    structure += constants.c2
    spread -= squares
    if constants.scale != 1:
        spread *= constants.scale
    spread += constants.c2
    if constants.clamp:
        np.maximum(structure, 0, out=structure)
    luminance *= 2
    luminance += constants.c1
    luminance *= structure
    squares += constants.c1
    squares *= spread
    luminance /= squares
    return float(luminance[:, radius:-radius].sum())


def _mean_torch(ours: Tensor, theirs: Tensor, taps: np.ndarray, valid: bool, constants: _Constants) -> float:
    """The same on a GPU: two separable float64 convolutions."""
    import torch
    import torch.nn.functional as F

    kernel = torch.as_tensor(taps, dtype=torch.float64, device=ours.device)
    maps = torch.stack([ours, theirs, ours * ours + theirs * theirs, ours * theirs]).flatten(0, 1)[:, None]
    if not valid:
        radius = len(taps) // 2
        rows, columns = (_mirrored(size, radius, ours.device) for size in ours.shape[-2:])
        maps = maps[:, :, rows][:, :, :, columns]
    maps = F.conv2d(F.conv2d(maps, kernel[None, None, :, None]), kernel[None, None, None, :])
    mx, my, power, cross = maps.reshape(4, len(ours), *maps.shape[-2:])
    structure = (2 * constants.scale * (cross - mx * my) + constants.c2) / (
        constants.scale * (power - mx * mx - my * my) + constants.c2
    )
    if constants.clamp:
        structure = structure.clamp(min=0)
    luminance = (2 * mx * my + constants.c1) / (mx * mx + my * my + constants.c1)
    return float((luminance * structure).mean())


def _mirrored(size: int, radius: int, device: object) -> Tensor:
    """Indices of a row padded by `radius` on both sides, mirrored with the edge repeated."""
    import numpy as np
    import torch

    return torch.as_tensor(np.pad(np.arange(size), radius, mode="symmetric")).to(str(device))

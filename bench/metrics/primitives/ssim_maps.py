"""Means of the structure and the similarity map of two planes, which SSIM and MS-SSIM both are made of.

In float64, on the CPU by OpenCV's separable filters strip by strip, on other devices by torch for a whole batch. What a
metric makes of scales and channels is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WINDOWS = ("gauss11s1.5", "gauss13s1.5", "uniform7")

_STRIP = 96
"""Rows computed at a time, so that a strip's maps stay in the cache. A constant: the order of sums depends on it."""


class Constants(NamedTuple):
    """What stands in the formula beside the means of a window."""

    c1: float = 0.01**2
    c2: float = 0.03**2
    scale: float = 1.0
    """Covariance correction n / (n − 1), or 1."""
    clamp: bool = False
    """Whether a negative structure counts as 0."""


class Means(NamedTuple):
    """Of one plane."""

    structure: float
    """Mean of the contrast-structure map."""
    ssim: float
    """Mean of the map with luminance."""


def taps(window: str) -> np.ndarray:
    """One side of a separable window; it sums to 1."""
    import numpy as np

    if window == "uniform7":
        return np.full(7, 1 / 7)
    radius = 6 if window == "gauss13s1.5" else 5
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * 1.5**2))
    return weights / weights.sum()


def means(x: np.ndarray, y: np.ndarray, window: str, constants: Constants, *, reflect: bool = False) -> Means:
    """Of two [H,W], over the area where the window fits; with `reflect`, over all of it, mirrored with the edge.

    Each output pixel has its own sum, so OpenCV's threads cannot change a bit.
    """
    import numpy as np

    weights = taps(window)
    radius = len(weights) // 2
    if reflect:
        x, y = (np.pad(plane, radius, mode="symmetric") for plane in (x, y))
    rows, columns = (size - 2 * radius for size in x.shape)
    # Written over by every strip: fresh arrays of this size would each cost page faults.
    work = np.empty((6, min(_STRIP, rows) + 2 * radius, x.shape[1]))
    sums = [
        _strip_sums(x[top : top + _STRIP + 2 * radius], y[top : top + _STRIP + 2 * radius], work, weights, constants)
        for top in range(0, rows, _STRIP)
    ]
    structure, ssim = np.sum(sums, axis=0) / (rows * columns)
    return Means(float(structure), float(ssim))


def _strip_sums(
    x: np.ndarray, y: np.ndarray, work: np.ndarray, weights: np.ndarray, constants: Constants
) -> tuple[float, float]:
    """Sums of both maps inside a strip of rows; `work` is [6, rows, columns] to compute in."""
    import cv2
    import numpy as np

    radius = len(weights) // 2
    power, cross, *filtered = work[:, : len(x)]
    np.multiply(x, x, out=power)
    np.multiply(y, y, out=cross)
    power += cross
    np.multiply(x, y, out=cross)
    for one, mean in zip((x, y, power, cross), filtered, strict=True):
        cv2.sepFilter2D(one, cv2.CV_64F, weights, weights, dst=mean, borderType=cv2.BORDER_CONSTANT)
    inner = slice(radius, len(x) - radius)
    mx, my, spread, structure = (mean[inner] for mean in filtered)
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
    structure /= spread
    if constants.clamp:
        np.maximum(structure, 0, out=structure)
    luminance *= 2
    luminance += constants.c1
    squares += constants.c1
    luminance /= squares
    luminance *= structure
    columns = slice(radius, x.shape[1] - radius)
    return float(structure[:, columns].sum()), float(luminance[:, columns].sum())


class BatchMeans(NamedTuple):
    """Of many planes."""

    structure: Tensor
    """float64 [B,C]"""
    ssim: Tensor


def batch_means(
    x: Tensor, y: Tensor, window: str, constants: Constants, c1: Tensor | float, c2: Tensor | float, *, reflect: bool
) -> BatchMeans:
    """`means` of float64 [B,C,H,W] on any device. `c1` and `c2` may differ from image to image: [B,1,1,1]."""
    import torch
    import torch.nn.functional as F

    kernel = torch.as_tensor(taps(window), dtype=torch.float64, device=x.device)
    maps = torch.stack([x, y, x * x + y * y, x * y])
    shape = maps.shape[:3]
    maps = maps.flatten(0, 2)[:, None]
    if reflect:
        rows, columns = (_mirrored(size, len(kernel) // 2, x.device) for size in x.shape[-2:])
        maps = maps[:, :, rows][:, :, :, columns]
    maps = F.conv2d(F.conv2d(maps, kernel[None, None, :, None]), kernel[None, None, None, :])
    mx, my, power, cross = maps.reshape(*shape, *maps.shape[-2:])
    structure = (2 * constants.scale * (cross - mx * my) + c2) / (constants.scale * (power - mx * mx - my * my) + c2)
    if constants.clamp:
        structure = structure.clamp(min=0)
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    return BatchMeans(structure.mean(dim=(2, 3)), (luminance * structure).mean(dim=(2, 3)))


def _mirrored(size: int, radius: int, device: object) -> Tensor:
    """Indices of a row padded by `radius` on both sides, mirrored with the edge repeated."""
    import numpy as np
    import torch

    return torch.as_tensor(np.pad(np.arange(size), radius, mode="symmetric")).to(str(device))

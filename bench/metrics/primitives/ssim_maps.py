"""Means of the structure and the similarity map of two planes, which SSIM and MS-SSIM both are made of.

In float64, on the CPU by a compiled pass over each plane, on other devices by torch for a whole batch. What a metric
makes of scales and channels is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

WINDOWS = ("gauss11s1.5", "gauss13s1.5", "uniform7")


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


def means(
    x: np.ndarray,
    y: np.ndarray,
    window: str,
    constants: Constants,
    *,
    reflect: bool = False,
    meaning: np.ndarray | None = None,
) -> Means:
    """Of two [H,W], over the area where the window fits; with `reflect`, over all of it, mirrored with the edge.

    Floats, or uint8 levels with the float64 value [256] that each stands for: the bits are the same.
    """
    import numpy as np

    from bench.metrics.kernels.windows import WHITE, ssim_sums

    weights = taps(window)
    radius = len(weights) // 2
    if reflect:
        x, y = (np.pad(plane, radius, mode="symmetric") for plane in (x, y))
    if meaning is None:
        x, y = (np.asarray(plane, dtype=np.float64) for plane in (x, y))
    table = np.empty(0) if meaning is None else WHITE * meaning
    if np.array_equal(table, np.arange(256)):  # levels that are their own values
        table = np.empty(0, dtype=np.float32)
    structure, ssim = ssim_sums(
        np.ascontiguousarray(x),
        np.ascontiguousarray(y),
        table,
        tuple(weights[: radius + 1].tolist()),
        WHITE**2 * constants.c1,
        WHITE**2 * constants.c2,
        constants.scale,
        0.0 if constants.clamp else -np.inf,
    )
    pixels = (x.shape[0] - 2 * radius) * (x.shape[1] - 2 * radius)
    return Means(structure / pixels, ssim / pixels)


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

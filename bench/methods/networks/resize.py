"""Resizing within a network, as the authors' scripts resize the image before they restore it and after.

Pillow's own arithmetic is repeated without Pillow, so that it runs on any device and on batches.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""Half the width of a filter, in pixels of the coarser of the two images."""
BITS = 22
"""Pillow's weights for 8-bit images are whole numbers of 1/2²²."""


def pillow_resize(images: Tensor, height: int, width: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """[B,C,H,W] in [0,1] → [B,C,height,width], equal to `PIL.Image.resize` of the 8-bit image; equal size: as it is.

    Along the width first, then along the height (versions of Pillow newer than the authors' may turn that round), with
    a filter that widens as the image shrinks; each of the two ends in 8 bits. No gradient passes.
    """
    if tuple(images.shape[-2:]) == (height, width):
        return images
    levels = (images * 255).round().clamp(0, 255).long()
    for axis, length in ((3, width), (2, height)):
        if levels.shape[axis] != length:
            levels = _along(levels, axis, length, mode)
    return levels.to(images.dtype) / 255


def _along(levels: Tensor, axis: int, length: int, mode: str) -> Tensor:
    """8-bit levels, int64, brought to another length along one axis."""
    total = torch.full_like(levels.narrow(axis, 0, 1), 1 << (BITS - 1))  # one half, so that the shift rounds
    shape = [length if number == axis else 1 for number in range(levels.ndim)]
    for place, weight in _taps(levels.shape[axis], length, mode):
        taken = levels.index_select(axis, place.to(levels.device))
        total = total + taken * weight.to(levels.device).view(shape)
    return (total >> BITS).clamp(0, 255)


def _taps(before: int, after: int, mode: str) -> list[tuple[Tensor, Tensor]]:
    """Which pixel each of the new ones takes, and its weight, int64 [after] each, tap by tap."""
    scale = before / after
    widened = max(scale, 1.0)
    reach = REACH[mode] * widened
    centre = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    first = (centre - reach + 0.5).clamp(min=0).long()
    end = (centre + reach + 0.5).long().clamp(max=before)
    places = [first + tap for tap in range(2 * math.ceil(reach) + 1)]
    curve = _triangle if mode == "bilinear" else _cubic
    weights = [curve((place + 0.5 - centre) / widened) * (place < end) for place in places]
    whole = torch.stack(weights).sum(dim=0)
    steps = [(weight / whole * (1 << BITS)).round().long() for weight in weights]
    return [(place.clamp(max=before - 1), step) for place, step in zip(places, steps, strict=True)]


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2."""
    x = distance.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, far) * (x < 2)


def floored(length: int, multiple: int) -> int:
    """The greatest multiple that is not greater."""
    return length // multiple * multiple


def resized_back(images: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """[B,C,H,W] → [B,C,height,width], bilinear; equal size: as it is."""
    if tuple(images.shape[-2:]) == (height, width):
        return images
    return interpolate(images, (height, width), mode="bilinear", align_corners=align_corners)

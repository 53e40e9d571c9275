"""GroupNorm with or without swish as Triton kernels, for maps [N,H,W,C] on CUDA. Import fails without Triton.

Three launches: statistics of each channel over spans of pixels, their merging into one scale and shift per channel, and
one pass that applies them. All in float32, whatever the map's dtype. So far the kernels ran in Triton's interpreter
only (`TRITON_INTERPRET=1`), not on a GPU.
"""

# mypy: disable-error-code="no-untyped-def, import-untyped"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

SPANS = 128
"""At most so many spans of pixels per image: about one per multiprocessor."""
TILE = 4096
"""Elements that one program holds at a time."""


@triton.jit
def _moments(x, mean, m2, pixels, channels, span, rows: tl.constexpr, columns: tl.constexpr):
    """Mean and sum of squared deviations of each channel over one span, tile by tile, merged as they come."""
    image, part = tl.program_id(0), tl.program_id(1)
    c = tl.arange(0, columns)
    total = tl.zeros([columns], tl.float32)
    average = tl.zeros([columns], tl.float32)
    squares = tl.zeros([columns], tl.float32)
    start = part * span
    stop = tl.minimum(start + span, pixels)
    for first in range(start, stop, rows):
        p = first + tl.arange(0, rows)
        inside = (p < stop)[:, None] & (c < channels)[None, :]
        offsets = (image * pixels + p).to(tl.int64)[:, None] * channels + c[None, :]
        tile = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
        count = tl.minimum(stop - first, rows).to(tl.float32)
        here = tl.sum(tile, axis=0) / count
        away = tl.where(inside, tile - here[None, :], 0.0)
        delta = here - average
        squares += tl.sum(away * away, axis=0) + delta * delta * total * count / (total + count)
        average += delta * count / (total + count)
        total += count
    out = (image * tl.num_programs(1) + part) * channels + c
    tl.store(mean + out, average, mask=c < channels)
    tl.store(m2 + out, squares, mask=c < channels)


@triton.jit
def _merge(
    mean, m2, weight, bias, scale, shift, pixels, channels, span, each, eps,
    parts, spans: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """The spans of one group's channels → scale and shift of each of them."""
    image, group = tl.program_id(0), tl.program_id(1)
    s, k = tl.arange(0, spans), tl.arange(0, width)
    inside = (s < parts)[:, None] & (k < each)[None, :]
    offsets = (image * parts + s)[:, None] * channels + group * each + k[None, :]
    averages = tl.load(mean + offsets, mask=inside, other=0.0)
    squares = tl.load(m2 + offsets, mask=inside, other=0.0)
    counts = tl.maximum(tl.minimum(pixels - s * span, span), 0).to(tl.float32)[:, None]
    number = pixels * each * 1.0
    middle = tl.sum(tl.sum(averages * counts, axis=1), axis=0) / number
    away = tl.where(inside, averages - middle, 0.0)
    variance = tl.sum(tl.sum(squares + away * away * counts, axis=1), axis=0) / number
    c = group * each + k
    factor = tl.load(weight + c, mask=k < each, other=0.0) / tl.sqrt(variance + eps)
    offset = tl.load(bias + c, mask=k < each, other=0.0) - factor * middle
    tl.store(scale + image * channels + c, factor, mask=k < each)
    tl.store(shift + image * channels + c, offset, mask=k < each)


@triton.jit
def _apply(
    x, y, scale, shift, pixels, channels, silu: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr
):  # fmt: skip
    image, first = tl.program_id(0), tl.program_id(1) * rows
    c, p = tl.arange(0, columns), first + tl.arange(0, rows)
    inside = (p < pixels)[:, None] & (c < channels)[None, :]
    factor = tl.load(scale + image * channels + c, mask=c < channels, other=0.0)
    offset = tl.load(shift + image * channels + c, mask=c < channels, other=0.0)
    offsets = (image * pixels + p).to(tl.int64)[:, None] * channels + c[None, :]
    tile = tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    tile = tile * factor[None, :] + offset[None, :]
    if silu:
        tile = tile / (1.0 + tl.exp(-tile))
    tl.store(y + offsets, tile.to(y.dtype.element_ty), mask=inside)


def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool, dtype: torch.dtype
) -> Tensor:
    """Contiguous [N,H,W,C] → the same in `dtype`; `weight` and `bias` float32 [C]."""
    batch, height, width, channels = x.shape
    pixels, each = height * width, channels // groups
    columns = triton.next_power_of_2(channels)
    rows = max(1, TILE // columns)
    span = triton.cdiv(triton.cdiv(pixels, SPANS), rows) * rows
    parts = triton.cdiv(pixels, span)
    mean, m2 = torch.empty((2, batch, parts, channels), device=x.device, dtype=torch.float32)
    scale, shift = torch.empty((2, batch, channels), device=x.device, dtype=torch.float32)
    y = torch.empty_like(x, dtype=dtype)
    _moments[(batch, parts)](x, mean, m2, pixels, channels, span, rows=rows, columns=columns)
    _merge[(batch, groups)](
        mean, m2, weight, bias, scale, shift, pixels, channels, span, each, eps,
        parts, spans=triton.next_power_of_2(parts), width=triton.next_power_of_2(each),
    )  # fmt: skip
    _apply[(batch, triton.cdiv(pixels, rows))](
        x, y, scale, shift, pixels, channels, silu=silu, rows=rows, columns=columns
    )
    return y

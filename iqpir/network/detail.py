"""What a restored photograph needs at full size: noise, blocks and edges, near each pixel.

A small U-Net whose convolutions overlap, as pixel-unshuffle would leave its grid in the image, and whose reach is
bounded (`HALO`), so that tiles agree with the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEP = 4
"""Sides must be multiples of this."""
HALO = 96
"""Pixels around a place that can matter for it; a multiple of `STEP`."""


class ChannelNorm(nn.Module):
    """Each pixel's channels [B,C,H,W] with mean 0 and variance 1, then a learned scale: nothing passes between pixels,
    so tiles agree."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        return (features - mean) * torch.rsqrt(variance + 1e-5) * self.scale


class Block(nn.Module):
    """Two convolutions beside a way past them; what is told of the image scales and shifts between them.

    Without the norm before them features grow from block to block until nothing learns.
    """

    def __init__(self, channels: int, told: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.told = nn.Linear(told, 2 * channels)
        nn.init.zeros_(self.told.weight)
        nn.init.zeros_(self.told.bias)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.told(told)[:, :, None, None].chunk(2, dim=1)
        inner = F.silu(self.first(self.norm(features)))
        return features + self.second(inner * (1 + scale) + shift)


class DetailBranch(nn.Module):
    """[B,inputs,H,W], and what is told of each image [B,told] → [B,outputs,H,W] at full size, near zero at first."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, int, int], told: int, deep: int) -> None:
        super().__init__()
        full, half, quarter = widths
        self.enter = nn.Conv2d(inputs, full, 3, padding=1)
        self.down_half = nn.Conv2d(full, half, 4, stride=2, padding=1)
        self.at_half = nn.ModuleList([Block(half, told)])
        self.down_quarter = nn.Conv2d(half, quarter, 4, stride=2, padding=1)
        self.at_quarter = nn.ModuleList([Block(quarter, told, 1 + index % 2) for index in range(deep)])
        self.up_half = nn.Conv2d(quarter, half, 1)
        self.back_half = nn.ModuleList([Block(half, told)])
        self.up_full = nn.Conv2d(half, full, 1)
        self.leave = nn.Sequential(
            nn.Conv2d(full, full, 3, padding=1), nn.SiLU(), nn.Conv2d(full, outputs, 3, padding=1)
        )
        # Nearly nothing at first, but not nothing: from zero weights no gradient reaches what is below.
        nn.init.normal_(self.leave[-1].weight, std=0.01)
        nn.init.zeros_(self.leave[-1].bias)

    def forward(self, image: Tensor, told: Tensor) -> Tensor:
        whole = F.silu(self.enter(image))
        half = self.down_half(whole)
        for block in self.at_half:
            half = block(half, told)
        quarter = self.down_quarter(half)
        for block in self.at_quarter:
            quarter = block(quarter, told)
        half = half + _doubled(self.up_half(quarter))
        for block in self.back_half:
            half = block(half, told)
        return self.leave(whole + _doubled(self.up_full(half)))


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def pad_to_step(image: Tensor) -> Tensor:
    """Grown at the bottom and on the right by repeating the last row and column, to multiples of `STEP`."""
    height, width = image.shape[-2:]
    grown = (-width % STEP, -height % STEP)
    return image if grown == (0, 0) else F.pad(image, (0, grown[0], 0, grown[1]), mode="replicate")

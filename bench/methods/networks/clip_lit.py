"""CLIP-LIT (Liang et al., ICCV 2023) and RAVE (Gaintseva et al., ECCV 2024): one network, two ways to train it.

A small residual network with pyramid pooling estimates a one-channel illumination map, and the image is divided by it.
What CLIP is used for is training only. Borders are mirrored, as both test scripts have it, but for the one convolution
that merges the pyramid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, leaky_relu

BINS = (1, 2, 3, 6)


def mirrored(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, padding_mode="reflect")


class Residual(nn.Module):
    """Two convolutions without bias and a residual, activated after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = mirrored(width, width, bias=False)
        self.conv2 = mirrored(width, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return leaky_relu(self.conv2(leaky_relu(self.conv1(features), 0.2)) + features, 0.2)


class Pyramid(nn.Module):
    """Features beside their averages over 1, 2×2, 3×3 and 6×6 parts of the image, merged back to the same width."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        # Numbered from 1: in the official file the pooling itself is 0.
        self.features = nn.ModuleList(
            nn.ModuleDict({"1": nn.Conv2d(width, reduced, 1, bias=False), "2": nn.PReLU()}) for _ in BINS
        )
        self.fuse = nn.Sequential(nn.Conv2d(width + len(BINS) * reduced, width, 3, padding=1, bias=False), nn.PReLU())

    def forward(self, features: Tensor) -> Tensor:
        levels = [features]
        for parts, layers in zip(BINS, self.features, strict=True):
            level = layers["2"](layers["1"](adaptive_avg_pool2d(features, parts)))
            levels.append(interpolate(level, features.shape[-2:], mode="bilinear", align_corners=True))
        return self.fuse(torch.cat(levels, dim=1))


class ClipLit(nn.Module):
    """The image divided by its illumination map and clamped to [0,1]; 278,790 parameters, 2×2 pixels or more.

    The map ends in a ReLU and may be 0. There the quotient is 1, and 0 where the image is black too, which the division
    leaves undefined.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cond1 = mirrored(3, 32)
        self.cond_add1 = mirrored(32, 1)
        self.condx = mirrored(32, 64)
        self.condy = mirrored(64, 32)
        self.ResidualBlock1, self.ResidualBlock2 = Residual(32), Residual(32)
        self.ResidualBlock3, self.ResidualBlock4 = Residual(64), Residual(64)
        self.ResidualBlock5, self.ResidualBlock6 = Residual(32), Residual(32)
        self.PPM1 = Pyramid(32, 8)

    def forward(self, image: Tensor) -> Tensor:
        features = self.ResidualBlock2(self.ResidualBlock1(leaky_relu(self.cond1(image), 0.2)))
        features = self.ResidualBlock4(self.ResidualBlock3(self.condx(self.PPM1(features))))
        features = self.ResidualBlock6(self.ResidualBlock5(self.condy(features)))
        illumination = self.cond_add1(features).relu()
        return torch.where(image == 0, 0.0, image / illumination).clamp(0, 1)

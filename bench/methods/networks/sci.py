"""SCI, Self-Calibrated Illumination (Ma et al., CVPR 2022): enhancement by one estimate of the illumination.

Only what is used at test time. The calibration network and the stages of training are not here; their tensors in the
official files are declared ignorable.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Illumination(nn.Module):
    """[B,3,H,W] in [0,1] → illumination in [1e-4, 1] of the same shape: the input plus a learned, sigmoid residual.

    The official file stores the hidden convolution twice, as `conv` and as `blocks.0`: it is one module here too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.blocks = nn.ModuleList([self.conv])
        self.out_conv = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        features = self.in_conv(image)
        features = features + self.conv(features)
        return (image + self.out_conv(features)).clamp(1e-4, 1)


class Sci(nn.Module):
    """The enhanced image x / illumination(x), clamped to [0,1]; 258 parameters, any size."""

    ignored_prefixes: ClassVar[tuple[str, ...]] = ("calibrate.",)

    def __init__(self) -> None:
        super().__init__()
        self.enhance = Illumination()

    def forward(self, image: Tensor) -> Tensor:
        return torch.clamp(image / self.enhance(image), 0, 1)

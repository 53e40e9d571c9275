"""NU²Net, the enhancer that was trained with the ranker URanker (Guo et al., AAAI 2023).

An encoder and a decoder of instance-normalised convolutions over four resolutions, joined by sums; what they give is
added to the image. The ranker serves training alone and is not here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.methods.networks.resize import floored, pillow_resize, resized_back

MULTIPLE = 16
"""The official demo resizes its input to multiples of 16, downwards."""


class Block(nn.Module):
    """A 3×3 convolution, instance normalisation without weights, ELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.out = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.InstanceNorm2d(outputs), nn.ELU())

    def forward(self, features: Tensor) -> Tensor:
        return self.out(features)


def halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(2), Block(inputs, outputs))


def doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs), nn.UpsamplingBilinear2d(scale_factor=2))


class Encoder(nn.Module):
    """[B,3,H,W] → features of 1, 2, 4 and 8 times `width` channels at 1, 1/2, 1/4 and 1/8 of the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.e_stage1 = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), Block(width, width))
        self.e_stage2 = halved(width, 2 * width)
        self.e_stage3 = halved(2 * width, 4 * width)
        self.e_stage4 = halved(4 * width, 8 * width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        full = self.e_stage1(image)
        half = self.e_stage2(full)
        quarter = self.e_stage3(half)
        return full, half, quarter, self.e_stage4(quarter)


class Decoder(nn.Module):
    """The encoder's features → a change in (-1,1) of the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.d_stage4 = doubled(8 * width, 4 * width)
        self.d_stage3 = doubled(4 * width, 2 * width)
        self.d_stage2 = doubled(2 * width, width)
        self.d_stage1 = nn.Sequential(Block(width, width // 4))
        self.output = nn.Sequential(nn.Conv2d(width // 4, 3, 1), nn.Tanh())

    def forward(self, full: Tensor, half: Tensor, quarter: Tensor, eighth: Tensor) -> Tensor:
        features = self.d_stage3(self.d_stage4(eighth) + quarter)
        features = self.d_stage2(features + half)
        return self.output(self.d_stage1(features + full))


def stretched(images: Tensor) -> Tensor:
    """An image that leaves [0,1] anywhere has each channel stretched from its least to its greatest value; others stay.

    The official script decides for the batch, which there is one image.
    """
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    outside = ((low < 0) | (high > 1)).any(dim=1, keepdim=True)
    return torch.where(outside, (images - low) / (high - low + 1e-7), images)


class Nu2Net(nn.Module):
    """The enhanced image in [0,1], any size from 16×16; 3,145,923 parameters.

    As the official demo: resized downwards to multiples of 16, restored, stretched, resized back before it is rounded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(64), Decoder(64)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        small = pillow_resize(image, floored(height, MULTIPLE), floored(width, MULTIPLE), "bilinear")
        restored = stretched(small + self.decoder(*self.encoder(small)))
        return resized_back(restored, height, width, align_corners=True)

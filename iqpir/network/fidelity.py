"""What passes the codebooks by on its way to the output: the latent's statistics and, if wanted, encoder features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.network.blocks import ResBlock, conv3
from iqpir.network.config import IQPIRConfig


def match_statistics(content: Tensor, style: Tensor) -> Tensor:
    """AdaIN: `content` [B,C,h,w] with the mean and deviation that each channel of each image has in `style`.

    Variances are unbiased, with 1e-5 added; statistics are taken in at least float32.
    """
    wide = torch.promote_types(content.dtype, torch.float32)
    deviations, means = [], []
    for part in (content, style):
        variance, mean = torch.var_mean(part.to(wide), dim=(2, 3), keepdim=True)
        deviations.append((variance + 1e-5).sqrt())
        means.append(mean)
    matched = (content.to(wide) - means[0]) / deviations[0] * deviations[1] + means[1]
    return matched.to(content.dtype)


class FidelityBlock(nn.Module):
    """CodeFormer's controllable feature transformation of one size: generator features bent towards the encoder's.

    `fidelity` 0 leaves the generator's features as they are, 1 applies the whole correction.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.encode_enc = ResBlock(2 * channels, channels, groups)
        self.scale = _head(channels)
        self.shift = _head(channels)

    def forward(self, encoded: Tensor, generated: Tensor, fidelity: float) -> Tensor:
        """Two [B,C,H,W] → [B,C,H,W]."""
        joint = self.encode_enc(torch.cat([encoded, generated], dim=1))
        return generated + fidelity * (generated * self.scale(joint) + self.shift(joint))


class PixelFidelityBlock(FidelityBlock):
    """The same for input and output of a network with a stem, as blocks of stem×stem pixels; starts without effect.

    What is scaled is the input: its detail, which no code holds, comes back as bright as the output needs it.
    """

    def __init__(self, stem: int, groups: int) -> None:
        channels = 3 * stem**2
        super().__init__(channels, math.gcd(channels, groups))
        self.stem = stem
        for head in (self.scale, self.shift):
            nn.init.zeros_(head[-1].weight)
            nn.init.zeros_(head[-1].bias)

    def forward(self, encoded: Tensor, generated: Tensor, fidelity: float) -> Tensor:
        """Two images [B,3,H,W] → one."""
        encoded, generated = (F.pixel_unshuffle(each, self.stem) for each in (encoded, generated))
        joint = self.encode_enc(torch.cat([encoded, generated], dim=1))
        bent = generated + fidelity * (encoded * self.scale(joint) + self.shift(joint))
        return F.pixel_shuffle(bent, self.stem)


def fidelity_block(config: IQPIRConfig, size: int) -> FidelityBlock:
    """The block of one of the sizes of `connect`."""
    if size in config.sizes:
        return FidelityBlock(config.channels_at(size), config.groups)
    return PixelFidelityBlock(config.stem, config.groups)


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(conv3(channels, channels), nn.LeakyReLU(0.2), conv3(channels, channels))

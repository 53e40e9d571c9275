"""What passes the codebooks by on its way to the output: the latent's statistics and, if wanted, encoder features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iqpir.network.blocks import ResBlock, conv3


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


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(conv3(channels, channels), nn.LeakyReLU(0.2), conv3(channels, channels))

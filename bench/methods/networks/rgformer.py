"""The transformer of Reti-Diff: a U-shaped Restormer whose blocks are told a prior, a vector of 256 numbers.

Attention runs between channels, not pixels. In the guided blocks queries come from the first three quarters of the
channels, which the prior's reflectance scales, and keys and values from the last quarter, which its illumination
scales; the blocks of the refinement take one prior for all channels. Names of parameters are those of the official
checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

PRIOR = 256
REFLECTANCE = 192
"""How many of the prior's numbers stand for the reflectance; the rest are the illumination's."""
EXPANSION = 2.66


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def depthwise(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)


def scaled(features: Tensor, factors: Tensor) -> Tensor:
    """Channels [B,C,H,W] raised by a share [B,C] of themselves."""
    return features * factors[:, :, None, None] + features


class ChannelNorm(nn.Module):
    """Zero mean and unit variance over each pixel's channels, then a factor and a shift per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features.movedim(1, -1)).movedim(-1, 1)


class ChannelAttention(nn.Module):
    """Softmax over how much channels look alike, in `heads` groups; the learned temperature is each group's own."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.project_out = pointwise(width, width)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Three maps [B,C,H,W] → one."""
        heads = len(self.temperature)
        q, k, v = (each.flatten(2).unflatten(1, (heads, -1)) for each in (query, key, value))
        weights = (normalize(q, dim=-1) @ normalize(k, dim=-1).mT * self.temperature).softmax(dim=-1)
        return self.project_out((weights @ v).flatten(1, 2).unflatten(2, query.shape[-2:]))


class PlainAttention(ChannelAttention):
    """Queries, keys and values all from the same channels, which the whole prior scales."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.kernel = nn.Sequential(nn.Linear(PRIOR, width, bias=False))
        self.qkv = pointwise(width, 3 * width)
        self.qkv_dwconv = depthwise(3 * width)

    def forward(self, features: Tensor, prior: Tensor) -> Tensor:
        return self.attend(*self.qkv_dwconv(self.qkv(scaled(features, self.kernel(prior)))).chunk(3, dim=1))


class GuidedAttention(ChannelAttention):
    """Queries from the reflectance's channels, keys and values from the illumination's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.split = width // 4 * 3
        self.kernel_R = nn.Sequential(nn.Linear(REFLECTANCE, self.split, bias=False))
        self.kernel_I = nn.Sequential(nn.Linear(PRIOR - REFLECTANCE, width - self.split, bias=False))
        self.q_R = pointwise(self.split, width)
        self.q_dwconv = depthwise(width)
        self.kv_I = pointwise(width - self.split, 2 * width)
        self.kv_dwconv = depthwise(2 * width)

    def forward(self, features: Tensor, prior: Tensor) -> Tensor:
        reflectance = scaled(features[:, : self.split], self.kernel_R(prior[:, :REFLECTANCE]))
        illumination = scaled(features[:, self.split :], self.kernel_I(prior[:, REFLECTANCE:]))
        key, value = self.kv_dwconv(self.kv_I(illumination)).chunk(2, dim=1)
        return self.attend(self.q_dwconv(self.q_R(reflectance)), key, value)


class FeedForward(nn.Module):
    """One half of the widened channels opens and shuts the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * EXPANSION)
        self.kernel = nn.Sequential(nn.Linear(PRIOR, width, bias=False))
        self.project_in = pointwise(width, 2 * hidden)
        self.dwconv = depthwise(2 * hidden)
        self.project_out = pointwise(hidden, width)

    def forward(self, features: Tensor, prior: Tensor) -> Tensor:
        gate, content = self.dwconv(self.project_in(scaled(features, self.kernel(prior)))).chunk(2, dim=1)
        return self.project_out(gelu(gate) * content)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, attention: type[PlainAttention | GuidedAttention]) -> None:
        super().__init__()
        self.norm1, self.attn = ChannelNorm(width), attention(width, heads)
        self.norm2, self.ffn = ChannelNorm(width), FeedForward(width)

    def forward(self, features: Tensor, prior: Tensor) -> Tensor:
        features = features + self.attn(self.norm1(features), prior)
        return features + self.ffn(self.norm2(features), prior)


class Blocks(nn.ModuleList):
    """Blocks in a row, all told the same prior."""

    def __init__(
        self, number: int, width: int, heads: int, attention: type[PlainAttention | GuidedAttention] = GuidedAttention
    ) -> None:
        super().__init__(Block(width, heads, attention) for _ in range(number))

    def forward(self, features: Tensor, prior: Tensor) -> Tensor:
        for block in self:
            features = block(features, prior)
        return features


class Step(nn.Module):
    """A convolution without bias, then pixels into channels (`half`: twice the width, half the size) or back."""

    def __init__(self, width: int, half: bool) -> None:
        super().__init__()
        outputs, shuffle = (width // 2, nn.PixelUnshuffle(2)) if half else (width * 2, nn.PixelShuffle(2))
        self.body = nn.Sequential(nn.Conv2d(width, outputs, 3, padding=1, bias=False), shuffle)

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features)


class Embedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image)


class RGFormer(nn.Module):
    """Image [B,3,H,W], sides multiples of 8, and two priors [B,256] → the restored image, not clamped."""

    def __init__(self, width: int = 64, blocks: int = 3, refinement: int = 3) -> None:
        super().__init__()
        heads = (1, 2, 4, 8)
        self.patch_embed = Embedding(width)
        self.encoder_level1 = Blocks(blocks, width, heads[0])
        self.down1_2 = Step(width, half=True)
        self.encoder_level2 = Blocks(blocks, 2 * width, heads[1])
        self.down2_3 = Step(2 * width, half=True)
        self.encoder_level3 = Blocks(blocks, 4 * width, heads[2])
        self.down3_4 = Step(4 * width, half=True)
        self.latent = Blocks(blocks, 8 * width, heads[3])
        self.up4_3 = Step(8 * width, half=False)
        self.reduce_chan_level3 = pointwise(8 * width, 4 * width)
        self.decoder_level3 = Blocks(blocks, 4 * width, heads[2])
        self.up3_2 = Step(4 * width, half=False)
        self.reduce_chan_level2 = pointwise(4 * width, 2 * width)
        self.decoder_level2 = Blocks(blocks, 2 * width, heads[1])
        self.up2_1 = Step(2 * width, half=False)
        self.decoder_level1 = Blocks(blocks, 2 * width, heads[0])
        self.img_refinement = Blocks(refinement, 2 * width, heads[0], PlainAttention)
        self.img_output = nn.Conv2d(2 * width, 3, 3, padding=1, bias=False)

    def forward(self, image: Tensor, retinex: Tensor, plain: Tensor) -> Tensor:
        """`retinex` guides encoder and decoder, `plain` the refinement at full size."""
        first = self.encoder_level1(self.patch_embed(image), retinex)
        second = self.encoder_level2(self.down1_2(first), retinex)
        third = self.encoder_level3(self.down2_3(second), retinex)
        features = self.up4_3(self.latent(self.down3_4(third), retinex))
        features = self.decoder_level3(self.reduce_chan_level3(torch.cat([features, third], 1)), retinex)
        features = self.reduce_chan_level2(torch.cat([self.up3_2(features), second], 1))
        features = self.up2_1(self.decoder_level2(features, retinex))
        features = self.decoder_level1(torch.cat([features, first], 1), retinex)
        return self.img_output(self.img_refinement(features, plain)) + image

"""The restorers: one round in the latent, told what the assessor has seen. Two kinds that can stand for each other.

`FlowRestorer` moves the latent along a velocity, in a few Euler steps that begin at the latent itself, without noise.
`CodeRestorer` chooses a code for each part of each vector, among frozen codebooks, so that whatever it is fed it ends
at latents of images. Both see the latent through the same kind of trunk.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.rar.assessor import Assessment
from iqpir.rar.config import RARConfig
from iqpir.rar.latent import LatentAutoencoder
from iqpir.rar.layers import Attention, coarse, positions


class Condition(NamedTuple):
    """What a restorer is told."""

    tokens: Tensor
    """[B,queries,width] to attend to."""
    vector: Tensor
    """[B,width] for every block."""


class ConditionAdapter(nn.Module):
    """A_Q: the assessor's tokens → the restorer's condition, its own width."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        width = config.widths[2]
        self.tokens = nn.Linear(config.assessor_width, width)
        self.vector = nn.Sequential(
            nn.Linear(config.queries * config.assessor_width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, assessment: Assessment) -> Condition:
        return Condition(self.tokens(assessment.tokens), self.vector(assessment.tokens.flatten(1)))

    def blind(self, assessment: Assessment) -> Condition:
        """The condition that tells nothing, for as many images: zeros, whatever was assessed."""
        made = self(assessment)
        return Condition(torch.zeros_like(made.tokens), torch.zeros_like(made.vector))


class _Norm(nn.Module):
    """The channels of each position to mean 0 and deviation 1: no statistic of the image, so crops and wholes agree."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        return (x - mean) * (variance + 1e-5).rsqrt()


class TrunkBlock(nn.Module):
    """Two 3×3 convolutions beside the identity; the vector shifts, scales and gates (adaLN-zero: nothing at first)."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.norm = _Norm()
        self.told = nn.Linear(told, 3 * channels)
        nn.init.zeros_(self.told.weight)
        with torch.no_grad():
            self.told.bias.copy_(torch.tensor([0.0, 0.0, 1.0]).repeat_interleave(channels))
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        shift, scale, gate = self.told(F.silu(vector))[:, :, None, None].chunk(3, dim=1)
        hidden = self.conv1(F.silu(self.norm(x) * (1 + scale) + shift))
        return x + gate * self.conv2(F.silu(hidden))


class Mixing(nn.Module):
    """Positions [B,C,h,w] attend to a coarse view of all positions, and to the condition's tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.whole = Attention(width, heads)
        self.told = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        rows, columns = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        normed = self.norm1(tokens)
        seen = coarse(normed.transpose(1, 2).unflatten(2, (rows, columns)))
        place = positions(rows, columns, normed.shape[2], normed)
        context = seen.flatten(2).transpose(1, 2) + positions(seen.shape[-2], seen.shape[-1], normed.shape[2], normed)
        tokens = tokens + self.whole(normed + place, context)
        tokens = tokens + self.told(self.norm2(tokens), condition.tokens)
        tokens = tokens + self.mlp(self.norm3(tokens))
        return tokens.transpose(1, 2).unflatten(2, (rows, columns))


class Features(NamedTuple):
    fine: Tensor
    """[B,widths[0],h,w]."""
    deep: Tensor
    """[B,widths[2],h/4,w/4]."""


class Trunk(nn.Module):
    """Latents [B,C,h,w], sides multiples of 4 → features: a U-Net of three levels, with attention over the coarsest."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        fine, middle, deep = config.widths
        told, blocks = deep, config.blocks
        self.enter = nn.Conv2d(config.latent_channels, fine, 3, padding=1)
        self.down1 = _blocks(fine, told, blocks)
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.down2 = _blocks(middle, told, blocks)
        self.to_deep = nn.Conv2d(middle, deep, 2, stride=2)
        self.deep = _blocks(deep, told, blocks)
        self.mixing = nn.ModuleList(Mixing(deep, config.heads) for _ in range(blocks))
        self.from_deep = nn.ConvTranspose2d(deep, middle, 2, stride=2)
        self.up2 = _blocks(middle, told, blocks)
        self.from_middle = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        self.up1 = _blocks(fine, told, blocks)

    def forward(self, latent: Tensor, condition: Condition) -> Features:
        vector = condition.vector
        fine = _through(self.down1, self.enter(latent), vector)
        middle = _through(self.down2, self.to_middle(fine), vector)
        deep = self.to_deep(middle)
        for block, mixing in zip(self.deep, self.mixing, strict=True):
            deep = mixing(block(deep, vector), condition)
        middle = _through(self.up2, middle + self.from_deep(deep), vector)
        return Features(_through(self.up1, fine + self.from_middle(middle), vector), deep)


class FlowRestorer(nn.Module):
    """A velocity field between the latents of a degraded and of its clean image.

    Light, haze and colour change an image by a factor and a shift that vary slowly, and its latent likewise, which is
    nearly linear in it: maps of both come from the coarsest features, and the finest add what is left.
    """

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        width = config.widths[2]
        self.steps = config.steps
        self.time = nn.Sequential(nn.Linear(_WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.trunk = Trunk(config)
        self.head = nn.Conv2d(config.widths[0], config.latent_channels, 3, padding=1)
        self.grade = nn.Conv2d(width, 2 * config.latent_channels, 1)
        for layer in (self.head, self.grade):  # a new restorer changes nothing
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def velocity(self, latent: Tensor, condition: Condition, time: Tensor) -> Tensor:
        """`time` [B] in [0,1]: 0 at the degraded end."""
        vector = condition.vector + self.time(_waves(time))
        features = self.trunk(latent, condition._replace(vector=vector))
        coarse_grade = F.interpolate(self.grade(features.deep), latent.shape[-2:], mode="bilinear", align_corners=False)
        factor, shift = coarse_grade.chunk(2, dim=1)
        return self.head(features.fine) + factor * latent + shift

    def forward(self, latent: Tensor, condition: Condition) -> Tensor:
        """A round: the flow from 0 to 1 in equal Euler steps, from the latent itself."""
        for step in range(self.steps):
            time = torch.full((len(latent),), step / self.steps, device=latent.device)
            latent = latent + self.velocity(latent, condition, time) / self.steps
        return latent


class CodeRestorer(nn.Module):
    """A code for each part of each vector. No statistics of the input are put back (AdaIN), as IQPIR does for faces:
    of a dark or hazy image they are what is to be restored."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        self.groups = config.groups
        self.trunk = Trunk(config)
        self.norm = _Norm()
        self.head = nn.Conv2d(config.widths[0], config.groups * config.codes, 1)

    def logits(self, latent: Tensor, condition: Condition) -> Tensor:
        """[B,groups,codes,h,w]."""
        return self.head(self.norm(self.trunk(latent, condition).fine)).unflatten(1, (self.groups, -1))

    def forward(self, latent: Tensor, condition: Condition, codebooks: LatentAutoencoder) -> Tensor:
        """A round: the latent of the likeliest codes."""
        return codebooks.lookup(self.logits(latent, condition).argmax(dim=2))


_WAVES = 16


def _waves(time: Tensor) -> Tensor:
    """[B] in [0,1] → [B,16]: sines and cosines, the slowest half a turn."""
    angle = time[:, None] * math.pi * 2.0 ** torch.arange(_WAVES // 2, device=time.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _blocks(channels: int, told: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(TrunkBlock(channels, told) for _ in range(count))


def _through(blocks: nn.ModuleList, features: Tensor, vector: Tensor) -> Tensor:
    for block in blocks:
        features = block(features, vector)
    return features

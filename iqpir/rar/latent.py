"""The latent that everything happens in: a small autoencoder that keeps detail, and codebooks upon it.

Blocks of 4×4 pixels become vectors; a linear path does most of it, which begins as a cosine transform of which the
lower frequencies are kept, and a few convolutions learn what neighbours know. The latent is continuous: codes are a
view of it that only the code step takes, and no gradient of theirs reaches the encoder.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.network.blocks import Shuffle, Unshuffle
from iqpir.rar.config import RARConfig


class PlainBlock(nn.Module):
    """[B,C,H,W] → the same: two 3×3 convolutions beside the identity, without a norm, which would lose how bright
    and how contrasted a picture is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))


class LatentAutoencoder(nn.Module):
    """Images [B,3,H,W] in [-1,1] ↔ latents [B,C,H/4,W/4] of order one."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        self.config = config
        width, channels, factor = config.latent_width, config.latent_channels, config.factor
        self.linear_in = Unshuffle(channels, factor)
        self.into = nn.Sequential(Unshuffle(width, factor), *(PlainBlock(width) for _ in range(config.latent_blocks)))
        self.to_latent = quiet(nn.Conv2d(width, channels, 3, padding=1))
        self.from_latent = nn.Conv2d(channels, width, 3, padding=1)
        self.out = nn.Sequential(*(PlainBlock(width) for _ in range(config.latent_blocks)), Shuffle(width, factor))
        quiet(self.out[-1])
        self.linear_out = Shuffle(channels, factor)
        self._begin(_transform(factor, channels))
        self.codebooks = nn.Parameter(torch.randn(config.groups, config.codes, channels // config.groups))

    @torch.no_grad()
    def _begin(self, rows: Tensor) -> None:
        """A new autoencoder is the transform whose rows [C,3·factor²] are given, orthogonal to each other."""
        for layer in (self.linear_in, self.linear_out):
            layer.weight.zero_()
            layer.bias.zero_()
        self.linear_in.weight[:, :, 1, 1] = rows
        self.linear_out.weight[:, :, 1, 1] = (rows / rows.square().sum(dim=1, keepdim=True)).T

    def encode(self, images: Tensor) -> Tensor:
        return self.linear_in(images) + self.to_latent(self.into(images))

    def decode(self, latent: Tensor) -> Tensor:
        return self.linear_out(latent) + self.out(self.from_latent(latent))

    # Codes

    def codes(self, latent: Tensor) -> Tensor:
        """The nearest code of each part of each vector: int64 [B,groups,h,w]."""
        parts = latent.unflatten(1, (self.config.groups, -1))  # [B,G,c,h,w]
        found = []
        for group, book in enumerate(self.codebooks.detach()):
            vectors = parts[:, group].permute(0, 2, 3, 1)
            # ‖x − e‖² less ‖x‖², which does not change the order
            distance = book.square().sum(dim=1) - 2 * vectors @ book.T
            found.append(distance.argmin(dim=-1))
        return torch.stack(found, dim=1)

    def lookup(self, codes: Tensor) -> Tensor:
        """int64 [B,groups,h,w] → latents [B,C,h,w]."""
        parts = [F.embedding(codes[:, group], book).permute(0, 3, 1, 2) for group, book in enumerate(self.codebooks)]
        return torch.cat(parts, dim=1)


_Layer = TypeVar("_Layer", nn.Conv2d, nn.Linear)


def quiet(layer: _Layer) -> _Layer:
    """A last layer that adds nothing at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


_OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
"""Gray, and two differences of colours, along which pixels of photographs hardly depend on each other."""


def _transform(side: int, count: int) -> Tensor:
    """[count,3·side²]: rows of a cosine transform of blocks of side² pixels of three channels, the lowest frequencies
    first, and of the colours' differences two frequencies fewer than of gray. The finer, the larger its row: so that
    all are of about order one on photographs."""
    at = (torch.arange(side) + 0.5) * math.pi / side
    waves = torch.stack([torch.cos(number * at) for number in range(side)])
    waves = waves / waves.norm(dim=1, keepdim=True)
    colours = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)
    places = [(colour, down, across) for colour in range(3) for down in range(side) for across in range(side)]
    places.sort(key=lambda each: (each[1] + each[2] + (2 if each[0] else 0), each))
    rows = []
    for colour, down, across in places[:count]:
        block = torch.outer(waves[down], waves[across]).flatten()
        size = 0.45 * (1 + 4 * (down + across)) * (2 if colour else 1)
        rows.append(size * torch.outer(colours[colour], block).flatten())
    return torch.stack(rows)

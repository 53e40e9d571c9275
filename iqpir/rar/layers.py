"""Layers that assessor and restorers are built of: attention with and without a context, positions of any grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 32
"""Rows and columns that what is global is seen at, at most: a finer grid is averaged. A pixel costs the same in small
and in large images."""


class Attention(nn.Module):
    """Queries [B,N,width] attend to a context [B,M,other]."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in self.key_value(context).chunk(2, dim=2)
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Tokens [B,N,width] → the same: self-attention and an MLP, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed)
        return tokens + self.mlp(self.norm2(tokens))


def coarse(features: Tensor) -> Tensor:
    """Maps [B,C,h,w] averaged to at most `GRID` rows and columns."""
    height, width = features.shape[-2:]
    if max(height, width) <= GRID:
        return features
    return F.adaptive_avg_pool2d(features, (min(height, GRID), min(width, GRID)))


def positions(rows: int, columns: int, width: int, like: Tensor) -> Tensor:
    """[rows·columns,width]: sines and cosines of where in the image a token lies, from 0 to 1 either way."""
    count = width // 4
    frequencies = math.pi * 2.0 ** torch.linspace(0, 5, count, device=like.device)
    parts = []
    for length in (rows, columns):
        place = (torch.arange(length, device=like.device) + 0.5) / length
        angle = place[:, None] * frequencies
        parts.append(torch.cat([angle.sin(), angle.cos()], dim=1))
    down, across = parts
    both = torch.cat([down[:, None].expand(-1, columns, -1), across[None].expand(rows, -1, -1)], dim=2)
    return both.flatten(0, 1).to(like.dtype)

"""LQA, the assessor: reads a latent and says what is wrong with it, how badly, how good it is, and which is better.

A_I brings the latent to tokens; a transformer reads them with a few query tokens of its own, whose final states are the
answers, and what A_Q makes the restorer's condition of. No words are decoded: a probability per degradation is what a
stop rule and a reader need, and does not change with the wording of a question.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.rar.config import RARConfig
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.latent import PlainBlock, quiet
from iqpir.rar.layers import Layer, coarse, positions

ANSWERS = 2 * len(DEGRADATIONS) + 3
"""A logit and a severity of each, then clean, quality and utility."""
UTILITY = ANSWERS - 1
_BLOCK = 8
"""Latent positions on a side, 32 pixels, of each of which the largest counts."""


class Assessment(NamedTuple):
    """Of latents; every field has the batch first."""

    tokens: Tensor
    """[B,queries,width]: the answers themselves."""
    logits: Tensor
    """[B,kinds]: of each degradation being there."""
    clean: Tensor
    """[B]: logit of none being there."""
    severity: Tensor
    """[B,kinds] in (0,1): how bad each is, if it is there."""
    quality: Tensor
    """[B] in (0,1)."""
    utility: Tensor
    """[B]: that A is better than B has the probability σ(u_A − u_B) (Bradley and Terry, 1952)."""
    view: Tensor
    """[B,overview_width,h,w]: features of the view of the whole, at the latent's size; without one no channel."""

    def of(self, which: Tensor) -> Assessment:
        """Those of some members of the batch, by index or mask."""
        return Assessment(*(each[which] for each in self))

    def changed(self, which: Tensor, values: Assessment) -> Assessment:
        """With those of some members, by index or mask, replaced."""
        fields = []
        for old, new in zip(self, values, strict=True):
            old = old.clone()
            old[which] = new
            fields.append(old)
        return Assessment(*fields)


class InputAdapter(nn.Module):
    """A_I: latents [B,C,h,w] → tokens [B,N,width], one per 4×4 positions (16×16 pixels), 32×32 of them at most."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        width = config.assessor_width
        self.first = nn.Conv2d(config.latent_channels, width // 2, 3, padding=1)
        self.second = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        # The plain mean loses how much neighbours differ, which is what noise is seen by.
        self.third = nn.Conv2d(2 * width, width, 3, padding=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, latent: Tensor) -> Tensor:
        features = F.silu(self.second(F.silu(self.first(latent))))
        mean = F.avg_pool2d(features, 2, ceil_mode=True)
        spread = (F.avg_pool2d(features.square(), 2, ceil_mode=True) - mean.square()).clamp_min(0)
        features = coarse(self.third(torch.cat([mean, (spread + 1e-4).sqrt()], dim=1)))
        rows, columns = features.shape[-2:]
        tokens = self.norm(features.flatten(2).transpose(1, 2))
        return tokens + positions(rows, columns, tokens.shape[2], tokens)


class Overview(nn.Module):
    """The whole image at the latent's own size: statistics of features of latents [B,C,h,w], which add to what is
    answered, and to what the queries begin with. Nothing at first.

    What is small and scattered, flakes and streaks, is a position or two wide: in tokens of 4×4 positions it is hardly
    seen, and a few queries that attend to hundreds of tokens are slow to learn that it is everywhere.
    """

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        inner, width = config.overview_width, config.assessor_width
        self.enter = nn.Conv2d(config.latent_channels, inner, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(inner) for _ in range(config.overview_blocks)))
        self.norm = nn.LayerNorm(3 * inner)
        self.hidden = nn.Linear(3 * inner, width)
        self.queries = quiet(nn.Linear(width, config.queries * width))
        self.answers = quiet(nn.Linear(width, ANSWERS))
        for block in self.blocks:  # blocks that begin as the identity learn to see flakes several times as slowly
            block.conv2.reset_parameters()

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,queries,width], [B,ANSWERS], and the features [B,overview_width,h,w] that both are of."""
        view = self.blocks(self.enter(latent))
        features = F.silu(self.hidden(self.norm(overall(view))))
        return self.queries(features).unflatten(1, (-1, self.hidden.out_features)), self.answers(features), view


def overall(features: Tensor) -> Tensor:
    """Maps [B,C,h,w] → [B,3C]: mean, deviation, and the mean over blocks of 8×8 positions of the largest in each, which
    does not grow with the image as the largest of all does."""
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    largest = F.max_pool2d(features, _BLOCK, ceil_mode=True).mean(dim=(2, 3))
    return torch.cat([mean, (variance + 1e-4).sqrt(), largest], dim=1)


class Assessor(nn.Module):
    """Latents [B,C,h,w] → `Assessment`."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        width = config.assessor_width
        self.adapter = InputAdapter(config)
        self.overview = Overview(config) if config.overview_width else None
        self.queries = nn.Parameter(torch.randn(config.queries, width))
        self.layers = nn.ModuleList(Layer(width, config.heads) for _ in range(config.assessor_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(config.queries * width, ANSWERS)

    def forward(self, latent: Tensor) -> Assessment:
        queries, seen = self.queries.expand(len(latent), -1, -1), latent.new_zeros(())
        view = latent[:, :0]
        if self.overview is not None:
            whole, seen, view = self.overview(latent)
            queries = queries + whole
        tokens = torch.cat([queries, self.adapter(latent)], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        answers = self.norm(tokens[:, : queries.shape[1]])
        kinds = len(DEGRADATIONS)
        logits, severity, rest = (self.head(answers.flatten(1)) + seen).split([kinds, kinds, 3], dim=1)
        clean, quality, utility = rest.unbind(1)
        return Assessment(answers, logits, clean, severity.sigmoid(), quality.sigmoid(), utility, view)


def better(first: Assessment, second: Assessment) -> Tensor:
    """[B]: the probability that the first of two is the better one."""
    return (first.utility - second.utility).sigmoid()

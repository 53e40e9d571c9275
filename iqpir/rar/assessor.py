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
from iqpir.rar.layers import Layer, coarse, positions


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

    def of(self, which: Tensor) -> Assessment:
        """Those of some members of the batch, by index or mask."""
        return Assessment(*(each[which] for each in self))


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


class Assessor(nn.Module):
    """Latents [B,C,h,w] → `Assessment`."""

    def __init__(self, config: RARConfig) -> None:
        super().__init__()
        width = config.assessor_width
        self.adapter = InputAdapter(config)
        self.queries = nn.Parameter(torch.randn(config.queries, width))
        self.layers = nn.ModuleList(Layer(width, config.heads) for _ in range(config.assessor_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(config.queries * width, 2 * len(DEGRADATIONS) + 3)

    def forward(self, latent: Tensor) -> Assessment:
        queries = self.queries.expand(len(latent), -1, -1)
        tokens = torch.cat([queries, self.adapter(latent)], dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        answers = self.norm(tokens[:, : queries.shape[1]])
        kinds = len(DEGRADATIONS)
        logits, severity, rest = self.head(answers.flatten(1)).split([kinds, kinds, 3], dim=1)
        clean, quality, utility = rest.unbind(1)
        return Assessment(answers, logits, clean, severity.sigmoid(), quality.sigmoid(), utility)


def better(first: Assessment, second: Assessment) -> Tensor:
    """[B]: the probability that the first of two is the better one."""
    return (first.utility - second.utility).sigmoid()

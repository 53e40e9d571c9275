"""One layer of the code predictor, a pre-norm transformer over the latent's positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.network.config import SCORE_CHANNELS, IQPIRConfig


class TransformerLayer(nn.Module):
    """Tokens [B,N,width] → the same. Positions are added to queries and keys, never to values.

    Under adaLN a map of the score [B,32,h,w] shifts, scales and gates both branches at each position. The norm is
    multiplied by the scale itself, not by 1 + scale. With `adaln_drops_attention` the attention branch is left out,
    as it is, by mistake, in the authors' layer.
    """

    def __init__(self, config: IQPIRConfig) -> None:
        super().__init__()
        self.drops_attention = config.adaln_drops_attention
        self.self_attn = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.linear1 = nn.Linear(config.width, config.mlp)
        self.linear2 = nn.Linear(config.mlp, config.width)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)
        if config.conditioning == "adaln":
            modulation = nn.Conv2d(SCORE_CHANNELS, 6 * config.width, 3, padding=1)
            if config.score_init == "zero":
                nn.init.zeros_(modulation.weight)
                with torch.no_grad():  # shift 0, scale 1, gate 1: the layer without conditioning
                    modulation.bias.copy_(torch.tensor([0.0, 1.0, 1.0] * 2).repeat_interleave(config.width))
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), modulation)

    def attend(self, normed: Tensor, position: Tensor) -> Tensor:
        query = normed + position
        return self.self_attn(query, query, normed, need_weights=False)[0]

    def mlp(self, normed: Tensor) -> Tensor:
        return self.linear2(F.gelu(self.linear1(normed)))

    def forward(self, tokens: Tensor, position: Tensor, score_map: Tensor | None = None) -> Tensor:
        """`position` [N,width]; `score_map` [B,32,h,w] with h·w = N, under adaLN only."""
        if score_map is None:
            tokens = tokens + self.attend(self.norm1(tokens), position)
            return tokens + self.mlp(self.norm2(tokens))
        modulation = self.adaLN_modulation(score_map).flatten(2).transpose(1, 2)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation.chunk(6, dim=-1)
        if not self.drops_attention:
            tokens = tokens + gate * self.attend(shift + scale * self.norm1(tokens), position)
        return tokens + mlp_gate * self.mlp(mlp_shift + mlp_scale * self.norm2(tokens))

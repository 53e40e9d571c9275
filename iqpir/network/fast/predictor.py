"""The code predictor as a plan: positions folded into one matrix of offsets per layer, books side by side in the head.

Queries and keys are W·(y + p) + b = W·y + (W·p + b), so the bracket is computed once. Products are taken in the plan's
dtype; the residual stream, the norms and the head stay in float32, since a code is the largest of close logits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.network.conditioning import positions_to_grid
from iqpir.network.config import IQPIRConfig
from iqpir.network.transformer import TransformerLayer


class _Layer(NamedTuple):
    norm1: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]
    qkv: Tensor
    offset: Tensor
    """[N,3·width]: what positions and biases add to queries, keys and values."""
    out: tuple[Tensor, Tensor]
    linear1: tuple[Tensor, Tensor]
    linear2: tuple[Tensor, Tensor]
    modulation: tuple[Tensor, Tensor] | None
    drops_attention: bool


class Predictor:
    """Features [B,C,h,w], float32 → logits [B,h·w,books,codes], float32; books in the head's order, HQ+ first."""

    def __init__(
        self,
        config: IQPIRConfig,
        embed: nn.Linear,
        position: Tensor,
        layers: nn.ModuleList,
        head: nn.Sequential,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.dtype, self.heads = dtype, config.heads
        self._embed = _pair(embed, dtype, device)
        self._size = config.latent_size
        self._stretched: tuple[tuple[int, int], list[Tensor]] | None = None
        """Offsets of the last other grid, and that one alone: the published network's take 227 MB at 64×64."""
        self._layers = [_plan_layer(layer, position.detach(), dtype, device) for layer in layers]
        self._head_norm = _pair(head[0], torch.float32, device)
        books = 2 if config.dual else 1
        rows = head[1].weight.detach()  # row 2n + j is code n of book j
        rows = rows.unflatten(0, (-1, books)).transpose(0, 1).flatten(0, 1)
        self._head = rows.to(device, torch.float32, copy=True)
        self._books = books
        sizes = torch.tensor([config.hq_codebook, config.codebook] if config.dual else [config.codebook])
        beyond = torch.arange(len(rows) // books) >= sizes[:, None]
        self._beyond = beyond.to(device) if beyond.any() else None
        """bool [books,codes]: rows of the head beyond the end of the smaller book; None where the books are equal."""

    def __call__(self, features: Tensor, score_map: Tensor | None) -> Tensor:
        """`score_map` [B,32,h,w] under adaLN only."""
        tokens = F.linear(features.flatten(2).transpose(1, 2).to(self.dtype), *self._embed).float()
        offsets = self._offsets((features.shape[-2], features.shape[-1]))
        for layer, offset in zip(self._layers, offsets, strict=True):
            tokens = self._layer(layer, offset, tokens, score_map)
        tokens = F.layer_norm(tokens, tokens.shape[2:], *self._head_norm)
        logits = F.linear(tokens, self._head).unflatten(2, (self._books, -1))
        return logits if self._beyond is None else logits.masked_fill(self._beyond, -torch.inf)

    def _offsets(self, grid: tuple[int, int]) -> list[Tensor]:
        """The layers' offsets, stretched to a grid: they are linear in the positions, so their mean is the means'."""
        if grid == (self._size, self._size):
            return [layer.offset for layer in self._layers]
        if self._stretched is None or self._stretched[0] != grid:
            self._stretched = None  # freed before the next ones are made
            made = [positions_to_grid(layer.offset, self._size, grid) for layer in self._layers]
            self._stretched = grid, made
        return self._stretched[1]

    def release(self) -> None:
        """Forget the stretched offsets."""
        self._stretched = None

    def _layer(self, layer: _Layer, offset: Tensor, tokens: Tensor, score_map: Tensor | None) -> Tensor:
        width = tokens.shape[2:]
        if layer.modulation is None or score_map is None:
            tokens = tokens + self._attend(layer, offset, F.layer_norm(tokens, width, *layer.norm1))
            return tokens + self._mlp(layer, F.layer_norm(tokens, width, *layer.norm2))
        modulation = F.conv2d(F.silu(score_map), *layer.modulation, padding=1).flatten(2).transpose(1, 2)
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation.chunk(6, dim=2)
        if not layer.drops_attention:
            tokens = tokens + gate * self._attend(
                layer, offset, shift + scale * F.layer_norm(tokens, width, *layer.norm1)
            )
        return tokens + mlp_gate * self._mlp(layer, mlp_shift + mlp_scale * F.layer_norm(tokens, width, *layer.norm2))

    def _attend(self, layer: _Layer, offset: Tensor, normed: Tensor) -> Tensor:
        qkv = F.linear(normed.to(self.dtype), layer.qkv) + offset
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return F.linear(attended, *layer.out).float()

    def _mlp(self, layer: _Layer, normed: Tensor) -> Tensor:
        return F.linear(F.gelu(F.linear(normed.to(self.dtype), *layer.linear1)), *layer.linear2).float()


def _plan_layer(layer: TransformerLayer, position: Tensor, dtype: torch.dtype, device: torch.device) -> _Layer:
    attention = layer.self_attn
    weight, bias = attention.in_proj_weight.detach(), attention.in_proj_bias.detach()
    offset = bias.double().repeat(len(position), 1)
    width = position.shape[1]
    offset[:, : 2 * width] += position.double() @ weight[: 2 * width].double().T
    modulation = getattr(layer, "adaLN_modulation", None)
    return _Layer(
        _pair(layer.norm1, torch.float32, device),
        _pair(layer.norm2, torch.float32, device),
        weight.to(device, dtype, copy=True),
        offset.to(device, dtype),
        _pair(attention.out_proj, dtype, device),
        _pair(layer.linear1, dtype, device),
        _pair(layer.linear2, dtype, device),
        None if modulation is None else _pair(modulation[1], torch.float32, device),
        layer.drops_attention,
    )


def _pair(layer: nn.Module, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Copies of weight and bias."""
    weight, bias = (part.detach().to(device, dtype, copy=True) for part in (layer.weight, layer.bias))
    return weight, bias

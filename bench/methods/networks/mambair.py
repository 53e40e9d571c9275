"""MambaIR, image restoration with state spaces (Guo et al., ECCV 2024): each pixel sees all others in linear time.

Blocks join a scan along four paths over the pixels – rows, columns, and both backwards – with convolutions that give
back what a path tears apart. Names of parameters are those of the official checkpoints. The U-shaped network of the
authors' real-image denoiser is another one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from bench.methods.networks.selective_scan import selective_scan

MEAN = (0.4488, 0.4371, 0.4040)
"""Of DIV2K's RGB; taken off the input and put back."""
SHUFFLED = 64
"""Channels of the features that the large super-resolver enlarges."""


def convolution(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Conv2d:
    options.setdefault("padding", kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, **options)


class FourWayScan(nn.Module):
    """[B,H,W,C] → the same: features scanned in four orders, the sums gated by a second projection of the input."""

    def __init__(self, width: int, states: int, expand: float) -> None:
        super().__init__()
        inner = int(expand * width)
        self.rank, self.states = math.ceil(width / 16), states
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv2d = convolution(inner, inner, groups=inner)
        # One of each per order. What projects features to a step's size, its inflow and its outflow:
        self.x_proj_weight = nn.Parameter(torch.randn(4, self.rank + 2 * states, inner) / math.sqrt(inner))
        self.dt_projs_weight = nn.Parameter((torch.rand(4, inner, self.rank) * 2 - 1) / math.sqrt(self.rank))
        self.dt_projs_bias = nn.Parameter(torch.expm1(torch.logspace(-3, -1, inner)).log().repeat(4, 1))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(4 * inner, 1))
        self.Ds = nn.Parameter(torch.ones(4 * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        content, gate = self.in_proj(features).chunk(2, dim=-1)
        content = silu(self.conv2d(content.permute(0, 3, 1, 2)))
        return self.out_proj(self.out_norm(self.scanned(content)) * silu(gate))

    def scanned(self, content: Tensor) -> Tensor:
        """[B,D,H,W] → [B,H,W,D]."""
        height, width = content.shape[-2:]
        rows, columns = content.permute(2, 3, 0, 1).flatten(0, 1), content.permute(3, 2, 0, 1).flatten(0, 1)
        tokens = torch.stack([rows, columns, rows.flip(0), columns.flip(0)], dim=2)  # [L,B,4,D]
        projected = torch.einsum("lbkd,kcd->lbkc", tokens, self.x_proj_weight)
        steps, inflow, outflow = projected.split([self.rank, self.states, self.states], dim=-1)
        steps = torch.einsum("lbkr,kdr->lbkd", steps, self.dt_projs_weight)

        # As the official kernel does it, in single precision at least.
        exact = torch.promote_types(content.dtype, torch.float32)
        delta = softplus(steps.to(exact) + self.dt_projs_bias.to(exact))
        decay = -self.A_logs.to(exact).exp().unflatten(0, (4, -1))
        skip = self.Ds.to(exact).unflatten(0, (4, -1))
        out = selective_scan(tokens.to(exact), delta, decay, inflow.to(exact), outflow.to(exact), skip)

        by_rows = (out[:, :, 0] + out[:, :, 2].flip(0)).unflatten(0, (height, width))
        by_columns = (out[:, :, 1] + out[:, :, 3].flip(0)).unflatten(0, (width, height))
        return (by_rows + by_columns.transpose(0, 1)).permute(2, 0, 1, 3).to(content.dtype)


class ChannelAttention(nn.Module):
    def __init__(self, width: int, squeeze: int = 30) -> None:
        super().__init__()
        few = width // squeeze
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), convolution(width, few, 1), nn.ReLU(), convolution(few, width, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        return features * self.attention(features)


class Convolutions(nn.Module):
    """What a block does locally; the light networks with fewer products over a wider field."""

    def __init__(self, width: int, light: bool) -> None:
        super().__init__()
        narrow = width // (2 if light else 3)
        before = [convolution(width, narrow, 1), convolution(narrow, narrow, groups=narrow)]
        after = [convolution(narrow, width, 1), convolution(width, width, groups=width, padding=2, dilation=2)]
        if not light:
            before, after = [convolution(width, narrow)], [convolution(narrow, width)]
        self.cab = nn.Sequential(*before, nn.GELU(), *after, ChannelAttention(width))

    def forward(self, features: Tensor) -> Tensor:
        return self.cab(features)


class Block(nn.Module):
    """[B,H,W,C] → the same."""

    def __init__(self, width: int, states: int, expand: float, light: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attention = FourWayScan(width, states, expand)
        self.conv_blk = Convolutions(width, light)
        self.skip_scale, self.skip_scale2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        features = features * self.skip_scale + self.self_attention(self.ln_1(features))
        local = self.conv_blk(self.ln_2(features).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return features * self.skip_scale2 + local


class Row(nn.Module):
    def __init__(self, blocks: list[Block]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)

    def forward(self, features: Tensor) -> Tensor:
        return self.blocks(features)


class Group(nn.Module):
    """Blocks and a convolution, as a residual: [B,H,W,C] → the same."""

    def __init__(self, width: int, blocks: list[Block]) -> None:
        super().__init__()
        self.residual_group = Row(blocks)
        self.conv = convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.residual_group(features).permute(0, 3, 1, 2)
        return features + self.conv(inner).permute(0, 2, 3, 1)


class Embedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        return self.norm(features)


class Cut(NamedTuple):
    """A piece along one axis: from `start` to `stop` it is restored, `length` positions after `margin` are kept."""

    start: int
    stop: int
    margin: int
    length: int


def cuts(size: int, number: int) -> list[Cut]:
    """A size in equal parts, each restored with a tenth of its length of its neighbours on either side."""
    length = size // number
    margin = length // 10
    ends = [(max(start - margin, 0), min(start + length + margin, size)) for start in range(0, size, length)]
    return [Cut(start, stop, index * length - start, length) for index, (start, stop) in enumerate(ends)]


def enlarger(upscale: int, width: int) -> nn.Sequential:
    """Features enlarged by 2, 3 or 4, by 2 twice for the last."""
    factors = [2, 2] if upscale == 4 else [upscale]
    return nn.Sequential(
        *(layer for by in factors for layer in (convolution(width, by * by * width), nn.PixelShuffle(by)))
    )


class MambaIR(nn.Module):
    """The restored image, `upscale` times as large, any size, not clamped.

    `width`, `groups` of `depth` blocks, `states` and `expand` are the size. `light` is the small super-resolver's kind:
    other convolutions in the blocks, and pixels shuffled straight from the features. Pixels in pieces of about
    `partition`, as the official tests restore whatever is larger than 200; 0: the image whole.
    """

    def __init__(
        self,
        width: int = 180,
        groups: int = 6,
        depth: int = 6,
        states: int = 16,
        expand: float = 1.2,
        upscale: int = 1,
        light: bool = False,
        partition: int = 200,
    ) -> None:
        super().__init__()
        self.upscale, self.light, self.partition = upscale, light, partition
        self.conv_first = convolution(3, width)
        self.patch_embed = Embedding(width)
        self.layers = nn.Sequential(
            *(Group(width, [Block(width, states, expand, light) for _ in range(depth)]) for _ in range(groups))
        )
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = convolution(width, width)
        if light:
            self.upsample = nn.Sequential(convolution(width, 3 * upscale * upscale), nn.PixelShuffle(upscale))
        elif upscale > 1:
            self.conv_before_upsample = nn.Sequential(convolution(width, SHUFFLED), nn.LeakyReLU(0.01))
            self.upsample = enlarger(upscale, SHUFFLED)
            self.conv_last = convolution(SHUFFLED, 3)
        else:
            self.conv_last = convolution(width, 3)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if not self.partition:
            return self.whole(image)
        down, across = height // self.partition + 1, width // self.partition + 1
        padded = pad(image, (0, -width % across, 0, -height % down), mode="reflect")
        columns = cuts(padded.shape[-1], across)
        strips = [
            torch.cat([self.piece(padded, row, column) for column in columns], dim=-1)
            for row in cuts(padded.shape[-2], down)
        ]
        return torch.cat(strips, dim=-2)[..., : height * self.upscale, : width * self.upscale]

    def piece(self, image: Tensor, row: Cut, column: Cut) -> Tensor:
        output = self.whole(image[..., row.start : row.stop, column.start : column.stop])
        top, left, by = row.margin, column.margin, self.upscale
        return output[..., top * by : (top + row.length) * by, left * by : (left + column.length) * by]

    def whole(self, image: Tensor) -> Tensor:
        mean = image.new_tensor(MEAN)[:, None, None]
        centred = image - mean
        first = self.conv_first(centred)
        deep = self.norm(self.layers(self.patch_embed(first.permute(0, 2, 3, 1))))
        features = self.conv_after_body(deep.permute(0, 3, 1, 2)) + first
        if self.light:
            return self.upsample(features) + mean
        if self.upscale > 1:
            return self.conv_last(self.upsample(self.conv_before_upsample(features))) + mean
        return centred + self.conv_last(features) + mean

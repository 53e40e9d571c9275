"""The blocks that encoder and generator are built of. Attribute names are those of the published state dicts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """3×3, zero padding, same size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Unshuffle(nn.Conv2d):
    """Images [B,3,H,W] → [B,out,H/s,W/s]: blocks of s×s pixels become channels, then 3×3. With s = 1 a plain 3×3."""

    def __init__(self, outputs: int, stem: int) -> None:
        super().__init__(3 * stem * stem, outputs, 3, padding=1)
        self.stem = stem

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pixel_unshuffle(x, self.stem))


class Shuffle(nn.Conv2d):
    """[B,in,H,W] → images [B,3,H·s,W·s]: 3×3, then channels become blocks of s×s pixels."""

    def __init__(self, inputs: int, stem: int) -> None:
        super().__init__(inputs, 3 * stem * stem, 3, padding=1)
        self.stem = stem

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(x), self.stem)


class ResBlock(nn.Module):
    """[B,in,H,W] → [B,out,H,W]: norm, swish and convolution, twice; 1×1 on the skip where the channels change."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs, groups)
        self.conv1 = conv3(inputs, outputs)
        self.norm2 = group_norm(outputs, groups)
        self.conv2 = conv3(outputs, outputs)
        self.conv_out = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x)))
        hidden = self.conv2(F.silu(self.norm2(hidden)))
        return hidden + (x if self.conv_out is None else self.conv_out(x))


class AttnBlock(nn.Module):
    """[B,C,H,W] → the same: self-attention over positions with one head of width C, added to the input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + self.proj_out(attend(self.q(normed), self.k(normed), self.v(normed), heads=1))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention over the positions of maps [B,C,H,W], the channels split into heads; scale (C/heads)^-½."""
    batch, channels, height, width = q.shape
    tokens = [part.view(batch, heads, channels // heads, -1).transpose(2, 3) for part in (q, k, v)]
    return F.scaled_dot_product_attention(*tokens).transpose(2, 3).reshape(batch, channels, height, width)


class Downsample(nn.Module):
    """[B,C,H,W] → [B,C,H/2,W/2]: 3×3 with stride 2, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """[B,C,H,W] → [B,C,2H,2W]: each pixel four times, then 3×3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))

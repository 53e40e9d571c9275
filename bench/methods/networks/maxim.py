"""MAXIM (Tu et al., CVPR 2022): a U-Net of multi-axis MLPs in two stages, with the weights of a TensorFlow.js package.

Written from the paper (sections 3.1 to 3.3, figures 2 and 3, supplement). Modules carry the names of the published
graph, so that its constants say where they belong. Images are [B,C,H,W] at the border and [B,H,W,C] inside, because
nearly every layer works on channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH, _DEPTH, _STAGES, _GROUPS, _BOTTLENECKS = 32, 3, 2, 2, 2
_REDUCTION = 4
_EPSILON = 1e-6
MULTIPLE = 64
"""Sides must be multiples of this: eight times the cells of the coarsest scale."""


def _cells(scale: int) -> int:
    """Side of blocks and grids at a scale: 16 at the two finest, 8 at the others."""
    return 16 if scale < 2 else 8


class _Conv(nn.Conv2d):
    """A convolution over [B,H,W,C]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class _ConvTranspose(nn.ConvTranspose2d):
    """Doubles the sides of [B,H,W,C]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _conv3(inputs: int, outputs: int) -> _Conv:
    return _Conv(inputs, outputs, 3, padding=1)


def _conv1(inputs: int, outputs: int) -> _Conv:
    return _Conv(inputs, outputs, 1)


def _norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=_EPSILON)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _blocked(x: Tensor, height: int, width: int) -> Tensor:
    """[B,H,W,C] in blocks of height × width pixels → [B, blocks, pixels of a block, C]."""
    batch, rows, columns, channels = x.shape
    x = x.reshape(batch, rows // height, height, columns // width, width, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, -1, height * width, channels)


def _unblocked(x: Tensor, height: int, width: int, rows: int, columns: int) -> Tensor:
    """The inverse, `rows` × `columns` pixels in all."""
    batch, channels = len(x), x.shape[-1]
    x = x.reshape(batch, rows // height, columns // width, height, width, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, channels)


class _Axis(NamedTuple):
    """How an image is cut, and along which axis its cells are mixed."""

    mixed: int
    """Axis of [B, blocks, pixels, C]: 1 mixes what lies at one place of all blocks (global), 2 within a block."""
    cells: int

    def block(self, x: Tensor) -> tuple[int, int]:
        rows, columns = x.shape[1:3]
        return (rows // self.cells, columns // self.cells) if self.mixed == 1 else (self.cells, self.cells)

    def apply(self, x: Tensor, mix: Callable[[Tensor], Tensor]) -> Tensor:
        """`mix` of the image in blocks, put together again."""
        block = self.block(x)
        return _unblocked(mix(_blocked(x, *block)), *block, *x.shape[1:3])

    def across(self, x: Tensor, linear: nn.Module) -> Tensor:
        """A linear layer along the mixed axis."""
        return linear(x.transpose(self.mixed, 3)).transpose(self.mixed, 3)


class _GatingUnit(nn.Module):
    """Half of the channels, mixed across cells, gate the other half."""

    def __init__(self, width: int, axis: _Axis) -> None:
        super().__init__()
        self.axis = axis
        self.intermediate_layernorm = _norm(width)
        self.Dense_0 = nn.Linear(axis.cells**2, axis.cells**2)

    def forward(self, x: Tensor) -> Tensor:
        kept, gate = x.chunk(2, dim=-1)
        return kept * (self.axis.across(self.intermediate_layernorm(gate), self.Dense_0) + 1)


class _GmlpLayer(nn.Module):
    """A gated MLP over the grid (global) or the blocks (local) of an image."""

    def __init__(self, width: int, axis: _Axis) -> None:
        super().__init__()
        self.axis = axis
        self.LayerNorm = _norm(width)
        self.in_project = nn.Linear(width, 2 * width)
        self.add_module("GridGatingUnit" if axis.mixed == 1 else "BlockGatingUnit", _GatingUnit(width, axis))
        self.out_project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.axis.apply(x, self._mix)

    def _mix(self, x: Tensor) -> Tensor:
        unit = self.get_submodule("GridGatingUnit" if self.axis.mixed == 1 else "BlockGatingUnit")
        return x + self.out_project(unit(_gelu(self.in_project(self.LayerNorm(x)))))


class _SplitHeadMultiAxisGmlp(nn.Module):
    """Half of the channels see the whole image, half their surroundings (figure 3 of the paper)."""

    def __init__(self, width: int, cells: int) -> None:
        super().__init__()
        self.LayerNorm_in = _norm(width)
        self.in_project = nn.Linear(width, 2 * width)
        self.GridGmlpLayer = _GmlpLayer(width, _Axis(1, cells))
        self.BlockGmlpLayer = _GmlpLayer(width, _Axis(2, cells))
        self.out_project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        whole, near = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        return x + self.out_project(torch.cat([self.GridGmlpLayer(whole), self.BlockGmlpLayer(near)], dim=-1))


class _ChannelAttention(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.Conv_0 = _conv1(width, width // _REDUCTION)
        self.Conv_1 = _conv1(width // _REDUCTION, width)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.Conv_1(F.relu(self.Conv_0(x.mean(dim=(1, 2), keepdim=True)))))


class _ResidualChannelAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.LayerNorm = _norm(width)
        self.conv1 = _conv3(width, width)
        self.conv2 = _conv3(width, width)
        self.channel_attention = _ChannelAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.conv1(self.LayerNorm(x)), 0.2)
        return x + self.channel_attention(self.conv2(inner))


class _ChannelMixing(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.Dense_0 = nn.Linear(width, width)
        self.Dense_1 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.Dense_1(_gelu(self.Dense_0(x)))


class _DenseChannelAttention(nn.Module):
    """The bottleneck's residual block: an MLP in place of convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.LayerNorm = _norm(width)
        self.channel_mixing = _ChannelMixing(width)
        self.channel_attention = _ChannelAttention(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.channel_attention(self.channel_mixing(self.LayerNorm(x)))


class _Bottleneck(nn.Module):
    def __init__(self, width: int, cells: int) -> None:
        super().__init__()
        self.input_proj = _conv1(width, width)
        for group in range(_GROUPS):
            self.add_module(f"SplitHeadMultiAxisGmlpLayer_{group}", _SplitHeadMultiAxisGmlp(width, cells))
            self.add_module(f"channel_attention_block_1_{group}", _DenseChannelAttention(width))

    def forward(self, x: Tensor) -> Tensor:
        start = x = self.input_proj(x)
        for group in range(_GROUPS):
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{group}")(x)
            x = self.get_submodule(f"channel_attention_block_1_{group}")(x)
        return x + start


class _SplitHeadMultiAxisGating(nn.Module):
    """Spatial gates for the other one of two signals."""

    def __init__(self, width: int, cells: int) -> None:
        super().__init__()
        self.grid, self.block = _Axis(1, cells), _Axis(2, cells)
        self.LayerNorm_in = _norm(width)
        self.in_project = nn.Linear(width, 2 * width)
        self.Dense_0 = nn.Linear(cells**2, cells**2)
        self.Dense_1 = nn.Linear(cells**2, cells**2)
        self.out_project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        whole, near = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        whole = self.grid.apply(whole, lambda cells: self.grid.across(cells, self.Dense_0))
        near = self.block.apply(near, lambda cells: self.block.across(cells, self.Dense_1))
        return self.out_project(torch.cat([whole, near], dim=-1))


class _CrossGating(nn.Module):
    """Two signals gate each other (figure 2c); `y` comes from the coarser scale where it has to be doubled."""

    def __init__(self, inputs: int, width: int, cells: int, coarser: int | None = None) -> None:
        super().__init__()
        if coarser is not None:
            self.ConvTranspose_0 = _ConvTranspose(coarser, width)
        self.Conv_0 = _conv1(inputs, width)
        self.Conv_1 = _conv1(width, width)
        for side in ("x", "y"):
            self.add_module(f"LayerNorm_{side}", _norm(width))
            self.add_module(f"in_project_{side}", nn.Linear(width, width))
            self.add_module(f"SplitHeadMultiAxisGating_{side}", _SplitHeadMultiAxisGating(width, cells))
            self.add_module(f"out_project_{side}", nn.Linear(width, width))
        self.doubles = coarser is not None

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        y = self.ConvTranspose_0(y) if self.doubles else y
        first_x, first_y = self.Conv_0(x), self.Conv_1(y)
        x, gate_x = self._gate(first_x, "x")
        y, gate_y = self._gate(first_y, "y")
        y = first_y + self.get_submodule("out_project_y")(y * gate_x)
        x = first_x + y + self.get_submodule("out_project_x")(x * gate_y)
        return x, y

    def _gate(self, signal: Tensor, side: str) -> tuple[Tensor, Tensor]:
        normed = self.get_submodule(f"LayerNorm_{side}")(signal)
        inner = _gelu(self.get_submodule(f"in_project_{side}")(normed))
        return inner, self.get_submodule(f"SplitHeadMultiAxisGating_{side}")(inner)


class _EncoderBlock(nn.Module):
    """One scale of the U-Net. In the second stage it also reads what the first one made at this scale."""

    def __init__(self, inputs: int, width: int, cells: int, *, down: bool, earlier: bool) -> None:
        super().__init__()
        self.Conv_0 = _conv1(inputs, width)
        for group in range(_GROUPS):
            self.add_module(f"SplitHeadMultiAxisGmlpLayer_{group}", _SplitHeadMultiAxisGmlp(width, cells))
            self.add_module(f"channel_attention_block_1{group}", _ResidualChannelAttention(width))
        if earlier:
            self.cross_gating_block = _CrossGating(width, width, cells)
        if down:
            self.Conv_1 = _Conv(width, width, 4, stride=2, padding=1)
        self.down, self.earlier = down, earlier

    def forward(self, x: Tensor, earlier: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What goes on to the next scale, and what stays at this one."""
        start = x = self.Conv_0(x)
        for group in range(_GROUPS):
            x = self.get_submodule(f"SplitHeadMultiAxisGmlpLayer_{group}")(x)
            x = self.get_submodule(f"channel_attention_block_1{group}")(x)
        x = x + start
        if self.earlier:
            x, _ = self.cross_gating_block(x, earlier)
        return (self.Conv_1(x) if self.down else x), x


class _DecoderBlock(nn.Module):
    def __init__(self, inputs: int, width: int, cells: int) -> None:
        super().__init__()
        self.ConvTranspose_0 = _ConvTranspose(inputs, width)
        self.UNetEncoderBlock_0 = _EncoderBlock(4 * width, width, cells, down=False, earlier=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.UNetEncoderBlock_0(torch.cat([self.ConvTranspose_0(x), skip], dim=-1))[0]


class _SupervisedAttention(nn.Module):
    """The first stage's image at a scale, and the features that it gates for the second stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.Conv_0 = _conv3(width, width)
        self.Conv_1 = _conv3(width, 3)
        self.Conv_2 = _conv3(3, width)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        restored = self.Conv_1(x) + image
        return x + self.Conv_0(x) * torch.sigmoid(self.Conv_2(restored))


class _Resized(nn.Module):
    """A signal of another scale, brought to this one's size and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv_0 = _conv1(inputs, outputs)

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        if x.shape[1:3] != (rows, columns):
            # With antialiasing, as JAX resizes.
            x = F.interpolate(x.permute(0, 3, 1, 2), (rows, columns), mode="bilinear", antialias=True)
            x = x.permute(0, 2, 3, 1)
        return self.Conv_0(x)


def _mirrored(side: int, device: torch.device) -> tuple[int, Tensor]:
    """How many lines come before the image, and which of its lines each line of the grown image is."""
    even = _reflected(torch.arange(side + side % 2, device=device), side)
    before = -len(even) % MULTIPLE // 2
    lines = torch.arange(-before, len(even) + before, device=device)
    return before, even[_reflected(lines, len(even))]


def _reflected(lines: Tensor, side: int) -> Tensor:
    """Lines beyond an image of `side` lines as those that a mirror at its outermost line shows, again and again."""
    period = max(2 * (side - 1), 1)
    lines = lines.abs() % period
    return torch.where(lines < side, lines, period - lines)


def _widths() -> list[int]:
    return [_WIDTH * 2**scale for scale in range(_DEPTH)]


class Maxim(nn.Module):
    """MAXIM-2S as trained for enhancement: [B,3,H,W] in [0,1], any size → the enhanced image, not clamped.

    As the official evaluation does, odd sides get one more line, and the image is mirrored on all sides to the next
    multiple of 64, with one half of what is missing on each.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = _widths()
        for stage in range(_STAGES):
            for scale, width in enumerate(widths):
                self._add_scale(f"stage_{stage}_", stage, scale, width)
            for block in range(_BOTTLENECKS):
                self.add_module(f"stage_{stage}_global_block_{block}", _Bottleneck(widths[-1], _cells(_DEPTH)))
        # Numbered in the order of use: scale by scale from the coarsest, first before the decoder, then within it.
        number = 0
        for _ in range(_STAGES):
            for sources in (widths, widths[::-1]):
                for width in widths[::-1]:
                    for source in sources:
                        self.add_module(f"UpSampleRatio_{number}", _Resized(source, width))
                        number += 1

    def _add_scale(self, prefix: str, stage: int, scale: int, width: int) -> None:
        widths, cells, later = _widths(), _cells(scale), stage > 0
        coarser = widths[min(scale + 1, _DEPTH - 1)]
        before = widths[max(scale - 1, 0)]  # the finest scale gets its own input twice
        self.add_module(f"{prefix}input_conv_{scale}", _conv3(3, width))
        if later:
            self.add_module(f"{prefix}input_fuse_sam_{scale}", _CrossGating(width, width, cells))
        block = _EncoderBlock(before + width, width, cells, down=True, earlier=later)
        self.add_module(f"{prefix}encoder_block_{scale}", block)
        self.add_module(f"{prefix}cross_gating_block_{scale}", _CrossGating(3 * width, width, cells, coarser))
        self.add_module(f"{prefix}decoder_block_{scale}", _DecoderBlock(coarser, width, cells))
        if not later:
            self.add_module(f"{prefix}supervised_attention_module_{scale}", _SupervisedAttention(width))
        elif scale == 0:
            self.add_module(f"{prefix}output_conv_0", _conv3(width, 3))

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        (top, rows), (left, columns) = (_mirrored(side, image.device) for side in (height, width))
        grown = image[:, :, rows][:, :, :, columns]
        return self._enhanced(grown)[:, :, top : top + height, left : left + width]

    def _enhanced(self, image: Tensor) -> Tensor:
        whole = image.permute(0, 2, 3, 1)
        # The nearest pixel, as JAX takes it: the one just after the middle.
        images = [whole[:, 2**scale // 2 :: 2**scale, 2**scale // 2 :: 2**scale] for scale in range(_DEPTH)]
        resizers = iter(self.get_submodule(f"UpSampleRatio_{number}") for number in range(2 * _STAGES * _DEPTH**2))
        attended: list[Tensor] = []
        earlier: list[Tensor | None] = [None] * _DEPTH
        for stage in range(_STAGES):
            features, attended, earlier = self._stage(stage, images, attended, earlier, resizers)
        return (self.get_submodule(f"stage_{_STAGES - 1}_output_conv_0")(features) + whole).permute(0, 3, 1, 2)

    def _stage(
        self,
        stage: int,
        images: list[Tensor],
        attended: list[Tensor],
        earlier: list[Tensor | None],
        resizers: Iterable[nn.Module],
    ) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
        """The finest features, and by scale what the next stage reads of this one."""

        def part(name: str) -> nn.Module:
            return self.get_submodule(f"stage_{stage}_{name}")

        def gathered(signals: list[Tensor], like: Tensor) -> Tensor:
            return torch.cat([next(supply)(signal, *like.shape[1:3]) for signal in signals], dim=-1)

        supply = iter(resizers)
        inputs = [part(f"input_conv_{scale}")(image) for scale, image in enumerate(images)]
        if attended:
            inputs = [part(f"input_fuse_sam_{scale}")(x, attended[scale])[0] for scale, x in enumerate(inputs)]
        encoded: list[Tensor] = []
        x = inputs[0]
        for scale, fresh in enumerate(inputs):
            x, kept = part(f"encoder_block_{scale}")(torch.cat([x, fresh], dim=-1), earlier[scale])
            encoded.append(kept)
        for block in range(_BOTTLENECKS):
            x = part(f"global_block_{block}")(x)
        coarse, skips = x, []
        for scale in reversed(range(_DEPTH)):
            skip, coarse = part(f"cross_gating_block_{scale}")(gathered(encoded, encoded[scale]), coarse)
            skips.append(skip)
        decoded: dict[int, Tensor] = {}
        for scale in reversed(range(_DEPTH)):
            x = part(f"decoder_block_{scale}")(x, gathered(skips, encoded[scale]))
            decoded[scale] = x
        if stage == _STAGES - 1:
            return x, [], []
        modules = [part(f"supervised_attention_module_{scale}") for scale in range(_DEPTH)]
        seen = [module(decoded[scale], images[scale]) for scale, module in enumerate(modules)]
        return x, seen, [encoded[scale] + decoded[scale] for scale in range(_DEPTH)]

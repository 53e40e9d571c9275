"""The network's blocks as steps of a plan: weights as the fast kernels want them, and the order of the calls.

A step takes a map over: it may overwrite it, and gives its memory back when it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.network.blocks import AttnBlock, Downsample, ResBlock, Upsample
from iqpir.network.fast.kernels import Conv, Kind, Map, Norm, plan_conv, plan_norm
from iqpir.network.fidelity import FidelityBlock, PixelFidelityBlock


class Engine(Protocol):
    """`Bands` or `WholeMaps`."""

    def map(self, tensor: Tensor) -> Map: ...
    def give(self, *maps: Map) -> None: ...
    def normalise(self, x: Map, norm: Norm, silu: bool, dtype: torch.dtype) -> Tensor: ...
    def conv(self, x: Map, conv: Conv, add_to: Map | None = None) -> Map: ...


@dataclass(frozen=True)
class ConvStep:
    """A convolution by itself: the first, the last with the norm before it, down, up."""

    conv: Conv

    def __call__(self, engine: Engine, x: Map) -> Map:
        y = engine.conv(x, self.conv)
        engine.give(x)
        return y


@dataclass(frozen=True)
class ResStep:
    """A residual block, in place where the channels stay."""

    conv1: Conv
    conv2: Conv
    skip: Conv | None

    def __call__(self, engine: Engine, x: Map) -> Map:
        hidden = engine.conv(x, self.conv1)
        if self.skip is not None:
            skipped = engine.conv(x, self.skip)
            engine.give(x)
            x = skipped
        y = engine.conv(hidden, self.conv2, add_to=x)
        engine.give(hidden)
        return y


@dataclass(frozen=True)
class AttnStep:
    """Self-attention over positions with one head, in place: queries, keys and values by one matrix."""

    norm: Norm
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]

    def __call__(self, engine: Engine, x: Map) -> Map:
        tokens = engine.normalise(x, self.norm, False, self.qkv[0].dtype).flatten(1, 2)[:, None]
        q, k, v = F.linear(tokens, *self.qkv).chunk(3, dim=3)
        attended = F.linear(F.scaled_dot_product_attention(q, k, v), *self.out)
        return engine.map(x.tensor.add_(attended.view_as(x.tensor)))


Step: TypeAlias = ConvStep | ResStep | AttnStep


@dataclass(frozen=True)
class FidelityStep:
    """A fidelity block: the generator's map bent towards the encoder's, in place."""

    joint: ResStep
    scale: tuple[Conv, Conv]
    shift: tuple[Conv, Conv]
    scales_input: bool
    """What is scaled: the encoder's map, else the generator's."""

    def __call__(self, engine: Engine, encoded: Tensor, x: Map, fidelity: float | Tensor) -> Map:
        both = engine.map(torch.cat([encoded, x.tensor], dim=3))
        joint = self.joint(engine, both)
        scale, shift = self._head(engine, joint, self.scale), self._head(engine, joint, self.shift)
        scaled = encoded if self.scales_input else x.tensor
        bent = x.tensor.add_((scaled * scale.tensor).add_(shift.tensor) * fidelity)
        engine.give(joint, scale, shift)
        return engine.map(bent)

    @staticmethod
    def _head(engine: Engine, joint: Map, convs: tuple[Conv, Conv]) -> Map:
        hidden = engine.conv(joint, convs[0])
        F.leaky_relu(hidden.tensor, 0.2, inplace=True)
        y = engine.conv(hidden, convs[1])
        engine.give(hidden)
        return y


def plan_linear(layers: list[nn.Module], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """1×1 convolutions of one input, as one matrix [out,in] and a bias."""
    weight = torch.cat([layer.weight.detach().flatten(1) for layer in layers])
    bias = torch.cat([layer.bias.detach() for layer in layers])
    return weight.to(device, dtype), bias.to(device, dtype)


def plan_steps(blocks: nn.ModuleList, dtype: torch.dtype, device: torch.device) -> list[Step]:
    """One step per block of an encoder or a generator, but the last norm and the last convolution are one."""
    steps: list[Step] = []
    modules = list(blocks)
    for index, block in enumerate(modules):
        if isinstance(block, ResBlock):
            steps.append(plan_residual(block, dtype, device))
        elif isinstance(block, AttnBlock):
            qkv = plan_linear([block.q, block.k, block.v], dtype, device)
            steps.append(AttnStep(plan_norm(block.norm, device), qkv, plan_linear([block.proj_out], dtype, device)))
        elif isinstance(block, Downsample | Upsample):
            kind: Kind = "down" if isinstance(block, Downsample) else "up"
            steps.append(ConvStep(plan_conv(block.conv, dtype, device, kind)))
        elif isinstance(block, nn.Conv2d):
            # What leaves the last convolution is a result: it is computed in float32.
            first, norm = index == 0, modules[index - 1]
            conv = plan_conv(block, dtype if first else torch.float32, device, norm=None if first else norm)
            steps.append(ConvStep(conv))
    return steps


def plan_residual(block: ResBlock, dtype: torch.dtype, device: torch.device) -> ResStep:
    return ResStep(
        plan_conv(block.conv1, dtype, device, norm=block.norm1, silu=True, out=dtype),
        plan_conv(block.conv2, dtype, device, norm=block.norm2, silu=True),
        None if block.conv_out is None else plan_conv(block.conv_out, dtype, device, "point"),
    )


def plan_fidelity(block: FidelityBlock, dtype: torch.dtype, device: torch.device) -> FidelityStep:
    scale, shift = (
        (plan_conv(head[0], dtype, device), plan_conv(head[2], dtype, device)) for head in (block.scale, block.shift)
    )
    return FidelityStep(
        plan_residual(block.encode_enc, dtype, device), scale, shift, isinstance(block, PixelFidelityBlock)
    )

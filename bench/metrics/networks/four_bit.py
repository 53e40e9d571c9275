"""A linear layer with its weight in four bits (NF4, Dettmers et al., QLoRA), through bitsandbytes, on CPU and GPU.

Quantised as soon as its weight arrives, so that a network of billions of weights never lies in memory whole, and
unpacked whole for each image. bitsandbytes' own layer would take the processor's special instructions where it has
them, for weights of some sizes only; one way of computing leaves one value.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from bitsandbytes.functional import QuantState, dequantize_4bit, get_4bit_type, quantize_4bit
from torch import Tensor, nn

_BLOCK = 64


class FourBitLinear(nn.Module):
    """`nn.Linear` whose `quantise` takes the weight [outputs, inputs]."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, device="meta"), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(outputs, device="meta"), requires_grad=False) if bias else None

    def quantise(self, weight: Tensor) -> None:
        """One scale per 64 numbers, itself in float32."""
        self._shape = weight.shape
        packed, state = quantize_4bit(
            _flat(weight.contiguous()), blocksize=_BLOCK, compress_statistics=False, quant_type="nf4"
        )
        del self.weight
        self.register_buffer("packed", packed)
        self.register_buffer("scales", state.absmax)

    def forward(self, x: Tensor) -> Tensor:
        code = get_4bit_type("nf4", device=x.device)
        flat = torch.Size((1, self._shape.numel()))
        weight = dequantize_4bit(self.packed, QuantState(self.scales, flat, code, _BLOCK, "nf4", x.dtype))
        return F.linear(x, weight.view(self._shape), self.bias)


def _flat(weight: Tensor) -> Tensor:
    """One row, because bitsandbytes (0.50, on a processor with AVX) unpacks rows of less than a block wrongly."""
    return weight.view(1, -1)

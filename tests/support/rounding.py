"""How far a network's float32 output may lie from the exact one on any processor: measured on the network itself.

A processor may add the products of a convolution in any order. Whatever the order, the float32 sum of K products is the
exact sum for weights that are off by a few times √K roundings each (Higham & Mary, "A new approach to probabilistic
rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019), and what a layer gives is rounded once more. So weights and
outputs of layers are moved by that much in float64, where the arithmetic's own rounding is out of sight, and the limit
is how far the output moves. No number of any machine enters it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

ROUNDING = 2.0**-24
"""Half a unit in the last place of a float32, relative: what one operation may be off by."""
LAYER = 8
"""Roundings of what a layer gives: libraries promise exponentials and their like to four units in the last place."""
DRAWS = 2
SURE = 4
"""How many times √K roundings K terms may be off by: more has a probability of 2·exp(-4²/2), one in 1500."""


class _Moves:
    """Random signs, the same on every machine."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, tensor: Tensor, roundings: float) -> Tensor:
        signs = torch.randint(2, tensor.shape, generator=self._generator) * 2 - 1
        return tensor * (1 + signs.to(tensor) * roundings * ROUNDING)

    def after(self, module: nn.Module, inputs: object, output: object) -> object:
        """As a forward hook: every number that a layer gives, rounded."""
        if isinstance(output, Tensor) and output.is_floating_point():
            return self(output, LAYER)
        if isinstance(output, tuple | list):
            return type(output)(self.after(module, inputs, part) for part in output)
        return output


def moved(network: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights are off as the order of its sums may make them, whose layers round as float32 does."""
    moves = _Moves(seed)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for weight in other.parameters():
            terms = math.prod(weight.shape[1:]) if weight.ndim > 1 else 1
            weight.copy_(moves(weight, SURE * math.sqrt(terms)))
    for module in other.modules():
        if module is not other:
            module.register_forward_hook(moves.after)
    return other


def exactly(network: nn.Module, images: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> tuple[Tensor, float]:
    """The output of `run` in float64, and how far float32's may lie from it."""
    double, images = copy.deepcopy(network).double(), images.double()
    exact = run(double, images)
    moves = [float((run(moved(double, seed), images) - exact).abs().max()) for seed in range(DRAWS)]
    return exact, max(moves) + SURE * ROUNDING * float(exact.abs().max())

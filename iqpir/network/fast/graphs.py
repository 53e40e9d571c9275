"""CUDA graphs: what a call launches, recorded once per shape and replayed by one launch.

A batch-1 forward is about 540 small launches, whose dispatch takes longer than the kernels. Has not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the capture, in which cuDNN chooses its kernels and Triton compiles its own."""

Call = Callable[[Tensor, Tensor | None, Tensor | None, Tensor | None, bool], tuple[Tensor, ...]]


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]


class Graphs:
    """A function of tensors, one graph per shapes of its inputs; results are copied out of the graph's memory.

    The strength of the fidelity blocks is an input of the graph, so a new value needs no new graph.
    """

    def __init__(self, function: Call, device: torch.device) -> None:
        self.function = function
        self.device = device
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    def __call__(
        self, image: Tensor, maps: Tensor | None, codes: Tensor | None, fidelity: float | None, adain: bool
    ) -> tuple[Tensor, ...]:
        strength = None if fidelity is None else torch.full((), fidelity, device=self.device)
        given = (image, maps, codes, strength)
        key = (*(None if each is None else tuple(each.shape) for each in given), adain)
        with torch.cuda.device(self.device):
            if key not in self._recorded:
                self._recorded[key] = self._record(given, adain)
            graph, inputs, outputs = self._recorded[key]
            for held, each in zip(inputs, given, strict=True):
                if held is not None and each is not None:
                    held.copy_(each)
            graph.replay()
            return tuple(each.clone() for each in outputs)

    def _record(self, given: tuple[Tensor | None, ...], adain: bool) -> _Recorded:
        image, maps, codes, strength = (None if each is None else each.clone() for each in given)
        assert image is not None
        tf32 = torch.backends.cudnn.allow_tf32
        with torch.backends.cudnn.flags(benchmark=True, deterministic=False, allow_tf32=tf32):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self.function(image, maps, codes, strength, adain)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self.function(image, maps, codes, strength, adain)
        return _Recorded(graph, (image, maps, codes, strength), outputs)

    def release(self) -> None:
        self._recorded.clear()

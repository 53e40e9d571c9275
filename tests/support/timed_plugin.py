"""Methods for tests: what they cost and how they fail is known beforehand."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import bench
from bench.methods.base import Method

STEP = 0.006
"""Seconds that the deliberately slowed method sleeps."""


class Timed(Method):
    """One 3×3 convolution, 81 numbers."""

    def __init__(self, name: str = "timed-steady") -> None:
        self.name = name

    def load(self, device: str, dtype: str) -> None:
        self.net = torch.nn.Conv2d(3, 3, 3, padding=1, bias=False).to(device, getattr(torch, dtype)).eval()

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        print("noise on standard output")  # must not reach whoever reads times there
        return self.net(images.to(self.net.weight.dtype)).float()

    def identity(self) -> Mapping[str, Any]:
        return {"plugin": self.name}

    def parameters(self) -> int:
        return sum(one.numel() for one in self.net.parameters())


class Slowed(Timed):
    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        time.sleep(STEP)
        return super().restore(images, seeds)


class Fragile(Timed):
    """Out of memory at 48 rows; at 56 its process dies."""

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        if images.shape[2] == 48:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if images.shape[2] == 56:
            os._exit(9)
        return super().restore(images, seeds)


bench.register_method("timed-steady", Timed)
bench.register_method("timed-slowed", lambda: Slowed("timed-slowed"))
bench.register_method("timed-fragile", lambda: Fragile("timed-fragile"))


class Wavering(Timed):
    """Every other call sleeps, so that no two halves of its sample agree."""

    calls = 0

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        self.calls += 1
        time.sleep(4 * STEP * (self.calls % 2))
        return super().restore(images, seeds)


class Broken(Timed):
    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        raise ValueError("never works")


bench.register_method("timed-wavering", lambda: Wavering("timed-wavering"))
bench.register_method("timed-broken", lambda: Broken("timed-broken"))

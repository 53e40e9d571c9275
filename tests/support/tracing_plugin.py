"""Methods for tests, brought in with `--plugin`: each writes down every image it restores, and some misbehave."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bench
from bench.identity import content_hash
from bench.methods.base import Box, Method


class Tracing(Method):
    """Brightens, and appends one line per image to the file that TRACE_LOG names."""

    def __init__(self, gain: float = 1.5, milliseconds: int = 0, name: str = "traced") -> None:
        self.name = name
        self.gain = gain
        self.milliseconds = milliseconds
        self.batch_invariant = True

    def load(self, device: str, dtype: str) -> None:
        _write(f"{os.getpid()} {self.name}:load -\n")

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        for image in images:
            pixels = np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            # Written before the work: an image whose restoration was killed counts as tried.
            _write(f"{os.getpid()} {self.name} {content_hash(np.ascontiguousarray(pixels)).hex()}\n")
            time.sleep(self.milliseconds / 1000)
        return self.work(images, seeds)

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        return images * self.gain

    def identity(self) -> Mapping[str, Any]:
        # Not the file's hash: some tests change the version and nothing else.
        return {"plugin": self.name, "gain": self.gain, "version": os.environ.get("TRACE_VERSION", "1")}


def _write(line: str) -> None:
    handle = os.open(os.environ["TRACE_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(handle, line.encode())
    os.close(handle)


class Noisy(Tracing):
    """Adds noise drawn from the seed it is given."""

    def __init__(self) -> None:
        super().__init__(name="noisy")
        self.stochastic = True

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        assert seeds is not None and seeds.dtype == torch.int64 and seeds.shape == images.shape[:1]
        noise = [
            torch.randn(image.shape, generator=torch.Generator().manual_seed(int(seed)))
            for image, seed in zip(images, seeds, strict=True)
        ]
        return images + 0.05 * torch.stack(noise)


class Greedy(Tracing):
    """Runs out of memory above batch `most`, as torch or as Python says it."""

    def __init__(self, most: int = 2, python: bool = False) -> None:
        super().__init__(name="greedy")
        self.most, self.python = most, python

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        if len(images) > self.most:
            raise MemoryError if self.python else torch.OutOfMemoryError("CUDA out of memory")
        return images * self.gain


class Cropping(Tracing):
    """Stands for the inner part of its input only: 8 pixels less above, 4 on the left."""

    def __init__(self) -> None:
        super().__init__(name="cropping", gain=1.0)

    def valid_crop(self, height: int, width: int) -> Box:
        return Box(8, 4, height - 8, width - 4)

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        return images[:, :, 8:, 4:]


class Doubling(Tracing):
    """×2 by repeating every pixel."""

    def __init__(self) -> None:
        super().__init__(name="doubling")
        self.scale = 2

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        return images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class Unrounded(Tracing):
    """Asks for its floats to be kept."""

    def __init__(self) -> None:
        super().__init__(name="unrounded")
        self.quantise = "none"

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        return images * 0.777


def _is_marked(image: Tensor) -> bool:
    """True for the images that misbehaving methods misbehave on: those whose first pixel is pure red."""
    return bool((image[:, 0, 0] == torch.tensor([1.0, 0.0, 0.0])).all())


class Misbehaving(Tracing):
    """Does `what` to marked images and is well-behaved otherwise."""

    def __init__(self, what: str) -> None:
        super().__init__(name=f"misbehaving-{what}")
        self.what = what

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        if not any(_is_marked(image) for image in images):
            return images * self.gain
        actions: dict[str, Callable[[], Any]] = {
            "nan": lambda: torch.stack([image * (torch.nan if _is_marked(image) else self.gain) for image in images]),
            "raise": _raise,
            "shape": lambda: images[:, :, 1:],
            "type": lambda: images.numpy(),
            "exit": lambda: os._exit(9),
        }
        return actions[self.what]()


def _raise() -> None:
    raise ValueError("no such\nluck")


class Unloadable(Tracing):
    def __init__(self) -> None:
        super().__init__(name="unloadable")

    def load(self, device: str, dtype: str) -> None:
        raise RuntimeError("driver too old")


class FromFile(Tracing):
    """Its gain is in a weight file, whose hash is part of its identity."""

    def __init__(self, path: str) -> None:
        super().__init__(name="from-file")
        self.path = path

    def work(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        with open(self.path, encoding="utf-8") as file:
            return images * float(file.read())

    def identity(self) -> Mapping[str, Any]:
        with open(self.path, "rb") as file:
            return {"plugin": self.name, "weights": hashlib.sha256(file.read()).hexdigest()}


bench.register_method("traced", Tracing)
bench.register_method("noisy", Noisy)
bench.register_method("greedy", Greedy)
bench.register_method("cropping", Cropping)
bench.register_method("doubling", Doubling)
bench.register_method("unrounded", Unrounded)
bench.register_method("misbehaving", Misbehaving)
bench.register_method("unloadable", Unloadable)
bench.register_method("from-file", FromFile)

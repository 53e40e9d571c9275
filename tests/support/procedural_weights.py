"""Weights made by arithmetic on integers, so that they are the same on every machine and for every library version."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def noise(name: str, size: int) -> np.ndarray:
    """`size` float64 values in [-1, 1), a hash of the name and the index."""
    with np.errstate(over="ignore"):
        x = np.arange(size, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32 | 0x9E3779B9)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def procedural(shapes: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of the names and shapes of the given one, scaled so that activations neither vanish nor explode."""
    made = {}
    for name, like in shapes.items():
        if not like.is_floating_point():
            made[name] = torch.zeros(like.shape, dtype=like.dtype)
            continue
        values = noise(name, like.numel()).reshape(tuple(like.shape))
        if name.endswith("running_var"):
            values = 1 + 0.3 * values
        elif like.ndim < 2 and name.endswith("weight"):
            values = 1 + 0.2 * values
        elif like.ndim >= 2 and name.endswith("weight"):
            values *= np.sqrt(3 / values[0].size)
        else:
            values *= 0.2
        made[name] = torch.from_numpy(values.astype(np.float32))
    return made


def picture(height: int, width: int) -> np.ndarray:
    """An RGB image [H,W,3], uint8, with edges, gradients and noise."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7.0 + 3 * c) + c) * np.cos(y / (11.0 - 2 * c)) for c in range(3)]
    grain = noise("picture", height * width * 3).reshape(height, width, 3)
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(height, width) / 3) ** 2)[..., None]
    pixels = 118 + 60 * np.stack(waves, axis=2) + 12 * grain + 45 * disc
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

"""Weights and pictures made of sines, so that no random generator's version matters, and files laid out as official."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.catalog.registry import Entry, registry
from bench.methods.network import NetworkMethod
from support.rounding import exactly

PLAIN = {
    "alpha": 0.1,
    "beta": 0.1,
    "mu": 8.0,
    "global_net.gamma_base": 2.0,
    "global_net.color_base": 0.1,
    "global_net.color_linear.weight": 0.01,
    "global_net.color_linear.bias": 0.0,
    "local_net.mul_end.0.bias": 1.0,
    "local_net.add_end.0.bias": 0.8,
    "cond_add1.bias": 1.0,
}
"""What a sine would put out of range: CUE's steps and threshold, IAT's gamma, CLIP-LIT's level of the illumination."""


LEVEL = 1 / 255
"""An 8-bit level: a network that float32 holds no better would be no use as a reference."""


def sines(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor that depends on its name and shape alone, of a size that keeps activations of order 1."""
    if name in PLAIN or name.endswith("num_batches_tracked"):
        return torch.full(shape, PLAIN.get(name, 0), dtype=torch.float32 if name in PLAIN else torch.int64)
    count = int(np.prod(shape))
    wave = np.sin(np.arange(count) * 1.7 + zlib.crc32(name.encode()) % 1000).reshape(shape)
    if name.endswith("running_var"):
        wave = 1 + 0.5 * np.abs(wave)
    elif len(shape) > 1:
        wave = wave / np.sqrt(np.prod(shape[1:]))
    else:
        wave = 0.2 * wave + (1.0 if name.endswith("weight") else 0.1)
    return torch.tensor(wave, dtype=torch.float32)


def picture(height: int, width: int, level: float = 0.5) -> torch.Tensor:
    """float32 [1,3,H,W] in [0, 2·level]: waves across, down and along the diagonal, another phase in each channel."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [np.sin(0.31 * x + c) + np.sin(0.17 * y - c) + np.sin(0.05 * (x + y) * (c + 1)) for c in range(3)]
    return torch.tensor(level * (1 + np.stack(channels) / 3), dtype=torch.float32)[None]


def make_official(name: str, home: Path, tensors: Any = sines) -> Entry:
    """Weight files below `home` in the official layout, made of `tensors(name, shape)`, and an entry that pins them.

    Keys are our network's own, back under their official names; the parity test says that these are all.
    """
    entry = registry("method").get(name)
    with torch.device("meta"):  # names and shapes are all that is asked of it
        network = entry.load()(**defaults(entry))
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    files = entry.fields["weights"] if isinstance(entry.fields["weights"], list) else [entry.fields["weights"]]
    pinned = []
    for file in files:
        content: dict[str, Any] = {}
        for place, prefix in (file.get("tensors") or {"": ""}).items():
            held = {}
            for key, shape in own.items():
                if key.startswith(prefix):
                    official = key.removeprefix(prefix)
                    held[file.get("strip", "") + official] = tensors(official, shape)
            put(content, place, held)
        path = home / file["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        pinned.append({**file, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    weights = pinned if isinstance(entry.fields["weights"], list) else pinned[0]
    return Entry(name, "method", {**entry.fields, "weights": weights}, entry.origin)


def put(content: dict[str, Any], place: str, held: Mapping[str, Any]) -> None:
    """Write `held` at a dotted place of nested mappings."""
    for step in place.split(".") if place else ():
        content = content.setdefault(step, {})
    content.update(held)


def defaults(entry: Entry) -> dict[str, Any]:
    """The keyword arguments of a network's class, as its catalogue entry has them."""
    options = entry.fields.get("options") or {}
    return {name: value["default"] if isinstance(value, Mapping) else value for name, value in options.items()}


def assert_float32_is_near(method: NetworkMethod, images: torch.Tensor, *arguments: Any) -> None:
    """What a loaded float32 method gives lies as near to its float64 output as the network's condition lets it."""
    network = method._network
    assert network is not None

    def restore(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        method._network, method._dtype = network, images.dtype
        with torch.inference_mode():
            return method.restore(images, *arguments)

    found = restore(network, images)
    exact, limit = exactly(network, images, restore)
    assert float((found - exact).abs().max()) <= limit < LEVEL
    method._network, method._dtype = network, images.dtype

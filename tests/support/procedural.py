"""Weights and an input that anyone can make again, and what the authors' own forward pass computes from them.

The values lie in tests/golden/iqpir.json, with the recipe.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/iqpir.json").read_text(encoding="utf-8"))


def authors_keys() -> dict[str, tuple[int, ...]]:
    """Every tensor of the authors' full model, with its shape."""
    lines = (Path(__file__).parents[1] / "golden/iqpir_keys.txt").read_text(encoding="utf-8").splitlines()
    return {name: tuple(int(n) for n in shape.split("x")) for name, shape in map(str.split, lines)}


def weights(shapes: dict[str, tuple[int, ...]], only: tuple[str, ...] = ("",)) -> dict[str, torch.Tensor]:
    """The recipe's float32 tensors for these names, or for those that start with one of `only`."""
    return {
        name: torch.from_numpy(values(index, name, shapes[name]).astype(np.float32))
        for index, name in enumerate(sorted(shapes))
        if name.startswith(only)
    }


def values(index: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    drawn = np.random.RandomState(1000 + index).standard_normal(int(np.prod(shape))).reshape(shape)
    if name.endswith("embedding.weight") or name == "position_emb":
        return drawn
    if name.startswith("score_embed"):
        return drawn * 0.5
    if len(shape) >= 2:
        return drawn * np.sqrt(1 / np.prod(shape[1:]))
    return 1 + 0.1 * drawn if name.endswith(".weight") else 0.05 * drawn


def image() -> torch.Tensor:
    """float32 [1,3,512,512]."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(512), np.arange(512), indexing="ij")
    return torch.from_numpy(np.sin(0.05 * (x + 1) * (c + 1)) * np.cos(0.03 * (y + 1) + 0.5 * c))[None].float()


def shapes_of(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def assert_matches(tensor: torch.Tensor, golden: dict, atol: float = 1e-4) -> None:
    """Shape, eight elements, mean and deviation; the sum of absolutes within atol per element."""
    assert list(tensor.shape) == golden["shape"]
    flat = tensor.double().flatten()
    for index, expected in golden["samples"].items():
        assert abs(flat[int(index)].item() - expected) < atol, f"element {index}"
    assert abs(flat.mean().item() - golden["mean"]) < atol
    assert abs(flat.std(correction=0).item() - golden["std"]) < atol
    assert abs(flat.abs().sum().item() - golden["abssum"]) < atol * len(flat)

"""Pairs of photographs as every metric test wants them, and a cache with a toy network for the distances of sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from support.toy_features import WEIGHTS, Toy, pin

from bench.metrics import extractors, references


class Pair(NamedTuple):
    restored: np.ndarray
    reference: np.ndarray

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """float64 [1,3,H,W] in [0,1]."""
        return as_tensor(self.restored), as_tensor(self.reference)


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


def without_ties(image: np.ndarray) -> np.ndarray:
    """The image with one level of green changed wherever its luma lies exactly between two 8-bit levels.

    Which way pyiqa rounds such a pixel hangs on the processor: the last bit of its float32 matrix product decides.
    """
    ties = (image.astype(int) @ [299, 587, 114]) % 1000 == 500
    changed = image.copy()
    changed[ties, 1] ^= 1
    return changed


@pytest.fixture(scope="session")
def pair() -> Pair:
    """An 8-bit RGB photograph of odd size, and a darker, blurred, noisy copy, both `without_ties`."""
    import cv2
    from skimage import data

    reference = np.ascontiguousarray(data.astronaut()[100:301, 60:283])
    noise = np.random.default_rng(7).normal(0, 6, reference.shape)
    restored = np.clip(np.rint(cv2.GaussianBlur(reference, (0, 0), 1.2) * 0.6 + noise), 0, 255).astype(np.uint8)
    return Pair(without_ties(restored), without_ties(reference))


@pytest.fixture
def empty_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "home" / WEIGHTS
    place.parent.mkdir(parents=True)
    (tmp_path / "home" / "statistics").mkdir()
    return place


@pytest.fixture
def toy(empty_cache, monkeypatch) -> Iterator[type[Toy]]:
    empty_cache.write_bytes(b"a network")
    pin(monkeypatch, empty_cache)
    monkeypatch.setattr(extractors, "_inception", lambda path, sha256, device: Toy())
    monkeypatch.setattr(Toy, "seen", 0)
    yield Toy
    references._gaussian.cache_clear()
    references._features.cache_clear()

"""Reference sets that are not among the images at hand: named statistics of the catalogue, or a file of the user's.

A file holds the moments of the features (a mean and a covariance) or the features themselves; which set it describes,
and with which extractor it was made, is taken from the catalogue, or on the user's word.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bench.errors import BenchError, one_line, suggest
from bench.fetch import memo
from bench.fetch.assets import Asset
from bench.metrics.extractors import catalogue
from bench.metrics.primitives.frechet import Gaussian
from bench.metrics.weights import Weight, verified

GT = "gt"
"""The reference set that is the images' own ground truth."""
SUFFIXES = (".npz", ".npy", ".pth", ".pt")

Holds = Literal["moments", "features"]
_NAMES = {"mean": ("mean", "mu"), "covariance": ("cov", "sigma"), "features": ("feats", "features")}
"""Under which keys pytorch-fid, clean-fid and BasicSR keep what."""


class Reference(NamedTuple):
    """One reference set, and where its numbers are."""

    name: str
    weight: Weight | None
    """The catalogue's file."""
    path: Path | None
    """The user's file."""

    @property
    def tag(self) -> str:
        """How signatures name it: with eight digits of the file's hash."""
        if self.path is not None:
            return f"file@{memo.digest(self.path)[:8]}"
        assert self.weight is not None
        return f"{self.name}@{self.weight.tag}"

    @property
    def assets(self) -> list[Asset]:
        return [] if self.weight is None else [self.weight.asset]

    def file(self) -> Path:
        """Where the file is. Raises `MissingFile`, or `BenchError` where it is not the right one."""

        if self.weight is not None:
            return verified(self.weight)
        assert self.path is not None
        return self.path

    def gaussian(self, dimensions: int) -> Gaussian:
        """Mean and covariance of the set. Raises `BenchError` for a file that does not hold them."""
        found = _gaussian(path := self.file(), memo.digest(path))
        if found.mean.size != dimensions:
            raise BenchError(f"{path} describes {found.mean.size} dimensions, the extractor gives {dimensions}")
        return found

    def features(self, dimensions: int) -> np.ndarray:
        """Features of the set, float64 [n,d]. Raises `BenchError` for a file that does not hold them."""
        found = _features(path := self.file(), memo.digest(path))
        if found.shape[1] != dimensions:
            raise BenchError(f"{path} describes {found.shape[1]} dimensions, the extractor gives {dimensions}")
        return found


def reference(text: str, ext: str, holds: Holds) -> Reference:
    """What `ref: TEXT` stands for, for a metric that needs `holds` and extracts with `ext`.

    A name of the catalogue, or the path of a .npz, .npy, .pth or .pt file, from the working directory. Raises
    `BenchError` for a name that is not known or not made for this metric, and for a file that is not there.
    """
    named = [one for one in catalogue()["references"] if one["name"] == text]
    for one in named:
        if (one["extractor"], one["holds"]) == (ext, holds):
            return Reference(text, Weight(Asset.from_fields(one["metric"], one)), None)
    if named:
        have = "; ".join(f"{one['holds']} for ext {one['extractor']}" for one in named)
        raise BenchError(f"ref {text!r} has {have}, this metric needs {holds} for ext {ext}")
    path = Path(text).expanduser()
    if path.suffix not in SUFFIXES:
        known = [GT, *dict.fromkeys(one["name"] for one in catalogue()["references"])]
        raise BenchError(
            f"ref {text!r} is not one of {', '.join(known)}{suggest(text, known)}, nor a {', '.join(SUFFIXES)} file"
        )
    if not path.is_file():
        raise BenchError(f"ref {text!r}: there is no such file (paths are taken from the working directory)")
    return Reference("file", None, path)


@functools.lru_cache(maxsize=2)
def _gaussian(path: Path, sha256: str) -> Gaussian:
    """Moments of a file, factored once for all methods; `sha256` tells one file from the next at the same path."""
    held = _read(path)
    if "mean" in held and "covariance" in held:
        try:
            return Gaussian.of_moments(held["mean"], held["covariance"])
        except BenchError as error:
            raise BenchError(f"{path}: {error}") from error
    return Gaussian.of_samples(_features(path, sha256))


@functools.lru_cache(maxsize=1)
def _features(path: Path, sha256: str) -> np.ndarray:
    held = _read(path)
    if "features" not in held:
        raise BenchError(f"{path} holds {', '.join(held) or 'nothing known'}, no features [n,d]")
    features = np.asarray(held["features"], dtype=np.float64)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise BenchError(f"{path}: features of shape {list(features.shape)} are not finite vectors [n,d]")
    return features


def _read(path: Path) -> dict[str, np.ndarray]:
    """`mean`, `covariance` and `features`, as far as a file has them; read as data, nothing in it is executed."""
    try:
        held = _load(path)
        return {
            name: np.asarray(held[key], dtype=np.float64)
            for name, keys in _NAMES.items()
            for key in keys
            if key in held
        }
    except BenchError:
        raise
    except Exception as error:  # a broken or hostile file makes the readers raise anything
        raise BenchError(f"{path} cannot be read: {type(error).__name__}: {one_line(error, 160)}") from error


def _load(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".npy":
        return {"features": np.load(path, allow_pickle=False)}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    import torch

    if not hasattr(torch.serialization, "safe_globals"):
        raise BenchError(f"{path}: NumPy arrays in a .pth file need torch 2.6 or newer; a .npz file needs none")
    with torch.serialization.safe_globals(_array_parts()):
        held = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(held, Mapping):
        raise BenchError(f"{path} holds a {type(held).__name__}, not named arrays")
    return held


def _array_parts() -> list[Any]:
    """What a pickled NumPy array is made of, under its old and its new name; BasicSR's statistics are such arrays."""
    multiarray = getattr(np, "_core", None) or np.core
    rebuild = multiarray.multiarray._reconstruct
    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64)]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return [*((rebuild, name) for name in names), np.ndarray, np.dtype, *kinds]

"""Weight files: what may be in them, where in them the tensors lie, and whether they fit a network to the last key.

A pickle may hold tensors and plain data, and what training scripts like to save beside them: an `argparse.Namespace`,
and NumPy's numbers, such as the best PSNR so far. Nothing else is unpickled, and nothing runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, one_line
from bench.methods.tfjs import is_package, read_package

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True)
class Layout:
    """Where a file's tensors lie, and what the network calls them.

    `tensors` maps a place in the file to a prefix of the network's names: `{params_ema: ""}` takes the mapping
    `params_ema` as it is, `{state_dict.model_R: restoration.}` puts a prefix before each of its names; the place `""`
    is the file itself. `strip` is taken off the front of every name first (`module.`, which parallel training leaves).
    """

    tensors: tuple[tuple[str, str], ...] = (("", ""),)
    strip: str = ""

    @classmethod
    def from_fields(cls, where: str, fields: Mapping[str, Any]) -> Layout:
        """From a catalogue's weight file with the keys `tensors` and `strip`. Raises `BenchError`."""
        tensors, strip = fields.get("tensors") or {"": ""}, fields.get("strip", "")
        if not isinstance(tensors, Mapping) or not all(isinstance(text, str) for text in (*tensors.values(), strip)):
            raise BenchError(f"{where}: tensors must map places in the file to prefixes, and strip must be a text")
        return cls(tuple((str(place), prefix) for place, prefix in tensors.items()), strip)

    def describe(self) -> list[Any]:
        """JSON-like data that differs wherever two layouts do."""
        return [[list(pair) for pair in self.tensors], self.strip]

    def select(self, content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
        """The named tensors of a file's content. Raises `BenchError` naming the place that does not hold them."""
        found: dict[str, Tensor] = {}
        for place, prefix in self.tensors:
            for name, tensor in _at(content, place, path).items():
                found[prefix + name.removeprefix(self.strip)] = tensor
        return found


def _at(content: Mapping[str, Any], place: str, path: Path) -> dict[str, Tensor]:
    import torch

    held: Any = content
    for step in place.split(".") if place else ():
        if not isinstance(held, Mapping) or step not in held:
            names = ", ".join(map(str, list(held)[:4])) if isinstance(held, Mapping) else type(held).__name__
            raise BenchError(f"{path} has nothing at {place!r} (it holds {one_line(names, 120)})")
        held = held[step]
    at = f" at {place!r}" if place else ""
    if not isinstance(held, Mapping) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise BenchError(f"{path} holds {type(held).__name__}{at}, not a mapping of names to tensors")
    return dict(held)


def read_weights(path: Path) -> dict[str, Any]:
    """What a weight file holds, on the CPU: safetensors by suffix, an npm package with a TensorFlow.js graph by its
    first bytes, else a pickle of tensors and plain data.

    Raises `BenchError` for a file that is damaged, holds code, or is no mapping.
    """
    import argparse
    import pickle
    import struct

    import torch

    # What torch's reader has been seen to raise for files with single bytes changed.
    damaged = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, LookupError, AssertionError,
               AttributeError, TypeError, struct.error, OverflowError, MemoryError)  # fmt: skip

    try:
        if path.suffix == ".safetensors":
            import safetensors
            from safetensors.torch import load_file

            try:
                return load_file(path)
            except safetensors.SafetensorError as error:
                raise BenchError(f"{path} is not a safetensors file: {one_line(error)}") from error
        if is_package(path):
            return dict(read_package(path))
        with torch.serialization.safe_globals([argparse.Namespace, *_numbers()]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except damaged as error:
        first = str(error).split("\n")[0]
        raise BenchError(f"{path} cannot be read as weights: {one_line(first, 160)}") from error
    if not isinstance(content, Mapping):
        raise BenchError(f"{path} holds {type(content).__name__}, not a mapping of names to tensors")
    return dict(content)


def _numbers() -> list[Any]:
    """What a pickled NumPy number is made of. Its builder has moved between versions: it goes by both its names."""
    import numpy as np

    build: Any = np.float64(0).__reduce__()[0]

    def alias(module: str) -> Any:
        def scalar(*parts: Any) -> Any:
            return build(*parts)

        scalar.__module__, scalar.__qualname__ = module, "scalar"
        return scalar

    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)]
    return [np.dtype, *kinds, *map(alias, ("numpy.core.multiarray", "numpy._core.multiarray"))]


def fit(network: Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict strictly, but for the prefixes that the network's class declares ignorable.

    Raises `BenchError` with the first missing, foreign and misshapen keys in one line.
    """
    ignored: tuple[str, ...] = getattr(network, "ignored_prefixes", ())
    own = network.state_dict()
    given = {key: value for key, value in state.items() if key in own or not key.startswith(ignored)}
    shapes = [
        f"{key} {tuple(given[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    problems = {
        "missing": [key for key in own if key not in given],
        "foreign": [key for key in given if key not in own],
        "shape": shapes,
    }
    said = [f"{word} {_few(keys)}" for word, keys in problems.items() if keys]
    if said:
        raise BenchError(f"{where} does not fit {type(network).__name__}: {'; '.join(said)}")
    network.load_state_dict(given)


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:2]) + (f" and {len(keys) - 2} more" if len(keys) > 2 else "")

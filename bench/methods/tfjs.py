"""Weights of a TensorFlow.js graph model, as npm packages carry it: model.json and shards of bytes, in a gzipped tar.

For networks that were written in Flax and came through jax2tf: its graph names layers as the network did, and the
constants of a layer by what was done to them. Nothing of the graph is run, and nothing is unpacked to the disk.
"""

from __future__ import annotations

import base64
import json
import math
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, one_line

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_LIMIT = 1 << 30
"""Bytes that one member of the archive may have."""
_ROOT = re.compile(r"^.*/(?:backbone|Wrapper)/")
_DENSE = ("abcg,gf->abcf", "abgd,gf->abdf")
_DTYPES = ("float32", "int32")


def is_package(path: Path) -> bool:
    """Whether a file is gzipped, as an npm package is."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def read_package(path: Path) -> dict[str, Tensor]:
    """The layers' tensors, in PyTorch's layouts, by the names of the network: `block.conv.weight`.

    Raises `BenchError` in one line for an archive that is damaged or holds no graph model.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            model = json.loads(_member(archive, "model.json"))
            (group,) = model["weightsManifest"]
            data = b"".join(_member(archive, name) for name in group["paths"])
        constants = _constants(group["weights"], data)
        return _layers(model["modelTopology"]["node"], constants)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        raise BenchError(
            f"{path} holds no TensorFlow.js graph model that can be read: {one_line(error, 150)}"
        ) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """The one file of that name, in whichever folder."""
    found = [member for member in archive.getmembers() if member.isfile() and Path(member.name).name == name]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files are called {name!r}")
    if found[0].size > _LIMIT:
        raise ValueError(f"{name} would be {found[0].size} bytes")
    file = archive.extractfile(found[0])
    assert file is not None  # it is a plain file
    return file.read()


def _constants(described: list[dict[str, Any]], data: bytes) -> dict[str, np.ndarray]:
    """The shards are one row of numbers, in the order of the manifest."""
    import numpy as np

    found, start = {}, 0
    for one in described:
        if "quantization" in one or one["dtype"] not in _DTYPES:
            raise ValueError(f"{one['name']} is quantised, or of type {one['dtype']}")
        count = math.prod(one["shape"])
        found[one["name"]] = np.frombuffer(data, one["dtype"], count, start).reshape(one["shape"])
        start += 4 * count
    if start != len(data):
        raise ValueError(f"its shards hold {len(data)} bytes and its manifest describes {start}")
    return found


def _layers(nodes: list[dict[str, Any]], constants: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    import numpy as np
    import torch

    found: dict[str, np.ndarray] = {}

    def take(operation: str, source: str, name: str, axes: tuple[int, ...]) -> None:
        if source in constants:
            found[f"{_layer(operation)}.{name}"] = constants[source].transpose(axes)

    for node in nodes:
        name, inputs = node["name"], node.get("input", [])
        match node["op"]:
            case "Conv2D":
                take(name, inputs[1], "weight", (3, 2, 0, 1))
            case "Conv2DBackpropInput":
                take(name, inputs[1], "weight", (3, 2, 0, 1))
            case "Einsum" if base64.b64decode(node["attr"]["equation"]["s"]).decode() in _DENSE:
                take(name, inputs[1], "weight", (1, 0))
            case "Const" if constants[name].ndim == 4 and constants[name].dtype == np.float32:
                layer, _, last = name.rpartition("/")
                # A bias has one constant; of a norm's two, the first is its scale.
                part = {"Reshape": "bias", "Reshape_2": "weight", "Reshape_3": "bias"}.get(last)
                if part is not None and constants[name].shape[:3] == (1, 1, 1):
                    found[f"{_layer(layer + '/')}.{part}"] = constants[name].reshape(-1)
    return {name: torch.from_numpy(np.array(value, np.float32, order="C")) for name, value in found.items()}


def _layer(operation: str) -> str:
    """The layer's name of a node: `…/backbone/block/conv/Conv2D` → `block.conv`."""
    layer = _ROOT.sub("", operation).rpartition("/")[0]
    return layer.removesuffix("/einsum").replace("/", ".")

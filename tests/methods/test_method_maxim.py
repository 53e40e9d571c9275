"""MAXIM: equal to its published graph as TensorFlow runs it, at any size; and the reading of TensorFlow.js packages.

`golden/maxim.npz` holds some of TensorFlow's pixels (see `support/maxim_in_tensorflow.py`), for weights made of sines
and for the published ones. The published package is 54 MB, and only used where it lies already.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.networks import make_official, picture

from bench import paths
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.networks.maxim import _mirrored
from bench.methods.weights import read_weights

GOLDEN = np.load(Path(__file__).parents[1] / "golden/maxim.npz")
ENTRY = registry("method").get("maxim-lol")
PACKAGE = Path(os.environ.get("BENCH_TEST_MIRROR") or paths.home()) / ENTRY.fields["weights"]["file"]


def enhanced(entry, dtype: str) -> np.ndarray:
    method = build_method(entry, {}, None)
    method.load("cpu", dtype)
    with torch.inference_mode():
        output = method.restore(picture(64, 128, level=0.15))
    return output[0].permute(1, 2, 0)[1::5, 1::5].numpy()


def test_it_gives_what_tensorflow_makes_of_the_published_graph(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    found = enhanced(make_official("maxim-lol", tmp_path), "float64")
    np.testing.assert_allclose(found, GOLDEN["sines"], atol=2e-5, rtol=0)


@pytest.mark.skipif(not PACKAGE.is_file(), reason="bench fetch maxim-lol has not been run")
def test_with_the_published_weights_it_gives_what_tensorflow_gives(monkeypatch):
    if os.environ.get("BENCH_TEST_MIRROR"):
        monkeypatch.setenv("BENCH_HOME", os.environ["BENCH_TEST_MIRROR"])
    np.testing.assert_allclose(enhanced(ENTRY, "float32"), GOLDEN["published"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("side", [1, 2, 3, 33, 47, 63, 64, 65, 130])
def test_an_image_is_mirrored_as_the_official_evaluation_mirrors_it(side):
    before, lines = _mirrored(side, torch.device("cpu"))
    even = np.pad(np.arange(side), (0, side % 2), mode="reflect")
    half = -len(even) % 64 // 2
    np.testing.assert_array_equal(lines.numpy(), np.pad(even, half, mode="reflect"))
    assert len(lines) % 64 == 0 and lines[before : before + side].tolist() == list(range(side))


# Packages


ROOT = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
CONV = np.arange(3 * 3 * 2 * 4, dtype=np.float32).reshape(3, 3, 2, 4)
DENSE = np.arange(4 * 5, dtype=np.float32).reshape(4, 5) * 0.5
BIAS = np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4) - 2
SCALE, SHIFT = BIAS * 3, BIAS * 7


def graph() -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """A convolution with its bias, a dense layer and a norm, called as jax2tf calls them; a constant of no layer."""
    constants = {
        ROOT + "block_0/conv1/transpose_3": CONV,
        ROOT + "block_0/conv1/Reshape": BIAS,
        "StatefulPartitionedCall/jax2tf_arg_7/ReadVariableOp": DENSE,
        ROOT + "block_0/LayerNorm/Reshape_2": SCALE,
        ROOT + "block_0/LayerNorm/Reshape_3": SHIFT,
        ROOT + "block_0/LayerNorm/Const": np.array(3, np.int32),
    }
    nodes: list[dict[str, Any]] = [{"name": name, "op": "Const"} for name in constants]
    equation = {"equation": {"s": "YWJjZyxnZi0+YWJjZg=="}}  # abcg,gf->abcf
    source = "StatefulPartitionedCall/jax2tf_arg_7/ReadVariableOp"
    nodes += [
        {"name": ROOT + "block_0/conv1/Conv2D", "op": "Conv2D", "input": ["x", ROOT + "block_0/conv1/transpose_3"]},
        {"name": ROOT + "block_0/mlp/Dense_0/einsum/Einsum", "op": "Einsum", "input": ["y", source], "attr": equation},
    ]
    return nodes, constants


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"package/models/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def package(path: Path, cut: int | None = None, **of_weight: Any) -> Path:
    nodes, constants = graph()
    data = b"".join(value.tobytes() for value in constants.values())[:cut]
    weights = [
        {"name": name, "shape": list(v.shape), "dtype": str(v.dtype), **of_weight} for name, v in constants.items()
    ]
    half = len(data) // 2 // 4 * 4
    manifest = [{"paths": ["shard1of2.bin", "shard2of2.bin"], "weights": weights}]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": manifest}
    shards = {"shard1of2.bin": data[:half], "shard2of2.bin": data[half:]}
    return write(path, {"model.json": json.dumps(model).encode(), **shards})


def test_a_graphs_constants_become_tensors_in_the_layouts_of_pytorch(tmp_path):
    found = read_weights(package(tmp_path / "x.tgz"))
    expected = {
        "block_0.conv1.weight": CONV.transpose(3, 2, 0, 1),
        "block_0.conv1.bias": BIAS.reshape(4),
        "block_0.mlp.Dense_0.weight": DENSE.T,
        "block_0.LayerNorm.weight": SCALE.reshape(4),
        "block_0.LayerNorm.bias": SHIFT.reshape(4),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].is_contiguous()
        np.testing.assert_array_equal(found[name].numpy(), value)


def refused(path: Path) -> str:
    with pytest.raises(BenchError, match=r"holds no TensorFlow\.js graph model that can be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_damaged_or_foreign_package_is_refused_in_one_line(tmp_path):
    path = package(tmp_path / "x.tgz")
    (tmp_path / "cut.tgz").write_bytes(path.read_bytes()[:200])
    refused(tmp_path / "cut.tgz")
    assert "0 files are called 'model.json'" in refused(write(tmp_path / "none.tgz", {"readme": b""}))
    assert "0 files are called 'shard1of2.bin'" in refused(
        write(
            tmp_path / "shards.tgz",
            {"model.json": json.dumps({"weightsManifest": [{"paths": ["shard1of2.bin"]}]}).encode()},
        )
    )
    refused(write(tmp_path / "text.tgz", {"model.json": b"[]"}))
    refused(package(tmp_path / "short.tgz", cut=-8))
    assert "is quantised" in refused(package(tmp_path / "small.tgz", quantization={"dtype": "uint8"}))

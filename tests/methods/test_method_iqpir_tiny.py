"""The checkpoint that comes with the package: what it is, and that it does what its card says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import bench
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.build import build_method
from bench.tables.statistics import paired
from iqpir import preset
from iqpir.checkpoint import read_checkpoint
from iqpir.cli import main
from iqpir.errors import IQPIRError
from iqpir.image_files import to_tensor
from iqpir.network.model import IQPIR
from iqpir.weights import shipped

FILE = shipped("iqpir-tiny")
CLASSICAL = ("auto-exposure", "gamma", "clahe", "agcwd", "msr", "gray-world", "underwater-fusion", "nlm", "unsharp")
"""The quickstart's."""


def test_it_is_small_and_says_what_it_is():
    assert FILE is not None and FILE.stat().st_size <= 10e6
    checkpoint = read_checkpoint(FILE)
    assert checkpoint.config == preset("tiny") and checkpoint.fidelity_trained
    assert sum(tensor.numel() for tensor in checkpoint.state.values()) == 3_883_552
    assert registry("method").get("iqpir-tiny").fields["parameters"] == 3_883_552
    assert FILE.with_suffix(".md").is_file()
    assert shipped("iqpir-huge") is None
    with pytest.raises(IQPIRError, match="iqpir-tinny: there is no such file; did you mean 'iqpir-tiny'"):
        read_checkpoint("iqpir-tinny")
    with pytest.raises(
        IQPIRError, match=r"my\.pth: there is no such file \(iqpir-tiny, iqpir-tiny-quality come along\)"
    ):
        read_checkpoint("my.pth")


def test_it_needs_nothing_and_its_weights_are_its_identity():
    method = build_method(registry("method").get("iqpir-tiny"), {}, None)
    assert method.assets() == [] and method.unavailable() is None
    other = build_method(registry("method").get("iqpir-tiny"), {"score": 0.1}, None)
    assert method.identity()["weights"] == other.identity()["weights"] and method.identity() != other.identity()


def test_an_option_without_effect_is_refused_in_a_suite_as_on_the_command_line(tmp_path: Path):
    file = tmp_path / "photo.safetensors"
    save_file({"any": torch.zeros(1)}, file, metadata={"kind": "photo"})
    entry = registry("method").get("iqpir-tiny")
    with pytest.raises(BenchError, match=r"'adain' has no effect on .*photo.safetensors, a network for photographs"):
        build_method(entry, {"weights": str(file), "adain": True}, None)
    for options in ({"adain": False}, {}):
        build_method(entry, {"weights": str(file), **options}, None)
    build_method(entry, {"adain": True}, None)  # its own network follows it
    config = replace(preset("tiny"), hq_codebook=0, connect=())
    network = IQPIR(config)
    for option, value in (("alpha", 0.5), ("fidelity", 0.5)):
        method = build_method(entry, {option: value}, None)
        method.network = lambda: network
        with pytest.raises(BenchError, match=f"'{option}' has no effect on .*iqpir-tiny"):
            method.load("cpu", "float32")
    method = build_method(entry, {"score": 0.5}, None)  # the entry's own fidelity of 1 is nobody's wish
    method.network = lambda: network
    method.load("cpu", "float32")


def test_the_command_uses_it_as_the_catalogue_does_unless_it_is_told_otherwise(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 80, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    method = build_method(registry("method").get("iqpir-tiny"), {}, None)
    method.load("cpu", "float32")
    told = ["--fidelity", "0", "--adain", "--fit", "resize"]
    images = []
    for place, options in enumerate(([], told)):
        target = str(tmp_path / f"{place}.png")
        with pytest.raises(SystemExit) as ended:
            main(["restore", str(tmp_path / "dark.png"), target, "--weights", "iqpir-tiny", *options])
        assert ended.value.code == 0
        images.append(np.asarray(Image.open(target)).astype(int))
    expected = (method.restore(to_tensor(pixels)[None])[0].permute(1, 2, 0) * 255).round().numpy()
    assert np.abs(images[0] - expected).max() <= 1
    assert np.abs(images[1] - expected).max() > 10


def test_it_does_what_its_card_says_against_every_classical_method(tmp_path: Path):
    """Under water it beats the best of them beyond doubt, by the exact test; elsewhere the card claims nothing."""
    suite = {
        "schema": 1,
        "datasets": ["builtin-underwater"],
        "methods": ["iqpir-tiny", *CLASSICAL],
        "metrics": ["psnr"],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    bench.run(str(tmp_path / "suite.yaml"), results=str(tmp_path / "results"))
    frame = bench.load_results(str(tmp_path / "results"))
    values = {name: rows.sort_values("item")["value"].tolist() for name, rows in frame.groupby("method")}
    assert {len(each) for each in values.values()} == {6} and len(values) == 10
    best = max(CLASSICAL, key=lambda name: sum(values[name]))
    water = paired(values[best], values["iqpir-tiny"])
    assert best == "msr" and water.difference > 2 and water.p_randomisation < 0.05

"""Q-Align on our own network: the authors' values, in each precision, from a folder as the hub has it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import miniature_one_align
from support.miniature_one_align import CONFIG, picture

import bench
from bench.catalog.registry import registry
from bench.errors import BenchError, MissingFile
from bench.metrics.build import build_metric
from bench.metrics.networks.one_align import OneAlign, Sizes

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The sixteen levels of four-bit NormalFloat, from the appendix of QLoRA (Dettmers et al., 2023)."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "one-align"
    folder.mkdir()
    program = [sys.executable, miniature_one_align.__file__, str(folder)]
    subprocess.run(program, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder


def metric(folder: Path | str, **options: str):
    return build_metric(registry("metric").get("q-align"), {"weights": str(folder), **options}, {})


def image() -> torch.Tensor:
    return torch.from_numpy(picture().transpose(2, 0, 1).copy())[None].double() / 255


def score(folder: Path, **options: str) -> float:
    return float(metric(folder, **options).score(image(), None))


def by_hand(hub: Path, task: str = "quality") -> float:
    """softmax of the authors' five logits, times 5, 4, 3, 2, 1."""
    logits = json.loads((hub / "expected.json").read_text())[task]["logits"]
    weights = [math.exp(logit) for logit in logits]
    return sum(level * weight for level, weight in zip((5, 4, 3, 2, 1), weights, strict=True)) / sum(weights)


@pytest.mark.parametrize("task", ["quality", "aesthetics"])
def test_a_score_is_the_authors_networks(hub, task):
    assert score(hub, dtype="fp32", task=task) == pytest.approx(by_hand(hub, task), abs=2e-5)


@pytest.mark.parametrize("dtype, away", [("fp16", 0.03), ("bf16", 0.3)])
def test_a_shorter_precision_is_near_the_full_one_and_not_the_same(hub, dtype, away):
    assert 0 < abs(score(hub, dtype=dtype) - by_hand(hub)) < away


def test_half_precision_is_the_default_and_every_option_is_signed(hub):
    found = [str(metric(hub, **options).signature()) for options in ({}, {"dtype": "4bit"}, {"task": "aesthetics"})]
    assert "task:quality|dtype:fp16|weights:" in found[0] and "dtype:4bit" in found[1]
    assert "task:aesthetics" in found[2] and len(set(found)) == 3


def nearest_levels(weight: torch.Tensor) -> torch.Tensor:
    """Every 64 numbers in a row by their largest, each to the nearest of the sixteen levels."""
    flat = weight.half().double().flatten().numpy()
    levels = np.array(NF4)
    for start in range(0, len(flat), 64):
        block = flat[start : start + 64]
        scale = np.abs(block).max()
        block[:] = levels[np.abs(block[:, None] / scale - levels).argmin(axis=1)] * scale
    return torch.from_numpy(flat).reshape(weight.shape).half()


def test_four_bits_are_those_of_the_papers_levels(hub, tmp_path):
    folder = tmp_path / "quantised"
    shutil.copytree(hub, folder)
    names = {f"{name}.weight" for name, module in OneAlign(sizes()).named_modules() if type(module) is torch.nn.Linear}
    for shard in folder.glob("*.bin"):
        state = torch.load(shard, weights_only=True)
        quantised = {name: nearest_levels(value) for name, value in state.items() if name in names - {"lm_head.weight"}}
        torch.save({**state, **quantised}, shard)
    found = score(hub, dtype="4bit")
    assert found == pytest.approx(score(folder, dtype="fp16"), abs=2e-3)
    assert abs(found - by_hand(hub)) > 0.01


def sizes() -> Sizes:
    return Sizes.from_config({"model_type": "mplug_owl2", **CONFIG})


def test_the_published_network_has_the_size_of_the_published_shards():
    with torch.device("meta"):
        state = OneAlign(Sizes()).state_dict()
    # Two shards of 9.99 and 6.42 GB in bfloat16.
    assert 2 * sum(value.numel() for value in state.values()) == pytest.approx(16.41e9, rel=1e-3)
    weights = registry("metric").get("q-align").fields["weights"]
    assert [weight.get("gigabytes") for weight in weights] == [None, 9.99, 6.42]
    assert {weight["url"].rpartition("@")[2] for weight in weights} == {"dcc603b95aa0ebd82afa696d4a1e20d11fc80ddb"}


def test_a_score_does_not_depend_on_the_images_beside_it(hub):
    one, other = image(), image().flip(-1)
    together = metric(hub, dtype="fp32").score(torch.cat([one, other]), None)
    assert together[0] == score(hub, dtype="fp32")


def test_the_folder_is_scored_with_a_network_of_ones_own(hub, tmp_path):
    import cv2

    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), picture()[..., ::-1])
    frame = bench.score(tmp_path / "images", metrics=[{"q-align": {"weights": str(hub), "dtype": "fp32"}}])
    assert list(frame["status"]) == ["ok"]
    assert frame["value"][0] == pytest.approx(by_hand(hub), abs=2e-5)


def test_weights_that_are_not_there_are_fetched_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    with pytest.raises(MissingFile, match="bench fetch q-align"):
        build_metric(registry("metric").get("q-align"), {}, {}).load("cpu")


@pytest.fixture
def spoiled(hub, tmp_path) -> Path:
    folder = tmp_path / "spoiled"
    shutil.copytree(hub, folder)
    return folder


def refused(folder: Path, **options: str) -> str:
    with pytest.raises(BenchError) as caught:
        metric(folder, **options).load("cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_folder_of_the_hub_is_one_line(spoiled, tmp_path):
    assert "does not exist, or is no folder" in refused(tmp_path / "nowhere")
    (spoiled / "tokenizer.model").rename(spoiled / "kept")
    assert re.search(r"folder .*spoiled lacks tokenizer\.model", refused(spoiled))
    (spoiled / "tokenizer.model").write_bytes(b"no sentencepiece")
    assert "is no sentencepiece model" in refused(spoiled)
    (spoiled / "kept").rename(spoiled / "tokenizer.model")
    (spoiled / "config.json").write_text(json.dumps({**CONFIG, "model_type": "llama"}))
    assert "its model_type is 'llama', not 'mplug_owl2'" in refused(spoiled)
    (spoiled / "config.json").write_text("[]")
    assert "does not describe a Q-Align network" in refused(spoiled)


def test_a_checkpoint_that_is_not_the_networks_is_one_line(spoiled):
    second = spoiled / "pytorch_model-00002-of-00002.bin"
    state = torch.load(second, weights_only=True)
    name = "model.norm.weight" if "model.norm.weight" in state else next(iter(state))
    torch.save({**state, "lora.weight": torch.zeros(1)}, second)
    assert "holds 'lora.weight', which Q-Align's network has not" in refused(spoiled)
    torch.save({**state, name: torch.zeros(3)}, second)
    assert f"{name} of the checkpoint is (3,), the network's is" in refused(spoiled)
    second.unlink()
    assert re.search(r"the checkpoint lacks \d+ tensors", refused(spoiled))


def test_too_little_memory_is_said_before_anything_is_read(hub, monkeypatch):
    import psutil

    memory = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert "option dtype: 4bit needs a third" in refused(hub)
    assert "third" not in refused(hub, dtype="4bit")


@pytest.mark.parametrize("options, message", [({"dtype": "int8"}, "fp16, bf16"), ({"task": "beauty"}, "quality, aes")])
def test_an_unknown_option_names_the_known_ones(hub, options, message):
    with pytest.raises(BenchError, match=message):
        metric(hub, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "4bit"])
def test_a_gpu_gives_what_the_processor_gives(hub, dtype):
    found = float(metric(hub, dtype=dtype).score(image().cuda(), None))
    assert found == pytest.approx(score(hub, dtype=dtype), abs=2e-2 if dtype != "fp32" else 1e-4)

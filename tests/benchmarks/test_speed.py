"""What a user waits for: metrics, the small network, the loop of a run, the start of a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.catalog.registry import registry
from bench.metrics.build import build_metric
from bench.metrics.scorer import Scorer
from bench.runner import steps
from bench.runner.request import Request
from iqpir import IQPIR, preset

SUITE = """
schema: 1
datasets: [{{dataset: folder, options: {{lq: "{0}/lq", gt: "{0}/gt"}}, label: mine}}]
methods: [identity, gamma]
metrics: [psnr, ssim]
"""


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Decoded RGB, 256 rows of 320."""
    drawn = np.random.default_rng(0)
    down, across = np.mgrid[0:256, 0:320]
    clean = np.stack([128 + 90 * np.sin(down / 9 + one) * np.cos(across / 13) for one in range(3)], axis=2)
    noisy = clean + drawn.normal(0, 12, clean.shape)
    return tuple(np.clip(one, 0, 255).astype(np.uint8) for one in (noisy, clean))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms-ssim", "gmsd", "vif", "fsim", "piqe", "uiqm", "uciqe"])
def test_metric(benchmark, pair, name):
    scorer = Scorer([build_metric(registry("metric").get(name), {}, {})], "cpu")
    scorer.load()
    (outcome,) = benchmark(scorer.score, *pair)
    assert outcome.status == "ok"


@pytest.mark.parametrize("plan", [False, True], ids=["plain", "plan"])
def test_small_network(benchmark, plan):
    torch.manual_seed(0)
    network = IQPIR(preset("small")).eval()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    run = network.optimize() if plan else network
    with torch.inference_mode():
        found = benchmark(run, image, 0.9)
    assert found.image.shape == image.shape


def test_loop_of_a_run(benchmark, pair, tmp_path: Path):
    from PIL import Image

    for kind, pixels in zip(("lq", "gt"), pair, strict=True):
        (tmp_path / kind).mkdir()
        for number in range(8):
            Image.fromarray(np.roll(pixels, number, axis=1)).save(tmp_path / kind / f"{number}.png")
    suite = tmp_path / "mine.yaml"
    suite.write_text(SUITE.format(tmp_path), encoding="utf-8")
    turns = iter(range(1000))

    def run() -> steps.Summary:
        return steps.run(Request(str(suite), results=str(tmp_path / f"results{next(turns)}")))

    assert benchmark(run).worked == 16


@pytest.mark.parametrize("arguments", [["--help"], ["list", "suites"], ["list", "methods"]], ids=" ".join)
def test_start_of_a_command(benchmark, arguments):
    command = [sys.executable, "-m", "bench", *arguments]
    done = benchmark.pedantic(
        subprocess.run, (command,), {"capture_output": True, "check": False}, rounds=8, warmup_rounds=1
    )
    assert done.returncode == 0

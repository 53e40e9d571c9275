"""What the harness costs: `bench run` of many pairs against a hand-written loop that does the same work.

Both decode input and reference once, restore, round, write a PNG, and score PSNR and SSIM with the same functions on as
many threads. The loop keeps nothing but the numbers: no store, no hashes, no resuming. Start-up is in neither time. The
processor's time is printed as well: on a machine that is busy with something else it is the fairer comparison.

    python tests/benchmarks/run_vs_loop.py [--images 200] [--size 512] [--method gamma] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import bench
from bench.data.images import encode_png
from bench.machine import threads_per_worker
from bench.metrics.psnr import Psnr
from bench.metrics.scorer import Scorer
from bench.metrics.ssim import Ssim


def main() -> None:
    """Print both times of each round, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--method", default="gamma", choices=["gamma", "identity"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_pairs(Path("data"), given.images, given.size)
        make_suite(Path("suite.yaml"), given.method)
        bench.run("suite.yaml", results="warm", limit=4)
        loop(given.method, Path("warm-loop"), limit=4)
        ratios, busy = [], []
        for number in range(given.rounds):
            start, used = time.perf_counter(), time.process_time()
            numbers = loop(given.method, Path(f"loop-{number}"))
            theirs = time.perf_counter() - start, time.process_time() - used
            start, used = time.perf_counter(), time.process_time()
            bench.run("suite.yaml", results=f"results-{number}")
            ours = time.perf_counter() - start, time.process_time() - used
            frame = bench.load_results(f"results-{number}")
            assert sorted(frame["value"]) == sorted(value for pair in numbers for value in pair), "not the same work"
            ratios.append(ours[0] / theirs[0])
            busy.append(ours[1] / theirs[1])
            print(
                f"loop {theirs[0]:6.2f} s ({theirs[1]:6.2f} s of processor)   bench run {ours[0]:6.2f} s "
                f"({ours[1]:6.2f} s)   ratio {ratios[-1]:.3f} ({busy[-1]:.3f})",
                flush=True,
            )
        print(
            f"{given.images} pairs of {given.size}², {given.method}, {threads_per_worker(1)} threads: median ratio "
            f"{statistics.median(ratios):.3f}, of processor time {statistics.median(busy):.3f} (target 1.05)"
        )


def make_pairs(folder: Path, count: int, size: int) -> None:
    """Dark and bright PNG pairs that compress about as photographs do."""
    draw = np.random.default_rng(0)
    down, across = np.mgrid[0:size, 0:size]
    for kind in ("low", "high"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        planes = [np.sin(across * 0.03 * (index % 5 + 1) + c) * 60 + np.cos(down * 0.02 + index) * 50 for c in range(3)]
        high = np.clip(np.stack(planes, axis=2) + 128 + draw.normal(0, 3, (size, size, 3)), 0, 255)
        for kind, image in (("low", high * 0.25 + draw.normal(0, 2, high.shape)), ("high", high)):
            pixels = np.clip(image, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{index:04d}.png", compress_level=3)


def make_suite(place: Path, method: str) -> None:
    place.write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: data/low, gt: data/high}}]\n"
        f"methods: [{method}]\nmetrics: [psnr, ssim]\n"
    )


def loop(method_name: str, out: Path, limit: int | None = None) -> list[tuple[float, float]]:
    """The loop that somebody would write: as many images at once as there are cores."""
    out.mkdir()
    threads = threads_per_worker(1)
    torch.set_num_threads(threads)
    method = bench.load_method(method_name)
    metrics = Scorer([Psnr(), Ssim()], "cpu")
    metrics.load()

    def one(name: str) -> tuple[float, float]:
        low, high = (np.array(Image.open(f"data/{kind}/{name}")) for kind in ("low", "high"))
        image = torch.from_numpy(low.astype(np.float32)).permute(2, 0, 1)[None].contiguous() / 255
        with torch.inference_mode():
            output = method.restore(image)
        restored = (output[0].clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        (out / name).write_bytes(encode_png(restored))
        psnr, ssim = metrics.score(restored, high)
        assert psnr.value is not None and ssim.value is not None
        return psnr.value, ssim.value

    names = sorted(path.name for path in Path("data/low").iterdir())[:limit]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, names))


if __name__ == "__main__":
    main()

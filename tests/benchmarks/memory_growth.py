"""Peak memory of a run must not grow with the number of images: 400 pairs of 512² against 100 of them.

python tests/benchmarks/memory_growth.py [--few 100] [--many 400] [--size 512] [--metrics psnr,ssim,psnr-pooled]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = (
    "import resource, sys, bench\n"
    "bench.run('suite.yaml', limit=int(sys.argv[1]), results=sys.argv[2])\n"
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
)


def main() -> None:
    """Print both peaks and their difference in MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=400)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--metrics", default="psnr,ssim,psnr-pooled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder), given.many, given.size, given.metrics.split(","))
        few, many = (peak(Path(folder), count) for count in (given.few, given.many))
        print(
            f"{given.few} pairs of {given.size}²: {few:.1f} MB; {given.many}: {many:.1f} MB; growth {many - few:.1f} MB"
        )


def make_data(folder: Path, count: int, size: int, metrics: list[str]) -> None:
    """Different images without much work: a few photographs' worth of noise, each shifted."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).normal(128, 40, (size, size, 3)).clip(0, 255).astype(np.uint8)
    for kind in ("low", "high"):
        (folder / "data" / kind).mkdir(parents=True)
    for index in range(count):
        image = np.roll(noise, index, axis=1)
        for kind, pixels in (("low", image // 3), ("high", image)):
            Image.fromarray(pixels).save(folder / "data" / kind / f"{index:04d}.png", compress_level=1)
    (folder / "suite.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: data/low, gt: data/high}}]\n"
        f"methods: [identity, gamma]\nmetrics: [{', '.join(metrics)}]\n"
    )


def peak(folder: Path, count: int) -> float:
    """Peak resident memory, MB, of a process that runs the suite on so many items into an empty results folder."""
    results = folder / f"results-{count}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count), str(results)],
        cwd=folder, env={**os.environ, "BENCH_HOME": str(folder / "home")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shutil.rmtree(results)
    return float(done.stdout)


if __name__ == "__main__":
    main()

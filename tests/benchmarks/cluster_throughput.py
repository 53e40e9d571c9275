"""Units per second of one worker and of two, in processes of this machine and as actors of a Ray; start-up apart.

    python tests/benchmarks/cluster_throughput.py [--images 24] [--seconds 0.3]

Two methods: `waiting` sleeps, as one does that waits for a GPU or a program, and shows what the engine itself costs
where cores are no limit; `busy` computes for as long on one core, and shows what two of these cores give. Two that are
threads of one physical core give less than two whatever the engine is: `two processes` does the same work without any.
Counted from the moment when every worker has begun its first image. Goal: 1.8 times one worker.
"""

from __future__ import annotations

import argparse
import inspect
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


def compute(steps: int) -> int:
    """Arithmetic in Python, which uses one core whatever libraries there are."""
    found = 1
    for step in range(steps):
        found = (found * 1103515245 + step) % 2147483648
    return found


PLUGIN = f"""
import os, time
import bench
from bench.methods.base import Method

{inspect.getsource(compute)}
"""
PLUGIN += """
class Load(Method):
    def __init__(self, log: str, wait: float = 0.0, steps: int = 0):
        self.name, self.log, self.wait, self.steps = "load", log, wait, steps
    def load(self, device, dtype):
        pass
    def identity(self):
        return {"plugin": "load"}
    def restore(self, images, seeds=None):
        begun = time.time()
        time.sleep(self.wait)
        compute(self.steps)
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()} {begun} {time.time()}\\n")
        return images

bench.register_method("load", Load)
"""


class Measured(NamedTuple):
    workers: int
    start: float
    """Seconds from the command to the first image."""
    rate: float
    """Images per second once all workers have begun."""


def seconds(steps: int) -> float:
    start = time.perf_counter()
    compute(steps)
    return time.perf_counter() - start


def measure(folder: Path, engine: str, workers: int, options: str) -> Measured:
    log = folder / f"{engine}{workers}{abs(hash(options))}.log"
    (folder / "job.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: images}}]\n"
        f"methods: [{{method: load, options: {{log: {log}, {options}}}}}]\nmetrics: [uciqe]\n"
    )
    asked = ["run", "job.yaml", "--plugin", "plugin.py", "--engine", engine, "--workers", str(workers)]
    asked += ["--results", f"{log}.results", "--timeout", "600"]
    began = time.time()
    subprocess.run([sys.executable, "-m", "bench", *asked], cwd=folder, check=True, capture_output=True)
    rows = [line.split() for line in log.read_text().splitlines()]
    firsts: dict[str, float] = {}
    for pid, begun, _ in rows:
        firsts[pid] = min(float(begun), firsts.get(pid, float("inf")))
    all_here = max(firsts.values())
    ends = [float(end) for _, begun, end in rows if float(begun) >= all_here]
    return Measured(len(firsts), min(firsts.values()) - began, len(ends) / (max(ends) - all_here))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=0.3, help="that an image takes one worker")
    parser.add_argument("--engines", nargs="*", default=["local", "ray"])
    asked = parser.parse_args()
    steps = int(asked.seconds / min(seconds(100_000) for _ in range(5)) * 100_000)
    alone = min(seconds(steps) for _ in range(3))
    with multiprocessing.Pool(2) as pool:
        pool.map(seconds, [1, 1], 1)
        beside = min(max(pool.map(seconds, [steps, steps], 1)) for _ in range(3))
    print(f"two processes without any engine: {2 * alone / beside:.2f} times one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        (folder / "plugin.py").write_text(PLUGIN)
        for number in range(asked.images):
            noise = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(noise).save(folder / "images" / f"{number:03d}.png")
        os.environ["BENCH_HOME"] = str(folder / "home")
        for kind, options in (("waiting", f"wait: {asked.seconds}"), ("busy", f"steps: {steps}")):
            for engine in asked.engines:
                one, two = (measure(folder, engine, workers, options) for workers in (1, 2))
                row = {
                    "method": kind, "engine": engine, "start_1": round(one.start, 2), "start_2": round(two.start, 2),
                    "rate_1": round(one.rate, 2), "rate_2": round(two.rate, 2), "workers_seen": two.workers,
                    "times": round(two.rate / one.rate, 2),
                }  # fmt: skip
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

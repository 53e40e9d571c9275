"""Classical metrics of a decoded pair: ours against pyiqa's networks, in one process, values and seconds.

`python tests/benchmarks/compare_classical.py [--size 512] [--repeat 3] [--threads 2]`. Turns alternate, so that
whatever else the machine does falls on both; the ratios are of the fastest turns. Ours runs under `pyiqa/default`,
whose options are pyiqa's, from the decoded 8-bit image on: the conversion to luma is counted on both sides.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

PAIRS = {
    "psnr": ("psnr", {}), "ssim": ("ssim", {}), "ms-ssim": ("ms_ssim", {}),
    "ms-ssim rgb": ("ms_ssim", {"test_y_channel": False}), "gmsd": ("gmsd", {}), "fsim": ("fsim", {}),
    "vif": ("vif", {}), "piqe": ("piqe", {}),
}  # fmt: skip
"""Row → pyiqa's name and options."""
TARGETS = {"psnr": 3, "ssim": 45, "gmsd": 3, "fsim": 3, "vif": 8, "piqe": 5}
"""How many times faster than pyiqa a metric ought to be."""


def photographs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph that ships with scikit-image, and its blurred and noisy copy; uint8 [size,size,3]."""
    import cv2
    from skimage import data

    reference = cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(0, 8, reference.shape)
    return np.clip(np.rint(cv2.GaussianBlur(reference, (0, 0), 1.0) + noise), 0, 255).astype(np.uint8), reference


def turns(sides: list[Callable[[], float]], repeat: int) -> tuple[list[float], list[float]]:
    """Seconds of the fastest turn of each side, by the clock and of the processor."""
    walls, used = ([float("inf")] * len(sides) for _ in range(2))
    for _ in range(repeat):
        for place, side in enumerate(sides):
            start, begun = time.perf_counter(), time.process_time()
            side()
            walls[place] = min(walls[place], time.perf_counter() - start)
            used[place] = min(used[place], time.process_time() - begun)
    return walls, used


def compare(size: int, repeat: int) -> dict[str, dict[str, Any]]:
    """Row → both values, their relative difference, milliseconds and the ratio."""
    import pyiqa
    import torch

    from bench.catalog.registry import registry
    from bench.metrics.build import build_metric
    from bench.metrics.protocols import protocol
    from bench.metrics.scorer import Scorer

    pair = photographs(size)
    rows: dict[str, dict[str, Any]] = {}
    for row, (name, options) in PAIRS.items():
        net = pyiqa.create_metric(name, device="cpu", **options).net
        asked = {"space": "rgb"} if row.endswith("rgb") else {}
        metric = build_metric(registry("metric").get(row.split()[0]), asked, protocol("pyiqa/default"))
        scorer = Scorer([metric], "cpu")

        def ours(scorer: Scorer = scorer) -> float:
            (outcome,) = scorer.score(*pair)
            assert outcome.value is not None, outcome.reason
            return outcome.value

        def theirs(net: torch.nn.Module = net, both: bool = metric.mode == "FR") -> float:
            planes = [torch.from_numpy(np.ascontiguousarray(one.transpose(2, 0, 1))) for one in pair[: 1 + both]]
            with torch.no_grad():
                return float(net(*(plane[None].float() / 255 for plane in planes)))

        values = ours(), theirs()
        seconds, used = turns([ours, theirs], repeat)
        rows[row] = {
            "ours": values[0],
            "pyiqa": values[1],
            "relative difference": abs(values[0] - values[1]) / abs(values[1]),
            "ours ms": round(seconds[0] * 1e3, 1),
            "pyiqa ms": round(seconds[1] * 1e3, 1),
            "ratio": round(seconds[1] / seconds[0], 1),
            "ratio of processor time": round(used[1] / used[0], 1),
            "target": TARGETS.get(row),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of torch and OpenCV")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    import cv2
    import torch

    cv2.setNumThreads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rows = compare(arguments.size, arguments.repeat)
    print(json.dumps(rows, indent=2))
    total = [sum(row[key] for row in rows.values()) for key in ("ours ms", "pyiqa ms")]
    print(f"all: {total[0]:.0f} ms against {total[1]:.0f} ms, {total[1] / total[0]:.1f}×")


if __name__ == "__main__":
    main()

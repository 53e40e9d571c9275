"""PSNR and SSIM of a folder of pairs: `bench score` against pyiqa's own command, on the same files, values included.

`python tests/benchmarks/compare_pyiqa.py [--pairs 32] [--size 512] [--repeat 3]` writes pairs of photographs as PNG,
runs each side in a process of its own and times what it does after its imports. Turns alternate, so that whatever else
the machine does falls on both. pyiqa's PSNR is float32: seven digits are all that can agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROTOCOL = "pyiqa/default"
METRICS = ("psnr", "ssim")


def write_pairs(folder: Path, count: int, size: int) -> None:
    """Photographs that ship with scikit-image, shifted and mirrored, and the same with blur and noise."""
    import cv2
    import numpy as np
    from skimage import data

    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    random = np.random.default_rng(0)
    for name in ("restored", "gt"):
        (folder / name).mkdir()
    for index in range(count):
        gt = cv2.resize(photographs[index % len(photographs)], (size, size), interpolation=cv2.INTER_AREA)
        gt = np.ascontiguousarray(np.roll(gt, 37 * index, axis=(0, 1))[:, :: (-1) ** index])
        noisy = cv2.GaussianBlur(gt, (0, 0), 1.0) + random.normal(0, 8, gt.shape)
        restored = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        for name, image in (("gt", gt), ("restored", restored)):
            cv2.imwrite(str(folder / name / f"{index:03d}.png"), image[:, :, ::-1])


def ours(folder: Path) -> dict[str, Any]:
    """Seconds of `bench score`, from the parsed request to its printed rows, and the values."""
    import contextlib
    import io

    import cv2  # noqa: F401 – imports are not what is timed
    import tabulate  # noqa: F401
    import torch  # noqa: F401
    import tqdm  # noqa: F401
    from PIL import Image

    from bench.cli.score import command

    Image.init()
    text = io.StringIO()
    arguments = [str(folder / "restored"), "--reference", str(folder / "gt"), "--metric", ",".join(METRICS)]
    start = time.perf_counter()
    with contextlib.redirect_stdout(text):
        command.main([*arguments, "--protocol", PROTOCOL, "--format", "json"], standalone_mode=False)
    seconds = time.perf_counter() - start
    values: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
    for row in json.loads(text.getvalue()):
        values[row["metric"]][row["item"]] = row["value"]
    return {"seconds": seconds, "values": values}


def theirs(folder: Path) -> dict[str, Any]:
    """Seconds of pyiqa's command, its metrics' construction included, and the values that it prints."""
    import contextlib
    import io
    from unittest import mock

    import pyiqa.archs.psnr_arch
    import pyiqa.archs.ssim_arch  # noqa: F401
    from pyiqa import pyiqa_cmd

    found: list[dict[str, dict[str, float]]] = []
    arguments = ["pyiqa", *METRICS, "-t", str(folder / "restored"), "-r", str(folder / "gt"), "--device", "cpu", "-v"]
    silent = contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO())
    with mock.patch.object(sys, "argv", arguments), mock.patch.object(pyiqa_cmd, "pprint", found.append):
        start = time.perf_counter()
        with silent[0], silent[1]:
            pyiqa_cmd.main()
        seconds = time.perf_counter() - start
    values = {
        metric: {Path(key.split(" | ")[0]).stem: value for key, value in rows.items() if key != "mean"}
        for metric, rows in found[0].items()
    }
    return {"seconds": seconds, "values": values}


def compare(folder: Path, repeat: int) -> dict[str, Any]:
    """Both sides `repeat` times in turn: seconds of each, the ratio of medians, the largest differences."""
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for _ in range(repeat):
        for side, results in runs.items():
            output = subprocess.run(
                [sys.executable, __file__, "--side", side, "--folder", str(folder)],
                capture_output=True,
                text=True,
                check=True,
            )
            results.append(json.loads(output.stdout.splitlines()[-1]))
    first, second = runs["ours"][0]["values"], runs["theirs"][0]["values"]
    differences = {
        metric: max(abs(first[metric][item] - second[metric][item]) for item in second[metric]) for metric in METRICS
    }
    largest = {metric: max(map(abs, second[metric].values())) for metric in METRICS}
    seconds = {side: [one["seconds"] for one in results] for side, results in runs.items()}
    return {
        "images": len(second["psnr"]),
        "seconds": seconds,
        "ratio of medians": statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"]),
        "ratio of fastest": min(seconds["theirs"]) / min(seconds["ours"]),
        "largest difference": differences,
        "largest difference / value": {metric: differences[metric] / largest[metric] for metric in METRICS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="pairs that exist: restored/ and gt/ below it")
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"ours": ours, "theirs": theirs}[arguments.side](arguments.folder)))
        return
    if arguments.folder:
        print(json.dumps(compare(arguments.folder, arguments.repeat), indent=2))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_pairs(Path(folder), arguments.pairs, arguments.size)
        print(json.dumps(compare(Path(folder), arguments.repeat), indent=2))


if __name__ == "__main__":
    main()

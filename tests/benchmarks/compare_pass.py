"""One pass of every classical metric over a folder of pairs: `bench score` against pyiqa's command.

`python tests/benchmarks/compare_pass.py --mirror DIR [--pairs 16] [--size 512] [--repeat 3]`, where DIR holds LIVE's
parameters of NIQE and BRISQUE (`bench fetch --mirror` takes the same folder). Both sides get the same parameters: for
pyiqa they are written in the shape of its own files. Each side runs in a process of its own, in turn, and is timed from
the parsed request on; imports are not counted. Ours computes MS-SSIM on RGB as well, which pyiqa's command cannot name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from compare_pyiqa import write_pairs

OURS = "psnr,psnr[space=y],ssim,ssim[space=rgb],ms-ssim,ms-ssim[space=rgb],niqe,brisque,piqe,fsim,gmsd,vif"
THEIRS = ["psnr", "psnry", "ssim", "ssimc", "ms_ssim", "niqe", "brisque", "piqe", "fsim", "gmsd", "vif"]
SAME = {
    "psnr rgb": "psnr", "ssim yiq": "ssim", "ssim rgb": "ssimc", "ms-ssim yiq": "ms_ssim", "fsim rgb": "fsim",
    "gmsd yiq": "gmsd", "vif yiq": "vif", "piqe rgb": "piqe",
}  # fmt: skip
"""Ours → pyiqa's, where one pass gives both under one definition."""


def ours(folder: Path) -> dict[str, Any]:
    """Seconds of `bench score`, and the mean of each metric."""
    import cv2  # noqa: F401
    import tabulate  # noqa: F401
    import torch  # noqa: F401
    import tqdm  # noqa: F401
    from PIL import Image

    import bench.folder_scores  # noqa: F401
    from bench.cli.score import command
    from bench.metrics import brisque, fsim, gmsd, ms_ssim, niqe, piqe, psnr, ssim, vif  # noqa: F401

    Image.init()
    text = io.StringIO()
    asked = [str(folder / "restored"), "--reference", str(folder / "gt"), "--metric", OURS]
    start = time.perf_counter()
    with contextlib.redirect_stdout(text):
        command.main([*asked, "--protocol", "pyiqa/default", "--format", "json"], standalone_mode=False)
    seconds = time.perf_counter() - start
    values: dict[str, list[float]] = {}
    for row in json.loads(text.getvalue()):
        assert row["status"] == "ok", row
        space = dict(field.split(":", 1) for field in row["signature"].split("|")[1:])["space"]
        values.setdefault(f"{row['metric']} {space}", []).append(row["value"])
    return {"seconds": seconds, "means": {name: statistics.fmean(found) for name, found in values.items()}}


def theirs(folder: Path) -> dict[str, Any]:
    """Seconds of pyiqa's command, and the means that it prints."""
    import pyiqa.archs.fsim_arch
    import pyiqa.archs.gmsd_arch
    import pyiqa.archs.piqe_arch
    import pyiqa.archs.psnr_arch
    import pyiqa.archs.ssim_arch
    import pyiqa.archs.vif_arch  # noqa: F401
    from pyiqa import pyiqa_cmd

    found: list[dict[str, dict[str, float]]] = []
    asked = ["pyiqa", *THEIRS, "-t", str(folder / "restored"), "-r", str(folder / "gt"), "--device", "cpu"]

    with contextlib.ExitStack() as stack:
        stack.enter_context(read_from(folder))
        stack.enter_context(mock.patch.object(sys, "argv", asked))
        stack.enter_context(mock.patch.object(pyiqa_cmd, "pprint", found.append))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        start = time.perf_counter()
        pyiqa_cmd.main()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "means": {name: float(rows["mean"]) for name, rows in found[0].items()}}


@contextlib.contextmanager
def read_from(folder: Path) -> Iterator[None]:
    """pyiqa takes the parameters of NIQE and BRISQUE from the folder."""
    import pyiqa.archs.brisque_arch
    import pyiqa.archs.niqe_arch

    def local(url: str, *_: object, **__: object) -> str:
        return str(folder / Path(url).name)

    with contextlib.ExitStack() as stack:
        for module in (pyiqa.archs.brisque_arch, pyiqa.archs.niqe_arch):
            stack.enter_context(mock.patch.object(module, "load_file_from_url", local))
        yield


@contextlib.contextmanager
def parameters(folder: Path, mirror: Path) -> Iterator[None]:
    """LIVE's parameters for both sides in this process, which must not have asked for a home before."""
    write_parameters(folder, mirror)
    with mock.patch.dict(os.environ, BENCH_HOME=str(folder / "home")), read_from(folder):
        fetch_parameters(mirror)
        yield


def fetch_parameters(mirror: Path, home: Mapping[str, str] | None = None) -> None:
    fetch = [sys.executable, "-m", "bench", "fetch", "niqe", "brisque", "--mirror", str(mirror)]
    subprocess.run(fetch, check=True, env=home, stdout=subprocess.DEVNULL)


def write_parameters(folder: Path, mirror: Path) -> None:
    """LIVE's parameters under the names, and in the shape, of pyiqa's files."""
    import shutil

    import torch

    from bench.metrics.primitives.libsvm import read_model

    shutil.copy(mirror / "weights/niqe/modelparameters.mat", folder / "niqe_modelparameters.mat")
    model = read_model(mirror / "weights/brisque/allmodel", 36)
    tensors = [torch.from_numpy(part).float() for part in (model.coefficients.ravel(), model.vectors)]
    torch.save(tuple(tensors), folder / "brisque_svm_weights.pth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps({"ours": ours, "theirs": theirs}[arguments.side](arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, arguments.pairs, arguments.size)
        write_parameters(folder, arguments.mirror)
        home = {**os.environ, "BENCH_HOME": str(folder / "home")}
        fetch_parameters(arguments.mirror, home)
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        for _ in range(arguments.repeat):
            for side, results in runs.items():
                command = [sys.executable, __file__, "--mirror", str(arguments.mirror), "--side", side]
                command += ["--folder", str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, env=home)
                if done.returncode:
                    sys.exit(done.stderr)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = {side: [one["seconds"] for one in results] for side, results in runs.items()}
    first, second = runs["ours"][0]["means"], runs["theirs"][0]["means"]
    print(json.dumps({
        "pairs": arguments.pairs,
        "size": arguments.size,
        "seconds": seconds,
        "ratio of medians": statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"]),
        "ratio of fastest": min(seconds["theirs"]) / min(seconds["ours"]),
        "means": {"ours": first, "pyiqa": second},
        "relative difference": {name: abs(first[name] / second[same] - 1) for name, same in SAME.items()},
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()

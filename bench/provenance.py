"""What produced a number: code, packages, device, numeric flags. Recorded with every run, never part of a key."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

_PACKAGES = (
    "iqpir-bench", "torch", "torchvision", "numpy", "opencv-python-headless", "opencv-python", "pillow",
    "scikit-image", "scipy", "pyiqa", "simplejpeg", "ultralytics",
)  # fmt: skip


def describe(device: str, threads: int, workers: int, batch: int, base: Path) -> dict[str, Any]:
    """The record of where and with what a run is made, as JSON-like data. Imports nothing heavy.

    `base`: the suite file's folder. It and the working directory are where the suite's relative paths began.
    """
    return {
        "packages": packages(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "device": device,
        "device_model": device_model(device),
        "threads": threads,
        "workers": workers,
        "batch": batch,
        "numerics": {"tf32": False, "cudnn_benchmark": False, "dtype": "float32"},
        "code": code_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "folders": [str(Path.cwd()), str(base.absolute())],
    }


def packages() -> dict[str, str]:
    """Installed versions of what numbers can depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """The CPU's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_model(device: str) -> str:
    """The model of the device that restores: the CPU's name, or the GPU's as its driver gives it."""
    if not device.startswith("cuda"):
        return processor()
    index = device.partition(":")[2] or "0"
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--id={index}", "--query-gpu=name,driver_version", "--format=csv,noheader"],  # noqa: S607
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown GPU"
    return answer.stdout.strip() or "unknown GPU"


def code_revision() -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout this package runs from; None for an installed wheel."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(root), *arguments],  # noqa: S607
                capture_output=True, text=True, timeout=20, check=True, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            ).stdout
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(status.strip())}

"""What produced a number: code, packages, device, numeric flags. Recorded with every run, never part of a key."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PACKAGES = (
    "iqpir-bench", "torch", "torchvision", "numpy", "opencv-python-headless", "opencv-python", "pillow",
    "scikit-image", "scipy", "pyiqa", "simplejpeg", "ultralytics",
)  # fmt: skip


def describe(device: str, threads: int, workers: int | None, batch: int, base: Path) -> dict[str, Any]:
    """The record of where and with what a run is made, as JSON-like data. Imports nothing heavy.

    `workers`: None for as many as a cluster has room for. `base`: the suite file's folder. It and the working
    directory are where the suite's relative paths began.
    """
    return {
        "packages": packages(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "instructions": instructions(),
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
    return installed(_PACKAGES)


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of some distributions that are there, by name."""
    found = {}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
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


_STEPS = (
    ("AVX2", ("avx2", "fma")),
    ("AVX-512", ("avx512f", "avx512bw", "avx512dq", "avx512vl")),
    ("AVX-512 with VNNI", ("avx512_vnni",)),
    ("AVX-512 with bfloat16", ("avx512_bf16",)),
    ("AMX", ("amx_tile", "amx_bf16")),
)
"""Instructions by which libraries choose how to add up, each a step beyond the last, with flags of /proc/cpuinfo."""
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
"""Variables of the environment that keep a library from using them."""


def instructions(cpuinfo: Path = Path("/proc/cpuinfo"), environment: Mapping[str, str] = os.environ) -> str:
    """The widest vector instructions of the CPU, and what keeps libraries from them; empty where that is not known.

    Two processors of one model's name can differ in these (virtual machines hide some), and a network's last bits do.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
    widest = ""
    for name, needed in _STEPS:
        if not flags.issuperset(needed):
            break
        widest = name
    held = [f"{name}={environment[name]}" for name in _LIMITS if environment.get(name)]
    return ", ".join(part for part in (widest, *held) if part)


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

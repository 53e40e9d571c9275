"""Which machine this is: its processor, its cores, its accelerator, as far as two times must agree in them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any

from bench import provenance
from bench.errors import BenchError
from bench.identity import digest


def usable_cores() -> int:
    """Cores this process may use: the threads that torch gets unless told otherwise."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def fingerprint(device: str) -> dict[str, Any]:
    """What has to be equal for two times to be comparable."""
    import psutil

    found: dict[str, Any] = {
        "processor": provenance.processor(),
        "cores": psutil.cpu_count(logical=False),
        "logical": psutil.cpu_count(),
        "usable": usable_cores(),
        "torch": _version("torch"),
    }
    if device.startswith("cuda"):
        name, _, driver = provenance.device_model(device).partition(", ")
        found |= {"gpu": name, "driver": driver or None}
    return found


def machine_digest(found: Mapping[str, Any]) -> str:
    return digest(["machine", 1, dict(found)]).hex()


def machine_line(found: Mapping[str, Any]) -> str:
    """One line for a footer."""
    line = f"{found.get('processor')}, {found.get('usable')} of {found.get('logical')} cores"
    gpu = f"{found['gpu']}, driver {found.get('driver') or 'unknown'}; " if found.get("gpu") else ""
    return f"{gpu}{line}, torch {found.get('torch')}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_device(device: str) -> None:
    """Raise `BenchError` for a device that is not there."""
    if device == "cpu":
        return
    kind, colon, number = device.partition(":")
    if kind != "cuda" or (colon and not number.isdecimal()):
        raise BenchError(f"unknown device {device!r}: cpu, cuda or cuda:N")
    import torch

    index = int(number or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise BenchError(f"device {device!r} is not on this machine ({torch.cuda.device_count()} CUDA devices)")

"""Which machine this is: its processor, its cores, its accelerator, as far as two times must agree in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench import provenance
from bench.errors import BenchError
from bench.identity import digest
from iqpir import devices
from iqpir.devices import usable_cores

__all__ = ["check_device", "fingerprint", "machine_digest", "machine_line", "threads_per_worker", "usable_cores"]


def threads_per_worker(workers: int) -> int:
    """Cores this process may use, shared out."""
    return max(1, usable_cores() // workers)


def fingerprint(device: str) -> dict[str, Any]:
    """What has to be equal for two times to be comparable."""
    import psutil

    found: dict[str, Any] = {
        "processor": provenance.processor(),
        "cores": psutil.cpu_count(logical=False),
        "logical": psutil.cpu_count(),
        "usable": usable_cores(),
        "torch": provenance.installed(["torch"]).get("torch"),
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


def check_device(device: str) -> None:
    """Raise `BenchError` for a device that is not there."""
    devices.check_device(device, BenchError)

"""What a machine did besides the work that is measured on it: foreign load, clocks, throttling.

Everything is read where it can be read; what cannot is absent from the record, never guessed. A disturbed measurement
is kept and marked.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOREIGN = 0.05
"""Share of the machine's cores used by others above which a measurement is noisy."""
SLOWER = 0.10
"""Loss of CPU clock during a measurement above which it is noisy."""


class Watch:
    """What the machine does between two moments, less what the given processes and this one do."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = [os.getpid(), *processes]
        self._start = self._now()

    def _now(self) -> dict[str, float]:
        import psutil

        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        own = 0.0
        for number in self._processes:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(number)
                for one in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        used = one.cpu_times()
                        own += used.user + used.system
        # Guest time is part of user time already.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return {"at": time.monotonic(), "busy": sum(times) - idle - guests, "own": own, **_cpu_state()}

    def stop(self) -> dict[str, Any]:
        """JSON-like: seconds, foreign and own share of all cores, load average, CPU clock, throttling events."""
        import psutil

        first, last = self._start, self._now()
        seconds = max(last["at"] - first["at"], 1e-9)
        room = seconds * (psutil.cpu_count() or 1)
        own = last["own"] - first["own"]
        found: dict[str, Any] = {
            "seconds": round(seconds, 3),
            "own_share": round(own / room, 4),
            "foreign_share": round(max(0.0, last["busy"] - first["busy"] - own) / room, 4),
        }
        if hasattr(os, "getloadavg"):
            found["load_average"] = [round(value, 2) for value in os.getloadavg()]
        for name in ("throttled", "thermal"):
            if name in first and name in last:
                found[name] = int(last[name] - first[name])
        if "mhz" in first and "mhz" in last:
            found["cpu_mhz"] = [round(first["mhz"]), round(last["mhz"])]
        return found


def _cpu_state() -> dict[str, float]:
    """Clock in MHz, times that the control group ran out of CPU, times that a core became too hot."""
    import psutil

    found: dict[str, float] = {}
    with contextlib.suppress(OSError, NotImplementedError, AttributeError, RuntimeError):
        clock = psutil.cpu_freq()
        if clock is not None and clock.current > 0:
            found["mhz"] = clock.current
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/sys/fs/cgroup/cpu.stat").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                found["throttled"] = float(value)
    counts = []
    for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        with contextlib.suppress(OSError, ValueError):
            counts.append(float(path.read_text(encoding="utf-8")))
    if counts:
        found["thermal"] = sum(counts)
    return found


def noise(watched: Mapping[str, Any], gpu: Sequence[Mapping[str, Any]] = (), workers: int = 1) -> Iterator[str]:
    """What of a watch, and of a GPU's readings before and after, is a reason to doubt a time."""
    foreign = watched.get("foreign_share", 0.0)
    if foreign > FOREIGN:
        yield f"foreign load {foreign:.0%}"
    if watched.get("throttled"):
        yield f"CPU quota ran out {watched['throttled']} times"
    if watched.get("thermal"):
        yield f"{watched['thermal']} thermal throttling events"
    first, last = watched.get("cpu_mhz", (0, 0))
    if last < first * (1 - SLOWER):
        yield f"CPU clock fell from {first} to {last} MHz"
    reasons = dict.fromkeys(reason for reading in gpu for reason in reading.get("throttle", ()))
    if reasons:
        yield f"GPU throttled: {', '.join(reasons)}"
    others = max((reading.get("processes", 0) for reading in gpu), default=0) - workers
    if others > 0:
        yield f"{others} foreign processes on the GPU"


_THROTTLE = {
    "SwPowerCap": "power cap", "HwSlowdown": "hardware slowdown", "SwThermalSlowdown": "temperature",
    "HwThermalSlowdown": "temperature (hardware)", "HwPowerBrakeSlowdown": "power brake",
}  # fmt: skip
"""NVML's reasons by what they mean."""


class Gpu:
    """A GPU's state as NVML tells it; `nvml` is the module pynvml, `uuid` as torch gives it."""

    def __init__(self, nvml: Any, uuid: str) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")

    def read(self) -> dict[str, Any]:
        """JSON-like: clocks in MHz, watts, °C, reasons of throttling, bytes in use, processes; without what fails."""
        nvml, handle = self._nvml, self._handle
        questions = {
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "sm_mhz_most": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
            "watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "processes": lambda: len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
            "driver": nvml.nvmlSystemGetDriverVersion,
            "throttle": self._throttle,
        }
        found: dict[str, Any] = {}
        for name, ask in questions.items():
            with contextlib.suppress(nvml.NVMLError):
                found[name] = ask()
        return found

    def _throttle(self) -> list[str]:
        bits = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
        names = {getattr(self._nvml, f"nvmlClocksThrottleReason{key}", 0): told for key, told in _THROTTLE.items()}
        return [told for bit, told in names.items() if bits & bit]


def open_gpu(device: str) -> Gpu | None:
    """The GPU behind a torch device; None where NVML is not to be had."""
    if device == "cpu":
        return None
    try:
        import pynvml
        import torch

        return Gpu(pynvml, str(torch.cuda.get_device_properties(device).uuid))
    except ImportError:
        return None
    except (AttributeError, pynvml.NVMLError):
        return None

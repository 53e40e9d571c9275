"""How one call is timed, and nothing else.

A GPU works on after a call has returned: a clock that stops then measures how long it takes to say what shall be done.
The synchronised clocks wait for the device before they start and before they stop; the dispatch clock waits only
before it starts, which is what unsynchronised timers of published code measure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from bench.suite.setting import Mode


class Sample(NamedTuple):
    """One call, in nanoseconds."""

    wall: int
    cpu: int | None
    """CPU time of this process, all threads; None on a GPU."""
    event: float | None
    """Between two CUDA events; None elsewhere."""


class Clock(Protocol):
    """Times a call."""

    def time(self, call: Callable[[], object]) -> Sample: ...

    def wait(self) -> None:
        """Until the device has nothing to do."""


class CpuClock:
    """The CPU has finished when a call returns."""

    def time(self, call: Callable[[], object]) -> Sample:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        result = call()
        wall = time.perf_counter_ns() - wall
        cpu = time.process_time_ns() - cpu
        del result  # freeing the output is not the method's time
        return Sample(wall, cpu, None)

    def wait(self) -> None:
        """There is nothing to wait for."""


class CudaClock:
    """Waits for the device around every call; `cuda` is `torch.cuda`."""

    def __init__(self, cuda: Any, device: str) -> None:
        self._cuda, self._device = cuda, device

    def time(self, call: Callable[[], object]) -> Sample:
        start, end = self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True)
        self.wait()
        wall = time.perf_counter_ns()
        start.record()
        result = call()
        end.record()
        self.wait()
        wall = time.perf_counter_ns() - wall
        del result
        return Sample(wall, None, start.elapsed_time(end) * 1e6)

    def wait(self) -> None:
        self._cuda.synchronize(self._device)


class DispatchClock:
    """Stops when the call returns, whatever the device still has to do; the next call begins with an idle device."""

    def __init__(self, cuda: Any, device: str) -> None:
        self._cuda, self._device = cuda, device

    def time(self, call: Callable[[], object]) -> Sample:
        self.wait()
        wall = time.perf_counter_ns()
        result = call()
        wall = time.perf_counter_ns() - wall
        self.wait()
        del result
        return Sample(wall, None, None)

    def wait(self) -> None:
        self._cuda.synchronize(self._device)


def clock(device: str, mode: Mode) -> Clock:
    """The clock for a device; on the CPU dispatch is synchronous, and both modes are one."""
    if device == "cpu":
        return CpuClock()
    import torch

    torch.cuda.set_device(device)  # events are recorded on the current device's stream
    return DispatchClock(torch.cuda, device) if mode == "dispatch" else CudaClock(torch.cuda, device)

"""What the clocks wait for, told by a stand-in of torch.cuda; where there is a GPU, that waiting matters."""

from __future__ import annotations

import time

import pytest
import torch

from bench.latency.clocks import CpuClock, CudaClock, DispatchClock, clock


class FakeCuda:
    """A device that works 20 ms after each call has returned, and writes down who asked what of it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.busy_until = 0.0

    def Event(self, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)

    def synchronize(self, device: str) -> None:
        self.log.append(f"wait {device}")
        time.sleep(max(0.0, self.busy_until - time.monotonic()))

    def call(self) -> None:
        self.log.append("call")
        self.busy_until = time.monotonic() + 0.02


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda

    def record(self) -> None:
        self.cuda.log.append("record")

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.cuda.log[-1].startswith("wait"), "events are read when the device has passed them"
        return 19.5


def test_the_synchronised_clock_waits_before_and_after_and_records_around_the_call():
    cuda = FakeCuda()
    sample = CudaClock(cuda, "cuda:1").time(cuda.call)
    assert cuda.log == ["wait cuda:1", "record", "call", "record", "wait cuda:1"]
    assert sample.wall >= 20e6 and sample.event == pytest.approx(19.5e6) and sample.cpu is None


def test_the_dispatch_clock_stops_while_the_device_works_and_the_next_call_finds_it_idle():
    cuda = FakeCuda()
    sample = DispatchClock(cuda, "cuda").time(cuda.call)
    assert cuda.log == ["wait cuda", "call", "wait cuda"]
    assert sample.wall < 20e6 and time.monotonic() >= cuda.busy_until


def test_on_the_cpu_both_modes_are_one_clock_of_wall_and_cpu_time():
    assert isinstance(clock("cpu", "dispatch"), CpuClock) and isinstance(clock("cpu", "synchronised"), CpuClock)
    asleep = CpuClock().time(lambda: time.sleep(0.03))
    assert asleep.wall >= 30e6 and asleep.cpu is not None and asleep.cpu < 30e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_unsynchronised_gpu_timer_is_wrong():
    square = torch.rand(4096, 4096, device="cuda")

    def work() -> None:
        for _ in range(20):
            torch.mm(square, square)

    waits, hurries = clock("cuda", "synchronised"), clock("cuda", "dispatch")
    for _ in range(3):
        waits.time(work)
    honest, told = (sorted(one.time(work).wall for _ in range(11))[5] for one in (waits, hurries))
    events = waits.time(work).event
    assert told < honest / 5
    assert events == pytest.approx(honest, rel=0.2)

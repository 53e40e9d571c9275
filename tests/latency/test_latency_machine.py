"""What is read of the machine, and what of it makes a time doubtful."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench import machine
from bench.latency import machine_state


def test_a_watch_tells_others_work_from_its_own(monkeypatch: pytest.MonkeyPatch):
    moments = iter(
        [{"at": 0.0, "busy": 100.0, "own": 5.0, "mhz": 3000.0}, {"at": 10.0, "busy": 113.0, "own": 11.0, "mhz": 2000.0}]
    )
    monkeypatch.setattr(machine_state.Watch, "_now", lambda self: next(moments))
    monkeypatch.setattr("psutil.cpu_count", lambda logical=True: 2)
    found = machine_state.Watch([]).stop()
    # 13 s of work on 2 cores in 10 s, 6 s of which are ours.
    assert (found["own_share"], found["foreign_share"]) == (0.3, 0.35)
    assert list(machine_state.noise(found)) == ["foreign load 35%", "CPU clock fell from 3000 to 2000 MHz"]


def test_a_real_watch_counts_this_process_as_its_own():
    watch = machine_state.Watch([])
    total = sum(index * index for index in range(2_000_000))
    found = watch.stop()
    assert total and found["own_share"] > 0 and found["seconds"] > 0


@pytest.mark.parametrize(
    ("watched", "gpu", "lines"),
    [
        ({"foreign_share": 0.04, "throttled": 0, "cpu_mhz": [3000, 2900]}, [], []),
        ({"foreign_share": 0.37}, [], ["foreign load 37%"]),
        ({"throttled": 3}, [], ["CPU quota ran out 3 times"]),
        ({"thermal": 2}, [], ["2 thermal throttling events"]),
        ({}, [{"throttle": []}, {"throttle": ["power cap"]}], ["GPU throttled: power cap"]),
        ({}, [{"processes": 2}, {"processes": 4}], ["2 foreign processes on the GPU"]),
    ],
)
def test_what_disturbs_is_named(watched, gpu, lines):
    assert list(machine_state.noise(watched, gpu, workers=2)) == lines


class FakeNvml(SimpleNamespace):
    """A GPU at its power cap, whose temperature cannot be read."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetClockInfo(self, handle: str, which: int) -> int:
        return {1: 1980, 2: 3201}[which]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, which: int) -> int:
        return 1980

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return 699_500

    def nvmlDeviceGetTemperature(self, handle: str, which: int) -> int:
        raise self.NVMLError("not supported")

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=5 * 2**30)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[int]:
        return [1, 2]

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return 4


def test_a_gpu_tells_what_it_can_and_what_it_cannot_is_absent():
    gpu = machine_state.Gpu(
        FakeNvml(nvmlClocksThrottleReasonSwPowerCap=4, nvmlClocksThrottleReasonHwSlowdown=8), "1234"
    )
    assert gpu._handle == "GPU-1234"
    assert gpu.read() == {
        "sm_mhz": 1980, "sm_mhz_most": 1980, "memory_mhz": 3201, "watts": 699.5, "used_bytes": 5 * 2**30,
        "processes": 2, "driver": "570.1", "throttle": ["power cap"],
    }  # fmt: skip


def test_two_machines_differ_by_anything_that_changes_times():
    here = machine.fingerprint("cpu")
    assert {"processor", "cores", "logical", "usable", "torch"} == set(here)
    assert machine.machine_digest(here) == machine.machine_digest(dict(reversed(here.items())))
    for name in here:
        assert machine.machine_digest({**here, name: "other"}) != machine.machine_digest(here)

"""The process that one method is timed in: told what to do line by line, so that it does nothing between its turns.

Standard input and output carry one JSON object a line (`python -m bench.latency.timing_process`); whatever a method
prints goes to standard error. It ends when its input does, so that it never outlives whoever started it.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError, described
from bench.latency.probe import probe

if TYPE_CHECKING:
    from torch import Tensor

    from bench.latency.clocks import Clock
    from bench.latency.machine_state import Gpu
    from bench.methods.base import Method

_INPUTS = 4
"""Images that take turns, so that no call finds the last one's values in a cache."""
_STAGE_SECONDS = 3.0


class TimingWorker:
    """Answers `do`; each public method of it is a message, its keyword arguments that message's other keys."""

    def __init__(self) -> None:
        self._method: Method | None = None
        self._clock: Clock | None = None
        self._gpu: Gpu | None = None
        self._device = "cpu"
        self._calls: Any = None
        self._images: list[Tensor] = []
        self._seeds: Tensor | None = None

    def do(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message; `{"error": one line}` for whatever goes wrong in a method."""
        given = dict(message)
        action: Callable[..., dict[str, Any]] = getattr(self, str(given.pop("do")))
        try:
            return action(**given)
        except BaseException as error:  # noqa: BLE001 – whatever a method raises becomes its row; Ctrl-C is not seen here
            told = described(error)
            return {"error": "out of memory" if _out_of_memory(error, told) else told}

    def start(self) -> dict[str, Any]:
        """Import what every method needs, which is no method's time."""
        import torch  # noqa: F401

        return {}

    def load(
        self, *, name: str, options: dict[str, Any], base: str | None, plugins: list[str], device: str, dtype: str,
        threads: int, mode: str, commands: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """Build the method and bring its weights to the device; importing torch is not part of the time."""
        import torch

        from bench.catalog.plugins import load_plugins
        from bench.catalog.registry import registry
        from bench.latency.clocks import clock
        from bench.latency.machine_state import open_gpu
        from bench.methods.base import Method
        from bench.methods.build import build_method, identity_of
        from bench.results.timings import method_digest

        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        load_plugins(plugins)
        entry = registry("method").get(name)
        method = build_method(entry, options, None if base is None else Path(base))
        if not isinstance(method, Method):
            raise BenchError("outputs that exist already: there is nothing to time")
        foreign = None if commands else method.foreign_code()
        if foreign is not None:
            raise BenchError(f"{name} {foreign}: --allow-commands lets it")
        missing = [asset for asset in method.assets() if not asset.path.is_file()]
        twin = method.untrained_twin() if missing else None
        if twin is not None:
            method = twin
        elif missing:
            missing[0].require()
        reason = None if method.untrained else method.unavailable()
        if reason is not None:
            raise BenchError(reason)
        identity = method_digest(identity_of(method, entry)).hex()
        self._device, self._clock = device, clock(device, "dispatch" if mode == "dispatch" else "synchronised")
        self._clock.wait()
        start = time.perf_counter_ns()
        method.load(device, dtype)
        self._clock.wait()
        spent = time.perf_counter_ns() - start
        self._method, self._gpu = method, open_gpu(device)
        return {
            "load_ns": spent,
            "method": identity,
            "weights": "random" if method.untrained else None,
            "parameters": method.parameters() or entry.fields.get("parameters"),
            "batch_invariant": method.batch_invariant,
            "flags": {
                "tf32": False,
                "cudnn_benchmark": False,
                "interop_threads": torch.get_num_interop_threads(),
                "threads": torch.get_num_threads(),
            },
        }

    def prepare(self, *, height: int, width: int, batch: int) -> dict[str, Any]:
        """Make inputs of a size and run the first call, which pays for whatever is made on demand."""
        import torch

        from bench.methods.pixels import as_input

        assert self._method is not None and self._clock is not None
        self._images = []
        for seed in range(_INPUTS):
            pixels = [scene(height, width, seed * batch + member) for member in range(batch)]
            self._images.append(torch.from_numpy(as_input(pixels)).to(self._device))
        self._seeds = None
        if self._method.stochastic:
            self._seeds = torch.arange(batch, dtype=torch.int64)
        self._calls = itertools.cycle(self._images)
        kept: list[Tensor] = []
        sample = self._clock.time(lambda: kept.append(self._restore(next(self._calls))))
        # An output that is not finite is worth a note: arithmetic with NaN or denormal numbers has its own speed.
        return {"first_ns": sample.wall, "finite": bool(torch.isfinite(kept[0]).all()), "shape": list(kept[0].shape)}

    def call(self, *, settle: bool = False) -> dict[str, Any]:
        """One timed call; with `settle` after one that is not, to bring back what others drove out of the caches."""
        assert self._clock is not None
        if settle:
            self._clock.time(lambda: self._restore(next(self._calls)))
        sample = self._clock.time(lambda: self._restore(next(self._calls)))
        return {"wall": sample.wall, "cpu": sample.cpu, "event": sample.event}

    def begin(self) -> dict[str, Any]:
        """Forget earlier peaks of memory."""
        if self._device != "cpu":
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _forget_peak()
        return {"gpu": self._gpu.read() if self._gpu else None, "probe": probe()}

    def end(self) -> dict[str, Any]:
        """Peaks of memory in bytes since `begin`, and the GPU's state."""
        memory: dict[str, int] = {"rss_peak": _rss_peak()}
        if self._device != "cpu":
            import torch

            memory["torch_allocated_peak"] = torch.cuda.max_memory_allocated(self._device)
            memory["torch_reserved_peak"] = torch.cuda.max_memory_reserved(self._device)
        gpu = self._gpu.read() if self._gpu else None
        if gpu and "used_bytes" in gpu:
            memory["nvml_used"] = gpu["used_bytes"]
        return {"memory": memory, "gpu": gpu, "probe": probe()}

    def stages(self, *, call_ns: float) -> dict[str, Any]:
        """The whole job split, in a few repetitions; `call_ns`: what one call took."""
        from bench.data.images import encode_png
        from bench.latency.stages import split

        assert self._method is not None and self._clock is not None
        batch, _, height, width = self._images[0].shape
        files = [encode_png(scene(height, width, member)) for member in range(batch)]
        least = 3 if call_ns < 2 * _STAGE_SECONDS * 1e9 else 1
        repeats = max(least, min(15, int(_STAGE_SECONDS * 1e9 / max(call_ns, 1))))
        return {
            "stages": split(self._restore, files, self._device, self._method.quantise, self._clock, repeats),
            "repeats": repeats,
        }

    def flops(self) -> dict[str, Any]:
        """Operations of one call as torch counts them (2 per multiply-add); None where it sees none."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self._restore(next(self._calls))
        return {"flops": int(counter.get_total_flops()) or None}

    def _restore(self, images: Tensor) -> Tensor:
        import torch

        assert self._method is not None
        with torch.inference_mode():
            return self._method.restore(images, self._seeds)


def scene(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 [H,W,3]: a dark scene with shades, edges, colours and noise, as a photograph has; different per seed."""
    drawn = np.random.default_rng(seed)
    down, across = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = []
    for _ in range(3):
        down_wave, across_wave, phase = (*drawn.uniform(0.005, 0.08, 2), drawn.uniform(0, 6))
        planes.append(0.25 + 0.15 * np.sin(down * down_wave + across * across_wave + phase))
    image = np.stack(planes, axis=2) + 0.15 * ((down // 37 + across // 53) % 2)[..., None]
    image += drawn.normal(0, 0.02, image.shape)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _out_of_memory(error: BaseException, told: str) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in told.lower()


def _forget_peak() -> None:
    """Linux forgets a process's largest resident size when it is told so; elsewhere the peak is the whole life's."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _rss_peak() -> int:
    """Bytes."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def serve(inward: IO[str], outward: IO[str]) -> None:
    """Answer every line until there are no more."""
    worker = TimingWorker()
    for line in inward:
        outward.write(json.dumps(worker.do(json.loads(line)), allow_nan=False) + "\n")
        outward.flush()


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells the whole group; whoever started us decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()

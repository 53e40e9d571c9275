"""A measurement from end to end: one fresh process per method, told by turns, never two at work at once.

Interleaved, all processes live side by side and take turns, ABCD ABCD, so that drift of the machine falls on all alike
and cancels in ratios; their memory adds up. Sequential, one method is measured to its end before the next begins.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.catalog.helper_process import kill_with_children, patience
from bench.errors import one_line
from bench.latency import machine_state
from bench.machine import fingerprint, machine_digest
from bench.results.samples import spread, stable
from bench.results.timings import Timing, request_digest
from bench.suite.setting import Order, Rules, Setting

_WIDE = 0.1
"""Standard deviation over mean from which on a sample itself tells of something that disturbed it."""
_SETTLE_NS = 50e6
"""A call that is shorter is preceded in every turn by one that is not timed: it would pay for its neighbours' turns."""


_NOTE_SECONDS = 10.0
"""Between two lines of progress."""
_CALLS = {"call": 2, "stages": 16}
"""How often a message restores at most; others do it once, and may have to prepare for it."""


class TimedMethod(NamedTuple):
    """A method as it is asked for."""

    label: str
    name: str
    options: Mapping[str, Any]
    base: str | None = None
    """Folder of the suite file, for relative paths."""


@dataclass(frozen=True)
class TimingJob:
    """What is measured."""

    subjects: Sequence[TimedMethod]
    settings: Sequence[Setting]
    rules: Rules = field(default_factory=Rules)
    order: Order = "interleaved"
    plugins: Sequence[str] = ()
    commands: bool = False
    """Whether methods of kind command may start their programs."""
    details: bool = True
    """Whether the stages of the whole job and the operations are measured as well."""
    timeout: float | None = None
    """Seconds that loading a method or restoring an image may take; None: for ever."""


def measure(job: TimingJob, write: Callable[[Timing], None], note: Callable[[str], None] = lambda line: None) -> None:
    """Measure every subject at every setting; `write` gets each row as soon as it is known, failures among them."""
    groups = [job.subjects] if job.order == "interleaved" else [[subject] for subject in job.subjects]
    session = uuid.uuid4().hex
    for group in groups:
        _Group(job, group, session, write, note).measure()


class _Failed(Exception):
    """A method did not do what it was told; the message becomes its row's reason."""


class _Process:
    """A worker process and the pipe to it."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout, self._batch = timeout, 1
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.latency.timing_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        self._late: str | None = None
        """Why it was killed."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Say what to do and wait for the answer. Raises `_Failed` with the worker's reason, or that of its death."""
        if do == "prepare":
            self._batch = more["batch"]
        limit = self._limit(do)
        if limit is None:
            return self._ask(do, more)
        clock = threading.Timer(limit, self._expire, (limit, do))
        clock.daemon = True
        clock.start()
        try:
            return self._ask(do, more)
        finally:
            clock.cancel()

    def _limit(self, do: str) -> float | None:
        """Seconds that the answer may take."""
        if self._timeout is None or do == "start":
            return None
        if do == "load":
            return patience(self._timeout)
        call = self._timeout * self._batch
        return call * _CALLS[do] if do in _CALLS else patience(call)

    def _expire(self, seconds: float, do: str) -> None:
        self._late = f"timeout after {seconds:g} s while {'loading' if do == 'load' else 'restoring'}"
        kill_with_children(self.pid)

    def _ask(self, do: str, more: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise _Failed(self._last_words())
        try:
            found: dict[str, Any] = json.loads(answer)
        except ValueError:
            raise _Failed(f"its process answered {one_line(answer, 60)!r}") from None
        if "error" in found:
            raise _Failed(found["error"])
        return found

    def _last_words(self) -> str:
        if self._late is not None:
            return self._late
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            return "its process says nothing any more"
        if code < 0:
            return f"its process was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"its process ended with exit code {code}"

    def close(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class _Runner:
    """One method in its process, and what is known of it at the present setting."""

    def __init__(self, subject: TimedMethod, process: _Process) -> None:
        self.subject = subject
        self.process = process
        self.loaded: dict[str, Any] = {}
        self.lost: str | None = None
        """Why it can do no more, at any setting."""
        self.reset()

    def reset(self) -> None:
        self.reason: str | None = None
        """Why it failed at this setting."""
        self.first: dict[str, Any] = {}
        self.warm: list[int] = []
        self.notes: list[str] = []
        self.stop = ""
        self.settle = False
        self.samples: list[dict[str, Any]] = []
        self.memory: dict[str, Any] = {}
        self.gpu: list[Mapping[str, Any]] = []
        self.details: dict[str, Any] = {}
        self.probe: dict[str, list[int]] = {}
        """Of the machine's speed, `before` the calls and `after` them."""

    @property
    def failed(self) -> str | None:
        return self.lost or self.reason

    @property
    def walls(self) -> np.ndarray:
        return np.array([sample["wall"] for sample in self.samples], dtype=np.float64)

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something, unless it has failed before; a failure is kept."""
        if self.failed is None:
            try:
                action()
            except _Failed as failure:
                self.reason = str(failure)


class _Group:
    """Methods that take turns."""

    def __init__(
        self, job: TimingJob, subjects: Sequence[TimedMethod], session: str, write: Callable[[Timing], None],
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.job, self.subjects, self.session, self.write, self.note = job, subjects, session, write, note
        self.runners: list[_Runner] = []

    def measure(self) -> None:
        first = self.job.settings[0]
        self.fingerprint = fingerprint(first.device)
        with ExitStack() as stack:
            for subject in self.subjects:
                self.note(f"{subject.label}: loading")
                process = _Process(self.job.timeout)
                stack.callback(process.close)
                runner = _Runner(subject, process)
                self.runners.append(runner)
                runner.attempt(lambda runner=runner: self._load(runner, first))  # type: ignore[misc]
                runner.lost, runner.reason = runner.reason, None
            for setting in self.job.settings:
                for runner in self.runners:
                    runner.reset()
                watched = self._at(setting)
                for runner in self.runners:
                    self.write(self._timing(runner, setting, watched))

    def _load(self, runner: _Runner, setting: Setting) -> None:
        subject = runner.subject
        runner.process.ask("start")
        runner.loaded = runner.process.ask(
            "load", name=subject.name, options=dict(subject.options), base=subject.base,
            plugins=list(self.job.plugins), device=setting.device, dtype=setting.dtype, threads=setting.threads,
            mode=setting.mode, commands=self.job.commands,
        )  # fmt: skip

    def _at(self, setting: Setting) -> dict[str, Any]:
        """All samples of all methods at one setting; what the machine did meanwhile."""
        size = {"height": setting.size.height, "width": setting.size.width, "batch": setting.batch}
        for runner in self.runners:
            if runner.failed is None:
                self.note(f"{runner.subject.label}: warming at {setting.short}")
            runner.attempt(lambda runner=runner: self._warm(runner, size))  # type: ignore[misc]
        active = [runner for runner in self.runners if runner.failed is None]
        if len(active) > 1:  # a round that does not count: the first one warmed has waited for all others
            for runner in active:
                runner.attempt(lambda runner=runner: runner.process.ask("call") and None)  # type: ignore[misc]
        for runner in active:
            runner.attempt(lambda runner=runner: self._begin(runner))  # type: ignore[misc]
        if active:
            self.note(f"{', '.join(runner.subject.label for runner in active)}: measuring at {setting.short}")
        watch = machine_state.Watch([runner.process.pid for runner in self.runners])
        self._rounds([runner for runner in active if runner.failed is None])
        watched = watch.stop()
        for runner in active:
            runner.attempt(lambda runner=runner: self._end(runner))  # type: ignore[misc]
        return watched

    def _warm(self, runner: _Runner, size: Mapping[str, int]) -> None:
        rules = self.job.rules
        runner.first = runner.process.ask("prepare", **size)
        if not runner.first["finite"]:
            runner.notes.append("its output is not finite")
        start = time.monotonic()
        while True:
            runner.warm.append(runner.process.ask("call")["wall"])
            enough = len(runner.warm) >= rules.warm_calls
            if enough and (rules.exact or stable(runner.warm, rules.warm_change)):
                break
            if time.monotonic() - start >= rules.warm_limit:
                break
        if not rules.exact and not stable(runner.warm, rules.warm_change):
            runner.notes.append(f"not stable after {len(runner.warm)} warming calls")
        runner.settle = float(np.median(runner.warm[-5:])) < _SETTLE_NS

    def _begin(self, runner: _Runner) -> None:
        found = runner.process.ask("begin")
        runner.gpu = [found["gpu"]] if found["gpu"] else []
        runner.probe["before"] = found["probe"]

    def _rounds(self, active: list[_Runner]) -> None:
        """Turns until every method has enough; one that has, or that fails, leaves the rounds to the others."""
        alone = len(active) == 1
        seconds = dict.fromkeys(map(id, active), 0.0)
        told = time.monotonic()
        while active:
            if time.monotonic() - told > _NOTE_SECONDS:
                told = time.monotonic()
                self.note(self._progress(active, seconds))
            for runner in active:
                start = time.monotonic()
                settle = runner.settle and not alone
                runner.attempt(
                    lambda runner=runner, settle=settle: runner.samples.append(  # type: ignore[misc]
                        runner.process.ask("call", settle=settle)
                    )
                )
                seconds[id(runner)] += time.monotonic() - start
            for runner in active:
                if runner.failed is None:
                    # The spread of a long sample changes slowly: it is not computed anew in every round.
                    look = len(runner.samples) < 200 or len(runner.samples) % 50 == 0
                    wide = spread(runner.walls) if look else float("inf")
                    runner.stop = self.job.rules.stop(len(runner.samples), seconds[id(runner)], wide) or ""
            active = [runner for runner in active if runner.failed is None and not runner.stop]

    def _progress(self, active: Sequence[_Runner], seconds: Mapping[int, float]) -> str:
        """Samples so far, and the longest that what is left can take."""
        left = sum(self.job.rules.left(len(one.samples), seconds[id(one)]) for one in active)
        counts = ", ".join(f"{one.subject.label} {len(one.samples)}" for one in active)
        return f"samples: {counts}; at most {left:.0f} s left"

    def _end(self, runner: _Runner) -> None:
        found = runner.process.ask("end")
        runner.memory = found["memory"]
        runner.probe["after"] = found["probe"]
        runner.gpu += [found["gpu"]] if found["gpu"] else []
        if not self.job.details:
            return
        median = float(np.median(runner.walls))
        self.note(f"{runner.subject.label}: the whole job in stages, and its operations")
        for question in ({"do": "stages", "call_ns": median}, {"do": "flops"}):
            try:
                runner.details |= runner.process.ask(**question)
            except _Failed as failure:
                runner.notes.append(f"{question['do']} not measured: {failure}")

    def _timing(self, runner: _Runner, setting: Setting, watched: Mapping[str, Any]) -> Timing:
        subject, loaded, failed = runner.subject, runner.loaded, runner.failed
        record: dict[str, Any] = {"order": self.job.order, "rules": self.job.rules.as_json()}
        samples = [] if failed is not None else runner.samples
        if failed is None:
            noise = list(machine_state.noise(watched, runner.gpu, len(self.runners)))
            wide = spread(runner.walls)
            if _WIDE < wide < float("inf"):
                noise.append(f"relative spread {wide:.0%}")
            record |= {
                "stop": runner.stop,
                "load_ns": loaded["load_ns"],
                "first_ns": runner.first["first_ns"],
                "output": runner.first["shape"],
                "warm": len(runner.warm),
                "settled": runner.settle and len(self.runners) > 1,
                "memory": runner.memory,
                "probe": runner.probe,
                "parameters": loaded["parameters"],
                "flops": runner.details.get("flops"),
                "stages": runner.details.get("stages"),
                "stage_repeats": runner.details.get("repeats"),
                "noise": [*noise, *runner.notes],
                "environment": {
                    **watched,
                    "gpu": runner.gpu,
                    "flags": loaded["flags"],
                    "python": sys.version.split()[0],
                },
            }
        record["weights"] = loaded.get("weights")
        return Timing(
            label=subject.label, name=subject.name, setting=setting,
            machine=machine_digest(self.fingerprint), fingerprint=self.fingerprint,
            status="ok" if failed is None else "failed", reason=failed,
            samples=_column(samples, "wall"), events=_column(samples, "event"), cpu=_column(samples, "cpu"),
            record=record, session=self.session, written=time.time(),
            method=bytes.fromhex(loaded["method"]) if loaded else None,
            request=request_digest(subject.name, subject.options),
        )  # fmt: skip


def _column(samples: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([sample[name] for sample in samples if sample[name] is not None], dtype=np.float64)

"""Calls in a process of their own: one that ends its process, or never comes back, is an error of one line.

For strangers' code that is asked a few things one after the other: how a plugin is read, what a set adds up to, what a
metric makes of an image. The units of a run have workers of their own (`bench.runner.engines`), which start as these
do.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Self

from bench.catalog.isolation import watched
from bench.catalog.streams import no_results_here
from bench.errors import BenchError, ItemError, described

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

LEAST_PATIENCE = 10.0
"""Seconds that code gets at least which is not asked for each image: it may import what it needs."""


def patience(timeout: float | None) -> float | None:
    """Seconds for code that is not asked for each image, where `timeout` is what an image may take; None: for ever."""
    return None if timeout is None else max(timeout, LEAST_PATIENCE)


class Lost(ItemError):
    """The process of a call is gone: `what` ran in it, and `how` it ended; `timeout`, whether for taking too long."""

    def __init__(self, what: str, how: str, *, timeout: bool = False) -> None:
        super().__init__(f"{what}: {how}")
        self.what, self.how, self.timeout = what, how, timeout


class Helper:
    """Another process that does calls one at a time; after a call that it was lost in, the next one starts another.

    `prepare(*arguments)` is what it does first, and every call is given what that returned; both travel by name, and
    so do arguments and results by `pickle`. `what` is said of a loss where nothing else is known to have run.
    """

    def __init__(self, what: str, prepare: Callable[..., Any], arguments: Sequence[Any] = ()) -> None:
        self._what, self._prepare, self._arguments = what, prepare, tuple(arguments)
        self._process: BaseProcess | None = None
        self._answers: Connection
        self._questions: Connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def call(self, function: Callable[..., Any], *arguments: Any, timeout: float | None = None) -> Any:
        """`function(prepared, *arguments)` there. Raises what it raised as `BenchError` or `ItemError`, or `Lost`.

        `timeout`: seconds that a piece of strangers' code may take, each that `isolation.exits_raised` names.
        """
        if self._process is None:
            self._start()
        try:
            with suppress(OSError):  # it is dead; that is seen when its answer is read
                self._questions.send((function, arguments))
            return self._answer(timeout)
        except (Lost, KeyboardInterrupt):
            self.close()
            raise

    def close(self) -> None:
        """End the process, with all that it has started."""
        process, self._process = self._process, None
        if process is not None:
            end(process)
            self._answers.close()
            self._questions.close()

    def _start(self) -> None:
        made = context()
        inward, self._questions = made.Pipe(duplex=False)
        self._answers, outward = made.Pipe(duplex=False)
        given = (self._prepare, self._arguments, inward, outward, dict(os.environ))
        self._process = made.Process(target=_serve, args=given, daemon=True)
        with interrupts_held(), main_forgotten():
            self._process.start()
        inward.close()
        outward.close()

    def _answer(self, timeout: float | None) -> Any:
        running, since = None, time.monotonic()
        while True:
            left = None if timeout is None or running is None else since + timeout - time.monotonic()
            if not self._answers.poll(None if left is None else max(0.0, left)):
                raise Lost(running or self._what, f"timeout after {timeout:g} s", timeout=True)
            try:
                kind, told = self._answers.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                assert self._process is not None
                raise Lost(running or self._what, last_words(self._process)) from None
            if kind == "gave":
                return told
            if kind == "runs":
                running, since = told, time.monotonic()
            else:
                raise (BenchError if kind == "request" else ItemError)(told)


def _serve(
    prepare: Callable[..., Any], arguments: Sequence[Any], questions: Connection, answers: Connection,
    environment: dict[str, str],
) -> None:  # fmt: skip
    """What the process does: questions in, answers out, until nobody asks any more."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    no_results_here()
    prepared: Any = None
    ready = False
    with watched(lambda what: answers.send(("runs", what))), suppress(EOFError, OSError):
        while True:
            function, given = questions.recv()
            try:
                prepared = prepared if ready else prepare(*arguments)
                ready = True
                answer = ("gave", function(prepared, *given))
            except BenchError as error:
                answer = ("request", str(error))
            except BaseException as error:  # noqa: BLE001 – the answer to who asked
                answer = ("raised", described(error))
            answers.send(answer)


# How processes start and end


def context() -> SpawnContext | ForkServerContext:
    """How workers start: forked from a clean process that has imported torch once, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["torch"])
    return made


@contextmanager
def interrupts_held() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, not even while it imports: who started it stops it.

    A Ctrl-C that comes meanwhile is the caller's, and waits for the end of the start.
    """
    if not hasattr(signal, "pthread_sigmask"):  # a system where a terminal's interrupt does not reach such processes
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_forgotten() -> Iterator[None]:
    """A process started inside does not import the script that this one runs, which would call for itself again."""
    main = sys.modules["__main__"]
    kept: dict[str, Any] = {name: vars(main).pop(name) for name in ("__spec__", "__file__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


def end(process: BaseProcess) -> None:
    """End a process, and every program that it has started and waits for."""
    assert process.pid is not None
    kill_with_children(process.pid)
    process.join(5)


def kill_with_children(pid: int) -> None:
    """Kill a process that this one has started and not waited for, and every program that it has started."""
    import psutil

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with suppress(psutil.Error):
                one.kill()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that leads a group of its own, with all that it started and left in it."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def last_words(process: BaseProcess, name: str = "its process") -> str:
    """How a process ended."""
    process.join(5)
    code = process.exitcode
    if code is not None and code < 0:
        return f"{name} was killed by signal {-code} ({signal.strsignal(-code)})"
    return f"{name} ended with exit code {code}"

"""This machine: in the same process, or in fresh ones.

Several workers are worth their start-up where a method leaves cores idle, and one where it may hang or take its process
with it. They re-resolve the suite for themselves, read the store, and send back rows and bytes; only the driver writes.

Ray on one machine does not take the place of these processes, for three reasons. What a worker says goes through a
pipe, which outlives it: the call that a worker died in is known, and its unit is the row at once, where the last
answer of a dead actor is lost and the unit has to be tried again alone. They fork from a process that has imported
torch already, within a fraction of the time that Ray takes to start. And a run on one machine depends on nothing that
is not there anyway.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import signal
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from bench.catalog.helper_process import context, end, interrupts_held, last_words, main_forgotten
from bench.catalog.isolation import exits_raised
from bench.catalog.plugins import made_elsewhere
from bench.catalog.streams import no_results_here
from bench.planning.jobs import Task
from bench.results.store import Store
from bench.runner.archive import StoreArchive
from bench.runner.engines.base import Engine, JobRecipe, Work, check_importable, entries
from bench.runner.engines.pool import Death, Host, Lost, Member, Pool
from bench.runner.engines.serving import Inbox, failure_of, serve
from bench.runner.messages import Result, WorkerSettings
from bench.runner.worker import Worker


class LocalEngine(Engine):
    """This machine. Raises `BenchError` where other processes are asked for that could not come by the methods."""

    def __init__(self, work: Work, workers: int) -> None:
        self._work = work
        self._workers = workers
        if workers > 1 or work.timeout is not None:
            check_importable(work.jobs, "several workers are" if workers > 1 else "timeout needs")
        # Code that is not ours may hang the process that it runs in, or end it.
        known = entries(work.jobs)
        strange = any(entry.strange for entry in known) and all(map(made_elsewhere, known))
        self._apart = workers > 1 or work.timeout is not None or strange

    def map(self, tasks: Iterable[Task], count: int) -> Generator[list[Result], None, None]:
        if not self._apart:
            # Its threads read beside the driver's transactions, so never over the driver's connection.
            with Store(self._work.settings.results, writable=False) as store, exits_raised():
                worker = Worker(self._work.jobs, StoreArchive(store), self._work.settings)
                yield from worker.process(tasks)
                worker.close()
            return
        given = iter(tasks)
        first = next(given, None)
        if first is not None:  # else no process is worth its start
            host = _Processes(self._work.recipe, self._work.settings)
            yield from Pool(host, self._work, self._workers).map(itertools.chain([first], given), count)


class _Processes(Host):
    """Worker processes of this one."""

    def __init__(self, recipe: JobRecipe, settings: WorkerSettings) -> None:
        self._recipe, self._settings = recipe, settings

    def start(self) -> Member:
        return _Process(self._recipe, self._settings)

    def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
        by_pipe = {member.news: member for member in members if isinstance(member, _Process)}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe), timeout=timeout)]  # type: ignore[index]

    def wait_for_end(self, members: Sequence[Member], timeout: float) -> None:
        wait([member.process.sentinel for member in members if isinstance(member, _Process)], timeout=timeout)


class _Process(Member):
    """A worker process and its two pipes."""

    def __init__(self, recipe: JobRecipe, settings: WorkerSettings) -> None:
        super().__init__()
        made = context()
        # Pipes, not queues: a worker that dies while it writes would leave a queue locked for all others.
        inward, self._tasks = made.Pipe(duplex=False)
        self.news, outward = made.Pipe(duplex=False)
        arguments = (recipe, settings, inward, outward, dict(os.environ))
        self.process = made.Process(target=_serve, args=arguments, daemon=True)
        with interrupts_held(), main_forgotten():
            self.process.start()
        inward.close()
        outward.close()

    def send(self, tasks: list[Task]) -> None:
        with suppress(OSError):
            self._tasks.send(tasks)

    def receive(self) -> list[Any]:
        try:
            return [self.news.recv()]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise Lost from error

    def has_news(self) -> bool:
        return self.news.poll()

    def dismiss(self) -> None:
        with suppress(OSError):
            self._tasks.send(None)

    def kill(self) -> None:
        end(self.process)

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(5)

    def death(self) -> Death:
        return Death(last_words(self.process, "worker process"))


def _last_word(news: Connection, said: str) -> None:
    """Tell the driver, unless it was killed: then nobody is there to be told, and what was met is its own end."""
    with suppress(BrokenPipeError, ConnectionResetError):
        news.send(said)


def _serve(
    recipe: JobRecipe, settings: WorkerSettings, tasks: Connection, news: Connection, environment: dict[str, str]
) -> None:
    """What a worker process does: tasks in, results out, until there are no more or nobody is there to take them."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    no_results_here()
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, inbox), daemon=True).start()
    lock = threading.Lock()

    def tell(said: Any) -> None:
        with lock:
            news.send(said)

    def work() -> None:
        with Store(settings.results, writable=False) as store:
            serve(recipe, settings, StoreArchive(store), inbox, tell)

    with suppress(BrokenPipeError, ConnectionResetError):  # the driver was killed
        if (failed := failure_of(work)) is not None:
            _last_word(news, failed)


def _receive(tasks: Connection, inbox: Inbox) -> None:
    """Take tasks off the pipe at once, so that the driver never waits for a worker that waits for the driver."""
    given: list[Task] | None = []
    while given is not None:
        try:
            given = tasks.recv()
        except (EOFError, OSError):
            given = None
        inbox.put(given)

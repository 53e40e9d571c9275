"""This machine: in the same process, or in several fresh ones.

Several workers are worth their start-up where a method leaves cores idle. They re-resolve the suite for themselves,
read the store, and send back rows and bytes; only the driver writes. A worker that dies takes nobody's work with it:
what it held is tried again one unit at a time, and only the unit that kills again becomes a failure row.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import queue
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError, one_line
from bench.plan import Cell, Task, gather
from bench.store import Store
from bench.work import Finished, Result, Settings, Worker, unworkable

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

_DEATHS = 3
"""After so many units of a method have each killed a worker, the method's other units are not tried any more."""


class Recipe(NamedTuple):
    """How another process comes by the same cells: a function it can import, and picklable arguments."""

    make_cells: Callable[..., Sequence[Cell]]
    arguments: tuple[Any, ...]


def threads_per_worker(workers: int) -> int:
    """Cores this process may use, shared out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, cores // workers)


class LocalEngine:
    """`map(tasks) → results` on this machine."""

    def __init__(self, cells: Sequence[Cell], store: Store, settings: Settings, workers: int, recipe: Recipe) -> None:
        self._cells = cells
        self._store = store
        self._settings = settings
        self._workers = workers
        self._recipe = recipe

    def map(self, tasks: Iterable[Task]) -> Iterator[list[Result]]:
        """Results in the order in which they come up; a task's last is `Finished`."""
        if self._workers == 1:
            # Its threads read beside the driver's transactions, so never over the driver's connection.
            with Store(self._settings.results, writable=False) as store:
                worker = Worker(self._cells, store, self._settings)
                yield from worker.process(tasks)
                worker.close()
            return
        given = iter(tasks)
        first = next(given, None)
        if first is not None:  # else no process is worth its start
            pool = _Pool(self._cells, self._store, self._settings, self._workers, self._recipe)
            yield from pool.map(itertools.chain([first], given))


class _Process:
    """A worker process, its two pipes, and the tasks that it has not finished."""

    def __init__(self, recipe: Recipe, settings: Settings) -> None:
        context = _context()
        # Pipes, not queues: a worker that dies while it writes would leave a queue locked for all others.
        inward, self._tasks = context.Pipe(duplex=False)
        self.news, outward = context.Pipe(duplex=False)
        arguments = (recipe, settings, inward, outward, dict(os.environ))
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with _interrupts_ignored():
            self.process.start()
        inward.close()
        outward.close()
        self.held: dict[tuple[int, int], Task] = {}

    def give(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        self.held.update(((task.cell, task.unit), task) for task in tasks)
        with suppress(OSError):  # it is dead; that will be seen when its news are read
            self._tasks.send(tasks)

    def dismiss(self) -> None:
        """Tell it that there are no more tasks."""
        with suppress(OSError):
            self._tasks.send(None)

    def stop(self) -> None:
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(5)

    def last_words(self) -> str:
        """How it ended."""
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"worker process was killed by signal {-code} ({signal.strsignal(-code)})"
        return f"worker process ended with exit code {code}"


class _Pool:
    """Several worker processes and what each has in its hands."""

    def __init__(self, cells: Sequence[Cell], store: Store, settings: Settings, workers: int, recipe: Recipe) -> None:
        self._cells = cells
        self._store = store
        self._settings = settings
        self._recipe = recipe
        self._workers = workers
        self._processes: list[_Process] = []
        self._suspects: deque[Task] = deque()
        """Tasks that a worker died with, one of which is to blame."""
        self._prison: _Process | None = None
        """The only worker that is given suspects, one at a time."""
        self._deaths: Counter[str] = Counter()

    def map(self, tasks: Iterator[Task]) -> Iterator[list[Result]]:
        try:
            while True:
                yield from self._feed(tasks)
                busy = {process.news: process for process in self._processes if process.held}
                if not busy:
                    break
                for connection in wait(list(busy)):
                    yield from self._listen(busy[connection])  # type: ignore[index]
            for process in self._processes:
                process.dismiss()
            wait([process.process.sentinel for process in self._processes], timeout=5)
        finally:
            for process in self._processes:
                process.stop()

    def _feed(self, tasks: Iterator[Task]) -> Iterator[list[Result]]:
        """Hand out tasks: suspects one at a time, others in chunks.

        Each worker has a chunk in hand and one in its inbox. It works a chunk to its end before it looks for the next,
        so that it never waits for tasks while the driver waits for its results.
        """
        if self._prison is None or not self._prison.held:
            suspect = yield from self._promising(_taken(self._suspects), 1)
            if suspect:
                self._prison = self._prison or self._start()
                self._prison.give(suspect)
            else:
                self._prison = None
        chunk = 8 * self._settings.batch
        for chunks in (1, 2):
            for process in self._processes:
                if process is not self._prison and len(process.held) <= (chunks - 1) * chunk:
                    process.give((yield from self._promising(tasks, chunk)))
        while len(self._processes) < self._workers and (given := (yield from self._promising(tasks, chunk))):
            self._start().give(given)

    def _start(self) -> _Process:
        self._processes.append(_Process(self._recipe, self._settings))
        return self._processes[-1]

    def _promising(self, tasks: Iterator[Task], most: int) -> Generator[list[Result], None, list[Task]]:
        """The next tasks that are worth trying; none only when there are none left."""
        found: list[Task] = []
        while not found and (given := list(itertools.islice(tasks, most))):
            for task in given:
                if self._deaths[self._cells[task.cell].method.label] >= _DEATHS:
                    yield self._fail(task, f"not tried: {_DEATHS} units of this method have killed a worker each")
                else:
                    found.append(task)
        return found

    def _listen(self, process: _Process) -> Iterator[list[Result]]:
        """The next news of a worker, or what its death means."""
        try:
            news = process.news.recv()
        except (EOFError, OSError):
            yield from self._bury(process)
            return
        if isinstance(news, str):
            raise BenchError(news)
        for result in news:
            if isinstance(result.news, Finished):
                process.held.pop((result.news.task.cell, result.news.task.unit), None)
        yield news

    def _bury(self, process: _Process) -> Iterator[list[Result]]:
        """Find out which unit a worker died of; the next round of tasks starts another worker where one is needed."""
        reason = process.last_words()
        self._processes.remove(process)
        if self._prison is process:
            self._prison = None
        if len(process.held) > 1:
            self._suspects.extend(process.held.values())
        for task in process.held.values():
            if len(process.held) == 1:
                self._deaths[self._cells[task.cell].method.label] += 1
                yield self._fail(task, f"{reason} while this unit was in its hands")

    def _fail(self, task: Task, reason: str) -> list[Result]:
        cell = self._cells[task.cell]
        facts = gather(self._store, cell, [task.unit])[0]  # the worker may have decoded the input before it died
        row = unworkable(reason, cell.key(task.unit, facts), facts.lq)
        return [Result(task.cell, row._replace(status="failed")), Result(task.cell, Finished(task, row.key, None))]


def _taken(tasks: deque[Task]) -> Iterator[Task]:
    while tasks:
        yield tasks.popleft()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A process started inside never sees Ctrl-C, not even while it imports: the driver stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _context() -> SpawnContext | ForkServerContext:
    """How workers start: forked from a clean process that has imported torch once, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    return context


def _serve(
    recipe: Recipe, settings: Settings, tasks: Connection, news: Connection, environment: dict[str, str]
) -> None:
    """What a worker process does: tasks in, results out, until there are no more or nobody is there to take them."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, inbox), daemon=True).start()
    try:
        cells = recipe.make_cells(*recipe.arguments)
        with Store(settings.results, writable=False) as store:
            worker = Worker(cells, store, settings)
            while (given := inbox.get()) is not None:
                for results in worker.process(given):
                    news.send(results)
            worker.close()
    except (BrokenPipeError, ConnectionResetError):
        return  # the driver was killed
    except BenchError as error:
        news.send(str(error))
    except Exception as error:  # noqa: BLE001 – reported to the driver, which ends the run with it
        news.send(f"worker process failed: {type(error).__name__}: {one_line(error)}")


def _receive(tasks: Connection, inbox: queue.SimpleQueue[list[Task] | None]) -> None:
    """Take tasks off the pipe at once, so that the driver never waits for a worker that waits for the driver."""
    given: list[Task] | None = []
    while given is not None:
        try:
            given = tasks.recv()
        except (EOFError, OSError):
            given = None
        inbox.put(given)

"""This machine: in the same process, or in fresh ones.

Several workers are worth their start-up where a method leaves cores idle, and one where it may hang or take its process
with it. They re-resolve the suite for themselves, read the store, and send back rows and bytes; only the driver writes.
A worker that dies takes nobody's work with it: what it held is tried again one unit at a time, and only the unit that
kills again becomes a failure row. One that says nothing for too long after a call began is killed with all it started,
and what it began is the row.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from bench.catalog.helper_process import context, end, interrupts_held, last_words, main_forgotten, patience
from bench.catalog.isolation import exits_raised, watched
from bench.catalog.plugins import made_elsewhere
from bench.catalog.registry import Entry, registry
from bench.catalog.streams import no_results_here
from bench.errors import BenchError, described
from bench.machine import usable_cores
from bench.metrics.average_precision import AveragePrecision
from bench.planning.jobs import Job, Task, gather
from bench.results.store import Store
from bench.runner.messages import Began, Ended, Finished, Restored, Result, WorkerSettings, blamed, unworkable
from bench.runner.worker import Worker

_DEATHS = 3
"""After so many units of a method have each killed a worker, the method's other units are not tried any more."""


class JobRecipe(NamedTuple):
    """How another process comes by the same jobs: a function it can import, and picklable arguments."""

    make_jobs: Callable[..., Sequence[Job]]
    arguments: tuple[Any, ...]


def threads_per_worker(workers: int) -> int:
    """Cores this process may use, shared out."""
    return max(1, usable_cores() // workers)


def _entries(job: Job) -> list[Entry]:
    """Of everything that works on a job."""
    methods = [job.method.entry] if job.method.method is not None else []
    metrics = [metric for metric in job.dataset.metrics if metric.unavailable is None]
    found = (metric.metric.detector for metric in metrics if isinstance(metric.metric, AveragePrecision))
    detectors = {detector.name for detector in found if detector is not None}
    return [*methods, *(metric.entry for metric in metrics), *map(registry("detector").get, sorted(detectors))]


class LocalEngine:
    """`map(tasks) → results` on this machine.

    `timeout`: seconds that loading a method, restoring an image or scoring it with one metric may take. Raises
    `BenchError` where that asks for another process, and it could not come by the methods.
    """

    def __init__(
        self, jobs: Sequence[Job], store: Store, settings: WorkerSettings, workers: int, recipe: JobRecipe,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._store = store
        self._settings = settings
        self._workers = workers
        self._recipe = recipe
        entries = {(one.kind, one.name): one for job in jobs for one in _entries(job)}
        here = [entry.name for entry in entries.values() if not made_elsewhere(entry)]
        if here and (workers > 1 or timeout is not None):
            asked = "several workers are" if workers > 1 else "timeout needs"
            raise BenchError(
                f"{here[0]!r} is registered in this process alone, and {asked} other processes: register it in a file "
                "of its own and name that as a plugin"
            )
        # Code that is not ours may hang the process that it runs in, or end it.
        strange = any(entry.strange for entry in entries.values())
        self._apart = workers > 1 or timeout is not None or (strange and not here)
        self._timeout = timeout

    def map(self, tasks: Iterable[Task]) -> Iterator[list[Result]]:
        """Results in the order in which they come up; a task's last is `Finished`."""
        if not self._apart:
            # Its threads read beside the driver's transactions, so never over the driver's connection.
            with Store(self._settings.results, writable=False) as store, exits_raised():
                worker = Worker(self._jobs, store, self._settings)
                yield from worker.process(tasks)
                worker.close()
            return
        given = iter(tasks)
        first = next(given, None)
        if first is not None:  # else no process is worth its start
            pool = _Pool(self._jobs, self._store, self._settings, self._workers, self._recipe, self._timeout)
            yield from pool.map(itertools.chain([first], given))


class _Process:
    """A worker process, its two pipes, and the tasks that it has not finished."""

    def __init__(self, recipe: JobRecipe, settings: WorkerSettings) -> None:
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
        self.held: dict[tuple[int, int], Task] = {}
        self.running: dict[int, tuple[Began, float]] = {}
        """What each of its threads has begun, and when that was heard."""

    def give(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        self.held.update(((task.job, task.unit), task) for task in tasks)
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


class _Pool:
    """Several worker processes and what each has in its hands."""

    def __init__(
        self, jobs: Sequence[Job], store: Store, settings: WorkerSettings, workers: int, recipe: JobRecipe,
        timeout: float | None,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._store = store
        self._settings = settings
        self._recipe = recipe
        self._workers = workers
        self._timeout = timeout
        self._processes: list[_Process] = []
        self._suspects: deque[Task] = deque()
        """Tasks that a worker died with, one of which is to blame."""
        self._prison: _Process | None = None
        """The only worker that is given suspects, one at a time."""
        self._again: deque[Task] = deque()
        """Tasks of a worker that was killed for another one's sake."""
        self._deaths: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        """Units of a method, one after the other, that took too long."""
        self._hopeless: dict[str, str] = {}
        """Why a method's other units are not tried any more."""

    def map(self, tasks: Iterator[Task]) -> Iterator[list[Result]]:
        try:
            while True:
                yield from self._feed(tasks)
                busy = {process.news: process for process in self._processes if process.held}
                if not busy:
                    break
                for connection in wait(list(busy), timeout=self._patience(busy.values())):
                    yield from self._listen(busy[connection])  # type: ignore[index]
                for process in list(busy.values()):
                    yield from self._expire(process)
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
        tasks = itertools.chain(_taken(self._again), tasks)
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
                if reason := self._hopeless.get(self._label(task)):
                    yield self._fail(task, reason)
                else:
                    found.append(task)
        return found

    def _listen(self, process: _Process) -> Iterator[list[Result]]:
        """The next news of a worker, or what its death means."""
        try:
            news = process.news.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            yield from self._bury(process)
            return
        yield from self._take(process, news)

    def _take(self, process: _Process, news: Any) -> Iterator[list[Result]]:
        if isinstance(news, str):
            raise BenchError(news)
        if isinstance(news, Began):
            process.running[news.thread] = news, time.monotonic()
            return
        if isinstance(news, Ended):
            process.running.pop(news.thread, None)
            return
        for job, found in news:
            if isinstance(found, Finished):
                process.held.pop((found.task.job, found.task.unit), None)
            elif isinstance(found, Restored) and found.status == "ok":
                self._late[self._jobs[job].method.label] = 0
        yield news

    def _bury(self, process: _Process) -> Iterator[list[Result]]:
        """Find out which unit a worker died of; the next round of tasks starts another worker where one is needed."""
        reason = f"{last_words(process.process, 'worker process')} while this unit was in its hands"
        self._forget(process)
        if len(process.held) > 1:
            self._suspects.extend(process.held.values())
            return
        for task in process.held.values():
            label = self._label(task)
            self._deaths[label] += 1
            if self._deaths[label] >= _DEATHS:
                self._hopeless[label] = f"not tried: {_DEATHS} units of this method have killed a worker each"
            began = next((began for began, _ in process.running.values() if task in began.tasks), None)
            yield self._fail(task, reason) if began is None else blamed(began, reason)

    # What takes too long

    def _allowed(self, began: Began) -> float:
        assert self._timeout is not None
        if not began.tasks:
            return patience(self._timeout) or 0
        return self._timeout * (len(began.tasks) if began.what == "restoring" else 1)

    def _patience(self, processes: Iterable[_Process]) -> float | None:
        """Seconds until the first call will have taken too long; None where none can."""
        if self._timeout is None:
            return None
        ends = [since + self._allowed(began) for one in processes for began, since in one.running.values()]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _expire(self, process: _Process) -> Iterator[list[Result]]:
        """Kill a worker whose call has not come back in time; what else it held is given to the next one."""
        if self._timeout is None or process not in self._processes or process.news.poll():
            return
        now = time.monotonic()
        late = [began for began, since in process.running.values() if now - since > self._allowed(began)]
        if not late:
            return
        end(process.process)
        self._forget(process)
        for began in late:
            if not began.tasks:  # any other worker would fare as this one
                raise BenchError(f"{began.what} does not come back in a worker process: it took over --timeout")
        with suppress(EOFError, OSError, pickle.UnpicklingError):
            while process.news.poll():
                yield from self._take(process, process.news.recv())
        for began in late:
            tasks = [task for task in began.tasks if (task.job, task.unit) in process.held]
            if not tasks:
                continue  # it came back while the end was on its way
            for task in tasks:
                del process.held[task.job, task.unit]
            self._count(began, self._label(tasks[0]))
            yield blamed(began, f"timeout after {self._allowed(began):g} s while {began.what}")
        self._again.extend(process.held.values())

    def _count(self, began: Began, label: str) -> None:
        """A method that cannot be loaded in time is not tried again, nor is one that is late time after time."""
        self._late[label] += began.what == "restoring"
        if began.what == "loading":
            self._hopeless[label] = f"not tried: the method was not loaded within {self._timeout:g} s"
        elif self._late[label] >= _DEATHS:
            self._hopeless[label] = f"not tried: {_DEATHS} units of this method in a row took over {self._timeout:g} s"

    def _forget(self, process: _Process) -> None:
        self._processes.remove(process)
        if self._prison is process:
            self._prison = None

    def _label(self, task: Task) -> str:
        return self._jobs[task.job].method.label

    def _fail(self, task: Task, reason: str) -> list[Result]:
        job = self._jobs[task.job]
        facts = gather(self._store, job, [task.unit])[0]  # the worker may have decoded the input before it died
        row = unworkable(reason, job.key(task.unit, facts), facts.lq)
        return [Result(task.job, row._replace(status="failed")), Result(task.job, Finished(task, row.key, None))]


def _taken(tasks: deque[Task]) -> Iterator[Task]:
    while tasks:
        yield tasks.popleft()


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
    inbox: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, inbox), daemon=True).start()
    lock = threading.Lock()

    def tell(said: list[Result] | Began | Ended) -> None:
        with lock:
            news.send(said)

    def planning(what: str | None) -> None:
        tell(Ended(threading.get_ident()) if what is None else Began(threading.get_ident(), what, (), ()))

    try:
        with watched(planning):
            jobs = recipe.make_jobs(*recipe.arguments)
        with Store(settings.results, writable=False) as store:
            worker = Worker(jobs, store, settings, tell)
            while (given := inbox.get()) is not None:
                for results in worker.process(given):
                    tell(results)
            worker.close()
    except (BrokenPipeError, ConnectionResetError):
        return  # the driver was killed
    except BenchError as error:
        _last_word(news, str(error))
    except BaseException as error:  # noqa: BLE001 – reported to the driver, which ends the run with it
        _last_word(news, f"worker process failed: {described(error)}")


def _receive(tasks: Connection, inbox: queue.SimpleQueue[list[Task] | None]) -> None:
    """Take tasks off the pipe at once, so that the driver never waits for a worker that waits for the driver."""
    given: list[Task] | None = []
    while given is not None:
        try:
            given = tasks.recv()
        except (EOFError, OSError):
            given = None
        inbox.put(given)

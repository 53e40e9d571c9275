"""What every engine is, and what it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Self

from bench.catalog.plugins import made_elsewhere
from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.metrics.average_precision import AveragePrecision
from bench.planning.jobs import Job, Task
from bench.results.store import Store
from bench.runner.messages import Result, WorkerSettings


class JobRecipe(NamedTuple):
    """How another process comes by the same jobs: a function it can import, and picklable arguments."""

    make_jobs: Callable[..., Sequence[Job]]
    arguments: tuple[Any, ...]


class Work(NamedTuple):
    """What an engine works on, whichever it is."""

    jobs: Sequence[Job]
    store: Store
    """The driver's own connection."""
    settings: WorkerSettings
    recipe: JobRecipe
    timeout: float | None
    """Seconds that loading a method, restoring an image or scoring it with one metric may take; None: for ever."""


class Engine(ABC):
    """`map(tasks) → results`, inside `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    @abstractmethod
    def map(self, tasks: Iterable[Task], count: int) -> Generator[list[Result], None, None]:
        """Results in the order in which they come up; a task's last is `Finished`. An empty list asks to write down
        what came before. Tasks are taken as they are needed, so that those in flight are few; to close it ends
        the workers. There are `count` tasks, or fewer."""


def entries(jobs: Iterable[Job]) -> list[Entry]:
    """Of everything that works on jobs."""
    each = {(entry.kind, entry.name): entry for job in jobs for entry in _entries(job)}
    return list(each.values())


def _entries(job: Job) -> list[Entry]:
    methods = [job.method.entry] if job.method.method is not None else []
    metrics = [metric for metric in job.dataset.metrics if metric.unavailable is None]
    measured = (metric.metric.detector for metric in metrics if isinstance(metric.metric, AveragePrecision))
    detectors = {detector.name for detector in measured if detector is not None}
    return [*methods, *(metric.entry for metric in metrics), *map(registry("detector").get, sorted(detectors))]


def check_importable(jobs: Iterable[Job], asked: str) -> None:
    """Raise `BenchError` where another process could not come by what works on the jobs; `asked`: what needs one."""
    here = [entry.name for entry in entries(jobs) if not made_elsewhere(entry)]
    if here:
        raise BenchError(
            f"{here[0]!r} is registered in this process alone, and {asked} other processes: register it in a file "
            "of its own and name that as a plugin"
        )

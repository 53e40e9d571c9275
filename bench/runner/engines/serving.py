"""The other end: what a worker does that sits in a process of its own, whatever carries its tasks and its news."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from bench.catalog.isolation import watched
from bench.errors import BenchError, described
from bench.planning.jobs import Job, Task
from bench.runner.archive import Archive
from bench.runner.engines.base import JobRecipe
from bench.runner.messages import Began, Ended, WorkerSettings
from bench.runner.worker import Worker

Inbox = queue.SimpleQueue[list[Task] | None]
"""Tasks, chunk by chunk; None: there are no more."""


def serve(
    recipe: JobRecipe, settings: WorkerSettings, archive: Archive, inbox: Inbox, tell: Callable[[Any], None],
    check: Callable[[tuple[Job, ...]], None] = lambda jobs: None,
) -> None:  # fmt: skip
    """Work on what comes in until there is no more. `check` may refuse the jobs that this process has come by."""

    def planning(what: str | None) -> None:
        tell(Ended(threading.get_ident()) if what is None else Began(threading.get_ident(), what, (), ()))

    with watched(planning):
        jobs = tuple(recipe.make_jobs(*recipe.arguments))
        check(jobs)
    worker = Worker(jobs, archive, settings, tell)
    while (given := inbox.get()) is not None:
        for results in worker.process(given):
            tell(results)
    worker.close()


def failure_of(work: Callable[[], None]) -> str | None:
    """What ends the run, where `work` cannot go on. A driver that is gone is nobody's failure, and raised."""
    try:
        work()
    except (BrokenPipeError, ConnectionResetError):
        raise
    except BenchError as error:
        return str(error)
    except BaseException as error:  # noqa: BLE001 – reported to the driver, which ends the run with it
        return f"worker process failed: {described(error)}"
    return None

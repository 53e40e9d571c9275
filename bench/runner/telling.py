"""What a run says while it works: what is loaded and worked on, and, to who asked for more, each failure and each cell.

Nothing here changes what is written: a run that is watched is the run that is not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from bench.planning.plan import Job
from bench.progress import Progress
from bench.runner.messages import Finished, Restored, Result, Scored


class Telling:
    """Takes what the driver hands out and gets back, and turns it into words."""

    def __init__(self, jobs: tuple[Job, ...], progress: Progress | None, news: Callable[[str], object] | None) -> None:
        self._jobs, self._progress, self._news = jobs, progress, news
        self._heard: set[str] = set()
        """Methods that have given something, and so are loaded."""
        self._left: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._began: dict[int, float] = {}

    def begins(self, todo: Iterable[tuple[int, int]]) -> None:
        """The units that are about to be worked on, as (job, unit)."""
        units = list(todo)
        self._left = Counter(job for job, _ in units)
        if self._progress is not None:
            self._progress.reset(len(units))

    def dispatched(self, job: Job) -> None:
        """A unit of a job is handed out."""
        self._began.setdefault(job.index, time.monotonic())
        if self._progress is not None:
            loading = "" if job.method.label in self._heard else "loading "
            self._progress.set_description_str(f"{loading}{job.method.label} · {job.dataset.label}")

    def waits(self) -> None:
        """Another run has what is left in its hands."""
        if self._progress is not None:
            self._progress.set_description_str("waiting for another run")

    def heard(self, results: Iterable[Result]) -> None:
        """What came back, before it is written."""
        for index, news in results:
            job = self._jobs[index]
            if isinstance(news, Restored | Scored) and job.method.label not in self._heard:
                self._heard.add(job.method.label)
                self.dispatched(job)
            reason = news.reason if isinstance(news, Restored) else None
            if isinstance(news, Scored):
                given = news.outcome.reason
                reason = given and f"{job.dataset.metrics[news.metric].label}: {given}"
            if reason:
                self._failed[index] += 1
                self._say(f"{job.method.label} on {job.dataset.label}: {reason}")

    def advanced(self, results: Iterable[Result] = (), *, job: Job | None = None) -> None:
        """Units are finished and written: those of `results`, or one of `job` that somebody else has done."""
        done = [index for index, news in results if isinstance(news, Finished)]
        for index in [*done, *([] if job is None else [job.index])]:
            self._left[index] -= 1
            if self._progress is not None:
                self._progress.update(1)
            if not self._left[index] and index in self._began:
                self._cell(self._jobs[index])

    def _cell(self, job: Job) -> None:
        failed = self._failed[job.index]
        lost = f", {failed} failures" if failed else ""
        seconds = time.monotonic() - self._began[job.index]
        self._say(f"{job.method.label} on {job.dataset.label}: done after {seconds:.1f} s{lost}")

    def _say(self, line: str) -> None:
        if self._news is not None:
            self._news(line)

"""Workers in processes of their own, wherever these are: who holds which tasks, and what it means when one is lost.

A `Pool` hands out tasks, hears what its members say of them, and knows no transport: a `Host` starts members, and each
`Member` is one worker at the other end of a pipe (`local`) or of a cluster (`ray_actors`). A member that dies takes
nobody's work with it: what it held is tried again one unit at a time, and only the unit that kills again becomes a
failure row. One that says nothing for too long after a call began is killed with all it started, and what it began is
the row.
"""

from __future__ import annotations

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from bench.catalog.helper_process import patience
from bench.errors import BenchError
from bench.planning.jobs import Task, examine, gather
from bench.results import artefacts
from bench.runner.engines.base import Work
from bench.runner.messages import (
    Began,
    Ended,
    Finished,
    OutputAsked,
    Restored,
    Result,
    StateAsked,
    blamed,
    unworkable,
)

_CHUNK = 8
"""Tasks that a member is given at once, for each image of a batch; fewer towards the end, so that all end together."""
_DEATHS = 3
"""After so many units of a method have each killed a worker, the method's other units are not tried any more."""


class Lost(EOFError):
    """A member has nothing more to say: it is gone."""


class Death(NamedTuple):
    """How a member ended."""

    reason: str
    ours: bool = True
    """Whether what it worked on may have done it; not where its whole machine is gone."""


class Member(ABC):
    """One worker, and the tasks that it has not finished."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], Task] = {}
        self.running: dict[int, tuple[Began, float]] = {}
        """What each of its threads has begun, and when that was heard."""

    ready = True
    """Whether it would begin at once: a cluster may have no room for it yet."""

    def give(self, tasks: list[Task]) -> None:
        if tasks:
            self.held.update(((task.job, task.unit), task) for task in tasks)
            self.send(tasks)

    @abstractmethod
    def send(self, tasks: list[Task]) -> None:
        """Tell it of more tasks; nothing is raised where it is dead, which is seen when its news are read."""

    def answer(self, number: int, answer: Any) -> None:
        """Tell it what it asked for."""
        raise NotImplementedError

    @abstractmethod
    def receive(self) -> list[Any]:
        """Its next news, once there are any. Raises `Lost`."""

    @abstractmethod
    def has_news(self) -> bool:
        """Whether `receive` would return, or raise, at once."""

    @abstractmethod
    def dismiss(self) -> None:
        """Tell it that there are no more tasks."""

    @abstractmethod
    def kill(self) -> None:
        """End it now, with everything that it has started."""

    @abstractmethod
    def stop(self) -> None:
        """End it, if it has not ended by itself."""

    @abstractmethod
    def death(self) -> Death:
        """How it ended, once it has."""


class Host(ABC):
    """Where members are started."""

    chances = 1
    """How often a unit that was alone with a dying member is tried before it is to blame."""

    @abstractmethod
    def start(self) -> Member:
        """Another member."""

    def promising(self) -> bool:
        """Whether another member is likely to come up now, where the work can go on without."""
        return True

    @abstractmethod
    def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
        """Those of some members that have news, once there are any or `timeout` seconds are over."""

    @abstractmethod
    def wait_for_end(self, members: Sequence[Member], timeout: float) -> None:
        """Give dismissed members the time to close what they have loaded."""


class Pool:
    """Several members and what each has in its hands."""

    def __init__(self, host: Host, work: Work, workers: int) -> None:
        self._host = host
        self._jobs = work.jobs
        self._store = work.store
        self._settings = work.settings
        self._timeout = work.timeout
        self._workers = workers
        self._members: list[Member] = []
        self._suspects: deque[Task] = deque()
        """Tasks that a member died with, one of which is to blame."""
        self._prison: Member | None = None
        """The only member that is given suspects, one at a time."""
        self._untaken = 0
        """Tasks that nobody has been given yet, at most."""
        self._again: deque[Task] = deque()
        """Tasks that are nobody's: their member was killed for another one's sake, or nobody was ready for them."""
        self._alone: Counter[tuple[int, int]] = Counter()
        """How often a unit was all that a dying member held."""
        self._deaths: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        """Units of a method, one after the other, that took too long."""
        self._hopeless: dict[str, str] = {}
        """Why a method's other units are not tried any more."""

    def map(self, tasks: Iterator[Task], count: int) -> Iterator[list[Result]]:
        """As `Engine.map`."""
        self._untaken, tasks = count, self._counted(tasks)
        try:
            while True:
                yield from self._feed(tasks)
                left = self._again or self._untaken > 0  # what one that comes up now would be given
                busy = [one for one in self._members if one.held or (left and not one.ready)]
                if not busy:
                    break
                for member in self._host.wait(busy, self._patience(busy)):
                    yield from self._listen(member)
                for member in busy:
                    yield from self._expire(member)
            for member in self._members:
                member.dismiss()
            self._host.wait_for_end(self._members, timeout=5)
        finally:
            for member in self._members:
                member.stop()

    def _feed(self, tasks: Iterator[Task]) -> Iterator[list[Result]]:
        """Hand out tasks: suspects one at a time, others in chunks.

        Each member has a chunk in hand and one in its inbox. It works a chunk to its end before it looks for the next,
        so that it never waits for tasks while the driver waits for its results.
        """
        if self._prison is None or not self._prison.held:
            suspect = yield from self._promising(_taken(self._suspects), 1)
            if suspect:
                self._prison = self._prison or self._start()
                self._prison.give(suspect)
            else:
                self._prison = None
        tasks = itertools.chain(_taken(self._again), tasks)
        for chunks in (1, 2):
            for member in self._members:
                chunk = self._chunk()
                if member is not self._prison and member.ready and len(member.held) <= (chunks - 1) * chunk:
                    member.give((yield from self._promising(tasks, chunk)))
        while self._wants_another() and (given := (yield from self._promising(tasks, self._chunk()))):
            member = self._start()
            if member.ready:
                member.give(given)
            else:
                self._again.extend(given)
                tasks = itertools.chain(_taken(self._again), tasks)

    def _counted(self, tasks: Iterator[Task]) -> Iterator[Task]:
        for task in tasks:
            self._untaken -= 1
            yield task
        self._untaken = 0

    def _chunk(self) -> int:
        """How many tasks to give at once: half of a member's share of what is left, so that a slow one is waited for
        no longer than it must be."""
        batch, left = self._settings.batch, max(0, self._untaken) + len(self._again)
        return batch * min(_CHUNK, max(1, math.ceil(left / (2 * self._workers * batch))))

    def _wants_another(self) -> bool:
        return len(self._members) < self._workers and (not self._members or self._host.promising())

    def _start(self) -> Member:
        self._members.append(self._host.start())
        return self._members[-1]

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

    def _listen(self, member: Member) -> Iterator[list[Result]]:
        """The next news of a member, or what its death means."""
        try:
            news = member.receive()
        except Lost:
            yield from self._bury(member)
            return
        for one in news:
            yield from self._take(member, one)

    def _take(self, member: Member, news: Any) -> Iterator[list[Result]]:
        if isinstance(news, str):
            raise BenchError(news)
        if isinstance(news, Began):
            member.running[news.thread] = news, time.monotonic()
            return
        if isinstance(news, Ended):
            member.running.pop(news.thread, None)
            return
        if isinstance(news, StateAsked | OutputAsked):
            member.answer(news.number, self._answer(news))
            return
        for job, found in news:
            if isinstance(found, Finished):
                member.held.pop((found.task.job, found.task.unit), None)
            elif isinstance(found, Restored) and found.status == "ok":
                self._late[self._jobs[job].method.label] = 0
        yield news

    def _answer(self, asked: StateAsked | OutputAsked) -> Any:
        """What a member wants to know that has no sight of the results folder."""
        if isinstance(asked, StateAsked):
            return examine(self._store, self._jobs[asked.job], [asked.unit], [asked.facts])[0]
        with suppress(OSError):
            return artefacts.path(self._settings.results, asked.output, asked.suffix).read_bytes()
        return None

    def _bury(self, member: Member) -> Iterator[list[Result]]:
        """Find out which unit a member died of; the next round of tasks starts another one where it is needed."""
        death = member.death()
        self._forget(member)
        if not death.ours:
            self._again.extend(member.held.values())
            return
        if len(member.held) > 1:
            self._suspects.extend(member.held.values())
            return
        for place, task in member.held.items():
            self._alone[place] += 1
            if self._alone[place] < self._host.chances:
                self._suspects.append(task)
                continue
            label = self._label(task)
            self._deaths[label] += 1
            if self._deaths[label] >= _DEATHS:
                self._hopeless[label] = f"not tried: {_DEATHS} units of this method have killed a worker each"
            reason = f"{death.reason} while this unit was in its hands"
            began = next((began for began, _ in member.running.values() if task in began.tasks), None)
            yield self._fail(task, reason) if began is None else blamed(began, reason)

    # What takes too long

    def _allowed(self, began: Began) -> float:
        assert self._timeout is not None
        if not began.tasks:
            return patience(self._timeout) or 0
        return self._timeout * (len(began.tasks) if began.what == "restoring" else 1)

    def _patience(self, members: Iterable[Member]) -> float | None:
        """Seconds until the first call will have taken too long; None where none can."""
        if self._timeout is None:
            return None
        ends = [since + self._allowed(began) for one in members for began, since in one.running.values()]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _expire(self, member: Member) -> Iterator[list[Result]]:
        """Kill a member whose call has not come back in time; what else it held is given to the next one."""
        if self._timeout is None or member not in self._members or member.has_news():
            return
        now = time.monotonic()
        late = [began for began, since in member.running.values() if now - since > self._allowed(began)]
        if not late:
            return
        member.kill()
        self._forget(member)
        for began in late:
            if not began.tasks:  # any other worker would fare as this one
                raise BenchError(f"{began.what} does not come back in a worker process: it took over --timeout")
        with suppress(Lost):
            while member.has_news():
                for news in member.receive():
                    yield from self._take(member, news)
        for began in late:
            tasks = [task for task in began.tasks if (task.job, task.unit) in member.held]
            if not tasks:
                continue  # it came back while the end was on its way
            for task in tasks:
                del member.held[task.job, task.unit]
            self._count(began, self._label(tasks[0]))
            yield blamed(began, f"timeout after {self._allowed(began):g} s while {began.what}")
        self._again.extend(member.held.values())

    def _count(self, began: Began, label: str) -> None:
        """A method that cannot be loaded in time is not tried again, nor is one that is late time after time."""
        self._late[label] += began.what == "restoring"
        if began.what == "loading":
            self._hopeless[label] = f"not tried: the method was not loaded within {self._timeout:g} s"
        elif self._late[label] >= _DEATHS:
            self._hopeless[label] = f"not tried: {_DEATHS} units of this method in a row took over {self._timeout:g} s"

    def _forget(self, member: Member) -> None:
        self._members.remove(member)
        if self._prison is member:
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

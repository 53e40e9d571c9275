"""What a pool makes of members that die, with members that do nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.planning.jobs import Facts, Task
from bench.runner.engines.base import Work
from bench.runner.engines.pool import Death, Host, Lost, Member, Pool
from bench.runner.messages import Began, Finished, Restored, Result, WorkerSettings

TASKS = [Task(0, unit, Facts(), b"") for unit in range(20)]


class Scripted(Member):
    """Finishes one task after the other, unless `dies` says that it dies of one; then it has its say, or none."""

    def __init__(self, host: Scenes, number: int) -> None:
        super().__init__()
        self.host, self.number = host, number
        self.given: list[Task] = []
        self.ready = host.ready
        self.closed = False

    def send(self, tasks: list[Task]) -> None:
        self.given += tasks

    def receive(self) -> list[Any]:
        if not self.ready:
            self.ready = True
            return []
        task = self.given.pop(0)
        self.host.tried.append((self.number, task.unit))
        if task.unit in self.host.deadly:
            raise Lost
        return [[Result(0, Finished(task, None, None))]]

    def has_news(self) -> bool:
        return True

    def dismiss(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.closed = True

    stop = kill

    def death(self) -> Death:
        return self.host.deaths.pop(0)


class Scenes(Host):
    """Starts members one after the other; each death is the next of `deaths`."""

    def __init__(self, deadly: set[int], deaths: list[Death], chances: int = 1, ready: bool = True) -> None:
        self.deadly, self.deaths, self.chances, self.ready = deadly, deaths, chances, ready
        self.tried: list[tuple[int, int]] = []
        self.members: list[Scripted] = []

    def start(self) -> Member:
        self.members.append(Scripted(self, len(self.members)))
        return self.members[-1]

    def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
        return [members[0]]

    def wait_for_end(self, members: Sequence[Member], timeout: float) -> None:
        assert all(isinstance(one, Scripted) and one.closed for one in members)


class LastWords(Pool):
    """Whose rows need no store: a unit that is to blame is heard of by its reason alone."""

    def _fail(self, task: Task, reason: str) -> list[Result]:
        row = Restored(b"", b"", "failed", reason)
        return [Result(0, row), Result(0, Finished(task, None, None))]


def played(host: Scenes, workers: int = 1) -> tuple[list[int], list[str | None]]:
    """Units that came to an end, each as often as it did, and the reasons of failures."""
    jobs: Any = [SimpleNamespace(method=SimpleNamespace(label="method"))]
    store: Any = None
    recipe: Any = None
    work = Work(jobs, store, WorkerSettings(Path("nowhere"), "cpu", 1, 1), recipe, None)
    news = [one for results in LastWords(host, work, workers).map(iter(TASKS), len(TASKS)) for one in results]
    ended = sorted(one.news.task.unit for one in news if isinstance(one.news, Finished))
    return ended, [one.news.reason for one in news if isinstance(one.news, Restored)]


def test_the_unit_that_kills_alone_is_the_row_and_no_other() -> None:
    for workers in (1, 3):
        host = Scenes({7}, [Death("killed")] * 2)
        assert played(host, workers) == (list(range(20)), ["killed while this unit was in its hands"])


def test_where_a_unit_has_two_chances_two_must_die_alone_with_it() -> None:
    host = Scenes({7}, [Death("killed")] * 3, chances=2)
    assert played(host) == (list(range(20)), ["killed while this unit was in its hands"])
    assert [unit for _, unit in host.tried].count(7) == 3 and host.deaths == []


def test_with_a_lost_machine_no_unit_is_to_blame() -> None:
    class Spot(Scenes):
        def start(self) -> Member:
            if len(self.members) == 3:
                self.deadly = set()
            return super().start()

    host = Spot({7}, [Death("lost", ours=False)] * 3)
    assert played(host) == (list(range(20)), [])
    assert [number for number, unit in host.tried if unit == 7] == [0, 1, 2, 3]


def test_members_without_room_are_given_nothing_and_hold_up_nobody() -> None:
    host = Scenes(set(), [], ready=False)
    assert played(host, workers=4) == (list(range(20)), [])
    assert {number for number, _ in host.tried} == {0}, "the first that was ready did the work"


def test_calls_that_were_begun_are_told_by_their_own_rows() -> None:
    class Telling(Scripted):
        def receive(self) -> list[Any]:
            if self.given and self.given[0].unit == 7 and not self.running:
                task = self.given[0]
                row = Result(0, Restored(b"key", b"input", "failed", ""))
                return [Began(1, "restoring", (task,), (row, Result(0, Finished(task, b"key", None))))]
            return super().receive()

    class Begun(Scenes):
        def start(self) -> Member:
            self.members.append(Telling(self, len(self.members)))
            return self.members[-1]

    ended, reasons = played(Begun({7}, [Death("killed")] * 2))
    assert ended == list(range(20)) and reasons == ["killed while this unit was in its hands"]


def test_the_last_units_are_shared_so_that_nobody_waits_for_a_slow_member() -> None:
    """Two members, the second of which says nothing until the first has done all that it was given."""

    class Slow(Scenes):
        def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
            return [next((one for one in members if one is self.members[0]), members[0])]

    host = Slow(set(), [])
    assert played(host, workers=2) == (list(range(20)), [])
    share = [unit for number, unit in host.tried if number == 1]
    assert len(share) < 8, "chunks of eight to the end would have kept eight from the first"


def test_where_none_will_come_up_the_others_go_on_and_the_last_is_replaced_all_the_same() -> None:
    class Full(Scenes):
        def promising(self) -> bool:
            return False

    host = Full({7}, [Death("killed")] * 2)
    assert played(host, workers=3) == (list(range(20)), ["killed while this unit was in its hands"])
    assert max(number for number, _ in host.tried) == 2, "one at a time, and one more after each death"


def test_a_member_that_comes_up_later_is_heard_and_works_too() -> None:
    class Staggered(Scenes):
        heard = 0

        def wait(self, members: Sequence[Member], timeout: float | None) -> list[Member]:
            self.heard += 1
            return [members[0] if self.heard < 4 else members[-1]]

    host = Staggered(set(), [], ready=False)
    assert played(host, workers=2) == (list(range(20)), [])
    assert {number for number, _ in host.tried} == {0, 1}

"""What a worker is told, and says of the units in its hands: picklable, because it may sit in another process."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.data.items import Stamp
from bench.identity import content_hash, digest
from bench.methods.trace import Traced
from bench.metrics.outcome import Outcome
from bench.planning.jobs import Facts, Task
from bench.results import artefacts
from bench.results.store import Memo


class WorkerSettings(NamedTuple):
    """How units are worked on; none of it changes a value."""

    results: Path
    device: str
    batch: int
    threads: int
    fresh: bool = False
    """Whether what is stored is made again all the same."""


class Decoded(NamedTuple):
    """A source was decoded, or found not to decode."""

    stamp: Stamp
    memo: Memo


class RoundOutput(NamedTuple):
    """The image after a round that is not the last."""

    number: int
    picture: bytes
    """Content hash."""
    payload: bytes
    suffix: str


class Restored(NamedTuple):
    """A unit's output, or the reason why there is none."""

    key: bytes
    input_hash: bytes
    status: str
    reason: str | None = None
    output: bytes | None = None
    size: tuple[int, int] | None = None
    payload: bytes | None = None
    suffix: str | None = None
    seconds: float | None = None
    batch: int | None = None
    trace: str | None = None
    """How it came about, where the method tells."""
    stages: tuple[RoundOutput, ...] = ()


class Scored(NamedTuple):
    """One metric's value, or features, for a unit's output."""

    output: bytes
    reference: bytes | None
    metric: int
    outcome: Outcome


class Finished(NamedTuple):
    """Everything there is to say about a task has been said."""

    task: Task
    key: bytes | None
    reference: bytes | None


class Result(NamedTuple):
    """A piece of news from a worker."""

    job: int
    news: Decoded | Restored | Scored | Finished


class Began(NamedTuple):
    """A call begins that may hang, or end the process: what it is, and what is to be written down if it does."""

    thread: int
    """Its thread; what that one began before has ended."""
    what: str
    """`loading`, `restoring` or `scoring`; or what of strangers' code is asked before there are methods."""
    tasks: tuple[Task, ...]
    """The units that wait for it; none before there are methods."""
    rows: tuple[Result, ...]
    """Everything there is to say about the tasks then, with `Finished`; where a reason is missing, it is the end's."""


class Ended(NamedTuple):
    """Nothing runs in a thread any more that may hang."""

    thread: int


def stages_of(traced: Traced | None) -> tuple[RoundOutput, ...]:
    """The images between a method's rounds, encoded."""
    pictures = traced.pictures if traced is not None else {}
    return tuple(RoundOutput(number, content_hash(one), *artefacts.encode(one)) for number, one in pictures.items())


def blamed(began: Began, reason: str) -> list[Result]:
    """The rows of a call that did not come back."""
    found = []
    for job, news in began.rows:
        if isinstance(news, Restored) and not news.reason:
            found.append(Result(job, news._replace(reason=reason)))
        elif isinstance(news, Scored) and not news.outcome.reason:
            found.append(Result(job, news._replace(outcome=news.outcome._replace(reason=reason))))
        else:
            found.append(Result(job, news))
    return found


def unworkable(reason: str, key: bytes | None, memo: Memo | None) -> Restored:
    """The row of a unit whose input cannot be used: tried again only when the input has changed."""
    marker = digest(["unworkable", reason])
    return Restored(key or marker, memo.hash if memo else marker, "input", reason)


class StateAsked(NamedTuple):
    """A worker that cannot read the store asks what it holds of a unit."""

    number: int
    """By which it knows the answer again."""
    job: int
    unit: int
    facts: Facts


class OutputAsked(NamedTuple):
    """A worker that cannot read the results folder asks for the bytes of an output's file."""

    number: int
    output: bytes
    suffix: str

"""From a resolved suite to all of its units, with what the store already holds subtracted.

Planning reads stamps and the store, never pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bench.errors import BenchError, one_line
from bench.planning.bind import Resolved
from bench.planning.jobs import Facts, Job, facts_of_items, with_outputs
from bench.planning.standing import Standing, stand
from bench.results.artefacts import Shelf
from bench.results.store import Store


@dataclass(frozen=True)
class Plan:
    """All jobs of a run with what is known of every unit."""

    resolved: Resolved
    jobs: tuple[Job, ...]
    facts: tuple[Sequence[Facts], ...]
    """By job, of every unit."""
    standings: tuple[Standing, ...]
    """By job."""

    def open_units(self) -> list[tuple[int, int]]:
        """(job, unit) of everything that still needs work, all of a method's member together so that it is loaded
        once."""
        todo = [
            (job, unit)
            for job in self.jobs
            if job.method.method is not None
            for unit in np.flatnonzero(self.standings[job.index].open).tolist()
        ]
        methods = max(len(self.resolved.methods), 1)
        todo.sort(key=lambda place: (place[0].index % methods, place[0].member(place[1]), place[0].index, place[1]))
        return [(job.index, unit) for job, unit in todo]


def make_jobs(resolved: Resolved, device: str) -> tuple[Job, ...]:
    """Dataset × method, in table order."""
    kind = device.split(":")[0]
    methods = len(resolved.methods)
    return tuple(
        Job(index, index // methods, dataset, method, kind, resolved.file.suite.seed)
        for index, (dataset, method) in enumerate(resolved.jobs())
    )


class Shard(NamedTuple):
    """One of several parts of a run's work, each for another process and another results folder."""

    number: int
    """From 1."""
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From `2/4`. Raises `BenchError`."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        number, total = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= total:
            raise BenchError(f"--shard {one_line(text, 40)} is no part of a whole: 1/4 to 4/4 are the four of four")
        return cls(number, total)

    def units(self, job: Job) -> np.ndarray:
        """Which units of a job are its own: every so manyth item, with all of its repeats."""
        items = np.arange(job.units) // job.method.repeats
        return items % self.total == self.number - 1


def make_plan(
    resolved: Resolved, store: Store, device: str, *, fresh: bool = False, shard: Shard | None = None
) -> Plan:
    """What there is to do; with `fresh` everything. Reads stamps and the store only."""
    jobs = make_jobs(resolved, device)
    for bound in resolved.methods:
        bound.identity  # noqa: B018 – one that cannot be had is said before anything is looked at
    shelf = Shelf(store.folder)
    shared: dict[int, list[Facts]] = {}
    facts: list[Sequence[Facts]] = []
    standings: list[Standing] = []
    for job in jobs:
        absent = job.method.method is None
        if absent or not job.units:
            facts.append([Facts()] * job.units)
            standings.append(Standing.nothing(job.units))
            continue
        if job.dataset_index not in shared:
            shared[job.dataset_index] = facts_of_items(store, job.dataset.dataset.items, fresh=fresh)
        repeated = [fact for fact in shared[job.dataset_index] for _ in range(job.method.repeats)]
        facts.append(with_outputs(store, job, range(job.units), repeated, fresh=fresh))
        standing = stand(store, job, facts[-1], shelf)
        standings.append(standing if shard is None else replace(standing, mine=shard.units(job)))
    return Plan(resolved, jobs, tuple(facts), tuple(standings))

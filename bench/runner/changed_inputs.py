"""Inputs that change while a run works: the rows that rest on their old pixels are void, and are found here.

Otherwise two methods of one table could have been given different pixels. Files are looked at again, once each, when
the work is done; only where a stamp has moved is the store asked what the run recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from bench.data.items import ImageSource, Stamp
from bench.errors import ImageError, ItemError
from bench.methods.base import StoredMethod
from bench.planning.jobs import Job, examine, gather, source_of
from bench.planning.plan import Plan
from bench.results.store import Store

_TOLD = 5
"""Changed files that are named one by one."""


class InputWatch:
    """The files of a plan, as they were when it was made."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._known: dict[str, Stamp] = {}
        for facts in plan.facts:
            for fact in facts:
                for stamp in (fact.lq_stamp, fact.gt_stamp, fact.made_stamp):
                    if stamp is not None:
                        self._known[stamp.locator] = stamp

    def void(self, run: int, note: Callable[[str], object]) -> dict[tuple[int, int], str]:
        """(job, unit) → file of the rows that do not hold any more; the run has forgotten them. Tells which files."""
        suspects = self._suspects()
        if not suspects:
            return {}
        void = {place: suspects[place] for place in self._contradicted(run, suspects)}
        with self._store.transaction():
            self._store.drop_units(run, void)
        rows: defaultdict[str, int] = defaultdict(int)
        for file in void.values():
            rows[file] += 1
        for file, count in list(rows.items())[:_TOLD]:
            note(f"{file} changed while the run worked: {count} row{'s' if count > 1 else ''} of it done again")
        if len(rows) > _TOLD:
            note(f"{len(rows) - _TOLD} more files changed while the run worked: their rows are done again")
        return void

    def _suspects(self) -> dict[tuple[int, int], str]:
        """Units of files that were written since they were last looked at, with the file."""
        moved: dict[int, str] = {}
        found: dict[tuple[int, int], str] = {}
        seen: set[str] = set()
        for job in self._plan.jobs:
            if job.method.method is None:
                continue
            for unit in np.flatnonzero(self._plan.standings[job.index].mine).tolist():
                item = job.item(unit)
                if item.problem:  # nothing is made of it, and its files were not looked at
                    continue
                if id(item) not in moved:
                    moved[id(item)] = self._moved([item.lq, item.gt], seen)
                file = moved[id(item)] or self._moved(_made(job, unit), seen)
                if file:
                    found[job.index, unit] = file
        return found

    def _moved(self, sources: list[ImageSource | None], seen: set[str]) -> str:
        """The first of some sources that is another file than before, empty where none is. One that is gone is none:
        what was made of it holds, and whoever needs it now has a row that says so."""
        for source in sources:
            if source is None:
                continue
            try:
                stamp = source.stamp()
            except ImageError:
                continue
            if stamp.locator not in seen and self._known.get(stamp.locator) == stamp:
                continue
            seen.add(stamp.locator)  # other units of the same file are suspects too
            self._known[stamp.locator] = stamp
            return source.where
        return ""

    def _contradicted(self, run: int, suspects: dict[tuple[int, int], str]) -> Iterator[tuple[int, int]]:
        """Units for which the run recorded something else than the files hold now, or of which nothing is known."""
        recorded = self._store.units(run)
        by_job: defaultdict[int, list[int]] = defaultdict(list)
        for index, unit in suspects:
            by_job[index].append(unit)
        for index, units in by_job.items():
            job = self._plan.jobs[index]
            facts = gather(self._store, job, units)
            states = examine(self._store, job, units, facts)
            for unit, state in zip(units, states, strict=True):
                reference = 0 if state.reference is None else self._store.content_id(state.reference, create=False)
                now = (None if state.restoration is None else state.restoration.id, reference)
                if state.unknown or recorded.get((index, unit)) != now:
                    yield index, unit


def _made(job: Job, unit: int) -> list[ImageSource | None]:
    if not isinstance(job.method.method, StoredMethod):
        return []
    try:
        return [source_of(job, unit)]
    except ItemError:
        return []

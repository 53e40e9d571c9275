"""A run from end to end: plan, record, work, store, and the counts that decide the exit code.

The driver here is the only writer. It commits every piece of news as it comes, so that a run killed at any instant
loses at most the batch in flight, and running again does what is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench import provenance
from bench.data.pairing import check_sizes
from bench.errors import BenchError
from bench.latency import suite_timing
from bench.machine import check_device
from bench.planning import detection_columns
from bench.planning.bind import Resolved
from bench.planning.description import describe_run
from bench.planning.jobs import NOT_STORED, Job, Task, claim_key, examine, gather, reference_of, signature_of
from bench.planning.plan import Plan, make_plan
from bench.progress import Progress
from bench.results import tallies
from bench.results.claims import Claims
from bench.results.features import pack
from bench.results.leases import Lease
from bench.results.record import RunRecord, problem
from bench.results.store import Score, Store
from bench.results.view import RunView, read_cells, tally
from bench.runner.aggregate import Apart, aggregate_run
from bench.runner.changed_inputs import InputWatch
from bench.runner.engines import engine_for
from bench.runner.engines.base import Engine, JobRecipe, Work
from bench.runner.kept_outputs import OutputShelf
from bench.runner.messages import Decoded, Finished, Restored, Result, Scored, WorkerSettings, unworkable
from bench.runner.request import Request, jobs_of, resolve_request
from bench.runner.telling import Telling

if TYPE_CHECKING:
    import pandas as pd

_CLAIM_CHUNK = 16
_ROUNDS = 3
"""So often are units done again whose files changed meanwhile."""
_GATHER_SECONDS = 0.05
"""News that come faster than this are committed together."""


class Summary(NamedTuple):
    """How a run ended."""

    run: int
    suite: str
    units: int
    """Units of the run."""
    worked: int
    """Units that needed work this time."""
    failed: int
    """Values that are missing because something failed."""
    expected: int
    """Values that were asked for."""
    unavailable: int
    """Values that were asked for of methods and metrics that are not on this machine."""
    seconds: float
    results: Path = Path("results")
    """The results folder."""

    def table(self, format: str = "markdown", *, layout: str | None = None, ci: bool = False) -> str:
        """The run's table as `bench table` prints it. Raises `BenchError` for an unknown format or layout."""
        from bench.tables import render
        from bench.tables.layout import Extras

        return render.render(self._read(), render.Style(format, layout), Extras(ci))

    def frame(self) -> pd.DataFrame:
        """A row per item and metric with its signature (columns and types: `bench.results.view.DTYPES`)."""
        from bench.results.view import rows, to_frame

        return to_frame(rows(self._read()))

    def cells(self) -> pd.DataFrame:
        """A row per dataset, method and metric: value, signature, items scored and expected."""
        import pandas as pd

        from bench.tables.render import records

        return pd.DataFrame(records(self._read()))

    def _repr_html_(self) -> str:
        return self.table("html")

    def _read(self) -> RunView:
        with Store.reading(self.results) as store:
            return read_cells(store, self.run)


class Ended(NamedTuple):
    """A run that came to its end, and its values as they were then."""

    summary: Summary
    data: RunView


def carry_out(
    request: Request, progress: Progress | None = None, note: Any = lambda line: None, news: Any = None
) -> Ended:
    """Do what the request asks and the store does not hold yet, as one run. `note` is told lines worth reading, `news`
    each failure and each finished cell as it comes.

    Its values come with it: a collection that follows may drop the run before somebody else could read them.
    """
    start = time.monotonic()
    resolved = resolve_request(request)
    with Store(request.folder) as store, Lease(store, "run", note) as lease:
        claims = Claims(store)
        claims.drop_abandoned()
        try:
            _check_latency(resolved, request)
            plan = make_plan(resolved, store, request.device, fresh=request.fresh, shard=request.shard)
            for line in warnings_before(plan):
                note(line)
            worked, number = _Driver(store, lease, plan, request, Telling(plan.jobs, progress, news), note).drive()
            if request.shard is None:  # a part of a set has no value that anybody asked for
                with Apart(JobRecipe(jobs_of, (request,)), request.timeout) as apart:
                    aggregate_run(store, plan, number, apart, anew=request.fresh)
            if request.shard is None or request.shard.number == 1:
                _time(resolved, store, request, note)
        finally:
            claims.release_all()
        store.finish_run(number)
        change = store.changes()
        data = read_cells(store, number)
        counts = tally(data)
        row = store.run(number)
        assert row is not None
        tallies.keep(store, row, counts, change)
    units = sum(int(standing.mine.sum()) for standing in plan.standings)
    summary = Summary(
        number, resolved.file.name, units, worked, counts.failed, counts.expected, counts.unavailable,
        time.monotonic() - start, request.folder.absolute(),
    )  # fmt: skip
    return Ended(summary, data)


def _check_latency(resolved: Resolved, request: Request) -> None:
    """Raise `BenchError` where times are asked for under an engine whose workers get in each other's way."""
    if request.cluster is not None and resolved.file.suite.latency is not None and resolved.selection.latency:
        raise BenchError(
            f"{request.suite}: --engine ray measures no times, which are of one machine with nothing beside: add "
            f"--no-latency here, and run bench latency {request.suite} on the machine that they are to be of"
        )


def _time(resolved: Resolved, store: Store, request: Request, note: Any) -> None:
    """Measure what the suite's `latency:` asks for."""
    timed = suite_timing.wanted(resolved, store, request.device, fresh=request.fresh or request.fresh_latency)
    if timed is not None and timed.todo:
        check_device(request.device)
        plugins = tuple(str(Path(plugin).resolve()) for plugin in request.plugins)
        suite_timing.measure(
            timed, store, plugins=plugins, commands=request.allow_commands, timeout=request.timeout, note=note
        )


def warnings_before(plan: Plan) -> Iterator[str]:
    """Lines worth reading before any work: what could not be paired, and pairs whose sizes disagree.

    A dataset that has nothing left to do is silent, and its files are not opened.
    """
    busy = {plan.jobs[job].dataset_index for job, _ in plan.open_units()}
    for index, bound in enumerate(plan.resolved.datasets):
        if index in busy:
            sizes = check_sizes(bound.dataset.items, bound.dataset.scale)
            yield from (f"{bound.label}: {line}" for line in (*bound.dataset.notes, *sizes))


class _Driver:
    """Writes what workers find."""

    def __init__(self, store: Store, lease: Lease, plan: Plan, request: Request, telling: Telling, note: Any) -> None:
        self.store = store
        self.lease = lease
        self.claims = Claims(store)
        self.plan = plan
        self.request = request
        self.telling = telling
        self.note = note
        self.threads = request.threads
        self.number = 0
        self._ids: dict[bytes, int] = {}
        """Row numbers of the restorations that were just written, by key."""
        self._shelf = OutputShelf(request.folder, request.keep)
        self._unwritten: list[Result] = []
        self._last_write = 0.0

    def drive(self) -> tuple[int, int]:
        """Record the run and do its work. Returns how many units needed any, and the run's number."""
        todo = self.plan.open_units()
        if todo:
            if self.request.cluster is None:  # a cluster's machines look for themselves
                check_device(self.request.device)
            columns = (column for dataset in self.plan.resolved.datasets for column in dataset.metrics)
            detection_columns.check(column.metric for column in columns if column.unavailable is None)
        self.record()
        if todo:
            watch = InputWatch(self.store, self.plan)
            self.telling.begins(todo)
            with self._engine(len(todo)) as engine:
                self.work(engine, todo)
                for _ in range(_ROUNDS):
                    if not (void := watch.void(self.number, self.note)):
                        break
                    self.work(engine, list(void))
                else:
                    self._give_up(watch.void(self.number, self.note))
        return len(todo), self.number

    def _give_up(self, void: Mapping[tuple[int, int], str]) -> None:
        """Rows for units whose files do not come to rest."""
        with self.store.transaction():
            for (job, unit), file in void.items():
                row = unworkable(f"{file} keeps changing while the run works: run again when it is whole", None, None)
                number = self._put_restoration(row._replace(status="failed"))
                self.store.put_units(self.number, [self._unit_row(job, unit, number, None)])

    # The record

    def record(self) -> int:
        """Find the run this request resumes, or start one; write down the units that are done already."""
        record = describe_run(self.plan)
        told = "" if self._resumed(record) else self._told(record)  # slow: not while others wait to write
        with self.store.transaction():  # as one step: two runs of one plan at once are one run
            self.number = self._resumed(record) or self.store.create_run(
                record.suite, record.digest, told or self._told(record)
            )
            self.lease.name(self.number)
            for job in self.plan.jobs:
                self.store.put_units(self.number, list(self._known(job)))
        return self.number

    def _known(self, job: Job) -> Iterator[tuple[int, int, int, int]]:
        """Rows of a job's units that are done already, or cannot be worked on, and are not recorded yet."""
        standing, facts = self.plan.standings[job.index], self.plan.facts[job.index]
        unrecorded = np.ones(job.units, bool)
        unrecorded[self.store.unit_places(self.number, job.index)] = False
        ready = np.flatnonzero(standing.done & (standing.restorations != 0) & unrecorded)
        columns = ready.tolist(), standing.restorations[ready].tolist(), standing.references[ready].tolist()
        for unit, restoration, reference in zip(*columns, strict=True):
            if reference == NOT_STORED:
                reference = self._content(reference_of(job, unit, facts[unit]))
            yield job.index, unit, restoration, reference
        for unit in np.flatnonzero(standing.blocked & unrecorded).tolist():
            row = unworkable(facts[unit].problem or "", None, None)
            yield self._unit_row(job.index, unit, self._put_restoration(row), None)

    def _resumed(self, record: RunRecord) -> int | None:
        """The suite's newest run, where it is this one. To go on with an older one would not make it the newest."""
        newest = self.store.newest_run(record.suite)
        if newest is None or newest[1] != record.digest:
            return None
        row, _ = newest
        return row.id if problem(row.record) is None and not self._contradicts(row.id) else None

    def _told(self, record: RunRecord) -> str:
        request, base = self.request, self.plan.resolved.file.base
        made = provenance.describe(request.device, self.threads, request.workers or None, request.batch, base)
        return record.text(made)

    def _contradicts(self, run: int) -> bool:
        """True when an input has changed since the run recorded it: then this is another run."""
        blocked = {
            fact.problem: unworkable(fact.problem, None, None).key
            for facts in self.plan.facts
            for fact in facts
            if fact.problem is not None
        }
        known = self.store.restorations(blocked.values())
        recorded = self.store.unit_columns(run)
        for job in np.unique(recorded["cell"]).tolist():
            rows = recorded[recorded["cell"] == job]
            if not 0 <= job < len(self.plan.standings):
                return True  # a damaged row: the run's digest is that of the plan
            standing, facts = self.plan.standings[job], self.plan.facts[job]
            units, references = rows["unit"], rows["reference"]
            if units.min() < 0 or units.max() >= len(facts):
                return True
            stopped = standing.blocked[units]
            for unit, restoration in zip(units[stopped].tolist(), rows["restoration"][stopped].tolist(), strict=True):
                row = known.get(blocked[facts[unit].problem])
                if row is None or row.id != restoration:
                    return True
            differs = standing.unknown[units] | (standing.restorations[units] != rows["restoration"])
            differs |= (rows["restoration"] == 0) | (references != 0) & (standing.references[units] != references)
            if (differs & ~stopped).any():
                return True
        return False

    def _unit_row(self, job: int, unit: int, restoration: int, reference: bytes | None) -> tuple[int, int, int, int]:
        return job, unit, restoration, self._content(reference)

    def _content(self, content: bytes | None) -> int:
        return 0 if content is None else (self.store.content_id(content) or 0)

    # The work

    def _engine(self, units: int) -> Engine:
        asked = self.request
        settings = WorkerSettings(asked.folder.absolute(), asked.device, asked.batch, self.threads, asked.fresh)
        recipe = JobRecipe(jobs_of, (asked,))
        return engine_for(asked, Work(self.plan.jobs, self.store, settings, recipe, asked.timeout), units)

    def work(self, engine: Engine, todo: Sequence[tuple[int, int]]) -> None:
        left = list(todo)
        while left:
            deferred: list[tuple[int, int]] = []
            try:
                with closing(engine.map(self._dispatch(left, deferred), len(left))) as news:
                    for results in news:
                        self._unwritten.extend(results)
                        if not results or time.monotonic() - self._last_write > _GATHER_SECONDS:
                            self._flush()
            finally:
                self._flush()
            left = deferred
            if left:
                self.telling.waits()
                time.sleep(0.5)

    def _dispatch(self, todo: Iterable[tuple[int, int]], deferred: list[tuple[int, int]]) -> Iterator[Task]:
        """Claim units chunk by chunk and hand out those that are still open and nobody else is working on."""
        chunk: list[tuple[int, int]] = []
        for place in todo:
            if chunk and (chunk[0][0] != place[0] or len(chunk) == _CLAIM_CHUNK):
                yield from self._claimed(chunk, deferred)
                chunk = []
            chunk.append(place)
        if chunk:
            yield from self._claimed(chunk, deferred)

    def _claimed(self, chunk: list[tuple[int, int]], deferred: list[tuple[int, int]]) -> Iterator[Task]:
        self._flush()  # what is claimed next may be known by now
        job = self.plan.jobs[chunk[0][0]]
        units = [unit for _, unit in chunk]
        keys = [claim_key(job, unit, self.plan.facts[job.index][unit]) for unit in units]
        ours = self.claims.take(keys)
        facts = gather(self.store, job, units, fresh=self.request.fresh)
        states = examine(self.store, job, units, facts)
        for unit, key, fact, state in zip(units, keys, facts, states, strict=True):
            if key not in ours:
                deferred.append((job.index, unit))
            elif state.done and state.restoration is not None:
                # Another run finished it between our plan and our claim.
                with self.store.transaction():
                    row = self._unit_row(job.index, unit, state.restoration.id, state.reference)
                    self.store.put_units(self.number, [row])
                    self.store.release([key])
                self.telling.advanced(job=job)
            elif fact.problem is not None:
                self._write([Result(job.index, unworkable(fact.problem, None, None))])
                marker = unworkable(fact.problem, None, None).key
                self._write([Result(job.index, Finished(Task(job.index, unit, fact, key), marker, None))])
            else:
                self.telling.dispatched(job)
                yield Task(job.index, unit, fact, key)

    def _flush(self) -> None:
        given, self._unwritten = self._unwritten, []
        if given:
            self._write(given)
            self._last_write = time.monotonic()

    def _write(self, results: Sequence[Result]) -> None:
        """Put outputs in place, then commit all rows together."""
        self.telling.heard(results)
        for _, news in results:
            if isinstance(news, Restored):
                self._shelf.take(news)
            elif isinstance(news, Scored):
                self._shelf.scored(news)
        with self.store.transaction():
            self.lease.check()
            for index, news in results:
                job = self.plan.jobs[index]
                if isinstance(news, Decoded):
                    self.store.remember(news.stamp, news.memo)
                elif isinstance(news, Restored):
                    self._ids[news.key] = self._put_restoration(self._shelf.row(news))
                elif isinstance(news, Scored):
                    self._put_score(job, news)
                else:
                    if (kept := self._shelf.settle(news)) is not None:
                        self._ids[kept.key] = self._put_restoration(kept)
                    self._finish(job, news)
        self.telling.advanced(results)

    def _put_restoration(self, news: Restored) -> int:
        number = self.store.put_restoration(
            news.key, input_hash=news.input_hash, status=news.status, reason=news.reason, output_hash=news.output,
            size=news.size, suffix=news.suffix, seconds=news.seconds, batch=news.batch, threads=self.threads,
            device=self.request.device if news.seconds is not None else None,
        )  # fmt: skip
        if news.trace is not None:
            self.store.put_trace(number, news.trace, {stage.number: stage.picture for stage in news.stages})
        return number

    def _put_score(self, job: Job, news: Scored) -> None:
        metric = job.dataset.metrics[news.metric]
        outcome = news.outcome
        signature = signature_of(self.store, job, metric)
        output = self._content(news.output)
        reference = self._content(news.reference)
        assert signature is not None
        if metric.kind.of_sets:
            blob = None if outcome.features is None else pack(outcome.features)
            self.store.put_extraction(
                output, reference, signature, status=outcome.status, features=blob, reason=outcome.reason,
                seconds=outcome.seconds, anew=self.request.fresh,
            )  # fmt: skip
        else:
            score = Score(outcome.status, outcome.value, outcome.reason)
            self.store.put_score(output, reference, signature, score, outcome.seconds, anew=self.request.fresh)

    def _finish(self, job: Job, news: Finished) -> None:
        number = self._ids.pop(news.key, None) if news.key is not None else None
        if number is None and news.key is not None:  # nothing was restored, only scored
            rows = self.store.restorations([news.key])
            number = rows[news.key].id if news.key in rows else None
        if number is not None:
            self.store.put_units(self.number, [self._unit_row(job.index, news.task.unit, number, news.reference)])
        self.store.release([news.task.claim])

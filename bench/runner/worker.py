"""The loop over units: decode ahead, restore once, score many.

It loads methods and metrics, asks the archive what an item that was just decoded already has, and yields what it
finds; it writes nothing. Decoding, encoding and scoring run in threads beside the restoration.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.catalog.isolation import Guard
from bench.data.items import ImageSource, Stamp, unchanged
from bench.errors import ImageError, ItemError, described, from_keyboard, one_line, out_of_memory
from bench.identity import content_hash, unreadable_hash
from bench.methods.base import Method, StoredMethod, ToldMethod
from bench.methods.pixels import as_input, as_output, quantised
from bench.methods.reading import nothing_read
from bench.methods.trace import Traced
from bench.metrics.outcome import Outcome, Status
from bench.metrics.scorer import Scorer
from bench.planning.jobs import Facts, Job, State, Task, source_of, wanted
from bench.results import artefacts
from bench.results.store import Memo
from bench.runner.archive import Archive
from bench.runner.messages import (
    Began,
    Decoded,
    Ended,
    Finished,
    Restored,
    Result,
    Scored,
    WorkerSettings,
    stages_of,
    unworkable,
)


@dataclass(frozen=True)
class _Loaded:
    """A task with the pixels it needs."""

    task: Task
    facts: Facts
    state: State
    lq: np.ndarray | None = None
    """Pixels to restore."""
    made: np.ndarray | None = None
    """Pixels of an output that exists already."""
    gt: np.ndarray | None = None
    gt_error: str | None = None


class _Made(NamedTuple):
    """An output on its way to the scoring; one that was read, not restored, has no time."""

    pixels: np.ndarray
    seconds: float | None
    batch: int | None
    traced: Traced | None = None


class Worker:
    """Works on tasks one method at a time.

    In a process of its own it is given `tell`, which gets its news at once, from any thread, and what begins and ends
    besides: it may be the last thing that is heard of it. `process` then has no news left to yield.
    """

    def __init__(
        self, jobs: Sequence[Job], archive: Archive, settings: WorkerSettings,
        tell: Callable[[list[Result] | Began | Ended], None] | None = None,
    ) -> None:  # fmt: skip
        self.jobs = jobs
        self.settings = settings
        self._tell = tell
        self._guard = Guard()
        self._archive = archive
        self._scorer_lock = threading.Lock()
        self._scorers: dict[tuple[int, str], Scorer] = {}
        self._method: tuple[int, Method | None, str | None] | None = None
        self._news: queue.SimpleQueue[Result] = queue.SimpleQueue()

    def process(self, tasks: Iterable[Task]) -> Iterator[list[Result]]:
        """Work on tasks in order; yield their news, as many at once as there are. The last of a task is `Finished`.

        An empty list asks to write down what was yielded before: another method begins, and may end the process.
        """
        import torch

        if self.settings.device.startswith("cuda"):
            torch.cuda.init()  # so that its generators are guarded
        torch.set_num_threads(self.settings.threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        pending: set[Future[None]] = set()
        limit = 2 * max(self.settings.threads, self.settings.batch)
        # One pool for everything beside the restoration: with two, twice as many threads as cores would get in each
        # other's way.
        with self._guard, ThreadPoolExecutor(max(1, self.settings.threads), "beside") as pool:
            try:
                current: tuple[int, int] | None = None
                for group in self._groups(self._ahead(tasks, pool)):
                    if (maker := self._maker(group[0].task)) != current:
                        pending = self._settle(pending, 0)
                        yield from self._drain()
                        yield []
                        current = maker
                    yield from self._drain()  # what was decoded is known before a method can end a worker process
                    for loaded, restored in self._restore(group):
                        pending.add(pool.submit(self._finish, loaded, restored))
                    pending = self._settle(pending, limit)
                    yield from self._drain()
                self._settle(pending, 0)
                yield from self._drain()
            finally:
                for future in pending:
                    future.cancel()

    def _settle(self, pending: set[Future[None]], limit: int) -> set[Future[None]]:
        """Wait until at most `limit` scorings are under way; raise what a finished one raised."""
        from concurrent.futures import FIRST_COMPLETED, wait

        done, left = {future for future in pending if future.done()}, set(pending)
        while True:
            for future in done:
                future.result()
            left -= done
            if len(left) <= limit:
                return left
            done, _ = wait(left, return_when=FIRST_COMPLETED)

    def _put(self, job: Job, news: Decoded | Restored | Scored | Finished) -> None:
        if self._tell is not None:
            self._tell([Result(job.index, news)])
        else:
            self._news.put(Result(job.index, news))

    def _began(self, what: str, group: Sequence[_Loaded], rows: Callable[[], list[Result]]) -> None:
        if self._tell is not None:
            self._tell(Began(threading.get_ident(), what, tuple(one.task for one in group), tuple(rows())))

    def _ended(self) -> None:
        if self._tell is not None:
            self._tell(Ended(threading.get_ident()))

    def _drain(self) -> Iterator[list[Result]]:
        news = []
        while not self._news.empty():
            news.append(self._news.get())
        if news:
            yield news

    # Decoding ahead

    def _ahead(self, tasks: Iterable[Task], pool: ThreadPoolExecutor) -> Iterator[_Loaded]:
        depth = 2 * max(self.settings.threads, self.settings.batch)
        waiting: deque[Future[_Loaded]] = deque()
        for task in tasks:
            waiting.append(pool.submit(self._read, task))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, task: Task) -> _Loaded:
        job = self.jobs[task.job]
        item = job.item(task.unit)
        facts = task.facts
        lq, _, facts_lq = self._decode(job, item.lq, facts.lq_stamp, facts.lq, need=facts.lq is None)
        made_source = source_of(job, task.unit)
        made, made_error, facts_made = self._decode(
            job, made_source, facts.made_stamp, facts.made, need=made_source is not None
        )
        facts = facts._replace(lq=facts_lq, made=facts_made)
        metrics = job.dataset.metrics
        compares = item.gt is not None and any(metric.kind.fr for metric in metrics)
        gt: np.ndarray | None = None
        gt_error: str | None = None
        if compares and facts.gt is None:  # without it nothing can be known of the pair's scores
            gt, gt_error, facts_gt = self._decode(job, item.gt, facts.gt_stamp, None, need=True)
            facts = facts._replace(gt=facts_gt)
        state = self._state(job, task.unit, facts)

        if isinstance(job.method.method, StoredMethod):
            if made is None:
                return _Loaded(task, facts._replace(problem=f"output cannot be read: {made_error}"), state)
        elif state.unkept:
            if state.done:
                return _Loaded(task, facts, state)
        elif state.restoration is not None and state.restoration.status == "ok":
            assert state.restoration.output_hash is not None and state.restoration.suffix is not None
            made = self._archive.pixels(state.restoration.output_hash, state.restoration.suffix)
        if made is None and lq is None and facts.lq is not None and facts.lq.error is None:
            lq, _, facts_lq = self._decode(job, item.lq, facts.lq_stamp, facts.lq, need=True)
            facts = facts._replace(lq=facts_lq)
            state = self._state(job, task.unit, facts)

        todo = state.todo if made is not None and state.restoration is not None else range(len(metrics))
        undecoded = gt is None and gt_error is None
        if compares and undecoded and any(metrics[index].kind.fr for index in todo):
            gt, gt_error, facts_gt = self._decode(job, item.gt, facts.gt_stamp, facts.gt, need=True)
            facts = facts._replace(gt=facts_gt)
            state = self._state(job, task.unit, facts)
        return _Loaded(task, facts, state, lq if made is None else None, made, gt, gt_error)

    def _state(self, job: Job, unit: int, facts: Facts) -> State:
        state = self._archive.state(job, unit, facts)
        return state._replace(restoration=None, todo=(), references=()) if self.settings.fresh else state

    def _decode(
        self, job: Job, source: ImageSource | None, stamp: Stamp | None, memo: Memo | None, *, need: bool
    ) -> tuple[np.ndarray | None, str | None, Memo | None]:
        """(pixels, error, memo) of a source; the memo follows from the pixels, whatever was known before."""
        if source is None or not need:
            return None, memo.error if memo else None, memo
        try:
            pixels = source.load()
            found = Memo(content_hash(pixels), pixels.shape[0], pixels.shape[1], None)
            error = None
        except ImageError as failure:
            pixels, error = None, one_line(failure)
            found = Memo(unreadable_hash(source.raw_or_reason()), None, None, error)
        # A file that was written while it was read is not remembered: its stamp would vouch for other pixels.
        if stamp is not None and found != memo and unchanged(source, stamp):
            self._put(job, Decoded(stamp, found))
        return pixels, error, found

    # Restoring

    def _groups(self, loaded: Iterator[_Loaded]) -> Iterator[list[_Loaded]]:
        """Tasks that can be restored in one batch: same job and member of its method, size and depth. With batch 1
        the order stays as it is."""
        open_groups: dict[tuple[tuple[int, int], tuple[int, ...], str], list[_Loaded]] = {}
        current: tuple[int, int] | None = None
        held = 0
        for one in loaded:
            if one.lq is None:
                yield [one]
                continue
            maker = self._maker(one.task)
            if maker != current or held >= 4 * self.settings.batch:
                yield from open_groups.values()
                open_groups, held, current = {}, 0, maker
            key = (maker, one.lq.shape, one.lq.dtype.str)
            group = open_groups.setdefault(key, [])
            group.append(one)
            held += 1
            if len(group) == self.settings.batch:
                held -= len(group)
                yield open_groups.pop(key)
        yield from open_groups.values()

    def _maker(self, task: Task) -> tuple[int, int]:
        """What makes a task's output: its job, and the member of the job's method."""
        return task.job, self.jobs[task.job].member(task.unit)

    def _restore(self, group: list[_Loaded]) -> Iterator[tuple[_Loaded, _Made | Restored | None]]:
        """Each task of a group with its output, or with the row that says why there is none."""
        todo = [one for one in group if one.lq is not None]
        for one in group:
            if one.lq is None:
                yield one, None if one.made is None else _Made(one.made, None, None)
        if not todo:
            return
        job = self.jobs[todo[0].task.job]
        method, error = self._load_method(job, todo)
        if method is None:
            for one in todo:
                yield one, _failed(one, error or "method cannot be loaded")
            return
        yield from self._restore_batch(job, method, todo)

    def _restore_batch(
        self, job: Job, method: Method, group: list[_Loaded]
    ) -> Iterator[tuple[_Loaded, _Made | Restored | None]]:
        outputs = None
        try:
            start = time.perf_counter()
            outputs = self._call(job, method, group)
            seconds = (time.perf_counter() - start) / len(group)
            told = self._traces(job, method, len(group))
        except BaseException as failure:  # whatever a method raises becomes its row
            if from_keyboard(failure):
                raise
            reason = "out of memory at batch 1" if out_of_memory(failure) else described(failure)
            outputs = None
        if outputs is None:
            self._free_memory()
            if len(group) == 1:
                yield group[0], _failed(group[0], reason)
                return
            # Too much at once, or one image that spoils the batch for the others: smaller batches tell.
            half = (len(group) + 1) // 2
            yield from self._restore_batch(job, method, group[:half])
            yield from self._restore_batch(job, method, group[half:])
            return
        for one, output, traced in zip(group, outputs, told, strict=True):
            pixels, why = quantised(output, job.quantise)
            made = None if pixels is None else _Made(pixels, seconds, len(group), traced)
            yield one, made or _failed(one, why or "no output")

    def _traces(self, job: Job, method: Method, count: int) -> Sequence[Traced | None]:
        """How the images of the last call came about; what a method says of other images than those is its failure."""
        told = self._guard.call(job.method.label, method.traces)
        if told is None:
            return [None] * count
        if len(told) != count:
            raise ItemError(f"{job.method.label} tells how {len(told)} images came about, of {count}")
        return list(told)

    def _call(self, job: Job, method: Method, group: list[_Loaded]) -> np.ndarray:
        """Outputs of a group, float32 [B,3,H,W], checked for their kind."""
        import torch

        drawn = [job.seed(one.task.unit, one.facts.lq.hash) for one in group if one.facts.lq is not None]
        given = [one.lq for one in group if one.lq is not None]
        done = [job.item(one.task.unit).done for one in group]

        def restored() -> np.ndarray:
            images = as_input(given)
            seeds = torch.tensor(drawn, dtype=torch.int64) if method.stochastic else None
            height, width = images.shape[2:]
            self._began("restoring", group, lambda: [row for one in group for row in _lost(one)])
            try:
                box = method.valid_crop(height, width)
                if box is not None:
                    height, width = box.height, box.width
                with torch.inference_mode(), nothing_read(method):
                    there = torch.from_numpy(images).to(self.settings.device)
                    if isinstance(method, ToldMethod) and all(each is not None for each in done):
                        output = method.restore_told(there, [each or () for each in done], seeds)
                    else:
                        output = method.restore(there, seeds)
                    return as_output(output, (len(group), 3, height * method.scale, width * method.scale))
            finally:
                self._ended()

        return self._guard.call(job.method.label, restored)

    def _load_method(self, job: Job, group: list[_Loaded]) -> tuple[Method | None, str | None]:
        method = job.making(group[0].task.unit)
        assert isinstance(method, Method)
        if self._method is not None and self._method[0] == id(method):
            return self._method[1], self._method[2]
        self.close()

        def load() -> None:
            self._began("loading", group, lambda: [row for one in group for row in _lost(one)])
            try:
                method.load(self.settings.device, "float32")
            finally:
                self._ended()

        try:
            self._guard.call(job.method.label, load)
            self._method = (id(method), method, None)
        except BaseException as failure:  # a method that does not load is a row for each of its items
            if from_keyboard(failure):
                raise
            self._method = (id(method), None, f"method cannot be loaded: {described(failure)}")
        return self._method[1], self._method[2]

    def close(self) -> None:
        """Free the method that is loaded; one that fails at that has done its work."""
        if self._method is not None and self._method[1] is not None:
            try:
                self._guard.call(id(self._method[1]), self._method[1].close)
            except BaseException as failure:  # nothing depends on it
                if from_keyboard(failure):
                    raise
        self._method = None
        self._free_memory()

    def _free_memory(self) -> None:
        if self.settings.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    # Scoring

    def _scorer(self, job: Job) -> tuple[Scorer, list[int]]:
        """The scorer of a dataset's metrics that are on this machine, and their positions among all."""
        with self._scorer_lock:
            measured = enumerate(job.dataset.metrics)
            present = [i for i, metric in measured if metric.unavailable is None and wanted(job, metric)]
            scorer = self._scorers.get(job.scorer)
            if scorer is None:
                metrics = [job.measured(job.dataset.metrics[index]) for index in present]
                scorer = Scorer(metrics, self.settings.device, self._guard)
                scorer.load()
                self._scorers[job.scorer] = scorer
            return scorer, present

    def _finish(self, loaded: _Loaded, made: _Made | Restored | None) -> None:
        """Encode, score and report one task."""
        job = self.jobs[loaded.task.job]
        state, facts = loaded.state, loaded.facts
        if isinstance(made, _Made) and state.key is not None and facts.lq is not None:
            output = content_hash(made.pixels)
            known = state.restoration is not None and state.restoration.output_hash == output
            if not known or state.gone or made.seconds is not None:
                payload, suffix = artefacts.encode(made.pixels)
                size = (made.pixels.shape[0], made.pixels.shape[1])
                row = Restored(
                    state.key, facts.lq.hash, "ok", None, output, size, payload, suffix, made.seconds, made.batch,
                    None if made.traced is None else made.traced.trace.text(), stages_of(made.traced),
                )  # fmt: skip
                self._put(job, row)
            self._score(job, loaded, made.pixels, output, known=known)
        elif isinstance(made, Restored):
            self._put(job, made)
        elif not (state.unkept and state.done):
            reason = facts.problem or (facts.lq.error if facts.lq else None) or "no input"
            self._put(job, unworkable(reason, state.key, facts.lq))
        self._put(job, Finished(loaded.task, state.key, state.reference))

    def _score(self, job: Job, loaded: _Loaded, pixels: np.ndarray, output: bytes, *, known: bool) -> None:
        metrics, reference = job.dataset.metrics, loaded.state.reference
        todo = [
            index
            for index, metric in enumerate(metrics)
            if metric.unavailable is None and wanted(job, metric) and (not known or index in loaded.state.todo)
        ]
        if loaded.gt_error is not None:
            for index in [index for index in todo if metrics[index].kind.fr]:
                outcome = Outcome(index, Status.INPUT, None, None, f"reference cannot be read: {loaded.gt_error}", 0.0)
                # The features of a set of references are the references' own, and so is their failure.
                place = (output, reference) if reference is None or metrics[index].kind.pairs else (reference, None)
                self._put(job, Scored(*place, index, outcome))
                todo.remove(index)
        gt = loaded.gt
        lq = loaded.facts.lq
        box = job.crop(loaded.task.unit, lq.height, lq.width) if lq else None
        if gt is not None and box is not None:
            gt = gt[box.top : box.top + box.height, box.left : box.left + box.width]
        scorer, present = self._scorer(job)

        def began(place: int) -> None:
            self._began("scoring", [loaded], lambda: self._unscored(job, loaded, output, todo, present[place]))

        for outcome in scorer.outcomes(pixels, gt, [present.index(index) for index in todo], began):
            index = present[outcome.index]
            if not (metrics[index].kind.two_sets and outcome.status == Status.NOT_APPLICABLE):  # nothing is stored
                compared = reference if metrics[index].kind.pairs else None
                self._put(job, Scored(output, compared, index, outcome))
        lacking = [index for index in todo if metrics[index].kind.two_sets and index not in loaded.state.references]
        if gt is not None and reference is not None and lacking:

            def looked_at(place: int) -> None:
                self._began("scoring", [loaded], lambda: self._unseen(job, loaded, present[place]))

            for outcome in scorer.references(gt, [present.index(index) for index in lacking], looked_at):
                self._put(job, Scored(reference, None, present[outcome.index], outcome))
        self._ended()

    def _unseen(self, job: Job, loaded: _Loaded, index: int) -> list[Result]:
        """What is to be written down of a unit if the metric does not come back from its reference."""
        reference = loaded.state.reference
        assert reference is not None
        seen = Scored(reference, None, index, Outcome(index, Status.FAILED, None, None, "", 0.0))
        return [Result(job.index, seen), Result(job.index, Finished(loaded.task, loaded.state.key, reference))]

    def _unscored(self, job: Job, loaded: _Loaded, output: bytes, todo: Sequence[int], index: int) -> list[Result]:
        """What is to be written down of a unit if the metric at `index` does not come back: it and those after it."""
        metrics, rows = job.dataset.metrics, []
        for later in todo[list(todo).index(index) :]:
            compared = loaded.state.reference if metrics[later].kind.pairs else None
            reason = "" if later == index else f"not scored: {metrics[index].label} did not come back on this image"
            outcome = Outcome(later, Status.FAILED, None, None, reason, 0.0)
            rows.append(Result(job.index, Scored(output, compared, later, outcome)))
        done = Finished(loaded.task, loaded.state.key, loaded.state.reference)
        return [*rows, Result(job.index, done)]


def _failed(one: _Loaded, reason: str) -> Restored:
    assert one.state.key is not None and one.facts.lq is not None
    return Restored(one.state.key, one.facts.lq.hash, "failed", reason)


def _lost(one: _Loaded) -> list[Result]:
    """The rows of a task of which nothing came back; the reason is still to be said."""
    done = Finished(one.task, one.state.key, one.state.reference)
    return [Result(one.task.job, _failed(one, "")), Result(one.task.job, done)]

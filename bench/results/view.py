"""A run's rows, read back from the store: every value that was asked for, with the reason where there is none.

The mean of a cell is derived here and nowhere else. Nothing is restored, decoded or scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError, suggest
from bench.metrics.kinds import Place
from bench.metrics.outcome import LOST, SCORED, Status, of_number
from bench.results import record, traces, units, voted
from bench.results.features import complete
from bench.results.record import Column, DatasetRecord, MethodRecord, RunRecord
from bench.results.status import of_unit
from bench.results.store import Score, Store
from bench.results.timings import Timing, of_run
from bench.results.traces import Traces
from bench.results.units import Unit, Units
from iqpir.errors import shown

if TYPE_CHECKING:
    import pandas as pd


class ItemScore(NamedTuple):
    """One value of one item, or why there is none."""

    item: str
    repeat: int
    status: str
    """A `Status`."""
    value: float | None
    reason: str | None


def mean(values: Sequence[float]) -> float:
    """Mean of one value or more; infinite with an infinite one, NaN when infinities of both signs meet."""
    if any(map(math.isinf, values)):
        return sum(values)
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # their sum is no number any more, and their mean is
        return math.fsum(value / len(values) for value in values)


@dataclass(frozen=True)
class Cell:
    """One metric of one method on one dataset."""

    dataset: str
    method: str
    column: Column
    expected: int
    """Items, however often each was restored."""
    scores: Sequence[ItemScore]
    """Per item and repeat; for a set metric, whether its features are there."""
    set_score: ItemScore | None = None
    absent: str | None = None
    """Why the whole dataset is not on this machine."""
    members: int = 1
    """Between how many members of its method the repeats of each item are shared, evenly and in order."""

    @cached_property
    def by_item(self) -> Mapping[str, Sequence[ItemScore]]:
        """Item → the scores of its repeats."""
        found: dict[str, list[ItemScore]] = {}
        for score in self.scores:
            found.setdefault(score.item, []).append(score)
        return found

    @cached_property
    def items(self) -> Mapping[str, float]:
        """Item → its value, the mean of its repeats: what means, intervals and tests are made of, since the repeats of
        one image are no further images. An item that lacks one of its repeats has no value."""
        found: dict[str, float] = {}
        for item, scores in self.by_item.items():
            values = [score.value for score in scores if score.status in SCORED and score.value is not None]
            if len(values) == len(scores):
                found[item] = mean(values)
        return found

    @cached_property
    def by_member(self) -> Sequence[Sequence[float]]:
        """[members][items] values of the items that have one, in the order of `items`; their mean is the cell's."""
        draws = self.repeats // self.members
        return [
            [
                mean([score.value for score in self.by_item[item] if score.repeat // draws == member
                      and score.value is not None])
                for item in self.items
            ]
            for member in range(self.members)
        ]  # fmt: skip

    @cached_property
    def n(self) -> int:
        """Items that have all of what enters the value."""
        return sum(all(score.status in SCORED for score in scores) for scores in self.by_item.values())

    @property
    def repeats(self) -> int:
        """How often each item was restored."""
        return max(map(len, self.by_item.values()), default=1)

    @property
    def infinite(self) -> int:
        """Items whose value is infinite, such as the PSNR of an output that equals its reference."""
        return sum(map(math.isinf, self.items.values()))

    @property
    def complete(self) -> bool:
        return self.n == self.expected and self.absent is None

    @property
    def value(self) -> float | None:
        """Mean of the items' values, or the set's value; None when nothing was scored."""
        if self.column.is_set:
            scored = any(score.status in SCORED for score in self.scores)
            return self.set_score.value if self.set_score is not None and scored else None
        return mean(list(self.items.values())) if self.items else None

    @property
    def status(self) -> str:
        """ok, inf or nan for a value; otherwise why there is none."""
        if self.value is not None:
            return of_number(self.value)
        if self.column.is_set and self.set_score is not None:
            return self.set_score.status
        if self.absent is not None:
            return Status.UNAVAILABLE
        statuses = [score.status for score in self.scores if score.status not in SCORED]
        return max(set(statuses), key=statuses.count) if statuses else "no items"

    @property
    def reason(self) -> str | None:
        """Why the value is missing or incomplete: the first reason of an item."""
        if self.set_score is not None and self.set_score.reason:
            return self.set_score.reason
        if self.absent is not None:
            return self.absent
        return next((score.reason for score in self.scores if score.status not in SCORED and score.reason), None)


class Seconds(NamedTuple):
    """What one method took to restore each image of one dataset, as it was stored then."""

    each: tuple[float, ...] = ()
    settings: frozenset[str] = frozenset()
    """Batch, threads and device that they were made with, in words."""
    reason: str | None = None
    """Why there are none."""


class RunView(NamedTuple):
    """A run as its readers see it: what was measured, every unit, and all cells in table order."""

    number: int
    record: RunRecord
    provenance: Mapping[str, Any]
    cells: Sequence[Cell]
    devices: frozenset[str]
    """Devices that made the outputs of this run, as far as they are known."""
    timings: Sequence[Timing] = ()
    """Times of its methods, for a suite that asks for them."""
    seconds: Mapping[tuple[str, str], Seconds] = {}
    """By (dataset, method)."""
    units: Units = MappingProxyType({})
    traces: Traces = MappingProxyType({})
    """Rounds of every image, of methods that tell."""


class Failures(NamedTuple):
    """Units of a run by what became of them."""

    failed: int
    unavailable: int
    pending: int
    expected: int


_RANK: Mapping[str, int] = {**dict.fromkeys(LOST, 3), Status.PENDING: 2, Status.UNAVAILABLE: 1}
"""Which value of a unit speaks for it: the one that is worst."""


def failures(data: RunView) -> Failures:
    """Count units (method × item): failed when any of its values is missing because something failed."""
    worst: dict[tuple[str, str, str, int], str] = {}
    for cell in data.cells:
        for score in cell.scores:
            key = (cell.dataset, cell.method, score.item, score.repeat)
            if _RANK.get(score.status, 0) >= _RANK.get(worst.get(key, ""), 0):
                worst[key] = score.status
        if cell.set_score is not None and cell.set_score.status in LOST:
            worst[cell.dataset, cell.method, cell.column.label, -1] = cell.set_score.status
    statuses = list(worst.values())
    return Failures(
        failed=sum(status in LOST for status in statuses),
        unavailable=statuses.count(Status.UNAVAILABLE),
        pending=statuses.count(Status.PENDING),
        expected=len(statuses),
    )


def find_run(store: Store, name: str | None) -> int:
    """The run that a name stands for: a number, a suite's newest run, or (None) the newest of all."""
    rows = store.runs()
    if not rows:
        raise BenchError(f"no runs in {store.path}: bench run SUITE makes one")
    if name is None:
        return rows[0].id
    if name.isdigit() and any(row.id == int(name) for row in rows):
        return int(name)
    stem = shown(name.rsplit("/", 1)[-1].removesuffix(".yaml").removesuffix(".yml"))
    found = next((row.id for row in rows if row.suite == stem), None)
    if found is None:
        known = list(dict.fromkeys(row.suite for row in rows))
        raise BenchError(f"no run of {name!r} in {store.path}{suggest(stem, known)} (it has {', '.join(known)})")
    return found


def read_cells(store: Store, number: int) -> RunView:
    """All values of a run, in the order of its suite."""
    row = store.run(number)
    if row is None:
        raise BenchError(f"no run {number} in {store.path} (bench runs)")
    described, provenance = record.read(row)
    found = units.read(store, number, described)
    described = voted.answered(described, found, store.folder)
    cells: list[Cell] = []
    for dataset in described.datasets:
        for method in described.methods:
            if method.is_for(dataset.label):
                reader = _CellReader(store, dataset, method, found[dataset.label, method.label])
                cells.extend(map(reader.read, dataset.columns))
    seconds = {
        (dataset.label, method.label): _seconds(found[dataset.label, method.label], method)
        for dataset in described.datasets
        for method in described.methods
        if method.is_for(dataset.label)
    }
    made = [unit.row for each in found.values() for unit in each if unit.row is not None]
    devices = frozenset(one.device for one in made if one.device)
    return RunView(
        number, described, provenance, cells, devices, of_run(store, number), seconds, found,
        traces.of_run(store, number, found),
    )  # fmt: skip


def _seconds(each: Sequence[Unit], method: MethodRecord) -> Seconds:
    made = [unit.made for unit in each if unit.made is not None]
    took = [(row, row.seconds) for row in made if row.seconds is not None]
    settings = {
        f"batch {row.batch}, {row.threads} thread{'' if row.threads == 1 else 's'}, {row.device}" for row, _ in took
    }
    reason = None if took else "its outputs were not made here" if made else method.unavailable
    return Seconds(tuple(seconds for _, seconds in took), frozenset(settings), reason)


@dataclass(frozen=True)
class _CellReader:
    """Reads one method on one dataset, metric by metric."""

    store: Store
    dataset: DatasetRecord
    method: MethodRecord
    units: Sequence[Unit]

    def read(self, column: Column) -> Cell:
        column = replace(column, mode=self.method.mode_of(column))
        scores = list(self._scores(column))
        cell = Cell(
            self.dataset.label, self.method.label, column, len(self.dataset.items), scores,
            absent=self.dataset.unavailable, members=len(self.method.members or ()) or 1,
        )  # fmt: skip
        if not column.kind.of_sets or not any(score.status in SCORED for score in scores):
            return cell
        return replace(cell, set_score=self._set_score(column))

    def _scores(self, column: Column) -> Iterator[ItemScore]:
        signature = self.store.signature_id(column.row_signature, column.mode, create=False)
        held: Mapping[Place, Score] = {}
        if signature is not None:
            made = [(unit.made.output, unit.reference) for unit in self.units if unit.made is not None]
            wanted = {
                content for output, reference in made if output is not None
                for content, _ in column.kind.places(output, reference)
            }  # fmt: skip
            held = (self.store.extractions if column.kind.of_sets else self.store.scores)(wanted, signature)
        for unit in self.units:
            yield ItemScore(unit.item, unit.repeat, *of_unit(unit, self.dataset, self.method, column, held))

    def _set_score(self, column: Column) -> ItemScore:
        if column.strengths is not None:
            value = column.strengths.get(self.method.label)
            status = Status.NOT_APPLICABLE if value is None else of_number(value)
            return ItemScore("", 0, status, value, column.not_given if value is None else None)
        extractor = self.store.signature_id(column.row_signature, column.mode, create=False)
        signature = self.store.signature_id(column.signature, column.mode, create=False)
        made = [
            column.kind.member(unit.item, unit.made.output_hash, unit.made.output, unit.reference)
            for unit in self.units
            if unit.made is not None and unit.made.output is not None and unit.made.output_hash is not None
            and column.kind.not_for_item(unit.item, self.dataset.unboxed) is None
        ]  # fmt: skip
        members = complete(self.store, made, extractor, column.kind) if extractor is not None else []
        score = None
        if signature is not None and members:
            place = self.store.set_place(members, create=False)
            score = self.store.scores([place[0]], signature).get(place) if place is not None else None
        if score is None:
            return ItemScore("", 0, Status.PENDING, None, "not aggregated yet: run again")
        return ItemScore("", 0, score.status, score.value, score.reason)


def rows(data: RunView) -> Iterator[dict[str, Any]]:
    """Long form: one row per item and metric, one per set metric and cell (its item is empty)."""
    for cell in data.cells:
        base = {
            "run": data.number, "suite": data.record.suite, "dataset": cell.dataset, "method": cell.method,
            "metric": cell.column.label, "signature": cell.column.signature,
        }  # fmt: skip
        if cell.column.is_set and cell.set_score is not None:
            score = cell.set_score
            yield {
                **base,
                "item": "",
                "repeat": 0,
                "status": score.status,
                "value": score.value,
                "reason": score.reason,
            }
            continue
        for score in cell.scores:
            yield {
                **base, "item": score.item, "repeat": score.repeat, "status": score.status, "value": score.value,
                "reason": score.reason,
            }  # fmt: skip


DTYPES = {
    "run": "int64",
    "suite": "string",
    "dataset": "string",
    "method": "string",
    "item": "string",
    "repeat": "int64",
    "metric": "string",
    "signature": "string",
    "status": "string",
    "value": "float64",
    "reason": "string",
}
"""Columns of the long form with their pandas types, in order; stable.

`run` is the run's number; `dataset`, `method` and `metric` are labels as the suite writes them. `item` is empty for the
value of a whole set, `repeat` counts from 0. `status` is ok, inf, nan, failed, input, n/a, unavailable or pending;
`value` is NaN where there is none, and `reason` is missing where nothing is to be said.
"""
COLUMNS = tuple(DTYPES)


def to_frame(found: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long-form rows as a DataFrame with exactly `DTYPES`, however few rows there are."""
    import pandas as pd

    return pd.DataFrame(list(found), columns=list(COLUMNS)).astype(DTYPES)


def load(store: Store, name: str | None = None) -> pd.DataFrame:
    """A run in long form as a DataFrame with the columns and types of `DTYPES`."""
    return to_frame(rows(read_cells(store, find_run(store, name))))

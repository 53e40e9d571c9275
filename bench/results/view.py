"""A run's rows, read back from the store: every value that was asked for, with the reason where there is none.

The mean of a cell is derived here and nowhere else. Nothing is restored, decoded or scored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError, suggest
from bench.results import record
from bench.results.features import Member, boxed, complete
from bench.results.store import Restoration, RunRow, Score, Store
from bench.results.timings import Timing, of_run
from iqpir.errors import shown

if TYPE_CHECKING:
    import pandas as pd

SCORED = ("ok", "inf")
"""Statuses of a value that enters the mean."""


class Column(NamedTuple):
    """A metric as a run recorded it for one dataset."""

    label: str
    """As the suite writes it; what JSON and CSV call it."""
    heading: str
    """What tables that people read call it."""
    signature: str
    row_signature: str
    """Signature of the rows stored per image: the value's, or that of a set metric's features."""
    mode: str
    """Numeric mode of a learned metric, else empty."""
    fr: bool
    is_set: bool
    higher_is_better: bool
    digits: int
    unavailable: str | None
    two_sets: bool = False
    """True where outputs and references have features of their own."""
    annotated: bool = False
    """True where features are boxes, held against the dataset's annotation."""

    given: Mapping[str, Sequence[float | None]] | None = None
    """Values that people gave, by method and in the order of the items; empty without a sheet, None for what is
    computed."""
    not_given: str | None = None
    """Why an item has none of them."""

    @property
    def of_pairs(self) -> bool:
        """True where what is stored per image depends on its reference."""
        return self.fr and not self.two_sets


@dataclass(frozen=True)
class Record:
    """The immutable description of a run: what is measured on what, by whom."""

    suite: str
    title: str
    definition: Mapping[str, Any]
    """The resolved suite file, includes merged."""
    datasets: Sequence[Mapping[str, Any]]
    """label, name, paired, protocol, items, columns; unavailable: why there are no items."""
    methods: Sequence[Mapping[str, Any]]
    """label, name, options, identity, mode, repeats, unavailable, licence, restores; datasets: labels of those
    that it is for, where it is not for all; lossy: lines about outputs that were found as compressed files."""

    def as_json(self, provenance: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**asdict(self), "provenance": provenance}

    @classmethod
    def read(cls, row: RunRow) -> tuple[Record, Mapping[str, Any]]:
        """(record, provenance) of a stored run. Raises `BenchError` for one that is damaged."""
        problem = cls.problem(row)
        if problem is not None:
            raise BenchError(
                f"run {row.id} of {row.suite}: its record is damaged ({problem}): bench run {row.suite} records it "
                f"anew, bench gc --keep 1 then drops this one"
            )
        data = json.loads(row.record)
        provenance = data.pop("provenance") or {}
        return cls(**data), provenance

    @classmethod
    def problem(cls, row: RunRow) -> str | None:
        """What is wrong with a stored record, None for one that can be read."""
        return record.problem(row.record)


class ItemScore(NamedTuple):
    """One value of one item, or why there is none."""

    item: str
    repeat: int
    status: str
    """ok, inf, nan, failed, input, n/a, unavailable or pending."""
    value: float | None
    reason: str | None


def mean(values: Sequence[float]) -> float:
    """Mean of one value or more; infinite with an infinite one, NaN when infinities of both signs meet."""
    return sum(values) if any(map(math.isinf, values)) else math.fsum(values) / len(values)


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
        value = self.value
        if value is not None:
            return "nan" if math.isnan(value) else "inf" if math.isinf(value) else "ok"
        if self.column.is_set and self.set_score is not None:
            return self.set_score.status
        if self.absent is not None:
            return "unavailable"
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


class RunData(NamedTuple):
    """A run with all its cells, in table order."""

    number: int
    record: Record
    provenance: Mapping[str, Any]
    cells: Sequence[Cell]
    devices: frozenset[str]
    """Devices that made the outputs of this run, as far as they are known."""
    timings: Sequence[Timing] = ()
    """Times of its methods, for a suite that asks for them."""
    seconds: Mapping[tuple[str, str], Seconds] = {}
    """By (dataset, method)."""


class Failures(NamedTuple):
    """Units of a run by what became of them."""

    failed: int
    unavailable: int
    pending: int
    expected: int


def failures(data: RunData) -> Failures:
    """Count units (method × item): failed when any of its values is missing because something failed."""
    worst: dict[tuple[str, str, str, int], str] = {}
    rank = {"failed": 4, "nan": 4, "input": 4, "pending": 3, "unavailable": 2}
    for cell in data.cells:
        for score in cell.scores:
            key = (cell.dataset, cell.method, score.item, score.repeat)
            if rank.get(score.status, 0) >= rank.get(worst.get(key, ""), 0):
                worst[key] = score.status
        if cell.set_score is not None and cell.set_score.status in ("failed", "nan"):
            worst[cell.dataset, cell.method, cell.column.label, -1] = cell.set_score.status
    statuses = list(worst.values())
    return Failures(
        failed=sum(status in ("failed", "nan", "input") for status in statuses),
        unavailable=statuses.count("unavailable"),
        pending=statuses.count("pending"),
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


def read_cells(store: Store, number: int) -> RunData:
    """All values of a run, in the order of its suite."""
    row = store.run(number)
    if row is None:
        raise BenchError(f"no run {number} in {store.path} (bench runs)")
    record, provenance = Record.read(row)
    units = store.units(number)
    made = store.restorations_of(number)
    cells: list[Cell] = []
    seconds: dict[tuple[str, str], Seconds] = {}
    index = 0
    for dataset in record.datasets:
        for method in record.methods:
            if dataset["label"] in method.get("datasets", (dataset["label"],)):
                reader = _CellReader(store, dataset, method, index, units, made)
                cells.extend(reader.read(Column(**column)) for column in dataset["columns"])
                seconds[dataset["label"], method["label"]] = reader.seconds()
            index += 1
    devices = frozenset(entry.device for _, entry in made.values() if entry.device)
    return RunData(number, record, provenance, cells, devices, of_run(store, number), seconds)


class _CellReader:
    """Reads one method on one dataset, metric by metric."""

    def __init__(
        self,
        store: Store,
        dataset: Mapping[str, Any],
        method: Mapping[str, Any],
        index: int,
        units: Mapping[tuple[int, int], tuple[int | None, int]],
        made: Mapping[int, tuple[bytes, Restoration]],
    ) -> None:
        self.store = store
        self.dataset = dataset
        self.method = method
        self.annotation: Mapping[str, Any] | None = dataset.get("annotation")
        self.unboxed: Mapping[str, str] = (self.annotation or {}).get("problems", {})
        """Items without an annotation, and why."""
        repeats = int(method["repeats"])
        self.units: list[tuple[str, int, Restoration | None, int]] = []
        for position in range(len(dataset["items"]) * repeats):
            restoration, reference = units.get((index, position), (None, 0))
            row = made[restoration][1] if restoration is not None and restoration in made else None
            self.units.append((dataset["items"][position // repeats], position % repeats, row, reference))

    def read(self, column: Column) -> Cell:
        column = column._replace(mode=self.method.get("modes", {}).get(column.label, column.mode))
        scores = list(self._scores(column))
        items, absent = len(self.dataset["items"]), self.dataset.get("unavailable")
        cell = Cell(self.dataset["label"], self.method["label"], column, items, scores, absent=absent)
        if not column.is_set or not any(score.status in SCORED for score in scores):
            return cell
        return Cell(cell.dataset, cell.method, column, items, scores, self._set_score(column))

    def seconds(self) -> Seconds:
        made = [row for _, _, row, _ in self.units if row is not None and row.output is not None]
        took = [(row, row.seconds) for row in made if row.seconds is not None]
        settings = {
            f"batch {row.batch}, {row.threads} thread{'' if row.threads == 1 else 's'}, {row.device}" for row, _ in took
        }
        reason = None if took else "its outputs were not made here" if made else self.method["unavailable"]
        return Seconds(tuple(seconds for _, seconds in took), frozenset(settings), reason)

    def _scores(self, column: Column) -> Iterator[ItemScore]:
        signature = self.store.signature_id(column.row_signature, column.mode, create=False)
        outputs = [row.output for _, _, row, _ in self.units if row is not None and row.output is not None]
        held: Mapping[tuple[int, int], Score] = {}
        if signature is not None:
            wanted = [*outputs, *(reference for *_, reference in self.units)] if column.two_sets else outputs
            held = (self.store.extractions if column.is_set else self.store.scores)(wanted, signature)
        repeats = int(self.method["repeats"])
        for position, (item, repeat, row, reference) in enumerate(self.units):
            if column.given == {}:
                yield ItemScore(item, repeat, "n/a", None, column.not_given)
            elif self.method["unavailable"]:
                yield ItemScore(item, repeat, "unavailable", None, self.method["unavailable"])
            elif column.unavailable:
                yield ItemScore(item, repeat, "unavailable", None, column.unavailable)
            elif column.fr and not self.dataset["paired"]:
                yield ItemScore(item, repeat, "n/a", None, "no GT")
            elif column.annotated and self.annotation is None:
                yield ItemScore(item, repeat, "n/a", None, "no boxes are annotated")
            elif column.annotated and item in self.unboxed:
                yield ItemScore(item, repeat, "input", None, self.unboxed[item])
            elif row is None:
                yield ItemScore(item, repeat, "pending", None, "not worked on yet: run again")
            elif row.output is None:
                yield ItemScore(item, repeat, row.status, None, row.reason)
            elif column.given is not None:
                value = column.given[self.method["label"]][position // repeats]
                status, why = ("n/a", column.not_given) if value is None else ("ok", None)
                yield ItemScore(item, repeat, status, value, why)
            else:
                score = held.get((row.output, reference if column.of_pairs else 0))
                if column.two_sets:
                    if not reference:
                        yield ItemScore(item, repeat, "n/a", None, "no GT")
                        continue
                    theirs = held.get((reference, 0))
                    score = score if theirs is not None and theirs.status == "ok" else theirs
                if score is None:
                    yield ItemScore(item, repeat, "pending", None, "not scored yet: run again")
                else:
                    yield ItemScore(item, repeat, score.status, score.value, score.reason)

    def _set_score(self, column: Column) -> ItemScore:
        extractor = self.store.signature_id(column.row_signature, column.mode, create=False)
        signature = self.store.signature_id(column.signature, column.mode, create=False)
        made = [
            Member(
                boxed(item, row.output_hash) if column.annotated else row.output_hash,
                row.output,
                reference if column.fr else 0,
            )
            for item, _, row, reference in self.units
            if row is not None and row.output is not None and row.output_hash is not None
            and not (column.annotated and item in self.unboxed)
        ]  # fmt: skip
        members = complete(self.store, made, extractor, two_sets=column.two_sets) if extractor is not None else []
        score = None
        if signature is not None and members:
            place = self.store.set_place(members, create=False)
            score = self.store.scores([place[0]], signature).get(place) if place is not None else None
        if score is None:
            return ItemScore("", 0, "pending", None, "not aggregated yet: run again")
        return ItemScore("", 0, score.status, score.value, score.reason)


def rows(data: RunData) -> Iterator[dict[str, Any]]:
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

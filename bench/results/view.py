"""A run's rows, read back from the store: every value that was asked for, with the reason where there is none.

The mean of a cell is derived here and nowhere else. Nothing is restored, decoded or scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.errors import BenchError, suggest
from bench.metrics.outcome import LOST, Status
from bench.metrics.outcome import SCORED as SCORED
from bench.results import record, traces, units, voted
from bench.results.cell import Cell as Cell
from bench.results.cell_reading import Reader
from bench.results.record import MethodRecord, RunRecord
from bench.results.scores import ItemScore as ItemScore
from bench.results.scores import mean as mean
from bench.results.store import RunRow, Store
from bench.results.tallies import Tally
from bench.results.timings import Timing, of_run
from bench.results.traces import Traces
from bench.results.units import Units
from iqpir.errors import shown

if TYPE_CHECKING:
    import pandas as pd


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
    remarks: tuple[tuple[str, str], ...] = ()
    """(dataset, or "" for all; line): what a reader must know of these cells that they do not say, such as items that
    were left out."""


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
    worst: dict[tuple[str, str], np.ndarray] = {}
    sets: list[str] = []
    for cell in data.cells:
        place, ranks = (cell.dataset, cell.method), cell.columns.ranked(_RANK)
        worst[place] = np.maximum(worst[place], ranks) if place in worst else ranks
        if cell.set_score is not None and cell.set_score.status in LOST:
            sets.append(cell.column.label)
    counts = sum((np.bincount(ranks, minlength=4) for ranks in worst.values()), np.zeros(4, np.int64)).tolist()
    return Failures(
        failed=counts[_RANK[Status.FAILED]] + len(sets),
        unavailable=counts[_RANK[Status.UNAVAILABLE]],
        pending=counts[_RANK[Status.PENDING]],
        expected=sum(counts) + len(sets),
    )


def tally(data: RunView) -> Tally:
    """The run in one line."""
    counts = failures(data)
    return Tally(
        len(data.record.datasets), len(data.record.methods), counts.expected, counts.failed, counts.unavailable,
        counts.pending, data.provenance.get("device_model"),
    )  # fmt: skip


def find_run(store: Store, name: str | None) -> int:
    """The run that a name stands for: a number, a suite's newest run, or (None) the newest of all."""
    rows = store.run_names()
    if not rows:
        raise BenchError(f"no runs in {store.path}: bench run SUITE makes one")
    if name is None:
        return rows[0][0]
    if name.isdigit() and any(number == int(name) for number, _ in rows):
        return int(name)
    stem = shown(name.rsplit("/", 1)[-1].removesuffix(".yaml").removesuffix(".yml"))
    found = next((number for number, suite in rows if suite == stem), None)
    if found is None:
        known = list(dict.fromkeys(suite for _, suite in rows))
        raise BenchError(f"no run of {name!r} in {store.path}{suggest(stem, known)} (it has {', '.join(known)})")
    return found


def _row(store: Store, number: int) -> RunRow:
    row = store.run(number)
    if row is None:
        raise BenchError(f"no run {number} in {store.path} (bench runs)")
    return row


def _described(store: Store, number: int) -> tuple[RunRecord, Mapping[str, Any]]:
    """A run's record, with what people have voted since, and its provenance."""
    described, provenance = record.read(_row(store, number))
    if voted.asks(described):
        described = voted.answered(described, units.read(store, number, described), store.folder)
    return described, provenance


def read_cells(store: Store, number: int) -> RunView:
    """All values of a run, in the order of its suite."""
    described, provenance = _described(store, number)
    found, cells = units.blank(described), list[Cell]()
    seconds: dict[tuple[str, str], Seconds] = {}
    for place, mine, group in _groups(store, number, described):
        found[place.labels] = mine
        seconds[place.labels] = _seconds(mine, place.method)
        cells.extend(group)
    devices = frozenset(made.device for each in found.values() for made in each.words if made.device)
    return RunView(
        number, described, provenance, cells, devices, of_run(store, number), seconds, found,
        traces.of_run(store, number, found),
    )  # fmt: skip


def _groups(
    store: Store, number: int, described: RunRecord
) -> Iterator[tuple[units.Place, units.UnitColumns, list[Cell]]]:
    """Method by method on every dataset, the units and the cells of each."""
    hashes = units.given(store, number)
    for place in units.places(described):
        mine = units.of_place(store, number, place, hashes)
        yield place, mine, Reader(store, number, place, mine).cells()


def _seconds(each: units.UnitColumns, method: MethodRecord) -> Seconds:
    took = each.made & ~np.isnan(each.seconds)
    settings = {
        f"batch {row.batch}, {row.threads} thread{'' if row.threads == 1 else 's'}, {row.device}"
        for row in (each.words[code] for code in np.unique(each.codes[took]).tolist())
    }
    reason = None if settings else "its outputs were not made here" if each.made.any() else method.unavailable
    return Seconds(tuple(each.seconds[took].tolist()), frozenset(settings), reason)


def rows(data: RunView) -> Iterator[dict[str, Any]]:
    """Long form: one row per item and metric, one per set metric and cell (its item is empty)."""
    return _long(data.number, data.record, data.cells)


def stream(store: Store, number: int) -> Iterator[dict[str, Any]]:
    """The long form of a run that is read while it is written out: never more of it at once than one method's."""
    described, _ = _described(store, number)
    for _, _, group in _groups(store, number, described):
        yield from _long(number, described, group)


def _long(number: int, described: RunRecord, cells: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        base = {
            "run": number, "suite": described.suite, "dataset": cell.dataset, "method": cell.method,
            "metric": cell.column.label, "signature": cell.column.signature,
        }  # fmt: skip
        whole = cell.set_score if cell.column.is_set else None
        for score in (whole,) if whole is not None else cell.scores:
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

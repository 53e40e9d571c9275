"""What became of a run's units, kept as it was counted: a list of runs need not look at every score again.

A count holds as long as nothing was written that a run could show, and the run's record is the one that was read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError
from bench.results.store import RunRow, Store


class Tally(NamedTuple):
    """A run in one line."""

    datasets: int
    methods: int
    expected: int
    """Units, as `bench.results.view.failures` counts them."""
    failed: int
    unavailable: int
    pending: int
    device: str | None
    """Model of the device that it ran on."""


def known(store: Store, rows: Sequence[RunRow]) -> dict[int, Tally]:
    """By number, the runs of which a count is kept that still holds."""
    now = store.changes()
    kept = {row[0]: row[1:] for row in store.select(f"SELECT run, change, record, {_COLUMNS} FROM tally")}  # noqa: S608
    found = {}
    for row in rows:
        change, record, *counted = kept.get(row.id, (None, None))
        if change == now and record == _digest(row):
            found[row.id] = Tally(*counted)
    return found


def keep(store: Store, row: RunRow, counted: Tally, change: int) -> None:
    """Write down what was counted of a run when the store stood at `change`."""
    marks = ",".join("?" * (3 + len(Tally._fields)))
    sql = f"INSERT OR REPLACE INTO tally(run, change, record, {_COLUMNS}) VALUES({marks})"
    for _ in store.select(sql, (row.id, change, _digest(row), *counted)):
        pass


def count(store: Store, row: RunRow) -> Tally:
    """Look at every score of a run. Raises `BenchError` for a damaged record."""
    from bench.results import view  # by far the most of what a list of runs would have to import

    return view.tally(view.read_cells(store, row.id))


def keep_all(folder: Path, counted: Mapping[RunRow, Tally], change: int) -> None:
    """`keep` of runs that a reader has counted. Where it may not write, the next one counts again."""
    if not counted or not os.access(folder, os.W_OK):
        return
    with suppress(BenchError), Store(folder) as store, store.transaction():
        there = {number for number, _ in store.run_names()}
        for row, tally in counted.items():
            if row.id in there:
                keep(store, row, tally, change)


_COLUMNS = ", ".join(Tally._fields)


def _digest(row: RunRow) -> bytes:
    return hashlib.sha256(str(row.record).encode("utf-8", "surrogatepass")).digest()

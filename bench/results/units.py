"""The units of a run as it recorded them: where the rows of a method on a dataset stand is known here alone.

They are kept as columns, and a `Unit` is made where one is read: a run may have a hundred thousand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from bench.results.record import DatasetRecord, MethodRecord, RunRecord
from bench.results.scores import Grid
from bench.results.store import Store, StoredRestoration


class Unit(NamedTuple):
    """One item restored by one method, once."""

    item: str
    position: int
    """The item's, in its dataset."""
    repeat: int
    row: StoredRestoration | None = None
    """Its output, or why there is none; None while it was not worked on."""
    given: bytes | None = None
    """Content hash of its input."""
    reference: int = 0
    """Content id of what its output is compared with, 0 for none."""
    truth: bytes | None = None
    """Content hash of that."""

    @property
    def made(self) -> StoredRestoration | None:
        """The row, where it has an output."""
        return self.row if self.row is not None and self.row.output is not None else None


class Made(NamedTuple):
    """What many units have in common: how their outputs came about, or why there is none."""

    status: str
    reason: str | None
    suffix: str | None
    height: int | None
    width: int | None
    device: str | None
    batch: int | None
    threads: int | None


class UnitColumns(Sequence[Unit]):
    """The units of one method on one dataset, every repeat of an item after the other."""

    def __init__(self, grid: Grid, hashes: Mapping[int, bytes]) -> None:
        """Units that nobody has worked on yet. `hashes`: the content behind each number of an input or
        a reference."""
        count = len(grid.places)
        self.grid = grid
        self.words: list[Made] = []
        """Each that occurs, once."""
        self.codes = np.full(count, -1, np.int32)
        """[N] Place in `words`; -1 where there is no row."""
        self.rows = np.zeros(count, np.int64)
        """[N] Number of the restoration, 0 for none."""
        self.outputs = np.zeros(count, np.int64)
        """[N] Content id of the output, 0 for none."""
        self.references = np.zeros(count, np.int64)
        """[N] Content id of what the output is compared with, 0 for none."""
        self.seconds = np.full(count, math.nan)
        """[N] What making it took; NaN where nobody knows."""
        self._given = np.zeros(count, np.int64)
        self._made: list[bytes | None] = [None] * count
        self._hashes = hashes

    def fill(self, rows: Iterator[tuple[Any, ...]]) -> None:
        """Take in rows of `_ROWS`; what stands at no place of this run is a damaged row, and is left out."""
        known: dict[Made, int] = {}
        count = len(self.codes)
        for place, reference, given, made, output, number, seconds, *rest in rows:
            if not (isinstance(place, int) and 0 <= place < count):
                continue
            self.references[place] = reference
            if number is None:
                continue
            word = Made(*rest)
            if word.status != "ok" or made is None:
                row = StoredRestoration(
                    number, word.status, word.reason, output, made, word.suffix, word.height, word.width, seconds,
                    word.device, word.batch, word.threads,
                ).checked()  # fmt: skip
                word, output, made = word._replace(status=row.status, reason=row.reason), row.output, row.output_hash
            code = known.setdefault(word, len(known))
            self.codes[place], self.rows[place], self._given[place] = code, number, given
            if output is not None:
                self.outputs[place] = output
                self._made[place] = made
            if isinstance(seconds, float):
                self.seconds[place] = seconds
        self.words = list(known)

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> Unit: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...

    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        position, repeat = int(self.grid.places[place]), int(self.grid.repeats[place])
        item, reference = self.grid.items[position], int(self.references[place])
        truth = self._hashes.get(reference)
        if self.codes[place] < 0:
            return Unit(item, position, repeat, None, None, reference, truth)
        word, seconds = self.words[self.codes[place]], float(self.seconds[place])
        row = StoredRestoration(
            int(self.rows[place]), word.status, word.reason, int(self.outputs[place]) or None, self._made[place],
            word.suffix, word.height, word.width, None if math.isnan(seconds) else seconds, word.device, word.batch,
            word.threads,
        )  # fmt: skip
        return Unit(item, position, repeat, row, self._hashes.get(int(self._given[place])), reference, truth)

    @property
    def made(self) -> np.ndarray:
        """[N] Whether there is an output."""
        return self.outputs != 0


Units = Mapping[tuple[str, str], Sequence[Unit]]
"""By the labels of dataset and method; every repeat of an item after the other. A method that is not for a dataset has
none."""

_ROWS = (
    "SELECT unit.item, unit.reference, r.input, made.hash, r.output, r.id, r.seconds, r.status, r.reason, r.suffix, "
    "r.height, r.width, r.device, r.batch, r.threads FROM unit LEFT JOIN restoration r ON r.id=unit.restoration "
    "LEFT JOIN content made ON made.id=r.output WHERE unit.run=? AND unit.cell=?"
)


class Place(NamedTuple):
    """A method on a dataset of a run that it is for."""

    cell: int
    """Its number among all pairs of the run, in the order of its table."""
    dataset: DatasetRecord
    method: MethodRecord

    @property
    def labels(self) -> tuple[str, str]:
        return self.dataset.label, self.method.label


def places(record: RunRecord) -> Iterator[Place]:
    """Every method on every dataset that it is for, in the order of the record."""
    for row, dataset in enumerate(record.datasets):
        for column, method in enumerate(record.methods):
            if method.is_for(dataset.label):
                yield Place(row * len(record.methods) + column, dataset, method)


def references_of(found: Units) -> set[int]:
    """Content ids of everything that outputs of a run are compared with."""
    known: set[int] = set()
    for each in found.values():
        one = each.references.tolist() if isinstance(each, UnitColumns) else (unit.reference for unit in each)
        known.update(one)
    return known - {0}


def given(store: Store, number: int) -> dict[int, bytes]:
    """The content hashes of a run's inputs and references, which its methods share."""
    sql = (
        "SELECT id, hash FROM content WHERE id IN (SELECT r.input FROM unit JOIN restoration r "
        "ON r.id=unit.restoration WHERE unit.run=?1 UNION SELECT reference FROM unit WHERE run=?1)"
    )
    return dict(store.select(sql, (number,)))


def of_place(store: Store, number: int, place: Place, hashes: Mapping[int, bytes]) -> UnitColumns:
    """The units of one method on one dataset."""
    found = UnitColumns(Grid.regular(place.dataset.items, place.method.repeats), hashes)
    found.fill(store.select(_ROWS, (number, place.cell)))
    return found


def read(store: Store, number: int, record: RunRecord) -> dict[tuple[str, str], UnitColumns]:
    """All units of a run."""
    hashes = given(store, number)
    return {place.labels: of_place(store, number, place, hashes) for place in places(record)}


def blank(record: RunRecord) -> dict[tuple[str, str], UnitColumns]:
    """No units of any method on any dataset, in the order of the record."""
    nothing = UnitColumns(Grid.regular((), 1), {})
    return {(dataset.label, method.label): nothing for dataset in record.datasets for method in record.methods}

"""The units of a run as it recorded them: where the rows of a method on a dataset stand is known here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.results.record import RunRecord
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

    @property
    def made(self) -> StoredRestoration | None:
        """The row, where it has an output."""
        return self.row if self.row is not None and self.row.output is not None else None


Units = Mapping[tuple[str, str], Sequence[Unit]]
"""By the labels of dataset and method; every repeat of an item after the other. A method that is not for a dataset has
none."""


def read(store: Store, number: int, record: RunRecord) -> Units:
    """All units of a run, in the order of its record."""
    places, made = store.units(number), store.restorations_of(number)
    cells = [(dataset, method) for dataset in record.datasets for method in record.methods]
    found: dict[tuple[str, str], list[Unit]] = {}
    for index, (dataset, method) in enumerate(cells):
        mine = found.setdefault((dataset.label, method.label), [])
        for unit in range(len(dataset.items) * method.repeats if method.is_for(dataset.label) else 0):
            position, repeat = divmod(unit, method.repeats)
            restoration, reference = places.get((index, unit), (None, 0))
            given, row = made.get(restoration, (None, None)) if restoration is not None else (None, None)
            mine.append(Unit(dataset.items[position], position, repeat, row, given, reference))
    return found

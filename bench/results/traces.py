"""How the restorations of a run came about, of methods that tell: read from the store, by dataset, method and item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.methods.trace import Trace, read
from bench.results.store import Store
from bench.results.units import Units


class Told(NamedTuple):
    """The rounds of one item, restored once."""

    item: str
    repeat: int
    trace: Trace
    seconds: float | None
    """What all of it took."""
    pictures: Mapping[int, bytes] = {}
    """Number of a round → content hash of the image after it."""


Traces = Mapping[tuple[str, str], Sequence[Told]]
"""By the labels of dataset and method; those of methods that tell nothing are not in it."""


def of_run(store: Store, number: int, units: Units) -> Traces:
    """All traces of a run, in the order of its units."""
    known = store.traces_of(number) if store.has_traces() else {}
    found: dict[tuple[str, str], list[Told]] = {}
    for place, each in units.items() if known else ():
        for unit in each:
            text, pictures = known.get(unit.row.id, ("", {})) if unit.made is not None and unit.row else ("", {})
            trace = read(text) if text else None
            if trace is not None and unit.row is not None:
                told = Told(unit.item, unit.repeat, trace, unit.row.seconds, pictures)
                found.setdefault(place, []).append(told)
    return found

"""What other tools' formats ask of a run: cells with a finite value, their intervals, and where names lead."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bench.catalog.registry import Entry, registry
from bench.export.names import fingerprint
from bench.results.view import Cell, RunView
from bench.tables import statistics
from bench.tables.significance import interval_of


class Measured(NamedTuple):
    """A cell that has a finite value."""

    cell: Cell
    value: float
    interval: statistics.Interval | None

    @property
    def whole(self) -> bool:
        """Whether it is of all items; a mean over those that did not fail is no number to be tracked or shown alone."""
        return self.cell.complete


def measured(data: RunView) -> Iterator[Measured]:
    """In table order; what has no finite value has no place in these formats."""
    for cell in data.cells:
        if cell.value is not None and math.isfinite(cell.value):
            yield Measured(cell, cell.value, interval_of(cell))


def left_out(data: RunView) -> int:
    """Cells without a finite value."""
    return len(data.cells) - sum(1 for _ in measured(data))


def parts(data: RunView) -> int:
    """Cells whose value is of fewer items than were expected."""
    return sum(not one.whole for one in measured(data))


def entry(kind: str, name: str) -> Entry | None:
    """The catalogue's entry, where this version still has it."""
    known = registry(kind)
    return known.get(name) if name in known else None


def metric_name(data: RunView, label: str) -> str:
    """The catalogue's name of a column."""
    from bench.suite.definition import label_of

    return {label_of(spec): spec.metric for spec in data.record.metrics}.get(label, label.partition("/")[0])


def bounds(data: RunView, cell: Cell, value: float) -> tuple[float, float]:
    """The range that a metric's values can have; unbounded where nobody says, or where a value contradicts."""
    found = entry("metric", metric_name(data, cell.column.label))
    given = (found.fields.get("range") if found is not None else None) or [None, None]
    low, high = (float(end) if isinstance(end, int | float) else default for end, default in zip(
        given, (-math.inf, math.inf), strict=True))  # fmt: skip
    return min(low, value) if math.isfinite(low) and value >= low else -math.inf, high if value <= high else math.inf


def fields_of(signature: str) -> Mapping[str, str]:
    """The fields of a signature by name."""
    return {key: value for part in signature.split("|")[1:] for key, _, value in [part.partition(":")]}


def home(kind: str, name: str) -> str | None:
    """Where a method or dataset lives, by the catalogue."""
    found = entry(kind, name)
    given = found.fields.get("home") if found is not None else None
    return str(given) if given and str(given).startswith("http") else None


def developer(name: str) -> str:
    """Who is behind a method: the owner of its repository, this package, or the user."""
    found = entry("method", name)
    address = re.match(r"https?://github\.com/([^/]+)/", f"{home('method', name) or ''}/")
    if address:
        return plain(address[1])
    kind = found.fields.get("kind") if found is not None else None
    return "iqpir-bench" if found is not None and kind not in ("folder", "command", "clone", "plugin") else "local"


def plain(text: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", text).strip("-. ") or "unnamed"


def told_apart(labels: Iterable[str]) -> dict[str, str]:
    """Label → a `plain` name of its own; those that would have one name are told apart by a hash of the label."""
    made = {label: plain(label) for label in labels}
    counts = Counter(name.casefold() for name in made.values())
    return {
        label: f"{name}-{fingerprint(label)}" if counts[name.casefold()] > 1 else name for label, name in made.items()
    }


def when(seconds: float) -> str:
    """A moment as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def options_of(data: RunView, dataset: str) -> Mapping[str, Any]:
    """The options that the suite gives a dataset."""
    for record, given in zip(data.record.datasets, data.record.definition.get("datasets", ()), strict=False):
        if record.label == dataset and isinstance(given, dict):
            return given.get("options") or {}
    return {}

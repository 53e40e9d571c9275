"""Which suites this machine has everything for, and how much the others lack."""

from __future__ import annotations

from typing import NamedTuple

from bench.errors import BenchError
from bench.planning.bind import Selection, resolve
from bench.suite import definition
from iqpir import terminal


class Readiness(NamedTuple):
    """A suite, and what stands between it and a run."""

    name: str
    title: str
    lacking: int
    """Things it needs that are not here."""
    ready: int
    """Of its pairs of a dataset and a method, those of which both are here."""
    pairs: int

    @property
    def told(self) -> str:
        """For a column."""
        if not self.lacking:
            return "runs here"
        return f"{self.ready} of {self.pairs} cells here" if self.ready else f"lacks {self.lacking}"


def look(name: str) -> Readiness:
    """Resolve one suite; loads nothing. Raises `BenchError` where it is wrong."""
    resolved = resolve(definition.load(definition.find(name)), Selection(commands=False))
    pairs = [pair for pair in resolved.jobs() if pair[1].is_for(pair[0].label)]
    ready = sum(dataset.unavailable is None and method.unavailable is None for dataset, method in pairs)
    return Readiness(name, definition.title_of(name), len(resolved.missing), ready, len(pairs))


def survey_suites() -> list[Readiness]:
    """All suites that are found by name: those that run here first, then by how much of them is here."""
    found = []
    for name in definition.names():
        try:
            found.append(look(name))
        except BenchError:  # bench validate says what is wrong with it
            found.append(Readiness(name, definition.title_of(name), 1, 0, 0))
    return sorted(found, key=lambda one: (bool(one.lacking), -one.ready / max(one.pairs, 1), one.name))


def listing() -> str:
    """The suites as a table, drawn for a window where standard output is one."""
    rows = [{"suite": one.name, "on this machine": one.told, "title": _short(one.title)} for one in survey_suites()]
    return terminal.listing(rows)


def _short(text: str) -> str:
    return text if len(text) <= 72 else text[:71] + "…"

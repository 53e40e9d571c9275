"""`bench merge` from end to end: rows and outputs together, then the values of the sets that are whole now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.catalog.plugins import load_plugins
from bench.errors import counted
from bench.results import merge as rows
from bench.results import tallies
from bench.results.leases import Lease
from bench.results.store import Store
from bench.results.view import read_cells, tally
from bench.runner.aggregate import aggregate_recorded


class MergedRun(NamedTuple):
    """A run of the folder that holds all."""

    number: int
    suite: str
    units: int
    pending: int
    failed: int


class Joined(NamedTuple):
    """What became of the folders."""

    runs: Sequence[MergedRun]
    files: int
    sessions: int

    def line(self, target: str) -> str:
        """For a person, a line per run."""
        told = [
            f"run {run.number} of {run.suite}: {run.units} units"
            + (f", {run.pending} not worked on yet" if run.pending else "")
            + (f", {run.failed} failed" if run.failed else "")
            for run in self.runs
        ]
        people = f", {counted(self.sessions, 'session')} of votes" if self.sessions else ""
        return "\n".join([*told, f"{self.files} outputs{people} copied to {target}"])


def merge(
    folders: Sequence[Path],
    target: Path,
    plugins: Sequence[str] = (),
    note: Callable[[str], object] = lambda line: None,
) -> Joined:
    """Bring results folders together. Raises `BenchError` where they contradict each other."""
    load_plugins(plugins)
    found = rows.merge(folders, target)
    runs: list[MergedRun] = []
    with Store(target) as store, Lease(store, "run", note):
        for number in found.runs:
            aggregate_recorded(store, number, note)
            change, counted = store.changes(), tally(read_cells(store, number))
            row = store.run(number)
            assert row is not None
            tallies.keep(store, row, counted, change)
            runs.append(MergedRun(number, row.suite, counted.expected, counted.pending, counted.failed))
    return Joined(runs, found.files, found.sessions)

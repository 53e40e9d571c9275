"""What a command's argument stands for: a run or a baseline file; and whether a run's stored outputs are whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import paths
from bench.errors import BenchError
from bench.gate import baseline, snapshot
from bench.gate.findings import Finding
from bench.gate.snapshot_format import Snapshot
from bench.progress import bar
from bench.results import artefacts, view
from bench.results.store import Store
from bench.results.view import RunView


class Side(NamedTuple):
    """One of two things that are compared."""

    name: str
    """For a reader: `run 3` or the file."""
    snapshot: Snapshot
    run: RunView | None
    """None for a file."""
    folder: Path | None = None
    """The results folder that a run is of."""
    damaged: tuple[Finding, ...] = ()
    """Stored outputs that are not what was scored, where that was asked for."""

    @property
    def cells(self) -> RunView:
        """For tables: the numbers as the other side, which may be a file, has them too."""
        return snapshot.cells(self.snapshot)


def of_run(name: str | None, results: str | None, *, look: bool = False) -> Side:
    """A run by number or suite; `DIR:RUN` is one of another results folder. `look` checks its output files."""
    folder, colon, run = (name or "").rpartition(":")
    place = Path(folder) if colon and folder else paths.results(results)
    with Store.reading(place) as store:
        number = view.find_run(store, (run if colon else name) or None)
    return of_number(number, place, look=look)


def of_number(number: int, place: Path, *, look: bool = False) -> Side:
    """A run of a results folder, as it is stored now."""
    with Store.reading(place) as store:
        data = view.read_cells(store, number)
        damaged = tuple(_damaged(data, place)) if look else ()
        return Side(f"run {data.number}", snapshot.take(store, data), data, place, damaged)


def of_file(file: Path) -> Side:
    """A baseline."""
    return Side(str(file), baseline.read(file), None)


def of(name: str, results: str | None) -> Side:
    """A baseline file where one is named, else a run."""
    return of_file(Path(name)) if name.endswith(".json") or Path(name).is_file() else of_run(name, results)


def complete_run(suite: str, results: str | None) -> Side:
    """The newest run of a suite that is worked through. Raises `BenchError` where the newest one is not."""
    side = of_run(suite, results)
    assert side.run is not None
    counts = view.failures(side.run)
    if counts.pending:
        raise BenchError(f"{side.name} of {side.snapshot.suite} is unfinished: bench run {suite} goes on with it")
    if not counts.expected:
        raise BenchError(f"{side.name} of {side.snapshot.suite} has no values to keep")
    return side


def _damaged(data: RunView, results: Path) -> Iterator[Finding]:
    """Output files that are there and no longer hold the pixels that were scored. A file that is gone is none."""
    made = {
        unit.row.output_hash: unit.row.suffix
        for each in data.units.values()
        for unit in each
        if unit.row is not None and unit.row.output_hash is not None and unit.row.suffix is not None
    }
    whole: dict[bytes, bool] = {}
    shelf = artefacts.Shelf(results)
    with bar("stored outputs", len(made)) as shown:
        for output, suffix in made.items():
            shown.update(1)
            whole[output] = not shelf.holds(output, suffix) or artefacts.read(results, output, suffix) is not None
    for (dataset, method), each in data.units.items():
        repeats = max((unit.repeat + 1 for unit in each), default=1)
        bad = [unit for unit in each if unit.row is not None and not whole.get(unit.row.output_hash or b"", True)]
        if bad:
            row = bad[0].row
            assert row is not None and row.output_hash is not None
            file = artefacts.path(results, row.output_hash, row.suffix or "png")
            items = tuple(snapshot.item_key(unit.item, unit.repeat, repeats) for unit in bad)
            detail = f"{file} holds other pixels than those that were scored: delete it"
            yield Finding("damaged", dataset, method, "", items=items, detail=detail)

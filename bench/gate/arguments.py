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
from bench.results.view import RunData


class Side(NamedTuple):
    """One of two things that are compared."""

    name: str
    """For a reader: `run 3` or the file."""
    snapshot: Snapshot
    run: RunData | None
    """None for a file."""
    damaged: tuple[Finding, ...] = ()
    """Stored outputs that are not what was scored, where that was asked for."""

    @property
    def cells(self) -> RunData:
        """For tables: the numbers as the other side, which may be a file, has them too."""
        return snapshot.cells(self.snapshot)


def of_run(name: str | None, results: str | None, *, look: bool = False) -> Side:
    """A run by number or suite; `DIR:RUN` is one of another results folder. `look` checks its output files."""
    folder, colon, run = (name or "").rpartition(":")
    place = Path(folder) if colon and folder else paths.results(results)
    with Store.reading(place) as store:
        data = view.read_cells(store, view.find_run(store, (run if colon else name) or None))
        damaged = tuple(_damaged(store, data, place)) if look else ()
        return Side(f"run {data.number}", snapshot.take(store, data), data, damaged)


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


def _damaged(store: Store, data: RunData, results: Path) -> Iterator[Finding]:
    """Output files that are there and no longer hold the pixels that were scored. A file that is gone is none."""
    units = store.units(data.number)
    made = store.restorations_of(data.number)
    whole: dict[bytes, bool] = {}
    with bar("stored outputs", len(made)) as shown:
        for _, output in made.values():
            shown.update(1)
            if output.output_hash is None or output.suffix is None or output.output_hash in whole:
                continue
            file = artefacts.path(results, output.output_hash, output.suffix)
            whole[output.output_hash] = (
                not file.is_file() or artefacts.read(results, output.output_hash, output.suffix) is not None
            )
    index = 0
    for dataset in data.record.datasets:
        for method in data.record.methods:
            repeats = int(method["repeats"])
            bad: list[str] = []
            files: list[Path] = []
            for position in range(len(dataset["items"]) * repeats):
                restoration, _ = units.get((index, position), (None, 0))
                row = made[restoration][1] if restoration in made else None
                if row is not None and row.output_hash is not None and not whole.get(row.output_hash, True):
                    bad.append(snapshot.item_key(dataset["items"][position // repeats], position % repeats, repeats))
                    files.append(artefacts.path(results, row.output_hash, row.suffix or "png"))
            if bad:
                detail = f"{files[0]} holds other pixels than those that were scored: delete it"
                yield Finding("damaged", dataset["label"], method["label"], "", items=tuple(bad), detail=detail)
            index += 1

"""Several runs, of one store or of many, as one table: where their signatures and items agree.

The first run that has a dataset or a column says what it means. A value of another run stands beside it when its column
has the same signature and numeric mode and its dataset the same items with the same pixels; otherwise there is a gap
with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.errors import BenchError, counted
from bench.identity import digest
from bench.metrics.explain import differences
from bench.results.record import Column, DatasetRecord, MethodRecord
from bench.results.view import Cell, RunView


class Entered(NamedTuple):
    """A run that takes part."""

    name: str
    """How messages call it, such as `lol (run 3)`."""
    data: RunView


def join(runs: Sequence[Entered]) -> RunView:
    """One view of all. Raises `BenchError` where no two runs share a dataset, and for fewer than one run."""
    if not runs:
        raise BenchError("a leaderboard is of at least one run")
    datasets = _datasets(runs)
    if len(runs) > 1 and not any(_holders(runs, label)[1:] for label in datasets):
        sets = "; ".join(f"{one.name} has {', '.join(_labels(one))}" for one in runs)
        raise BenchError(f"these runs have no dataset in common ({sets})")
    columns = {label: _columns(runs, label) for label in datasets}
    labels = list(dict.fromkeys(name for known in columns.values() for name in known))
    methods = list(_methods(runs))
    cells: list[Cell] = []
    for label, (base, dataset) in datasets.items():
        for run, method, shown in methods:
            mine = {cell.column.label: cell for cell in run.data.cells if _is(cell, label, method.label)}
            if not mine:
                continue
            why = _other_items(base, run, label)
            known = columns[label]
            spare = next(iter(known.values()))
            cells += [
                _cell(run, mine.get(name), known.get(name, spare), label, shown, len(dataset.items), why, name)
                for name in labels
            ]
    first = runs[0].data
    record = replace(
        first.record,
        title=f"Leaderboard of {', '.join(one.name for one in runs)}",
        datasets=[dataset for _, dataset in datasets.values()],
        methods=[replace(method, label=shown) for _, method, shown in methods],
    )
    devices = frozenset(device for one in runs for device in one.data.devices)
    return first._replace(record=record, cells=cells, devices=devices, timings=(), seconds={}, units={}, traces={})


def _is(cell: Cell, dataset: str, method: str) -> bool:
    return (cell.dataset, cell.method) == (dataset, method)


def _labels(run: Entered) -> list[str]:
    return [dataset.label for dataset in run.data.record.datasets]


def _holders(runs: Sequence[Entered], label: str) -> list[Entered]:
    return [run for run in runs if label in _labels(run)]


def _datasets(runs: Sequence[Entered]) -> dict[str, tuple[Entered, DatasetRecord]]:
    """Label → the run that says what it is, and the dataset."""
    found: dict[str, tuple[Entered, DatasetRecord]] = {}
    for run in runs:
        for dataset in run.data.record.datasets:
            found.setdefault(dataset.label, (run, dataset))
    return found


def _columns(runs: Sequence[Entered], label: str) -> dict[str, Column]:
    """What each column of a dataset means, by the first run that has it."""
    found: dict[str, Column] = {}
    for run in runs:
        for cell in run.data.cells:
            if cell.dataset == label:
                found.setdefault(cell.column.label, cell.column)
    return found


def _methods(runs: Sequence[Entered]) -> list[tuple[Entered, MethodRecord, str]]:
    """(run, method, label): another method of a label that is taken carries its run's name, the same stands once."""
    found: list[tuple[Entered, MethodRecord, str]] = []
    known: dict[str, bytes] = {}
    for run in runs:
        for method in run.data.record.methods:
            made = digest({"identity": dict(method.identity), "options": dict(method.options)})
            if method.label not in known:
                known[method.label] = made
                found.append((run, method, method.label))
            elif known[method.label] != made or not method.restores or _adds(run, method, found):
                found.append((run, method, f"{method.label} ({run.name})"))
    return found


def _adds(run: Entered, method: MethodRecord, found: Sequence[tuple[Entered, MethodRecord, str]]) -> bool:
    """Whether a method that stands there already was scored here on what it was not scored on there: another dataset
    or metric, or one that is called so and is another, by its images or its signature."""
    held = [other for other, known, _ in found if known.label == method.label]
    places = {
        (cell.dataset, cell.column.label, cell.column.signature, cell.column.mode)
        for other in held for cell in other.data.cells if cell.method == method.label
    }  # fmt: skip
    mine = {
        (cell.dataset, cell.column.label, cell.column.signature, cell.column.mode)
        for cell in run.data.cells if cell.method == method.label
    }  # fmt: skip
    shared = ((other, label) for other in held for label in _labels(run) if label in _labels(other))
    return not mine <= places or any(_other_items(other, run, label) for other, label in shared)


def _other_items(base: Entered, run: Entered, label: str) -> str | None:
    """Why a dataset of one run is not that of another; None where both have the same items with the same pixels, of
    inputs and of references."""
    if run is base:
        return None
    first, second = (next(one for one in each.data.record.datasets if one.label == label) for each in (base, run))
    if list(first.items) != list(second.items):
        return (
            f"{run.name} has {len(second.items)} items of {label}, {base.name} {len(first.items)}, "
            f"of which {len(set(first.items) & set(second.items))} are the same"
        )
    for what, theirs, ours in zip(("input", "reference"), _images(base, label), _images(run, label), strict=True):
        other = [item for item in theirs.keys() & ours.keys() if theirs[item] != ours[item]]
        if other:
            are = "is another image" if len(other) == 1 else "are other images"
            return f"{counted(len(other), what)} of {label} {are} in {run.name} than in {base.name}"
    return None


def _images(run: Entered, label: str) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
    """Item → content of its input, and of its reference, of those that were worked on."""
    units = [unit for (dataset, _), those in run.data.units.items() if dataset == label for unit in those]
    inputs = {unit.item: unit.given for unit in units if unit.given is not None}
    return inputs, {unit.item: unit.truth for unit in units if unit.truth is not None}


def _cell(
    run: Entered, cell: Cell | None, column: Column, dataset: str, shown: str, expected: int, why: str | None, name: str
) -> Cell:  # fmt: skip
    """A run's cell under its label in the table, or a gap that says why."""
    reason = why
    if cell is None:
        reason = why or f"{run.name} does not measure {name}"
        column = replace(column, label=name) if column.label != name else column
    elif reason is None and (cell.column.signature, cell.column.mode) != (column.signature, column.mode):
        rows = differences(column.signature, cell.column.signature)
        told = ", ".join(f"{row.field}:{row.second} instead of {row.field}:{row.first}" for row in rows)
        reason = f"{name} of {run.name} has {told or f'the mode {cell.column.mode}'}"
    if reason is None and cell is not None:
        return replace(cell, method=shown)
    return Cell(dataset, shown, column, expected, [], absent=reason)

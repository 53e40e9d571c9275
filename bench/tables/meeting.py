"""What of a run and of a paper's table is the same: methods, datasets, and the columns that mean what the paper's do.

Methods meet by label, name, title or alias, datasets by label or name, metrics by what the catalogue calls them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.catalog import published
from bench.catalog.published import PublishedTable, Value, canonical, dataset_title, load, plain
from bench.catalog.registry import registry
from bench.results.record import DatasetRecord, MethodRecord
from bench.results.view import RunView
from bench.suite.definition import label_of
from bench.tables import derived
from bench.tables.protocol_match import Belonging


class Meeting(NamedTuple):
    """What of a run stands for what of a paper's table."""

    methods: Mapping[str, str]
    """Our label → the printed name."""
    datasets: Mapping[str, str]
    """Our label → the table's dataset."""
    metrics: Mapping[str, str]
    """Our column → the catalogue's name of its metric, or what the table calls a column that is derived."""
    grid: Mapping[tuple[str, str, str], Value]
    """(dataset, printed name, catalogue's metric) → value."""
    belonging: Belonging

    def value(self, dataset: str, method: str, column: str) -> Value | None:
        """The paper's value of a cell of the run; None as well where the column means something else."""
        theirs = self.datasets.get(dataset, "")
        return self.printed(theirs, self.methods.get(method, ""), column, dataset)

    def increment(self, dataset: str, method: str, column: str) -> Value | None:
        """The increment over its host that the paper prints behind a value."""
        theirs = self.datasets.get(dataset, "")
        return self.printed(theirs, self.methods.get(method, ""), column, dataset, "/increment")

    def printed(self, theirs: str, method: str, column: str, ours: str | None, part: str = "") -> Value | None:
        """A value of the paper's dataset and method as a column of the run may show it."""
        value = self.grid.get((theirs, method, self.metrics[column] + part))
        return value if value is not None and not self.belonging.why_not(column, theirs, ours) else None

    def strangers(self) -> Iterator[tuple[str, str]]:
        """(column, why) of the columns that the paper's value of their metric does not belong to."""
        there = {(place[0], place[2]) for place in self.grid}
        for column, metric in self.metrics.items():
            for ours, theirs in self.datasets.items():
                why = self.belonging.why_not(column, theirs, ours) if (theirs, metric) in there else ""
                if why:
                    yield column, f"{column} on {ours} is {why}"

    def homeless(self) -> set[str]:
        """Metrics of the paper's that belong to no column of theirs."""
        strange = {column for column, _ in self.strangers()}
        return {self.metrics[column] for column in strange} - {
            metric for column, metric in self.metrics.items() if column not in strange
        }


def table_of(data: RunView) -> PublishedTable | None:
    """The table that the run's suite names; None where it names none that is here."""
    key = data.record.definition.get("published")
    if key is None or not published.folder().is_dir() or key not in published.names():
        return None
    return load(str(key))


def meet(data: RunView, table: PublishedTable, more: Sequence[derived.Derived] = ()) -> Meeting:
    """What of a run, with its derived columns, stands for what of a table."""
    metrics = {label_of(spec): canonical(spec.metric) for spec in data.record.metrics}
    columns = dict.fromkeys(cell.column.label for cell in data.cells)
    return Meeting(
        methods_met(data.record.methods, table),
        dict(datasets_met(data.record.datasets, table)),
        {label: metrics.get(label, canonical(label)) for label in columns} | {one.name: one.printed for one in more},
        {(value.dataset, value.method, canonical(value.metric)): value for value in table.values},
        Belonging(data, table),
    )


def datasets_met(ours: Sequence[DatasetRecord], table: PublishedTable) -> Iterator[tuple[str, str]]:
    """(our label, the table's name) of the datasets that both have."""
    for dataset in ours:
        names = {plain(dataset.label), plain(dataset.name)}
        for theirs in table.datasets:
            if names & {plain(theirs), plain(dataset_title(theirs))}:
                yield dataset.label, theirs
                break


def methods_met(ours: Sequence[MethodRecord], table: PublishedTable) -> dict[str, str]:
    """By label first; a catalogue entry's names decide only where one method of the run goes by them."""
    found: dict[str, str] = {}
    for method in ours:
        printed = table.method_of({plain(method.label)})
        if printed is not None and printed not in found.values():
            found[method.label] = printed
    for method in ours:
        alike = [other for other in ours if other.name == method.name]
        if method.label in found or len(alike) > 1:
            continue
        printed = table.method_of({plain(name) for name in _names(method.name)})
        if printed is not None and printed not in found.values():
            found[method.label] = printed
    return found


def _names(method: str) -> list[str]:
    methods = registry("method")
    if method not in methods:
        return [method]
    fields = methods.get(method).fields
    alias = fields.get("alias", [])
    return [method, str(fields.get("title", method)), *([alias] if isinstance(alias, str) else alias)]

"""A paper's table on its own, and beside a run: the paper's value with every value of ours, and the difference.

Methods meet by label, name, title or alias, datasets by label or name, metrics by what the catalogue calls them. What
only one side has stays, and is said to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.catalog.published import (
    PublishedTable,
    Value,
    canonical,
    dataset_title,
    load,
    names,
    plain,
    quantity,
    title_of,
)
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.results.record import DatasetRecord, MethodRecord
from bench.results.view import RunView
from bench.suite.definition import MetricSpec, label_of
from bench.tables import derived, gains, render
from bench.tables.footnotes import PRIOR_LINE
from bench.tables.layout import PLAIN, Extras, Row, Shown, Table, lay_out
from bench.tables.protocol_match import Belonging
from bench.tables.time_column import timed

_GAP = "–"


class _Notes:
    """Doubts by the number that stands beside a value; one number per wording."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, *values: Value | None) -> str:
        doubts = dict.fromkeys(value.doubt for value in values if value is not None and value.doubt)
        return "".join(f" [{self._numbers.setdefault(doubt, len(self._numbers) + 1)}]" for doubt in doubts)

    def lines(self) -> Iterator[str]:
        yield from (f"[{number}] {doubt}" for doubt, number in self._numbers.items())


def is_key(text: str | None) -> bool:
    """True for what can only mean a paper's table, such as iqpir/table2, known or not."""
    return (
        bool(text) and "/" in str(text) and str(text).partition("/")[0] in {name.partition("/")[0] for name in names()}
    )


def contents(style: str) -> str:
    """The names of all tables with their titles."""
    from tabulate import tabulate

    render.check_style(style)
    rows = [{"name": name, "title": title_of(name)} for name in names()]
    if style in render.LISTINGS:
        return render.LISTINGS[style](rows)
    form = {"markdown": "pipe", "latex": "latex_booktabs", "html": "html"}[style]
    return str(tabulate(rows, headers="keys", tablefmt=form, disable_numparse=True)) + "\n"


def render_alone(key: str, style: str) -> str:
    """A paper's table in one of `render.FORMATS`. Raises `BenchError` for an unknown table or format."""
    render.check_style(style)
    table = load(key)
    return render.PAGES[style](alone(table)) if style in render.PAGES else render.LISTINGS[style](list(_rows(table)))


def alone(table: PublishedTable) -> Table:
    """A paper's table as it prints it, increments in brackets; best and second best are told from the values."""
    grid = {value[2:5]: value for value in table.values}
    metrics = [metric for metric in table.metrics if not metric.endswith("/increment")]
    quantities = [quantity(metric) for metric in metrics]
    notes = _Notes()
    rows: list[Row] = []
    for dataset in table.datasets:
        present = [name for name in table.methods if any((dataset, name, metric) in grid for metric in metrics)]
        ranks = {metric: _ranks(table, dataset, metric) for metric in metrics}
        for name in present:
            cells = []
            for metric in metrics:
                value, gain = grid.get((dataset, name, metric)), grid.get((dataset, name, f"{metric}/increment"))
                text = _GAP if value is None else value.printed + (f" ({gain.printed})" if gain else "")
                cells.append(Shown(text + notes.mark(value, gain), ranks[metric].get(name, 0)))
            rows.append(Row(dataset_title(dataset), name, cells, "", name == present[0]))
    header = [one.title + _dagger(table, metric) for one, metric in zip(quantities, metrics, strict=True)]
    arrows = [{"higher": "↑", "lower": "↓"}.get(one.better or "", "") for one in quantities]
    footer = [
        f"{'Reported for' if _unverified(table) else 'As printed in'} {_place(table)}.",
        "Best is bold, second best underlined, per dataset, by the printed values.",
        *_prior_line(table, metrics),
        *notes.lines(),
    ]
    return Table(f"{table.title} ({table.key})", header, arrows, rows, footer, counted=False)


def _rows(table: PublishedTable) -> Iterator[dict[str, object]]:
    for value in table.values:
        yield {
            "paper": value.paper, "table": value.table, "dataset": value.dataset, "method": value.method,
            "metric": value.metric, "value": value.number, "printed": value.printed, "doubt": value.doubt,
        }  # fmt: skip


def _ranks(table: PublishedTable, dataset: str, metric: str) -> dict[str, int]:
    column = [value for value in table.values if (value.dataset, value.metric) == (dataset, metric)]
    better = quantity(metric).better
    if better is None or len(column) < 2:
        return {}
    levels = sorted({value.number for value in column}, reverse=better == "higher")[:2]
    return {value.method: levels.index(value.number) + 1 for value in column if value.number in levels}


def _dagger(table: PublishedTable, metric: str) -> str:
    return "†" if canonical(metric) in table.prior else ""


def _prior_line(table: PublishedTable, metrics: Iterable[str]) -> Iterator[str]:
    if any(_dagger(table, metric) for metric in metrics):
        yield PRIOR_LINE


def _unverified(table: PublishedTable) -> bool:
    return all(value.doubt.startswith("unverified") for value in table.values)


def _place(table: PublishedTable) -> str:
    paper, _, name = table.key.partition("/")
    number = name.removeprefix("table")
    shown = f"table {number}" if number != name else f"its table of {name}"
    return f"{paper.upper()}, {shown} ({table.paper})"


# Beside a run


class _Meeting(NamedTuple):
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


def of_run(data: RunView) -> PublishedTable:
    """The table that the run's suite names. Raises `BenchError` where it names none."""
    key = data.record.definition.get("published")
    if key is None:
        raise BenchError(
            f"run {data.number} ({data.record.suite}) names no paper's table: write published: iqpir/table2, or "
            "another of bench list published, into its suite and run it again, which repeats no work; "
            "bench table iqpir/table2 --published prints that table alone"
        )
    return load(str(key))


def render_beside(data: RunView, style: str, extras: Extras = PLAIN) -> str:
    """A run beside its paper's table in one of `render.FORMATS`. Raises `BenchError` as `render.render` does."""
    render.check(data, style, extras)
    extras = render.settled(extras, style)
    table = of_run(data)
    if style in render.PAGES:
        return render.PAGES[style](timed(beside(data, table, extras), data, table))
    return render.LISTINGS[style](records(data, table, extras))


def beside(data: RunView, table: PublishedTable, extras: Extras = PLAIN) -> Table:
    """The run's table with the paper's value and ours less it in brackets, then the rows only the paper has."""
    ours = lay_out(data, extras)
    more = derived.columns(data, gain=extras.gain, seconds=extras.seconds)
    meeting = _meet(data, table, more)
    values = {(cell.dataset, cell.method, cell.column.label): cell.value for cell in data.cells}
    values |= {(*place, one.name): entry.value for one in more for place, entry in one.entries.items()}
    incremented = gains.increments_wanted(data, extras.increments)
    columns = list(meeting.metrics)
    notes = _Notes()
    rows: list[Row] = []
    for dataset in data.record.datasets:
        for row in (one for one in ours.rows if one.dataset == dataset.label):
            cells = []
            for shown, column in zip(row.cells, columns, strict=True):
                value = meeting.value(row.dataset, row.method, column)
                own = values[row.dataset, row.method, column]
                if value is not None:
                    shown = shown._replace(text=shown.text + _brackets(own, value, notes))
                theirs = meeting.increment(row.dataset, row.method, column) if incremented else None
                if theirs is not None:
                    shown = shown._replace(beside=f"{shown.beside} ({theirs.printed} printed){notes.mark(theirs)}")
                cells.append(shown)
            rows.append(row._replace(cells=cells))
        named = meeting.datasets.get(dataset.label, "")
        rows += _paper_rows(table, meeting, named, dataset.label, dataset.label, notes)
    for name in table.datasets:
        if name not in meeting.datasets.values():
            rows += _paper_rows(table, meeting, name, dataset_title(name), None, notes)
    footer = [
        *ours.footer,
        f"In brackets: the value {'reported for' if _unverified(table) else 'printed in'} {_place(table)}, "
        "and ours less it.",
        "A paper states no signature: a difference may be one of protocol, weights or data.",
        *_one_sided(data, table, meeting),
        *notes.lines(),
    ]
    return ours._replace(rows=rows, footer=footer)


def records(data: RunView, table: PublishedTable, extras: Extras = PLAIN) -> list[dict[str, object]]:
    """The run's records with the paper's value beside each, then one per value that only the paper has."""
    more = derived.columns(data, gain=extras.gain, seconds=extras.seconds)
    meeting = _meet(data, table, more)
    found = render.records(data, extras)
    for record in found:
        own = record["value"] if isinstance(record["value"], float) else None
        value = meeting.value(str(record["dataset"]), str(record["method"]), str(record["metric"]))
        record |= _published(value, own)
    blank = dict.fromkeys(found[0] if found else (), None)
    return [
        *found,
        *({**blank, **_only_theirs(value), **_published(value, None)} for value in _unmet(data, meeting, more)),
    ]


def _published(value: Value | None, own: float | None) -> dict[str, object]:
    return {
        "published": value and value.number,
        "published_as": value and value.printed,
        "published_method": value and value.method,
        "less_published": _difference(own, value) if own is not None and value is not None else None,
        "doubt": value.doubt if value else None,
    }


def _only_theirs(value: Value) -> dict[str, object]:
    return {
        "dataset": value.dataset, "method": value.method, "metric": value.metric, "signature": None, "value": None,
        "n": 0, "expected": 0, "status": "published only", "reason": None,
    }  # fmt: skip


def _unmet(data: RunView, meeting: _Meeting, more: Sequence[derived.Derived]) -> Iterator[Value]:
    places = [(cell.dataset, cell.method, cell.column.label) for cell in data.cells]
    places += [(*place, one.name) for one in more for place, entry in one.entries.items() if entry.expected]
    met = {
        (meeting.datasets.get(dataset), meeting.methods.get(method), meeting.metrics[column])
        for dataset, method, column in places
        if meeting.value(dataset, method, column) is not None
    }
    yield from (value for place, value in meeting.grid.items() if place not in met)


def _difference(own: float, value: Value) -> float:
    """Ours less theirs, rounded to the paper's decimals; never a negative zero."""
    return round(own - value.number, value.decimals) + 0.0 if math.isfinite(own) else own


def _brackets(own: float | None, value: Value, notes: _Notes) -> str:
    if own is None or math.isnan(own):
        return f" ({value.printed})" + notes.mark(value)
    return f" ({value.printed}, {_difference(own, value):+.{value.decimals}f})" + notes.mark(value)


def _paper_rows(
    table: PublishedTable, meeting: _Meeting, dataset: str, shown_as: str, ours: str | None, notes: _Notes
) -> Iterator[Row]:
    """Rows of a dataset that only the paper has; all of it where the run does not have the dataset (`ours` is None)."""
    first = ours is None
    for name in table.methods:
        if ours is not None and name in meeting.methods.values():
            continue
        values = [meeting.printed(dataset, name, column, ours) for column in meeting.metrics]
        if any(values):
            cells = [Shown(f"({one.printed})" + notes.mark(one) if one else _GAP, 0) for one in values]
            yield Row(shown_as, name, cells, "paper", first)
            first = False


def _one_sided(data: RunView, table: PublishedTable, meeting: _Meeting) -> Iterator[str]:
    ours = [method.label for method in data.record.methods if method.label not in meeting.methods]
    if ours:
        yield f"Without a value in the paper: {', '.join(ours)}."
    places = [dataset.label for dataset in data.record.datasets if dataset.label not in meeting.datasets]
    if places:
        yield f"Not a dataset of the paper's table: {', '.join(places)}."
    columns = [column for column, metric in meeting.metrics.items() if metric not in {key[2] for key in meeting.grid}]
    if columns:
        yield f"Not a metric of the paper's table: {', '.join(columns)}."
    strangers: dict[str, str] = {}
    for column, why in meeting.strangers():
        strangers.setdefault(column, why)
    yield from (f"No value of the paper beside {column}: {why}." for column, why in strangers.items())
    there = set(meeting.metrics.values()) - meeting.homeless()
    missing = [
        quantity(metric).title
        for metric in table.metrics
        if canonical(metric) not in there and not metric.endswith("/increment")
    ]
    if missing:
        yield f"In the paper's table and not in this one: {', '.join(missing)}."


def _meet(data: RunView, table: PublishedTable, more: Sequence[derived.Derived] = ()) -> _Meeting:
    metrics = {label_of(spec): canonical(spec.metric) for spec in _specs(data)}
    columns = dict.fromkeys(cell.column.label for cell in data.cells)
    return _Meeting(
        _methods(data.record.methods, table),
        dict(_datasets(data.record.datasets, table)),
        {label: metrics.get(label, canonical(label)) for label in columns} | {one.name: one.printed for one in more},
        {(value.dataset, value.method, canonical(value.metric)): value for value in table.values},
        Belonging(data, table),
    )


def _specs(data: RunView) -> list[MetricSpec]:
    return data.record.metrics


def _datasets(ours: Sequence[DatasetRecord], table: PublishedTable) -> Iterator[tuple[str, str]]:
    for dataset in ours:
        names = {plain(dataset.label), plain(dataset.name)}
        for theirs in table.datasets:
            if names & {plain(theirs), plain(dataset_title(theirs))}:
                yield dataset.label, theirs
                break


def _methods(ours: Sequence[MethodRecord], table: PublishedTable) -> dict[str, str]:
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

"""A run beside its paper's table: the paper's value with every value of ours, and the difference.

A paper's value stands in the column that means what its protocol gives. Where the run measures that metric in other
ways only, the paper's values have a column of their own, marked, and nothing is subtracted. What only one side has
stays, and is said to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.catalog.published import PublishedTable, Value, canonical, load, quantity
from bench.errors import BenchError
from bench.results.view import RunView
from bench.tables import derived, gains, render
from bench.tables.layout import PLAIN, Extras, Row, Shown, Table, derived_columns, lay_out
from bench.tables.meeting import Meeting, meet
from bench.tables.notes import Note, legend, told
from bench.tables.paper import Doubts, place_of, unverified
from bench.tables.selection import select
from bench.tables.sheet import GAP
from bench.tables.time_column import timed


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


def render_beside(data: RunView, style: str | render.Style, extras: Extras = PLAIN) -> str:
    """A run beside its paper's table in one of `render.FORMATS`. Raises `BenchError` as `render.render` does."""
    style = style if isinstance(style, render.Style) else render.Style(style)
    render.check(data, style, extras)
    extras = render.settled(extras, style.format)
    table = of_run(data)
    met = set(meet(data, table).methods.values())
    data, extras = select(data, style.choice, extras, [name for name in table.methods if name not in met])
    if style.format in render.PAGES:
        return render.page(timed(beside(data, table, extras), data, table), data, style)
    return render.LISTINGS[style.format](records(data, table, extras))


class _Column(NamedTuple):
    """A column of the printed table."""

    name: str
    heading: str
    arrow: str
    metric: str
    """The catalogue's name of a metric."""
    own: bool
    """Whether it holds the paper's values alone."""


@dataclass
class _Pages:
    """A run and a paper's table, and what is found while they are laid beside each other."""

    data: RunView
    table: PublishedTable
    meeting: Meeting
    extras: Extras
    values: Mapping[tuple[str, str, str], float | None]
    columns: Sequence[_Column]
    doubts: Doubts = field(default_factory=Doubts)
    differs: bool = False
    """Whether a cell shows a difference."""
    beside: bool = False
    """Whether a cell shows a value of the paper."""
    numbers: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """Values of the paper's rows, by (dataset as shown, method, column)."""

    def printed(self, theirs: str, method: str, column: _Column, ours: str | None) -> Value | None:
        if column.own:
            return self.meeting.grid.get((theirs, method, column.metric))
        return self.meeting.printed(theirs, method, column.name, ours)

    def our_row(self, row: Row, incremented: bool) -> Row:
        """A row of ours with the paper's values in brackets behind its own."""
        theirs, method = self.meeting.datasets.get(row.dataset, ""), self.meeting.methods.get(row.method, "")
        cells = []
        for place, column in enumerate(self.columns):
            value = self.printed(theirs, method, column, row.dataset)
            if column.own:
                cells.append(self._alone(value))
                continue
            shown = row.cells[place]
            if value is not None:
                shown = self._bracketed(shown, self.values.get((row.dataset, row.method, column.name)), value)
            more = self.meeting.increment(row.dataset, row.method, column.name) if incremented else None
            if more is not None:
                shown = shown._replace(
                    beside=f"{shown.beside} ({more.printed} printed)", doubts=self.doubts.of(value, more)
                )
            cells.append(shown)
        return row._replace(cells=cells)

    def _bracketed(self, shown: Shown, own: float | None, value: Value) -> Shown:
        self.beside = True
        doubts = self.doubts.of(value)
        if own is None or math.isnan(own):
            return shown._replace(beside=f" ({value.printed}){shown.beside}", doubts=doubts)
        self.differs = True
        less = difference(own, value)
        bracketed = f" ({value.printed}, {less:+.{value.decimals}f})"
        return shown._replace(beside=bracketed + shown.beside, doubts=doubts)

    def _alone(self, value: Value | None) -> Shown:
        self.beside |= value is not None
        return Shown(f"({value.printed})", 0, doubts=self.doubts.of(value)) if value else Shown(GAP, 0)

    def paper_rows(self, theirs: str, shown_as: str, ours: str | None) -> Iterator[Row]:
        """Rows of a dataset that only the paper has; all where the run does not have the dataset (`ours` is None)."""
        first = ours is None
        for name in self.table.methods:
            if ours is not None and name in self.meeting.methods.values():
                continue
            if self.extras.order is not None and name not in self.extras.order:
                continue
            values = [self.printed(theirs, name, column, ours) for column in self.columns]
            if any(values):
                for column, value in zip(self.columns, values, strict=True):
                    if value is not None:
                        self.numbers[shown_as, name, column.name] = value.number
                yield Row(shown_as, name, [self._alone(value) for value in values], "paper", first)
                first = False


def beside(data: RunView, table: PublishedTable, extras: Extras = PLAIN) -> Table:
    """The run's table with the paper's value and ours less it in brackets, then the rows only the paper has."""
    ours = lay_out(data, extras)
    more = derived_columns(data, extras)
    meeting = meet(data, table, more)
    values = {(cell.dataset, cell.method, cell.column.label): cell.value for cell in data.cells}
    values |= {(*place, one.name): entry.value for one in more for place, entry in one.entries.items()}
    columns = [
        _Column(name, heading, arrow, meeting.metrics.get(name, name), own=False)
        for name, heading, arrow in zip(ours.columns, ours.header, ours.arrows, strict=True)
    ]
    columns += _own_columns(table, meeting, extras)
    pages = _Pages(data, table, meeting, extras, values, columns)
    incremented = gains.increments_wanted(extras.whole or data, extras.increments)
    rows: list[Row] = []
    for dataset in data.record.datasets:
        mine = [pages.our_row(row, incremented) for row in ours.rows if row.dataset == dataset.label]
        theirs = meeting.datasets.get(dataset.label, "")
        mine += pages.paper_rows(theirs, dataset.label, dataset.label)
        rows += _in_order(mine, extras.order)
    if extras.all_published:
        for name in table.datasets:
            if name not in meeting.datasets.values():
                rows += _in_order(pages.paper_rows(name, table.dataset_title(name), None), extras.order)
    if extras.rank_published:
        rows = _ranked(rows, pages)
    header, arrows = [one.heading for one in columns], [one.arrow for one in columns]
    notes = [*ours.notes, *_notes(pages)]
    return ours._replace(rows=rows, notes=notes, header=header, arrows=arrows, columns=[one.name for one in columns])


def _own_columns(table: PublishedTable, meeting: Meeting, extras: Extras) -> Iterator[_Column]:
    """Columns of the paper's values that belong to none of the run's, and with `all_published` of all its metrics."""
    homeless, here = meeting.homeless(), set(meeting.metrics.values())
    for metric in table.metrics:
        name = canonical(metric)
        missing = name not in here and not metric.endswith("/increment") and extras.all_published
        if name in homeless or missing:
            arrow = {"higher": "↑", "lower": "↓"}.get(quantity(metric).better or "", "")
            yield _Column(f"{name}/published", f"{quantity(metric).title}§", arrow, name, own=True)


def _in_order(rows: Sequence[Row] | Iterator[Row], order: Sequence[str] | None) -> list[Row]:
    """Rows of one dataset in the order that was asked for; the first is the dataset's first."""
    rows = list(rows)
    if order is not None:
        rows.sort(key=lambda row: order.index(row.method))
    return [row._replace(first=place == 0) for place, row in enumerate(rows)]


def _ranked(rows: Sequence[Row], pages: _Pages) -> list[Row]:
    """Rows with best and second best told among ours and the paper's, by the values as printed."""
    complete = {(cell.dataset, cell.method, cell.column.label): cell for cell in pages.data.cells if cell.complete}
    numbers = dict(pages.numbers)
    for place, cell in complete.items():
        if cell.value is not None and math.isfinite(cell.value):
            numbers[place] = round(cell.value, cell.column.digits)
    found = list(rows)
    for index, column in enumerate(pages.columns):
        if column.arrow not in ("↑", "↓") or (not column.own and column.metric not in _measured(pages)):
            continue
        for dataset in dict.fromkeys(row.dataset for row in rows):
            group = {
                at: numbers.get((dataset, row.method, column.name))
                for at, row in enumerate(found)
                if row.dataset == dataset
            }
            levels = sorted({value for value in group.values() if value is not None}, reverse=column.arrow == "↑")[:2]
            for at, value in group.items():
                cells = list(found[at].cells)
                rank = levels.index(value) + 1 if value in levels and len(group) > 1 else 0
                cells[index] = cells[index]._replace(rank=rank)
                found[at] = found[at]._replace(cells=cells)
    return found


def _measured(pages: _Pages) -> set[str]:
    """Metrics of the run's own columns; what follows from others, such as a gain, is never ranked."""
    labels = {cell.column.label for cell in pages.data.cells}
    return {metric for label, metric in pages.meeting.metrics.items() if label in labels}


def _notes(pages: _Pages) -> Iterator[Note]:
    table = pages.table
    if pages.beside:
        what = f"In brackets: the value {'reported for' if unverified(table) else 'printed in'} {place_of(table)}"
        yield legend(what + (", and ours less it." if pages.differs else "."))
    if pages.differs:
        yield told("A paper states no signature: a difference may be one of protocol, weights or data.")
    if pages.extras.rank_published:
        yield legend("Best and second best are told among the paper's values as well.")
    own = [column.heading.rstrip("§") for column in pages.columns if column.own]
    if own:
        yield legend(f"§ The paper's values alone: no column here measures {', '.join(own)} as it does.")
    yield from map(told, _one_sided(pages))
    yield from pages.doubts.notes()


def records(data: RunView, table: PublishedTable, extras: Extras = PLAIN) -> list[dict[str, object]]:
    """The run's records with the paper's value beside each, then one per value that only the paper has."""
    more = derived_columns(data, extras)
    meeting = meet(data, table, more)
    found = render.records(data, extras)
    for record in found:
        own = record["value"] if isinstance(record["value"], float) else None
        value = meeting.value(str(record["dataset"]), str(record["method"]), str(record["metric"]))
        record |= _published(value, own)
    blank = dict.fromkeys(found[0] if found else (), None)
    return [
        *found,
        *({**blank, **_only_theirs(value), **_published(value, None)} for value in _unmet(data, meeting, more, extras)),
    ]


def _published(value: Value | None, own: float | None) -> dict[str, object]:
    return {
        "published": value and value.number,
        "published_as": value and value.printed,
        "published_method": value and value.method,
        "less_published": difference(own, value) if own is not None and value is not None else None,
        "doubt": value.doubt if value else None,
    }


def _only_theirs(value: Value) -> dict[str, object]:
    return {
        "dataset": value.dataset, "method": value.method, "metric": value.metric, "signature": None, "value": None,
        "n": 0, "expected": 0, "status": "published only", "reason": None,
    }  # fmt: skip


def _unmet(data: RunView, meeting: Meeting, more: Sequence[derived.Derived], extras: Extras) -> Iterator[Value]:
    places = [(cell.dataset, cell.method, cell.column.label) for cell in data.cells]
    places += [(*place, one.name) for one in more for place, entry in one.entries.items() if entry.expected]
    met = {
        (meeting.datasets.get(dataset), meeting.methods.get(method), meeting.metrics[column])
        for dataset, method, column in places
        if meeting.value(dataset, method, column) is not None
    }
    sets = set(meeting.datasets.values())
    for place, value in meeting.grid.items():
        shown = extras.order is None or value.method in {*extras.order, *meeting.methods.values()}
        if place not in met and shown and (extras.all_published or value.dataset in sets):
            yield value


def difference(own: float, value: Value) -> float:
    """Ours less theirs, rounded to the paper's decimals; never a negative zero."""
    return round(own - value.number, value.decimals) + 0.0 if math.isfinite(own) else own


def _one_sided(pages: _Pages) -> Iterator[str]:
    data, table, meeting = pages.data, pages.table, pages.meeting
    ours = [method.label for method in data.record.methods if method.label not in meeting.methods]
    if ours:
        yield f"Without a value in the paper: {', '.join(ours)}."
    places = [dataset.label for dataset in data.record.datasets if dataset.label not in meeting.datasets]
    if places:
        yield f"Not a dataset of the paper's table: {', '.join(places)}."
    columns = [column for column, metric in meeting.metrics.items() if metric not in {key[2] for key in meeting.grid}]
    if columns:
        yield f"Not a metric of the paper's table: {', '.join(columns)}."
    left = [table.dataset_title(name) for name in table.datasets if name not in meeting.datasets.values()]
    if left and not pages.extras.all_published:
        yield f"In the paper's table and not in this one: {', '.join(left)} (--all-published)."
    strangers: dict[str, str] = {}
    for column, why in meeting.strangers():
        strangers.setdefault(column, why)
    yield from (f"No value of the paper beside {column}: {why}." for column, why in strangers.items())
    there = {column.metric for column in pages.columns}
    missing = [
        quantity(metric).title
        for metric in table.metrics
        if canonical(metric) not in there and not metric.endswith("/increment")
    ]
    if missing:
        yield f"In the paper's table and not in this one: {', '.join(missing)}."

"""A paper's table on its own, as the paper prints it; what is doubtful about a value is a note below.

Beside a run it is `beside`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bench.catalog.published import (
    PublishedTable,
    Value,
    canonical,
    dataset_title,
    load,
    names,
    quantity,
    title_of,
)
from bench.tables import gains, render
from bench.tables.footnotes import PRIOR_BRIEF, PRIOR_LINE
from bench.tables.layout import Row, Shown, Table
from bench.tables.notes import Note, legend, told
from bench.tables.selection import Choice, pick
from bench.tables.sheet import GAP, check_layout


class Doubts:
    """Doubts by the number that stands beside a value; one number per wording."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, *values: Value | None) -> tuple[int, ...]:
        doubts = dict.fromkeys(value.doubt for value in values if value is not None and value.doubt)
        return tuple(self._numbers.setdefault(doubt, len(self._numbers) + 1) for doubt in doubts)

    def notes(self) -> Iterator[Note]:
        yield from (legend(f"[{number}] {doubt}") for doubt, number in self._numbers.items())


def is_key(text: str | None) -> bool:
    """True for what can only mean a paper's table, such as iqpir/table2, known or not."""
    return (
        bool(text) and "/" in str(text) and str(text).partition("/")[0] in {name.partition("/")[0] for name in names()}
    )


def contents(style: str) -> str:
    """The names of all tables with their titles."""
    render.check_style(style)
    rows = [{"name": name, "title": title_of(name)} for name in names()]
    if style in render.LISTINGS:
        return render.LISTINGS[style](rows)
    return render.of_rows(rows, style, ("name", "title"))


def render_alone(key: str, style: str | render.Style) -> str:
    """A paper's table, in its own form unless another layout is asked for.

    Raises `BenchError` for an unknown table, format or layout, and for what is chosen and not in the table.
    """
    style = style if isinstance(style, render.Style) else render.Style(style)
    render.check_style(style.format)
    check_layout(style.layout)
    table = _part(load(key), style.choice)
    if style.format in render.LISTINGS:
        return render.LISTINGS[style.format](list(_rows(table)))
    layout = style.layout or "paper"
    form = render.form_of(style, table.form if layout == "paper" else layout)._replace(plain=True)
    laid = alone(table)
    # A caption is for readers of another paper, who know nothing of our names for tables.
    laid = laid._replace(title=table.title) if style.format == "latex" else laid
    return render.PAGES[style.format](laid, form)


def _part(table: PublishedTable, choice: Choice) -> PublishedTable:
    """The chosen datasets, methods and metrics of a paper's table, in the order given."""
    sets = pick("dataset", choice.datasets, {name: [dataset_title(name)] for name in table.datasets}, table.key)
    methods = pick("method", choice.methods, {name: table.names.get(name, ()) for name in table.methods}, table.key)
    names = {metric: [table.heading(metric), canonical(metric)] for metric in table.metrics}
    metrics = pick("metric", choice.metrics, names, table.key)
    metrics |= {f"{metric}/increment": place for metric, place in metrics.items() if f"{metric}/increment" in names}
    kept = (one for one in table.values if one.dataset in sets and one.method in methods and one.metric in metrics)
    order = sorted(kept, key=lambda one: (sets[one.dataset], methods[one.method], metrics[one.metric]))
    return replace(table, values=tuple(order)) if choice else table


def alone(table: PublishedTable) -> Table:
    """A paper's table as it prints it, increments behind values; best and second best are told from the values."""
    grid = {value[2:5]: value for value in table.values}
    metrics = [metric for metric in table.metrics if not metric.endswith("/increment")]
    metrics.sort(key=lambda metric: metric == gains.COLUMN)  # what follows from the others stands behind them
    doubts = Doubts()
    rows: list[Row] = []
    for dataset in table.datasets:
        present = [name for name in table.methods if any((dataset, name, metric) in grid for metric in metrics)]
        ranks = {metric: _ranks(table, dataset, metric) for metric in metrics}
        for name in present:
            cells = []
            for metric in metrics:
                value, gain = grid.get((dataset, name, metric)), grid.get((dataset, name, f"{metric}/increment"))
                text, beside = GAP if value is None else value.printed, f" ({gain.printed})" if gain else ""
                cells.append(Shown(text, ranks[metric].get(name, 0), beside, doubts=doubts.of(value, gain)))
            rows.append(Row(table.dataset_title(dataset), name, cells, "", name == present[0]))
    header = [table.heading(metric) + _dagger(table, metric) for metric in metrics]
    notes = [
        legend(f"{'Reported for' if unverified(table) else 'As printed in'} {place_of(table)}."),
        told("Best is bold, second best underlined, per dataset, by the printed values."),
        *_prior_note(table, metrics), *map(legend, table.remarks()), *doubts.notes(),
    ]  # fmt: skip
    return Table(
        f"{table.title} ({table.key})", header, [_arrow(metric) for metric in metrics], rows, notes, counted=False,
        columns=metrics, asides=table.asides, first=table.first,
    )  # fmt: skip


def _arrow(metric: str) -> str:
    """↑ or ↓, which papers do not print behind the name of a class."""
    return "" if "/" in metric else {"higher": "↑", "lower": "↓"}.get(quantity(metric).better or "", "")


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


def _prior_note(table: PublishedTable, metrics: Iterable[str]) -> Iterator[Note]:
    if any(_dagger(table, metric) for metric in metrics):
        yield legend(PRIOR_LINE, PRIOR_BRIEF)


def unverified(table: PublishedTable) -> bool:
    """Whether nobody has read the table's values in the paper."""
    return all(value.doubt.startswith("unverified") for value in table.values)


def place_of(table: PublishedTable) -> str:
    """How a sentence names a table."""
    paper, _, name = table.key.partition("/")
    number = name.removeprefix("table")
    shown = f"table {number}" if number != name else f"its table of {name}"
    start = table.paper[: len(paper)]
    return f"{start if start.casefold() == paper else paper.upper()}, {shown} ({table.paper})"

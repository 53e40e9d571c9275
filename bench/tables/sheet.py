"""A table arranged for print: which of datasets, methods and metrics go down and which across.

Three forms, as papers have them: `rows`, a row per dataset and method; `columns`, datasets side by side as groups of
columns; `methods`, a row per dataset and metric with methods across, which is how a host is compared with its +.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.errors import BenchError, suggest
from bench.tables.layout import Row, Shown, Table
from bench.tables.notes import chosen

FORMS = ("rows", "columns", "methods")
LAYOUTS = (*FORMS, "paper")
GAP = "–"
"""What stands where a paper has no value."""


class Head(NamedTuple):
    """A column of values."""

    group: str
    """What it has in common with its neighbours, such as a dataset; empty without."""
    text: str
    """A metric with its arrow, or a method."""


class Line(NamedTuple):
    """A row in print."""

    stubs: Sequence[str]
    """Its names, one per column of names; empty where the line above says the same."""
    cells: Sequence[Shown]
    first: bool
    """Whether a rule stands above it."""


class Sheet(NamedTuple):
    """A table in print, whatever the syntax."""

    title: str
    stubs: Sequence[str]
    heads: Sequence[Head]
    lines: Sequence[Line]
    notes: Sequence[str]
    """Lines below it."""
    hidden: Sequence[str] = ()
    """Notes that are not shown; LaTeX keeps them as comments."""


def check_layout(layout: str | None) -> None:
    """Raise `BenchError` for a word that is none of `LAYOUTS`."""
    if layout is not None and layout not in LAYOUTS:
        raise BenchError(f"unknown layout {layout!r}{suggest(layout, LAYOUTS)} (known: {', '.join(LAYOUTS)})")


class Form(NamedTuple):
    """How a table is printed."""

    layout: str = "rows"
    """One of `FORMS`."""
    notes: str = "full"
    """One of `notes.CHOICES`."""
    width: str = "auto"
    """How wide a LaTeX table may be: one of `latex_table.WIDTHS`."""
    plain: bool = False
    """Without a column of counts, and without one of datasets where there is one dataset."""


def arrange(table: Table, form: Form) -> Sheet:
    """A table as a form asks. Counts of items that no column shows are said below."""
    if form.notes == "none":
        table = table._replace(rows=[row._replace(sign="", cells=[*map(_unmarked, row.cells)]) for row in table.rows])
        table = table._replace(header=[name.rstrip("†§¶") for name in table.header])
    sheet = {"rows": _rows, "columns": _columns, "methods": _methods}[form.layout](table, form.plain)
    shown = chosen(table.notes, form.notes)
    counted = counts(table) if form.notes != "none" and (form.plain or form.layout != "rows") else []
    return sheet._replace(notes=[*shown, *counted], hidden=[line for line in table.footer if line not in shown])


def _unmarked(cell: Shown) -> Shown:
    return cell._replace(mark="", doubts=(), stars="")


def asides(table: Table) -> dict[str, dict[str, str]]:
    """The columns of words: venues and what a paper prints beside its methods."""
    found = {heading: dict(words) for heading, words in table.asides.items()}
    if table.venues:
        found["Venue"] = {row.method: row.venue for row in table.rows}
    return found


def counts(table: Table) -> list[str]:
    """How many items the values are of, where no column says it."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in table.rows if table.counted else ():
        if row.scored != "paper":
            found.setdefault(row.dataset, {}).setdefault(row.scored, []).append(row.method)
    whole, apart = dict[str, None](), []
    for dataset, groups in found.items():
        for scored, methods in groups.items():
            done, _, rest = scored.partition("/")
            expected, _, times = rest.partition(" ")
            if done != expected:
                apart.append(f"{', '.join(methods)} on {dataset} {scored}")
                continue
            whole[f"{expected} item{'' if expected == '1' else 's'} of {dataset}"] = None
            apart += [f"{', '.join(methods)} on {dataset} {times}"] if times else []
    said = [f"Means over {', '.join(whole)}."] if whole else []
    return said + ([f"Items with every value / items expected: {'; '.join(apart)}."] if apart else [])


def _heads(table: Table) -> list[str]:
    return [f"{name} {arrow}".rstrip() for name, arrow in zip(table.header, table.arrows, strict=True)]


def _rows(table: Table, plain: bool) -> Sheet:
    words = asides(table)
    datasets = dict.fromkeys(row.dataset for row in table.rows)
    single, counted = len(datasets) == 1 and plain, table.counted and not plain
    lines = []
    for row in table.rows:
        names = [row.named, *(those.get(row.method, "") for those in words.values())]
        stubs = names if single else [row.dataset if row.first else "", *names]
        lines.append(Line(stubs, [*row.cells, *([Shown(row.scored, 0)] if counted else [])], row.first))
    stubs = [*([] if single else ["Dataset"]), table.first, *words]
    heads = [*(Head("", text) for text in _heads(table)), *([Head("", "n")] if counted else [])]
    return Sheet(_titled(table, single), stubs, heads, lines, ())


def _titled(table: Table, single: bool) -> str:
    """The title, with the name of the only dataset where no column has it."""
    name = table.rows[0].dataset if single and table.rows else ""
    return table.title if name in table.title else f"{table.title}: {name}"


def _blank(cell: Shown) -> bool:
    return cell.text in ("", GAP) and not cell.mark and not cell.doubts


def _columns(table: Table, plain: bool) -> Sheet:
    words = asides(table)
    datasets = list(dict.fromkeys(row.dataset for row in table.rows))
    grid = {(row.dataset, row.method): row for row in table.rows}
    places = [
        (dataset, index) for dataset in datasets for index in range(len(table.header)) if _used(table, dataset, index)
    ]
    texts = _heads(table)
    if len({index for _, index in places}) == 1:  # one metric everywhere: datasets say all
        heads = [Head("", dataset) for dataset, _ in places]
    else:
        heads = [Head(dataset, texts[index]) for dataset, index in places]
    lines = []
    for place, method in enumerate(_in_order(table)):
        found = {dataset: grid.get((dataset, method)) for dataset in datasets}
        cells = [_cell(found[dataset], index) for dataset, index in places]
        name = next(row.named for row in found.values() if row is not None)
        sign = "‡" if any(row is not None and row.sign for row in found.values()) else ""
        name = name if name.endswith(sign) else name + sign
        lines.append(Line([name, *(those.get(method, "") for those in words.values())], cells, place == 0))
    return Sheet(table.title, [table.first, *words], heads, lines, ())


def _methods(table: Table, plain: bool) -> Sheet:
    datasets = list(dict.fromkeys(row.dataset for row in table.rows))
    grid = {(row.dataset, row.method): row for row in table.rows}
    methods = list(_in_order(table))
    signs = {row.method: row.sign for row in table.rows if row.sign}
    texts = _heads(table)
    lines = []
    for dataset in datasets:
        used = [index for index in range(len(texts)) if _used(table, dataset, index)]
        for place, index in enumerate(used):
            cells = [_cell(grid.get((dataset, method)), index) for method in methods]
            lines.append(Line([dataset if place == 0 else "", texts[index]], cells, place == 0))
    heads = [Head("", method + signs.get(method, "")) for method in methods]
    single = len(datasets) == 1 and plain
    lines = [line._replace(stubs=line.stubs[1:]) for line in lines] if single else lines
    return Sheet(_titled(table, single), [*([] if single else ["Dataset"]), "Metric"], heads, lines, ())


def _used(table: Table, dataset: str, index: int) -> bool:
    """Whether a metric has anything to say of a dataset."""
    return any(not _blank(row.cells[index]) for row in table.rows if row.dataset == dataset)


def _in_order(table: Table) -> Iterator[str]:
    """Methods in the order of the dataset that has most of them, the others behind."""
    groups: dict[str, list[str]] = {}
    for row in table.rows:
        groups.setdefault(row.dataset, []).append(row.method)
    longest = max(groups.values(), key=len, default=[])
    yield from dict.fromkeys([*longest, *(method for group in groups.values() for method in group)])


def _cell(row: Row | None, index: int) -> Shown:
    return Shown(GAP, 0) if row is None else row.cells[index]

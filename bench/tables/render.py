"""A run, or a paper's table, as markdown, LaTeX, CSV, HTML or JSON.

Only syntax lives here: what stands in a table is decided in `layout`.
"""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.errors import BenchError, suggest
from bench.results import csv_text as tabular
from bench.results.view import RunView
from bench.tables import gains
from bench.tables.latex_table import check_width, latex_of
from bench.tables.layout import PLAIN, Extras, Shown, Table, derived_columns, lay_out, printable, venues_of
from bench.tables.notes import check as check_notes
from bench.tables.selection import Choice, select
from bench.tables.sheet import Form, Sheet, arrange, check_layout
from bench.tables.significance import intervals, paired_test
from bench.tables.terminal import terminal
from bench.tables.time_column import timed
from bench.tables.wording import in_papers_words, with_short_venues
from iqpir.terminal import Grid, Mark, draw


def markdown(table: Table, form: Form = Form()) -> str:  # noqa: B008 – immutable
    """A GitHub table; best is **bold**, second best <u>underlined</u>. Intervals have columns of their own."""
    from tabulate import tabulate

    sheet = arrange(table, form)
    marks: tuple[str, ...] = ("{}", "**{}**", "<u>{}</u>")
    ranged = _ranged(sheet)
    groups = [head.group for head in sheet.heads]
    heads = list(_with_intervals([pipe(head.text) for head in sheet.heads], ranged, _INTERVAL))
    body = [
        [
            *map(pipe, line.stubs),
            *_with_intervals(
                [
                    marks[cell.rank].format(pipe(cell.text)) + pipe(cell.stars + cell.beside) + _marked(cell)
                    for cell in line.cells
                ],
                ranged,
                [pipe(cell.interval) for cell in line.cells],
            ),
        ]
        for line in sheet.lines
    ]
    stubs = list(map(pipe, sheet.stubs))
    if any(groups):  # markdown has one line of headings: the groups take it, and metrics are the first line below
        body.insert(0, [*[""] * len(stubs), *(f"*{head}*" for head in heads)])
        starts = [pipe(group) if not place or groups[place - 1] != group else "" for place, group in enumerate(groups)]
        heads = list(_with_intervals(starts, ranged, ""))
    align = (*("left" for _ in stubs), *("right" for _ in heads))
    text = tabulate(body, [*stubs, *heads], tablefmt="pipe", colalign=align, disable_numparse=True)
    notes = "".join(f"- {printable(line)}\n" for line in sheet.notes)
    return f"**{printable(sheet.title)}**\n\n{text}\n" + (f"\n{notes}" if notes else "")


_INTERVAL = "95 % interval"


def _ranged(sheet: Sheet) -> list[bool]:
    """Which columns have intervals."""
    return [any(line.cells[place].interval for line in sheet.lines) for place in range(len(sheet.heads))]


def _with_intervals(texts: Sequence[str], ranged: Sequence[bool], beside: str | Sequence[str]) -> Iterator[str]:
    """Texts of the columns, with one more behind each that has intervals."""
    for place, text in enumerate(texts):
        yield text
        if ranged[place]:
            yield beside if isinstance(beside, str) else beside[place]


def _marked(cell: Shown) -> str:
    return "".join(f" [{mark}]" for mark in (cell.mark, *cell.doubts) if mark)


def pipe(text: str) -> str:
    """A cell of a markdown table: in one line, and without ending the cell."""
    return printable(text).replace("|", "\\|")


def latex(table: Table, form: Form = Form()) -> str:  # noqa: B008 – immutable
    r"""A booktabs table; best is \textbf, second best \underline. Its first lines name the packages that it needs."""
    return latex_of(arrange(table, form._replace(plain=True)), form.width)


def html_page(table: Table, form: Form = Form()) -> str:  # noqa: B008 – immutable
    """A fragment with one table and its footer, styled inline."""
    sheet = arrange(table, form)
    marks: tuple[str, ...] = ("{}", "<b>{}</b>", "<u>{}</u>")
    ranged = _ranged(sheet)

    def cell(tag: str, text: str, align: str, tip: str = "", span: int = 1) -> str:
        title = f' title="{_html(tip)}"' if tip else ""
        wide = f' colspan="{span}"' if span > 1 else ""
        return f'<{tag} style="text-align:{align};padding:2px 8px"{wide}{title}>{text}</{tag}>'

    out = ["<table>", f"<caption>{_html(sheet.title)}</caption>", "<thead>"]
    if any(head.group for head in sheet.heads):
        out += ["<tr>", *(cell("th", "", "left") for _ in sheet.stubs)]
        for group, columns in itertools.groupby(range(len(sheet.heads)), lambda place: sheet.heads[place].group):
            out.append(cell("th", _html(group), "center", span=sum(1 + ranged[place] for place in columns)))
        out.append("</tr>")
    out += ["<tr>", *(cell("th", _html(name), "left") for name in sheet.stubs)]
    heads = _with_intervals([_html(head.text) for head in sheet.heads], ranged, _INTERVAL)
    out += [*(cell("th", head, "right") for head in heads), "</tr></thead>", "<tbody>"]
    for line in sheet.lines:
        out += ["<tr>", *(cell("td", _html(text), "left") for text in line.stubs)]
        for place, shown in enumerate(line.cells):
            text = marks[shown.rank].format(_html(shown.text)) + _html(shown.stars + shown.beside)
            signs = "".join(f" <sup>{mark}</sup>" for mark in (shown.mark, *shown.doubts) if mark)
            out.append(cell("td", text + signs, "right", shown.reason))
            out += [cell("td", _html(shown.interval), "right")] if ranged[place] else []
        out += ["</tr>"]
    out += ["</tbody></table>", *(["<ul>"] if sheet.notes else [])]
    out += [f"<li>{_html(line)}</li>" for line in sheet.notes]
    return "\n".join([*out, *(["</ul>"] if sheet.notes else [])]) + "\n"


def _html(text: str) -> str:
    return html.escape(printable(text))


def records(data: RunView, extras: Extras = PLAIN) -> list[dict[str, object]]:
    """One row per dataset, method and metric; a value that is not finite is null with its status."""
    found: list[dict[str, object]] = []
    whole = extras.whole or data
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in whole.cells}
    venues = venues_of(data) if extras.venue else {}
    incremented = gains.increments_wanted(whole, extras.increments)
    over = gains.bases(whole) if incremented else {}
    repeated = any(cell.repeats > 1 for cell in data.cells)
    ranges = intervals(data.cells) if extras.ci else {}
    for cell in data.cells:
        value = cell.value
        finite = value is not None and math.isfinite(value)
        found.append(
            {
                "dataset": cell.dataset,
                "method": cell.method,
                "metric": cell.column.label,
                "signature": cell.column.signature,
                "value": value if finite else None,
                "n": cell.n,
                "expected": cell.expected,
                "status": cell.status,
                "reason": None if cell.complete else cell.reason,
            }
        )
        if repeated:
            found[-1] |= {"repeats": cell.repeats}
        if extras.venue:
            found[-1] |= {"venue": venues[cell.method] or None}
        if extras.ci:
            interval = ranges.get(id(cell))
            found[-1] |= {"low": interval and interval.low, "high": interval and interval.high}
        if extras.against is not None:
            base_cell = grid.get((cell.dataset, extras.against, cell.column.label))
            test = None if base_cell is None else paired_test(base_cell, cell)
            found[-1] |= {
                "difference": test and test.difference, "p": test and test.p_randomisation, "tested": test and test.n,
            }  # fmt: skip
        if incremented:
            base = over.get(cell.method)
            held = None if base is None else grid.get((cell.dataset, base, cell.column.label))
            found[-1] |= {"base": base, "increment": held and gains.increment(held, cell)}
    columns = list(found[0]) if found else []
    return found + [
        dict.fromkeys(columns) | one for one in _derived(data, extras, venues if extras.venue else None, over)
    ]


def _derived(
    data: RunView, extras: Extras, venues: Mapping[str, str] | None, over: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """One row per value of a derived column, of the methods that can have one."""
    places = {(cell.dataset, cell.method) for cell in data.cells}
    for column in derived_columns(data, extras):
        for (dataset, method), entry in column.entries.items():
            if entry.expected == 0 or (dataset, method) not in places:
                continue
            row: dict[str, object] = {
                "dataset": dataset, "method": method, "metric": column.name, "signature": entry.signature,
                "value": entry.value, "n": entry.n, "expected": entry.expected,
                "status": "ok" if entry.value is not None else "unavailable", "reason": entry.reason,
            }  # fmt: skip
            if venues is not None:
                row |= {"venue": venues[method] or None}
            yield row | ({"base": over.get(method)} if over else {})


def json_text(found: Sequence[Mapping[str, object]]) -> str:
    """Records as one strict JSON array."""
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(found: Sequence[Mapping[str, object]]) -> str:
    """Records as CSV with full precision."""
    return tabular.of_records(list(found[0]) if found else ["dataset"], found)


PAGES: dict[str, Callable[[Table, Form], str]] = {
    "markdown": markdown, "latex": latex, "html": html_page, "terminal": terminal,
}  # fmt: skip
"""Formats for readers."""
LISTINGS: dict[str, Callable[[Sequence[Mapping[str, object]]], str]] = {"csv": csv_text, "json": json_text}
"""Formats for programs."""
FORMATS = ("markdown", "latex", "csv", "html", "json", "terminal")
_OF_ROWS = {"markdown": "pipe", "latex": "latex_booktabs", "html": "html"}


def of_rows(rows: Sequence[Mapping[str, str]], style: str, left: Container[str]) -> str:
    """Rows of words and numbers in one of `PAGES`, for small tables of their own. `left`: columns to the left."""
    if style == "terminal":
        keys = list(rows[0]) if rows else []
        heads = [("", key) for key in keys[1:]]
        words = frozenset(place for place, key in enumerate(keys[1:]) if key in left)
        body = [([row[keys[0]]], [Mark(row[key]) for key in keys[1:]]) for row in rows]
        return draw(Grid("", keys[:1], heads, body, words=words))
    from tabulate import tabulate

    if style == "markdown":
        rows = [{key: value.replace("|", "\\|") for key, value in row.items()} for row in rows]
    align = ["left" if key in left else "right" for key in (rows[0] if rows else {})]
    return str(tabulate(rows, headers="keys", tablefmt=_OF_ROWS[style], disable_numparse=True, colalign=align)) + "\n"


class Style(NamedTuple):
    """How a table is asked for; what is None is left to the suite and the format."""

    format: str = "markdown"
    layout: str | None = None
    notes: str | None = None
    width: str = "auto"
    choice: Choice = Choice()
    plain: bool = False
    """Without a column of counts or of a lone dataset: what is to be said of them stands below."""


def check_style(style: str) -> None:
    """Raise `BenchError` for a word that is none of `FORMATS`."""
    if style not in FORMATS:
        raise BenchError(f"unknown format {style!r}{suggest(style, FORMATS)} (known: {', '.join(FORMATS)})")


def check(data: RunView, style: str | Style, extras: Extras) -> None:
    """Raise `BenchError` for what is no format, layout or the like, and for a method that the run does not have."""
    style = style if isinstance(style, Style) else Style(style)
    check_style(style.format)
    check_layout(style.layout)
    check_notes(style.notes or "full")
    check_width(style.width)
    labels = [method.label for method in data.record.methods]
    if extras.against is not None and extras.against not in labels:
        raise BenchError(f"no method {extras.against!r} in this run{suggest(extras.against, labels)}")


def render(data: RunView, style: str | Style, extras: Extras = PLAIN) -> str:
    """A run in one of `FORMATS`. Raises `BenchError` for another word, and for a method that the run does not have."""
    style = style if isinstance(style, Style) else Style(style)
    check(data, style, extras)
    extras = settled(extras, style.format)
    data, extras = select(data, style.choice, extras)
    if style.format in LISTINGS:
        return LISTINGS[style.format](records(data, extras))
    return page(timed(lay_out(data, extras), data), data, style)


def page(table: Table, data: RunView, style: Style) -> str:
    """A table of a run as its suite or the request wants it, in one of `PAGES`."""
    layout = style.layout or str(data.record.definition.get("layout") or "rows")
    if layout == "paper":
        table, layout = in_papers_words(table, data)
    table = with_short_venues(table) if style.format == "latex" else table
    return PAGES[style.format](table, form_of(style, layout))


def form_of(style: Style, layout: str) -> Form:
    """LaTeX goes into papers, which have room for short notes; the others stand in its comments."""
    notes = style.notes or ("short" if style.format == "latex" else "full")
    return Form(layout, notes, style.width, style.plain)


def settled(extras: Extras, style: str) -> Extras:
    """What a format shows where nothing was said: LaTeX goes into papers, whose tables name venues."""
    return extras._replace(venue=style == "latex") if extras.venue is None else extras

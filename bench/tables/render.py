"""A run, or a paper's table, as markdown, LaTeX, CSV, HTML or JSON.

Only syntax lives here: what stands in a table is decided in `layout`.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.errors import BenchError, suggest
from bench.results import csv_text as tabular
from bench.results.view import RunView
from bench.tables import derived, gains
from bench.tables.latex import FALLBACK, tex, tex_note, tex_value
from bench.tables.layout import PLAIN, Extras, Table, lay_out, printable, venues_of
from bench.tables.significance import interval_of, paired_test
from bench.tables.time_column import timed


def markdown(table: Table) -> str:
    """A GitHub table; best is **bold**, second best <u>underlined</u>."""
    from tabulate import tabulate

    marks: tuple[str, ...] = ("{}", "**{}**", "<u>{}</u>")
    header = ["Dataset", "Method", *(["Venue"] if table.venues else []), *_headings(table)]
    body = [
        [
            _pipe(row.dataset) if row.first else "",
            _pipe(row.named),
            *([_pipe(row.venue)] if table.venues else []),
            *(
                marks[cell.rank].format(_pipe(cell.text))
                + _pipe(cell.beside)
                + (f" [{cell.mark}]" if cell.mark else "")
                for cell in row.cells
            ),
            *([row.scored] if table.counted else []),
        ]
        for row in table.rows
    ]
    texts = 2 + table.venues
    align = (*("left" for _ in header[:texts]), *("right" for _ in header[texts:]))
    text = tabulate(body, [_pipe(name) for name in header], tablefmt="pipe", colalign=align, disable_numparse=True)
    notes = "\n".join(f"- {printable(line)}" for line in table.footer)
    return f"**{printable(table.title)}**\n\n{text}\n\n{notes}\n"


def _headings(table: Table) -> list[str]:
    """Metrics with their arrows, and the column of counts."""
    heads = [f"{name} {arrow}".rstrip() for name, arrow in zip(table.header, table.arrows, strict=True)]
    return [*heads, *(["n"] if table.counted else [])]


def _pipe(text: str) -> str:
    return printable(text).replace("|", "\\|")


_COLUMN_HOLDS = 7
"""Columns of a table that one column of a paper has room for."""


_PAGE = 480.0
"""Points that a float may be high: less than the text of a page of any usual class."""
_ROW, _LINE, _LETTERS = 12.0, 9.5, 75
"""Points of a row and of a line of the notes, and letters on such a line."""


def _height(table: Table) -> float:
    """About how high a table and its notes are in print, in points."""
    lines = sum(math.ceil(len(line) / _LETTERS) for line in table.footer)
    return _ROW * (len(table.rows) + 5) + _LINE * lines


def latex(table: Table) -> str:
    r"""A booktabs table; best is \textbf, second best \underline. Its first lines name the packages that it needs."""
    marks: tuple[str, ...] = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    texts = 2 + table.venues
    columns = "l" * texts + "r" * (len(table.header) + table.counted)
    # In a paper of two columns a table of many stands across both.
    kind = "table*" if len(columns) > _COLUMN_HOLDS else "table"
    out = [
        rf"\begin{{{kind}}}[t]",
        r"\centering",
        rf"\caption{{{tex(table.title)}}}",
        # Shrunk only where it is wider than the line.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
    ]
    heads = [tex(head) for head in _headings(table)]
    if table.counted:
        heads[-1] = "$n$"
    out.append(" & ".join(["Dataset", "Method", *(["Venue"] if table.venues else []), *heads]) + r" \\")
    sizes: dict[str, int] = {}
    for row in table.rows:
        sizes[row.dataset] = sizes.get(row.dataset, 0) + 1
    for row in table.rows:
        if row.first:
            out.append(r"\midrule")
        name = rf"\multirow{{{sizes[row.dataset]}}}{{*}}{{{tex(row.dataset)}}}" if row.first else ""
        cells = [
            marks[cell.rank].format(tex_value(cell.text))
            + (rf"{{\scriptsize{tex_value(cell.beside)}}}" if cell.beside else "")
            + (rf"\textsuperscript{{{cell.mark}}}" if cell.mark else "")
            for cell in row.cells
        ]
        said = [name, tex(row.named), *([tex(row.venue)] if table.venues else []), *cells]
        out.append(" & ".join([*said, *([tex(row.scored)] if table.counted else [])]) + r" \\")
    out += [r"\bottomrule", r"\end{tabular}}"]
    notes = [rf"{_note(line)}\par" for line in table.footer]
    if _height(table) <= _PAGE:
        out += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright", *notes]
        out += [r"\end{minipage}", rf"\end{{{kind}}}"]
    else:
        # A float breaks over no page: what does not fit stands in the text behind it, below the table's number.
        out += [rf"\end{{{kind}}}", r"\begingroup\footnotesize\raggedright\setlength{\parindent}{0pt}%"]
        out += [r"\textbf{Notes to Table~\thetable.}\par", *notes, r"\endgroup"]
    body = "\n".join(out) + "\n"
    head = ["% needs \\usepackage{booktabs,multirow,graphicx}; for pdfLaTeX, XeLaTeX and LuaLaTeX"]
    if FALLBACK in body:
        head.append(
            f"% letters in {FALLBACK} need XeLaTeX or LuaLaTeX and a font that has them; pdfLaTeX prints numbers"
        )
    return "\n".join(head) + "\n" + body


def _note(line: str) -> str:
    """A line of the footer; the letter it begins with stands as it does in the cells."""
    found = re.match(r"\[([a-z]+)\] ", line)
    return rf"\textsuperscript{{{found[1]}}}~{tex_note(line[found.end() :])}" if found else tex_note(line)


def html_page(table: Table) -> str:
    """A fragment with one table and its footer, styled inline."""
    marks: tuple[str, ...] = ("{}", "<b>{}</b>", "<u>{}</u>")

    def cell(tag: str, text: str, align: str, tip: str = "") -> str:
        title = f' title="{_html(tip)}"' if tip else ""
        return f'<{tag} style="text-align:{align};padding:2px 8px"{title}>{text}</{tag}>'

    out = ["<table>", f"<caption>{_html(table.title)}</caption>", "<thead><tr>"]
    out += [cell("th", name, "left") for name in ("Dataset", "Method", *(["Venue"] if table.venues else []))]
    out += [cell("th", _html(head), "right") for head in _headings(table)]
    out += ["</tr></thead>", "<tbody>"]
    for row in table.rows:
        said = [row.dataset if row.first else "", row.named, *([row.venue] if table.venues else [])]
        out += ["<tr>", *(cell("td", _html(text), "left") for text in said)]
        for shown in row.cells:
            text = marks[shown.rank].format(_html(shown.text)) + _html(shown.beside)
            out.append(cell("td", text + (f" <sup>{shown.mark}</sup>" if shown.mark else ""), "right", shown.reason))
        out += [*([cell("td", row.scored, "right")] if table.counted else []), "</tr>"]
    out += ["</tbody></table>", "<ul>"]
    out += [f"<li>{_html(line)}</li>" for line in table.footer]
    return "\n".join([*out, "</ul>"]) + "\n"


def _html(text: str) -> str:
    return html.escape(printable(text))


def records(data: RunView, extras: Extras = PLAIN) -> list[dict[str, object]]:
    """One row per dataset, method and metric; a value that is not finite is null with its status."""
    found: list[dict[str, object]] = []
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in data.cells}
    venues = venues_of(data) if extras.venue else {}
    incremented = gains.increments_wanted(data, extras.increments)
    over = gains.bases(data) if incremented else {}
    repeated = any(cell.repeats > 1 for cell in data.cells)
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
            interval = interval_of(cell)
            found[-1] |= {"low": interval and interval.low, "high": interval and interval.high}
        if extras.against is not None:
            test = paired_test(grid[cell.dataset, extras.against, cell.column.label], cell)
            found[-1] |= {"difference": test and test.difference, "p": test and test.p_randomisation}
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
    for column in derived.columns(data, gain=extras.gain, seconds=extras.seconds):
        for (dataset, method), entry in column.entries.items():
            if entry.expected == 0:
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


PAGES: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "html": html_page}
"""Formats for readers."""
LISTINGS: dict[str, Callable[[Sequence[Mapping[str, object]]], str]] = {"csv": csv_text, "json": json_text}
"""Formats for programs."""
FORMATS = ("markdown", "latex", "csv", "html", "json")


def check_style(style: str) -> None:
    """Raise `BenchError` for a word that is none of `FORMATS`."""
    if style not in FORMATS:
        raise BenchError(f"unknown format {style!r}{suggest(style, FORMATS)} (known: {', '.join(FORMATS)})")


def check(data: RunView, style: str, extras: Extras) -> None:
    """Raise `BenchError` for a format that there is not, and for a method that the run does not have."""
    check_style(style)
    labels = [method.label for method in data.record.methods]
    if extras.against is not None and extras.against not in labels:
        raise BenchError(f"no method {extras.against!r} in this run{suggest(extras.against, labels)}")


def render(data: RunView, style: str, extras: Extras = PLAIN) -> str:
    """A run in one of `FORMATS`. Raises `BenchError` for another word, and for a method that the run does not have."""
    check(data, style, extras)
    extras = settled(extras, style)
    return (
        PAGES[style](timed(lay_out(data, extras), data)) if style in PAGES else LISTINGS[style](records(data, extras))
    )


def settled(extras: Extras, style: str) -> Extras:
    """What a format shows where nothing was said: LaTeX goes into papers, whose tables name venues."""
    return extras._replace(venue=style == "latex") if extras.venue is None else extras

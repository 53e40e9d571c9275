"""A run, or a paper's table, as markdown, LaTeX, CSV, HTML or JSON.

Only syntax lives here: what stands in a table is decided in `layout`.
"""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence

from bench.errors import BenchError, suggest
from bench.tables.frame import RunData
from bench.tables.layout import PLAIN, Extras, Table, interval_of, lay_out, paired_test, printable


def markdown(table: Table) -> str:
    """A GitHub table; best is **bold**, second best <u>underlined</u>."""
    from tabulate import tabulate

    marks: tuple[str, ...] = ("{}", "**{}**", "<u>{}</u>")
    header = [
        "Dataset",
        "Method",
        *(f"{name} {arrow}".rstrip() for name, arrow in zip(table.header, table.arrows, strict=True)),
        *(["n"] if table.counted else []),
    ]
    body = [
        [
            _pipe(row.dataset) if row.first else "",
            _pipe(row.method),
            *(marks[cell.rank].format(_pipe(cell.text)) for cell in row.cells),
            *([row.scored] if table.counted else []),
        ]
        for row in table.rows
    ]
    align = ("left", "left", *("right" for _ in header[2:]))
    text = tabulate(body, [_pipe(name) for name in header], tablefmt="pipe", colalign=align, disable_numparse=True)
    notes = "\n".join(f"- {printable(line)}" for line in table.footer)
    return f"**{printable(table.title)}**\n\n{text}\n\n{notes}\n"


def _pipe(text: str) -> str:
    return printable(text).replace("|", "\\|")


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "…": r"\dots{}", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "†": r"$\dagger$", "<": r"$<$", ">": r"$>$", "|": r"$|$", "×": r"$\times$",
}  # fmt: skip


def tex(text: str) -> str:
    """Text with every character that LaTeX reads as a command escaped."""
    return "".join(_TEX.get(sign, sign) for sign in printable(text))


def latex(table: Table) -> str:
    r"""A booktabs table (`\usepackage{booktabs,multirow}`); best is \textbf, second best \underline."""
    marks: tuple[str, ...] = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    out = [
        r"% needs \usepackage{booktabs,multirow}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{tex(table.title)}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(table.header) + table.counted)}}}",
        r"\toprule",
    ]
    heads = [f"{tex(name)} {tex(arrow)}".rstrip() for name, arrow in zip(table.header, table.arrows, strict=True)]
    out.append(" & ".join(["Dataset", "Method", *heads, *(["$n$"] if table.counted else [])]) + r" \\")
    sizes: dict[str, int] = {}
    for row in table.rows:
        sizes[row.dataset] = sizes.get(row.dataset, 0) + 1
    for row in table.rows:
        if row.first:
            out.append(r"\midrule")
        name = rf"\multirow{{{sizes[row.dataset]}}}{{*}}{{{tex(row.dataset)}}}" if row.first else ""
        cells = [marks[cell.rank].format(tex(cell.text)) for cell in row.cells]
        out.append(" & ".join([name, tex(row.method), *cells, *([row.scored] if table.counted else [])]) + r" \\")
    out += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\footnotesize"]
    out += [rf"{tex(line)}\par" for line in table.footer]
    out += [r"\end{table}"]
    return "\n".join(out) + "\n"


def html_page(table: Table) -> str:
    """A fragment with one table and its footer, styled inline."""
    marks: tuple[str, ...] = ("{}", "<b>{}</b>", "<u>{}</u>")

    def cell(tag: str, text: str, align: str) -> str:
        return f'<{tag} style="text-align:{align};padding:2px 8px">{text}</{tag}>'

    heads = [f"{html.escape(name)} {arrow}".rstrip() for name, arrow in zip(table.header, table.arrows, strict=True)]
    out = ["<table>", f"<caption>{html.escape(printable(table.title))}</caption>", "<thead><tr>"]
    out += [cell("th", "Dataset", "left"), cell("th", "Method", "left")]
    out += [*(cell("th", head, "right") for head in [*heads, *(["n"] if table.counted else [])])]
    out += ["</tr></thead>", "<tbody>"]
    for row in table.rows:
        out.append("<tr>")
        out.append(cell("td", html.escape(printable(row.dataset)) if row.first else "", "left"))
        out.append(cell("td", html.escape(printable(row.method)), "left"))
        out += [cell("td", marks[shown.rank].format(html.escape(shown.text)), "right") for shown in row.cells]
        out += [*([cell("td", row.scored, "right")] if table.counted else []), "</tr>"]
    out += ["</tbody></table>", "<ul>"]
    out += [f"<li>{html.escape(printable(line))}</li>" for line in table.footer]
    return "\n".join([*out, "</ul>"]) + "\n"


def records(data: RunData, extras: Extras = PLAIN) -> list[dict[str, object]]:
    """One row per dataset, method and metric; a value that is not finite is null with its status."""
    found: list[dict[str, object]] = []
    grid = {(cell.dataset, cell.method, cell.column.label): cell for cell in data.cells}
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
        if extras.ci:
            interval = interval_of(cell)
            found[-1] |= {"low": interval and interval.low, "high": interval and interval.high}
        if extras.against is not None:
            test = paired_test(grid[cell.dataset, extras.against, cell.column.label], cell)
            found[-1] |= {"difference": test and test.difference, "p": test and test.p_randomisation}
    return found


def json_text(found: Sequence[Mapping[str, object]]) -> str:
    """Records as one strict JSON array."""
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(found: Sequence[Mapping[str, object]]) -> str:
    """Records as CSV with full precision."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(found[0]) if found else ["dataset"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return buffer.getvalue()


PAGES: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "html": html_page}
"""Formats for readers."""
LISTINGS: dict[str, Callable[[Sequence[Mapping[str, object]]], str]] = {"csv": csv_text, "json": json_text}
"""Formats for programs."""
FORMATS = ("markdown", "latex", "csv", "html", "json")


def check_style(style: str) -> None:
    """Raise `BenchError` for a word that is none of `FORMATS`."""
    if style not in FORMATS:
        raise BenchError(f"unknown format {style!r}{suggest(style, FORMATS)} (known: {', '.join(FORMATS)})")


def check(data: RunData, style: str, extras: Extras) -> None:
    """Raise `BenchError` for a format that there is not, and for a method that the run does not have."""
    check_style(style)
    labels = [method["label"] for method in data.record.methods]
    if extras.against is not None and extras.against not in labels:
        raise BenchError(f"no method {extras.against!r} in this run{suggest(extras.against, labels)}")


def render(data: RunData, style: str, extras: Extras = PLAIN) -> str:
    """A run in one of `FORMATS`. Raises `BenchError` for another word, and for a method that the run does not have."""
    check(data, style, extras)
    return PAGES[style](lay_out(data, extras)) if style in PAGES else LISTINGS[style](records(data, extras))

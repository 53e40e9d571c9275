r"""A sheet as a LaTeX float: booktabs, notes inside (threeparttable), and no letter below eight points.

A table is set as large as its page has room for, in nine points or eight; one that would have to shrink further
is split into panels, between datasets where it can be and between metrics otherwise, and panels that one page does not
hold into floats. Nothing is scaled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.errors import BenchError, suggest
from bench.tables.latex import FALLBACK, tex, tex_broken, tex_note, tex_value
from bench.tables.layout import Shown, printable
from bench.tables.sheet import Head, Line, Sheet
from bench.tables.text_width import text_width

SMALLEST = 8.0
"""Points of notes, intervals and raised signs. Publishers send back what is below seven; of letters of eight points the
box is seven high."""
WIDTHS = ("auto", "column", "page", "text")
"""A column of a two-column paper where the table fits it, else the page; either of the two; the text of a paper of one
column."""
_COLUMN, _PAGE, _TEXT = 236.0, 494.0, 344.0
"""Points, of the narrowest of the usual classes: CVPR's columns and page, the text of LNCS and article."""
_LONGEST = 120.0
"""Points that a column of names may be wide."""
_HIGH = 600.0
"""Points that a float may be high with its caption."""
_LEADING = 1.22
_SETTINGS = ((9.0, 4.0), (8.0, 4.0), (8.0, 3.0), (8.0, 2.0))
"""Sizes of letters with half the space between columns, in the order in which they are tried."""


class Setting(NamedTuple):
    """How a table is set."""

    size: float
    gap: float
    """Half of what stands between two columns."""
    stacked: bool
    """Whether what stands beside values has lines of its own."""


class _Panel(NamedTuple):
    """Columns of a sheet that stand side by side."""

    columns: Sequence[int]
    lines: Sequence[Line]


def check_width(width: str) -> None:
    """Raise `BenchError` for a word that is none of `WIDTHS`."""
    if width not in WIDTHS:
        raise BenchError(f"unknown width {width!r}{suggest(width, WIDTHS)} (known: {', '.join(WIDTHS)})")


def latex_of(sheet: Sheet, width: str = "auto") -> str:
    """The float or floats. Its first lines name the packages that it needs; hidden notes are comments."""
    wide, setting, panels = _fitted(sheet, width)
    kind = "table*" if wide else "table"
    groups = list(_floats(sheet, setting, panels))
    notes = [_note(line) for line in sheet.notes]
    # Notes are as wide as the table above them.
    room = max(_panel_width(sheet, panel, setting) for panel in groups[-1])
    apart = _notes_height(sheet.notes, room) + _panels_height(groups[-1], setting) > _HIGH
    out: list[str] = []
    for place, group in enumerate(groups):
        last = place == len(groups) - 1
        title = tex(sheet.title) + (" (continued)" if place else "")
        out += [
            *([r"\addtocounter{table}{-1}"] if place else []),
            rf"\begin{{{kind}}}[t]",
            r"\centering",
            rf"\caption{{{title}}}",
            rf"\fontsize{{{setting.size:g}}}{{{setting.size * _LEADING:.1f}}}\selectfont",
            rf"\setlength{{\tabcolsep}}{{{setting.gap:g}pt}}",
            r"\begin{threeparttable}",
        ]
        for number, panel in enumerate(group):
            out += [*([r"\par\medskip"] if number else []), *_tabular(sheet, panel, setting)]
        if last and notes and not apart:
            out += [r"\begin{tablenotes}[flushleft]\labelsep0pt\fontsize{8}{9.6}\selectfont"]
            out += [rf"\item{{}} {note}" for note in notes] + [r"\end{tablenotes}"]
        out += [r"\end{threeparttable}", rf"\end{{{kind}}}"]
    if notes and apart:
        # A float breaks over no page: what does not fit stands in the text behind it, below the table's number.
        out += [r"\begingroup\footnotesize\raggedright\setlength{\parindent}{0pt}%"]
        out += [r"\textbf{Notes to Table~\thetable.}\par", *(rf"{note}\par" for note in notes), r"\endgroup"]
    body = "\n".join(out) + "\n"
    return "\n".join([*_preface(body, sheet.hidden), body])


def _preface(body: str, hidden: Sequence[str]) -> Iterator[str]:
    packages = "booktabs,multirow,threeparttable" + (",amssymb" if r"\checkmark" in body else "")
    yield f"% needs \\usepackage{{{packages}}}; for pdfLaTeX, XeLaTeX and LuaLaTeX"
    if FALLBACK in body:
        yield f"% letters in {FALLBACK} need XeLaTeX or LuaLaTeX and a font that has them; pdfLaTeX prints numbers"
    yield from (f"% {printable(line)}" for line in hidden)
    if r"\tablemark{" in body:
        yield r"\providecommand{\tablemark}[1]{\raisebox{0.4ex}{\fontsize{8}{8}\selectfont #1}}"


# What fits


def _fitted(sheet: Sheet, width: str) -> tuple[bool, Setting, list[_Panel]]:
    """(across the page, setting, panels) that a sheet is printed in."""
    whole = _Panel(range(len(sheet.heads)), sheet.lines)
    extra = any(cell.interval for line in sheet.lines for cell in line.cells)
    beside = any(cell.beside for line in sheet.lines for cell in line.cells)
    tried = [Setting(*one, stacked) for stacked in ([extra] if not beside else [False, True]) for one in _SETTINGS]
    limits = {"auto": (_COLUMN, _PAGE), "column": (_COLUMN,), "page": (_PAGE,), "text": (_TEXT,)}[width]
    for limit in limits:
        for setting in tried:
            if _panel_width(sheet, whole, setting) <= limit:
                return limit == _PAGE, setting, [whole]
    limit, setting = limits[-1], tried[-2]._replace(stacked=tried[-1].stacked)
    return limit == _PAGE, setting, list(_split(sheet, setting, limit))


def _split(sheet: Sheet, setting: Setting, limit: float) -> Iterator[_Panel]:
    """Panels of as many columns as there is room for; a group is kept whole where it fits a panel of its own."""
    groups: list[list[int]] = []
    for place, head in enumerate(sheet.heads):
        same = bool(groups) and bool(head.group) and sheet.heads[groups[-1][-1]].group == head.group
        if same:
            groups[-1].append(place)
        else:
            groups.append([place])
    pieces: list[list[int]] = []
    for group in groups:
        fits = _panel_width(sheet, _Panel(group, sheet.lines), setting) <= limit
        pieces += [group] if fits else [[place] for place in group]
    held: list[int] = []
    for piece in _evenly(sheet, pieces, setting, limit):
        if held and _panel_width(sheet, _Panel([*held, *piece], sheet.lines), setting) > limit:
            yield _Panel(held, sheet.lines)
            held = []
        held = [*held, *piece]
    yield _Panel(held, sheet.lines)


def _evenly(sheet: Sheet, pieces: list[list[int]], setting: Setting, limit: float) -> list[list[int]]:
    """Equal panels rather than a full one and a rest, where all pieces are single columns."""
    if not all(len(piece) == 1 for piece in pieces):
        return pieces
    for parts in range(2, len(pieces) + 1):
        size = math.ceil(len(pieces) / parts)
        merged = [[place for piece in pieces[at : at + size] for place in piece] for at in range(0, len(pieces), size)]
        if all(_panel_width(sheet, _Panel(columns, sheet.lines), setting) <= limit for columns in merged):
            return merged
    return pieces


def _panel_width(sheet: Sheet, panel: _Panel, setting: Setting) -> float:
    stubs = [_stub_width(sheet, place, setting) for place in range(len(sheet.stubs))]
    columns = [max(_head_width(sheet, place, setting), _cells_width(panel, place, setting)) for place in panel.columns]
    total = sum(stubs) + sum(columns) + 2 * setting.gap * (len(stubs) + len(columns) - 1)
    return total + sum(_group_excess(sheet, panel, columns, setting))


def _group_excess(sheet: Sheet, panel: _Panel, widths: Sequence[float], setting: Setting) -> Iterator[float]:
    """By how much the name of a group is wider than its columns."""
    for start, end, name in _spans([sheet.heads[place] for place in panel.columns]):
        inside = sum(widths[start:end]) + 2 * setting.gap * (end - start - 1)
        yield max(0.0, text_width(name, setting.size) - inside)


def _cells_width(panel: _Panel, place: int, setting: Setting) -> float:
    return max((_cell_width(line.cells[place], setting) for line in panel.lines), default=0.0)


def _cell_width(cell: Shown, setting: Setting) -> float:
    width = text_width(cell.text, setting.size, bold=cell.rank == 1)
    width += text_width(_signs(cell), SMALLEST)
    below = text_width(cell.interval, SMALLEST)
    if setting.stacked:
        return max(width, below, text_width(cell.beside.strip(), SMALLEST))
    return max(width + text_width(cell.beside, max(SMALLEST, setting.size - 1)), below)


def _head_width(sheet: Sheet, place: int, setting: Setting) -> float:
    return max(text_width(line, setting.size) for line in _head_lines(sheet, place, setting))


def _stub_width(sheet: Sheet, place: int, setting: Setting) -> float:
    """Of a column of names; longer ones are broken."""
    texts = [*_stub_lines(sheet, place, setting), *_names(sheet, place)]
    return min(_LONGEST, max(text_width(text, setting.size) for text in texts))


def _names(sheet: Sheet, place: int) -> list[str]:
    return [line.stubs[place] for line in sheet.lines]


def _stub_lines(sheet: Sheet, place: int, setting: Setting) -> list[str]:
    widest = max((text_width(name, setting.size) for name in _names(sheet, place)), default=0.0)
    return _in_lines(sheet.stubs[place], widest, setting)


def _head_lines(sheet: Sheet, place: int, setting: Setting) -> list[str]:
    values = max((_cell_width(line.cells[place], setting) for line in sheet.lines), default=0.0)
    return _in_lines(sheet.heads[place].text, values, setting)


def _in_lines(head: str, below: float, setting: Setting) -> list[str]:
    """A heading, in two lines where it is of several words and much wider than what stands below it."""
    words = re.sub(r" (?=[↑↓†¶]|$)", "\N{NO-BREAK SPACE}", head).split(" ")
    if len(words) < 2 or text_width(head, setting.size) < 1.35 * below:
        return [head]
    cuts = [(" ".join(words[:at]), " ".join(words[at:])) for at in range(1, len(words))]
    first, second = min(cuts, key=lambda two: max(text_width(part, setting.size) for part in two))
    return [first, second.replace("\N{NO-BREAK SPACE}", " ")]


def _floats(sheet: Sheet, setting: Setting, panels: Sequence[_Panel]) -> Iterator[list[_Panel]]:
    """Panels by the float that they stand in; one that is too high for a page is cut between its groups of lines."""
    held: list[_Panel] = []
    for panel in (piece for whole in panels for piece in _cut(whole, setting)):
        if held and _panels_height([*held, panel], setting) > _HIGH:
            yield held
            held = []
        held = [*held, panel]
    yield held


def _cut(panel: _Panel, setting: Setting) -> Iterator[_Panel]:
    if _panels_height([panel], setting) <= _HIGH:
        yield panel
        return
    starts = [place for place, line in enumerate(panel.lines) if line.first] or [0]
    blocks = [panel.lines[start:end] for start, end in pairwise([*starts, len(panel.lines)])]
    held: list[Line] = []
    for block in blocks:
        if held and _panels_height([panel._replace(lines=[*held, *block])], setting) > _HIGH:
            yield panel._replace(lines=held)
            held = []
        held = [*held, *block]
    yield panel._replace(lines=held)


def _panels_height(panels: Sequence[_Panel], setting: Setting) -> float:
    rows = sum(len(_printed_lines(panel, setting)) for panel in panels)
    rules = sum(line.first for panel in panels for line in panel.lines)
    return setting.size * _LEADING * (rows + 2 * len(panels)) + 5.0 * (rules + 2 * len(panels)) + 30.0


def _notes_height(notes: Sequence[str], room: float) -> float:
    return sum(9.6 * math.ceil(1.15 * text_width(note, SMALLEST) / room) for note in notes)


# How it is written


def _spans(heads: Sequence[Head]) -> list[tuple[int, int, str]]:
    """(first, behind the last, name) of neighbouring columns of one group; none without groups."""
    found: list[tuple[int, int, str]] = []
    for place, head in enumerate(heads):
        if found and found[-1][2] == head.group:
            found[-1] = (found[-1][0], place + 1, head.group)
        else:
            found.append((place, place + 1, head.group))
    return [one for one in found if one[2]]


def _tabular(sheet: Sheet, panel: _Panel, setting: Setting) -> Iterator[str]:
    heads = [sheet.heads[place] for place in panel.columns]
    stubs = len(sheet.stubs)
    kinds = [
        rf"p{{{_LONGEST:g}pt}}" if _stub_width(sheet, place, setting) == _LONGEST else "l" for place in range(stubs)
    ]
    yield rf"\begin{{tabular}}{{@{{}}{''.join(kinds)}{'r' * len(heads)}@{{}}}}"
    yield r"\toprule"
    spans = _spans(heads)
    if spans:
        groups = {start: (end - start, name) for start, end, name in spans}
        parts, place = [], 0
        while place < len(heads):
            count, name = groups.get(place, (1, ""))
            parts.append(rf"\multicolumn{{{count}}}{{c}}{{{tex(name)}}}" if name else "")
            place += count
        yield " & ".join([*[""] * stubs, *parts]) + r" \\"
        rules = (rf"\cmidrule(lr){{{stubs + start + 1}-{stubs + end}}}" for start, end, _ in spans)
        yield "".join(rules)
    names = [_head(_stub_lines(sheet, place, setting), "l") for place in range(stubs)]
    titles = [_head(_head_lines(sheet, place, setting), "r") for place in panel.columns]
    yield " & ".join([*names, *titles]) + r" \\"
    printed = _printed_lines(panel, setting)
    for place, (line, part) in enumerate(printed):
        if part == "value" and line.first:
            yield r"\midrule"
        cells = [_cell(line.cells[column], part, setting) for column in panel.columns]
        names = [""] * stubs if part != "value" else _stubs(line, printed[place:], kinds)
        # Behind a row's end LaTeX would read a name in square brackets as a distance, and a star as its own.
        guard = "{}" if names[0].startswith(("[", "*")) else ""
        yield guard + " & ".join([*names, *cells]) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _printed_lines(panel: _Panel, setting: Setting) -> list[tuple[Line, str]]:
    """(line, what of its cells) in print: values, and what has lines of its own below them."""
    found = []
    for line in panel.lines:
        cells = [line.cells[place] for place in panel.columns]
        found.append((line, "value"))
        if setting.stacked and any(cell.beside for cell in cells):
            found.append((line, "beside"))
        if any(cell.interval for cell in cells):
            found.append((line, "interval"))
    return found


def _stubs(line: Line, rest: Sequence[tuple[Line, str]], kinds: Sequence[str]) -> list[str]:
    """Names of a line; the first, where several lines share it, stands in the middle of them."""
    names = [
        tex(name) if kind == "l" or not name else rf"\raggedright {tex_broken(name)}"
        for name, kind in zip(line.stubs, kinds, strict=True)
    ]
    if len(kinds) > 1 and line.stubs[0]:
        below = [(at, other) for at, (other, part) in enumerate(rest) if at and part == "value"]
        rows = next((at for at, other in below if other.first or other.stubs[0]), len(rest))
        # A name of one line stands in it, whatever stands below its values.
        rows = rows if any(at < rows for at, _ in below) else 1
        room = "*" if kinds[0] == "l" else "="
        names[0] = rf"\multirow{{{rows}}}{{{room}}}{{{names[0]}}}" if rows > 1 else names[0]
    return names


def _head(lines: Sequence[str], side: str) -> str:
    text = r"\\".join(map(tex, lines))
    return text if len(lines) == 1 else rf"\shortstack[{side}]{{{text}}}"


def _cell(cell: Shown, part: str, setting: Setting) -> str:
    if part != "value":
        text = cell.interval if part == "interval" else cell.beside.strip()
        if setting.size > SMALLEST and text:
            return rf"{{\fontsize{{8}}{{9.5}}\selectfont {tex_value(text)}}}"
        return tex_value(text)
    marks = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}")
    text = marks[cell.rank].format(tex_value(cell.text))
    if cell.beside and not setting.stacked:
        beside = tex_value(cell.beside)
        small = setting.size > SMALLEST
        text += rf"{{\fontsize{{8}}{{9.5}}\selectfont{{}}{beside}}}" if small else beside
    signs = _signs(cell)
    return text + (rf"\tablemark{{{tex(signs)}}}" if signs else "")


def _signs(cell: Shown) -> str:
    """What stands raised behind a value: stars, the letter of a reason, numbers of doubts."""
    return ",".join(part for part in (cell.stars, cell.mark, *map(str, cell.doubts)) if part)


def _note(line: str) -> str:
    """A line below the table; the letter or number that it begins with stands as it does in the cells."""
    found = re.match(r"\[([a-z]+|\d+)\] ", line)
    return rf"\tablemark{{{found[1]}}}~{tex_note(line[found.end() :])}" if found else tex_note(line)

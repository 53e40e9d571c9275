"""Tables for people at a terminal: as wide as the window, bold and coloured, in parts where the window is too narrow.

Names stand in every part. Where nobody looks, on a pipe, commands print markdown or plain text instead.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP = 2
"""Columns of the terminal between two of the table."""
_NARROW = 40
"""Windows below this many columns are taken for ones whose size nobody knows."""


class Mark(NamedTuple):
    """A value with how it is drawn."""

    text: str
    style: str = ""
    """Words of rich, such as `bold green`."""
    beside: str = ""
    """What stands behind it in small, such as an interval or the number of a note."""


class Grid(NamedTuple):
    """A table that can be drawn."""

    title: str
    stubs: Sequence[str]
    """Headings of the columns of names, on the left of every part."""
    heads: Sequence[tuple[str, str]]
    """Headings of the other columns: what several have in common, or nothing, and their own."""
    rows: Sequence[tuple[Sequence[str], Sequence[Mark]]]
    rules: Sequence[bool] = ()
    """For each row, whether a line stands above it."""
    notes: Sequence[str] = ()
    words: frozenset[int] = frozenset()
    """Columns of text, by position behind the names: to the left, and folded where the window is narrow."""


def on_terminal() -> bool:
    """Whether standard output is a window with somebody before it."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the window; `COLUMNS` overrides it."""
    found = shutil.get_terminal_size((100, 40)).columns
    return found if found >= _NARROW else 100


def draw(grid: Grid, columns: int | None = None, *, colour: bool | None = None) -> str:
    """The table as text with escapes of colour where standard output is a terminal (or `colour` says so)."""
    from io import StringIO

    from rich.console import Console

    wide = columns or width()
    shown = on_terminal() if colour is None else colour
    out = StringIO()
    console = Console(file=out, width=wide, force_terminal=shown, highlight=False, legacy_windows=False)
    if grid.title:
        console.print(grid.title, style="bold", markup=False)
    for number, part in enumerate(_parts(grid, wide)):
        if number:
            console.print()
        console.print(_table(grid, part))
    if grid.notes:
        console.print()
    for note in grid.notes:
        console.print(f"• {note}", style="dim", markup=False)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(grid: Grid, wide: int) -> list[list[int]]:
    """The columns behind the names, in as many parts as the window needs; one column at least in each."""
    from rich.cells import cell_len

    widths = [
        max(*(cell_len(line) for line in heading), *(cell_len(_told(row[1][place])) for row in grid.rows), 0)
        for place, heading in enumerate(grid.heads)
    ]
    # The name of a group stands over its first column alone, and must not make that one wide.
    names = [
        max([cell_len(name), *(cell_len(row[0][place]) for row in grid.rows)]) for place, name in enumerate(grid.stubs)
    ]
    room = wide - sum(each + _GAP for each in names)
    parts: list[list[int]] = [[]]
    left = room
    for place, need in enumerate(widths):
        taken = min(need, 24) if place in grid.words else need
        if parts[-1] and taken > left:  # nothing stands behind the last one
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= taken + _GAP
    return parts


def _told(mark: Mark) -> str:
    return mark.text + (f" {mark.beside}" if mark.beside else "")


def _table(grid: Grid, part: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # One of the gap is the box's own, a blank where others have a line.
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold cyan"
    )
    grouped = any(grid.heads[place][0] for place in part)
    for name in grid.stubs:
        table.add_column(Text(f"\n{name}" if grouped else name), style="bold", overflow="fold")
    before = None
    for place in part:
        group, name = grid.heads[place]
        told = (group if group != before else "") + "\n" + name if grouped else name
        before = group
        words = place in grid.words
        table.add_column(Text(told), justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for number, (names, marks) in enumerate(grid.rows):
        if number and grid.rules and grid.rules[number]:
            table.add_section()
        table.add_row(*(Text(name) for name in names), *(_text(marks[place]) for place in part))
    return table


def _text(mark: Mark) -> Text:
    from rich.text import Text

    shown = Text()
    shown.append(mark.text, style=mark.style)  # as the whole text's style it would underline the blanks before it too
    if mark.beside:
        shown.append(f" {mark.beside}", style="dim")
    return shown


def listing(rows: Sequence[dict[str, str]]) -> str:
    """Rows of words under their keys, for lists of names: drawn on a terminal, plain text elsewhere."""
    if not rows:
        return ""
    keys = list(rows[0])
    if on_terminal():
        body = [([row[keys[0]]], [Mark(row[key]) for key in keys[1:]]) for row in rows]
        heads = [("", key) for key in keys[1:]]
        return draw(Grid("", keys[:1], heads, body, words=frozenset(range(len(heads)))))
    from tabulate import tabulate

    return tabulate(list(rows), headers="keys", tablefmt="simple", disable_numparse=True) + "\n"

"""A table of a run for people at a terminal: best is bold and green, second best underlined, reasons and notes dim."""

from __future__ import annotations

from bench.tables.layout import Shown, Table, printable
from bench.tables.sheet import Form, arrange
from iqpir.terminal import Grid, Mark, draw

_STYLES = ("", "bold green", "underline")


def terminal(table: Table, form: Form = Form()) -> str:  # noqa: B008 – immutable
    """As wide as the window; what does not fit stands in parts below each other, each with the names."""
    sheet = arrange(table, form)
    rows = [(list(map(printable, line.stubs)), [_mark(cell) for cell in line.cells]) for line in sheet.lines]
    grid = Grid(
        printable(sheet.title), list(map(printable, sheet.stubs)),
        [(printable(head.group), printable(head.text)) for head in sheet.heads], rows,
        [line.first for line in sheet.lines], list(map(printable, sheet.notes)),
    )  # fmt: skip
    return draw(grid)


def _mark(cell: Shown) -> Mark:
    signs = "".join(f"[{mark}]" for mark in (cell.mark, *cell.doubts) if mark)
    beside = " ".join(filter(None, (cell.beside.strip(), cell.interval, signs)))
    value = bool(cell.text) and cell.text[0] in "0123456789-−+∞i"
    return Mark(printable(cell.text + cell.stars), _STYLES[cell.rank] if value else "dim", printable(beside))

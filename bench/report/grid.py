"""A qualitative comparison for a paper: items down, LQ, methods and GT across, coloured details below each picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.errors import BenchError, suggest
from bench.report import gallery, style
from bench.report.crops import Window, find_window
from bench.report.figures import FigureChoice, chosen
from bench.results.pictures import Picture, Pictures
from bench.results.view import RunView
from bench.tables.layout import format_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP = 0.03
"""Between pictures, inches."""
_LABEL = 0.17
"""Height of a line of text, inches."""
_VALUE = 0.105
"""Height of a metric's line, inches."""
_SIDE = 0.14
"""Width of the rotated name of an item, inches."""
BOXES = ("#FF2D2D", "#00C2FF", "#FFD400", "#3BE33B")
"""Colours of details, in order: seen on dark and bright photographs alike."""


class Details(NamedTuple):
    """Which parts are enlarged."""

    boxes: Sequence[tuple[int, int, int, int]] = ()
    """(left, top, width, height) in pixels of the GT, or of the first picture without one; empty to choose one."""


def draw(
    data: RunView,
    pictures: Pictures,
    choice: FigureChoice = FigureChoice(),  # noqa: B008 – immutable
    items: Sequence[str] = (),
    count: int = 3,
    details: Details = Details(),  # noqa: B008 – immutable
    width: float = style.PAGE,
) -> Figure:
    """The grid. `items` are ids, or DATASET/ID where several datasets have one; else `count` of each dataset.

    Metrics are written below the details where the choice names some. Raises `BenchError` for an item that there is
    not, and where no picture of an item can be shown.
    """
    cells = chosen(data, choice)
    datasets = list(dict.fromkeys(cell.dataset for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    wanted = _find(data, items, datasets) if items else _some(data, datasets, count)
    rows = []
    for dataset, item in wanted:
        found = [one for one in pictures.of(dataset, item, methods) if one.kind != "method" or _shown(data, one)]
        if all(one.pixels is None for one in found):
            raise BenchError(f"no picture of {dataset}/{item} can be shown: {found[0].missing}")
        rows.append((dataset, item, found))
    columns = list(dict.fromkeys((one.kind, one.label) for *_, found in rows for one in found))
    columns.sort(key=lambda column: column[0] == "gt")  # behind all methods, also of datasets that have none
    return _draw(data, rows, columns, choice.metrics, details, width)


def undrawn(data: RunView, choice: FigureChoice) -> Iterator[str]:
    """Metrics of a choice that no picture has a value of, a line each."""
    sets = {cell.column.label: cell.column.heading for cell in data.cells if cell.column.is_set}
    for metric in choice.metrics:
        if metric in sets:
            yield f"{sets[metric]}: a value of a whole set, not drawn"


def _shown(data: RunView, picture: Picture) -> bool:
    """False for methods that are not on this machine at all: they would be a column of nothing."""
    told = next(one for one in data.record.methods if one.label == picture.label)
    return not told.unavailable


def _find(data: RunView, items: Sequence[str], datasets: Sequence[str]) -> list[tuple[str, str]]:
    known = {one.label: one.items for one in data.record.datasets if one.label in datasets}
    found: list[tuple[str, str]] = []
    for name in items:
        places = [(d, i) for d, ids in known.items() for i in ids if name in (i, f"{d}/{i}")]
        if not places:
            every = [i for ids in known.values() for i in ids]
            raise BenchError(f"no item {name!r} in {', '.join(known)}{suggest(name, every)}")
        found += places
    return list(dict.fromkeys(found))


def _some(data: RunView, datasets: Sequence[str], count: int) -> list[tuple[str, str]]:
    return [
        (dataset.label, item)
        for dataset in data.record.datasets
        if dataset.label in datasets
        for item, _ in gallery.choose(data, dataset, count)
    ]


def _draw(
    data: RunView,
    rows: Sequence[tuple[str, str, Sequence[Picture]]],
    columns: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    details: Details,
    width: float,
) -> Figure:
    from matplotlib.patches import Rectangle

    from bench.report.inline_figure import InlineFigure

    side = _SIDE if len(rows) > 1 else 0.0
    each = (width - side - _GAP * (len(columns) - 1)) / len(columns)
    windows = [_windows(found, details) for *_, found in rows]
    shapes = [_shape(found) for *_, found in rows]
    highs = [each * height / length for height, length in shapes]
    crops = [_crop_size(shape, window, each) for shape, window in zip(shapes, windows, strict=True)]
    below = _VALUE * len(metrics) + (_GAP if metrics else 0)
    total = _LABEL + sum(high + _GAP + crop[1] + below for high, crop in zip(highs, crops, strict=True))
    total += 2.2 * _GAP * (len(rows) - 1)
    drawn = InlineFigure(figsize=(width, total))
    drawn.set_layout_engine("none")

    def place(left: float, top: float, wide: float, high: float):  # type: ignore[no-untyped-def]
        axis = drawn.add_axes((left / width, 1 - (top + high) / total, wide / width, high / total))
        axis.set_axis_off()
        return axis

    def write(left: float, top: float, text: str, **look: object) -> None:
        drawn.text(left / width, 1 - top / total, text, **look)  # type: ignore[arg-type]

    values = {(c.dataset, c.method, c.column.label): c for c in data.cells}
    top = _LABEL
    for column, (_, label) in enumerate(columns):
        middle = side + column * (each + _GAP) + each / 2
        room = max(8, int(each / 0.062))
        write(middle, top - 0.05, style.plain_text(label, room), ha="center", va="bottom", fontsize=7.5)
    for (dataset, item, found), window, high, (wide, crop_high) in zip(rows, windows, highs, crops, strict=True):
        if side:
            name = style.plain_text(item, max(6, int((high + crop_high) / 0.06)))
            write(0, top + (high + crop_high) / 2, name, rotation=90, ha="left", va="center", fontsize=6.5)
        for one in found:
            left = side + columns.index((one.kind, one.label)) * (each + _GAP)
            axis = place(left, top, each, high)
            if one.pixels is None:
                axis.text(0.5, 0.5, "not available", ha="center", va="center", fontsize=6, transform=axis.transAxes)
                continue
            _show(axis, one.pixels, each)
            for index, each_window in enumerate(window):
                colour = BOXES[index % len(BOXES)]
                frame: dict[str, Any] = {
                    "fill": False,
                    "edgecolor": colour,
                    "transform": axis.transAxes,
                    "clip_on": False,
                }
                at = each_window.left, 1 - each_window.top - each_window.height
                axis.add_patch(Rectangle(at, each_window.width, each_window.height, linewidth=0.8, **frame))
                detail = place(left + index * (wide + _GAP), top + high + _GAP, wide, crop_high)
                _show(detail, each_window.cut(one.pixels), wide)
                rim: dict[str, Any] = {
                    "fill": False,
                    "edgecolor": colour,
                    "transform": detail.transAxes,
                    "clip_on": False,
                }
                detail.add_patch(Rectangle((0, 0), 1, 1, linewidth=1.2, **rim))
            for line, metric in enumerate(metrics):
                cell = values.get((dataset, one.label, metric)) if one.kind == "method" else None
                score = next((s for s in cell.scores if s.item == item and s.repeat == 0), None) if cell else None
                if cell is not None and score is not None and score.value is not None:
                    text = f"{cell.column.heading} {format_value(score.value, cell.column.digits)}"
                    under = top + high + _GAP + crop_high + _GAP + _VALUE * line
                    write(left + each / 2, under, text, ha="center", va="top", fontsize=6)
        top += high + _GAP + crop_high + below + 2.2 * _GAP
    return drawn


def _shape(found: Sequence[Picture]) -> tuple[int, int]:
    """(height, width) that stands for an item: its GT's, else its first output's, else its input's."""
    order = {"gt": 0, "method": 1, "lq": 2}
    known = sorted((one for one in found if one.pixels is not None), key=lambda one: order[one.kind])
    pixels = known[0].pixels
    assert pixels is not None
    return pixels.shape[0], pixels.shape[1]


def _windows(found: Sequence[Picture], details: Details) -> list[Window]:
    height, width = _shape(found)
    if details.boxes:
        for left, top, wide, high in details.boxes:
            if min(left, top) < 0 or min(wide, high) < 1 or left + wide > width or top + high > height:
                raise BenchError(f"the detail {left},{top},{wide},{high} is not inside a picture of {width}×{height}")
        return [Window(t / height, le / width, h / height, w / width) for le, t, w, h in details.boxes]
    reference = next((one.pixels for one in found if one.kind == "gt"), None)
    outputs = [one.pixels for one in found if one.kind == "method" and one.pixels is not None]
    inputs = [one.pixels for one in found if one.kind == "lq" and one.pixels is not None]
    return [find_window(outputs or inputs, reference, 0.25)]


def _crop_size(shape: tuple[int, int], windows: Sequence[Window], each: float) -> tuple[float, float]:
    """(width, height) of a detail in inches; several share a column's width and the first one's shape."""
    wide = (each - _GAP * (len(windows) - 1)) / len(windows)
    *_, rows, columns = windows[0].box(*shape)
    return wide, wide * rows / columns


def _show(axis, pixels: np.ndarray, inches: float) -> None:  # type: ignore[no-untyped-def]
    axis.imshow(style.fitted(pixels, inches), interpolation="nearest", aspect="auto")
    axis.set_axis_off()

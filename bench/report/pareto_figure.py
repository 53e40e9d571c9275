"""Quality against latency as a picture: every method a point, the front a line, one panel per dataset."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report import style
from bench.tables.pareto import Front, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_MOST_PANELS = 12
_PLACES = ((1, 0.0), (-1, 0.0), (1, 0.9), (1, -0.9), (-1, 0.9), (-1, -0.9), (1, 1.8), (1, -1.8), (-1, 1.8), (-1, -1.8))
"""Where a label is tried: right or left of its point, so many lines higher."""


def draw(found: Front, width: float = style.PAGE) -> Figure:
    """A figure, better to the upper left (for a metric that falls, to the lower left). Call inside `style.applied`."""
    datasets = list(dict.fromkeys(point.dataset for point in found.points))
    if len(datasets) > _MOST_PANELS:
        raise BenchError(f"{len(datasets)} datasets do not fit a figure (at most {_MOST_PANELS}): name --dataset")
    columns = 1 if width <= style.COLUMN or len(datasets) == 1 else 2
    rows = -(-len(datasets) // columns)
    drawn = style.figure(width, rows * (0.62 * width / columns if width > style.COLUMN and columns == 2 else 2.6))
    axes = drawn.subplots(rows, columns, squeeze=False)
    methods = list(dict.fromkeys(point.method for point in found.points))
    labels = []
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        points = [point for point in found.points if point.dataset == dataset]
        labels.append((axis, _panel(axis, points, methods), points))
        axis.set_xlabel("Latency, ms ↓")
        axis.set_ylabel(style.plain_text(found.column))
        if len(datasets) > 1:
            axis.set_title(style.plain_text(dataset))
    for axis in axes.flat[len(datasets) :]:
        axis.set_visible(False)
    # Places are known only once the panels have theirs.
    drawn.draw_without_rendering()
    for axis, texts, points in labels:
        _spread(axis, texts, points)
    return drawn


def _panel(axis: Axes, points: Sequence[Point], methods: Sequence[str]) -> list[Text]:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    front = sorted((point for point in points if point.front), key=lambda point: point.milliseconds)
    axis.plot(
        [one.milliseconds for one in front], [one.quality for one in front], color="#9a9a9a", linewidth=1, zorder=1
    )
    texts: list[Text] = []
    for point in points:
        colour = style.colour(methods.index(point.method))
        axis.plot(
            point.milliseconds, point.quality, style.marker(methods.index(point.method)), color=colour, zorder=2,
            markerfacecolor=colour if point.front else "white", markersize=5,
        )  # fmt: skip
        label = style.plain_text(point.method, 24) + ("~" if point.noise else "")
        texts.append(axis.annotate(label, (point.milliseconds, point.quality), xytext=(0, 0),
                                   textcoords="offset points", va="center", fontsize=6.5))  # fmt: skip
    axis.set_xscale("log")
    axis.margins(x=0.12, y=0.12)
    # matplotlib writes powers of ten as TeX, which figures here never read.
    narrow = max(one.milliseconds for one in points) < 30 * min(one.milliseconds for one in points)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    return texts


def _spread(axis: Axes, texts: Sequence[Text], points: Sequence[Point]) -> None:
    """Put each label where it covers no point and no other label, as far as there is such a place."""
    from matplotlib.transforms import Bbox

    frame = axis.get_window_extent()
    dots = axis.transData.transform([(point.milliseconds, point.quality) for point in points])
    scale = axis.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    taken = [Bbox.from_bounds(x - 3 * scale, y - 3 * scale, 6 * scale, 6 * scale) for x, y in dots]
    front = sorted(tuple(dot) for dot, point in zip(dots, points, strict=True) if point.front)
    line = [
        Bbox.from_bounds(x0 + (x1 - x0) * step / 40, y0 + (y1 - y0) * step / 40, 2, 2)
        for (x0, y0), (x1, y1) in pairwise(front)
        for step in range(41)
    ]
    for index, text in enumerate(texts):
        best, least = (1, 0.0), float("inf")
        for side, lines in _PLACES:
            _put(text, side, lines)
            box = text.get_window_extent()
            others = [one for other, one in enumerate(taken) if other != index]
            cost = (
                sum(_shared(box, one) for one in others)
                + 3 * sum(_shared(box, one) for one in line)
                + 4 * (box.width * box.height - _shared(box, frame))
            )
            cost += 0.02 * abs(lines) * box.width
            if cost < least:
                best, least = (side, lines), cost
        _put(text, *best)
        taken.append(text.get_window_extent())


def _put(text: Text, side: int, lines: float) -> None:
    text.set_horizontalalignment("left" if side > 0 else "right")
    text.set_position((5 * side, 8 * lines))


def _shared(one: object, other: object) -> float:
    """Pixels that two boxes have in common."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)  # type: ignore[attr-defined]
    high = min(one.y1, other.y1) - max(one.y0, other.y0)  # type: ignore[attr-defined]
    return float(max(0.0, wide) * max(0.0, high))

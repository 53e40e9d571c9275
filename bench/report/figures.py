"""Figures of a run's numbers for a paper: score distributions, and a metric against a swept option.

Each function returns a matplotlib figure; nothing is restored or scored here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError, suggest
from bench.report import style
from bench.results.view import Cell, RunView
from bench.suite import definition
from bench.tables.significance import interval_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_SERIES = 16
_MOST_PANELS = 24
_FEW = 20
"""Below so many values a density would show more than there is: boxes and dots are drawn."""


class FigureChoice(NamedTuple):
    """What of a run a figure shows; empty for all of it."""

    datasets: Sequence[str] = ()
    methods: Sequence[str] = ()
    metrics: Sequence[str] = ()


def chosen(data: RunView, choice: FigureChoice) -> list[Cell]:
    """The cells of a choice. Raises `BenchError` for a name that the run does not have."""
    known = {
        "dataset": [one.label for one in data.record.datasets],
        "method": [one.label for one in data.record.methods],
        "metric": list(dict.fromkeys(cell.column.label for cell in data.cells)),
    }
    for (kind, names), wanted in zip(known.items(), choice, strict=True):
        for name in wanted:
            if name not in names:
                raise BenchError(f"no {kind} {name!r} in this run{suggest(name, names)} (it has {', '.join(names)})")
    return [
        cell
        for cell in data.cells
        if (not choice.datasets or cell.dataset in choice.datasets)
        and (not choice.methods or cell.method in choice.methods)
        and (not choice.metrics or cell.column.label in choice.metrics)
    ]


def axis_label(cell: Cell) -> str:
    return style.plain_text(f"{cell.column.heading} {'↑' if cell.column.higher_is_better else '↓'}")


def no_point(cell: Cell) -> str | None:
    """Why a cell's mean is no point of a curve; None where it is one, and where there is none."""
    if cell.value is None or (cell.complete and math.isfinite(cell.value)):
        return None
    return "infinite" if cell.complete else f"of {cell.n} of {cell.expected} items"


def undrawn(data: RunView, choice: FigureChoice, kind: str, option: str | None = None) -> Iterator[str]:
    """What a distribution or a sweep cannot show of a choice, a line for each cell: a reader of the figure alone would
    take what is left for all."""
    swept = {label for family in families(data, option) for _, label in family.points} if kind == "sweep" else set()
    for cell in chosen(data, choice):
        if kind == "sweep" and cell.method not in swept:
            continue
        where = f"{cell.method} on {cell.dataset}, {cell.column.heading}"
        lacking = cell.expected - cell.n
        if kind == "sweep":
            if why := no_point(cell):
                yield f"{where}: {why}, not drawn"
        elif not cell.column.is_set and cell.n:
            parts = [f"{cell.infinite} infinite"] if cell.infinite else []
            parts += [f"{lacking} missing"] if lacking > 0 else []
            if len(_finite(cell)) < 2:
                yield f"{where}: {' and '.join([*parts, 'fewer than two finite values'])}, not drawn"
            elif parts:
                yield f"{where}: of {cell.expected} values {' and '.join(parts)}, not drawn"


# Distributions


def distribution(data: RunView, choice: FigureChoice = FigureChoice(), width: float = style.PAGE) -> Figure:  # noqa: B008 – immutable
    """How the values of single items spread: one panel per metric with a curve per dataset where one method is shown,
    else one per dataset and metric with a curve per method."""
    cells = [cell for cell in chosen(data, choice) if not cell.column.is_set and len(_finite(cell)) > 1]
    if not cells:
        raise BenchError(
            "no two items with a value, of which to draw a distribution: name --dataset, --method or --metric that "
            "have some, or run more items"
        )
    alone = len({cell.method for cell in chosen(data, choice)}) == 1
    titled = len({cell.dataset for cell in cells}) > 1
    panels: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        place = ("", cell.column.label) if alone else (cell.dataset, cell.column.label)
        panels.setdefault(place, {})[cell.dataset if alone else cell.method] = cell
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    _check_room(len(panels), len(names))
    columns = _columns(len({metric for _, metric in panels}), width)
    rows = -(-len(panels) // columns)
    few = min(len(_finite(cell)) for cell in cells) < _FEW
    height = rows * (0.5 + (0.16 * len(names) if few else 1.15)) + (0 if few else 0.2 * -(-len(names) // 4))
    drawn = style.figure(width, height)
    axes = drawn.subplots(rows, columns, squeeze=False)
    for axis, ((dataset, _), series) in zip(axes.flat, panels.items(), strict=False):
        (_boxes if few else _curves)(axis, series, names)
        axis.set_xlabel(axis_label(next(iter(series.values()))))
        if dataset and titled:
            axis.set_title(style.plain_text(dataset))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    if not few:
        legend(drawn, axes.flat[0], names)
    return drawn


def _columns(panels: int, width: float) -> int:
    """Panels in a row: three on a page, four as two by two."""
    return 1 if width <= style.COLUMN else 2 if panels == 4 else min(panels, 3)


def _check_room(panels: int, series: int) -> None:
    if panels > _MOST_PANELS or series > _MOST_SERIES:
        raise BenchError(
            f"{panels} panels of {series} series do not fit a figure (at most {_MOST_PANELS} and {_MOST_SERIES}): "
            "choose with --dataset, --method and --metric"
        )


def _finite(cell: Cell) -> list[float]:
    return [value for value in cell.item_values.tolist() if math.isfinite(value)]


def _curves(axis: Axes, series: Mapping[str, Cell], names: Sequence[str]) -> None:
    import numpy as np
    from scipy.stats import gaussian_kde

    every = [value for cell in series.values() for value in _finite(cell)]
    pad = 0.05 * (max(every) - min(every)) or 1.0
    along = np.linspace(min(every) - pad, max(every) + pad, 300)
    for name, cell in series.items():
        values = np.array(_finite(cell))
        index = names.index(name)
        look: dict[str, Any] = {"color": style.colour(index), "linestyle": style.dashes(index)}
        if values.std() < 1e-12 * max(1.0, abs(values.mean())):  # no density: all values are one
            axis.axvline(float(values[0]), **look)
            continue
        density = gaussian_kde(values)(along)
        axis.plot(along, density, **look)
        axis.fill_between(along, density, color=look["color"], alpha=0.12, linewidth=0)
        axis.axvline(float(np.median(values)), ymax=0.04, color=look["color"], linewidth=1.6)
    axis.set_ylim(bottom=0)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)


def _boxes(axis: Axes, series: Mapping[str, Cell], names: Sequence[str]) -> None:
    import numpy as np

    for name, cell in series.items():
        values = np.sort(_finite(cell))
        place, colour = len(names) - names.index(name), style.colour(names.index(name))
        first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
        axis.barh(place, third - first, left=first, height=0.6, color=colour, alpha=0.25, edgecolor=colour)
        axis.plot([median, median], [place - 0.3, place + 0.3], color=colour, linewidth=1.6)
        shifts = (np.arange(values.size) % 3 - 1) * 0.14
        axis.plot(values, place + shifts, "o", color=colour, markersize=2, alpha=0.8, markeredgewidth=0)
    axis.set_yticks(range(len(names), 0, -1), [style.plain_text(name, 24) for name in names])
    axis.set_ylim(0.4, len(names) + 0.6)
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", length=0)


def legend(drawn: Figure, axis: Axes, names: Sequence[str], markers: bool = False) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour(n), linestyle=style.dashes(n), marker=style.marker(n) if markers else None)
        for n in range(len(names))
    ]
    shown = [style.plain_text(name) for name in names]
    columns = max(1, min(len(names), int(drawn.get_figwidth() * 14 / (max(map(len, shown)) + 6))))
    drawn.legend(handles, shown, loc="outside upper center", ncols=columns)


# Sweeps


class Family(NamedTuple):
    """A method whose option was swept."""

    name: str
    option: str
    points: Sequence[tuple[float, str]]
    """(value of the option, label of the method), ascending."""


def families(data: RunView, option: str | None = None) -> list[Family]:
    """Every method of the run's suite with a numeric sweep; by the other swept options too where there are some."""
    labels = {method.label for method in data.record.methods}
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for given in data.record.definition.get("methods", []):
        spec = definition.MethodSpec(**given)
        numeric = [name for name, values in spec.sweep.items() if all(_is_number(one) for one in values)]
        swept = next((name for name in numeric if option is None or name == option), None)
        if swept is None:
            continue
        for variant in definition.variants(spec, "the run's suite"):
            if variant.label not in labels:
                continue
            rest = ", ".join(f"{name}={variant.options[name]}" for name in spec.sweep if name != swept)
            name = _family_name(spec, swept) + (f" ({rest})" if rest and "{" not in (spec.label or "{") else "")
            found.setdefault((name, swept), []).append((float(variant.options[swept]), variant.label))
    return [Family(name, swept, sorted(points)) for (name, swept), points in found.items() if len(points) > 1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _family_name(spec: definition.MethodSpec, swept: str) -> str:
    """The label without the part that names the swept option: "IQPIR S={score}" is "IQPIR"."""
    if spec.label is None:
        return spec.method
    words = [word for word in spec.label.split() if "{" + swept + "}" not in word]
    return " ".join(words) or spec.method


def sweep(
    data: RunView,
    choice: FigureChoice = FigureChoice(),  # noqa: B008 – immutable
    option: str | None = None,
    width: float = style.PAGE,
) -> Figure:
    """A metric against the option that the suite sweeps, one line per method and dataset; bands are the 95 % bootstrap
    intervals of the means. Raises `BenchError` where nothing numeric was swept."""
    every = families(data, option)
    if not every:
        raise BenchError(
            f"run {data.number} ({data.record.suite}) sweeps no number"
            + (f" called {option!r}" if option else "")
            + ": a suite sweeps with {method: iqpir, sweep: {score: [0.1, 0.5, 0.9]}}"
        )
    option = every[0].option
    every = [family for family in every if family.option == option]
    cells = {(c.dataset, c.method, c.column.label): c for c in chosen(data, choice)}
    metrics = list(dict.fromkeys(metric for *_, metric in cells))
    datasets = list(dict.fromkeys(dataset for dataset, *_ in cells))
    panels: dict[str, dict[str, list[tuple[float, Cell]]]] = {}
    for metric in metrics:
        for family in every:
            for dataset in datasets:
                points = [
                    (at, cell)
                    for at, label in family.points
                    if (cell := cells.get((dataset, label, metric))) is not None
                    and cell.value is not None
                    and math.isfinite(cell.value)
                    and cell.complete
                ]
                if len(points) > 1:
                    name = " · ".join(
                        part
                        for part, many in ((family.name, len(every) > 1), (dataset, len(datasets) > 1))
                        if many or (len(every) == len(datasets) == 1 and part == family.name)
                    )
                    panels.setdefault(metric, {})[name] = points
    if not panels:
        raise BenchError(f"no two values of {option} have a number of all items to draw: bench table says why")
    names = list(dict.fromkeys(name for series in panels.values() for name in series))
    _check_room(len(panels), len(names))
    columns = _columns(len(panels), width)
    rows = -(-len(panels) // columns)
    drawn = style.figure(width, rows * 1.7 + 0.25)
    axes = drawn.subplots(rows, columns, squeeze=False)
    for axis, series in zip(axes.flat, panels.values(), strict=False):
        for name, points in series.items():
            _line(axis, points, names.index(name))
        axis.set_ylabel(axis_label(next(iter(series.values()))[0][1]))
        axis.set_xlabel(style.plain_text(option if len(every) > 1 else f"{option} of {every[0].name}"))
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    legend(drawn, axes.flat[0], names, markers=True)
    return drawn


def _line(axis: Axes, points: Sequence[tuple[float, Cell]], index: int) -> None:
    along = [at for at, _ in points]
    look: dict[str, Any] = {"color": style.colour(index)}
    values = [float(cell.value or 0.0) for _, cell in points]
    axis.plot(along, values, linestyle=style.dashes(index), marker=style.marker(index), **look)
    intervals = [interval_of(cell) for _, cell in points]
    if all(interval is not None for interval in intervals):
        low, high = zip(*(interval for interval in intervals if interval is not None), strict=True)
        axis.fill_between(along, low, high, alpha=0.13, linewidth=0, **look)

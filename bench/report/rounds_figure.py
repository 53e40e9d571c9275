"""`bench figure rounds`: what rounds bring, fixed numbers of them against rounds that stop by themselves.

Per dataset: metrics against the mean number of rounds, the quality that the assessor sees after each round, and why
rounds ended. Everything is read from the run; nothing is restored or scored.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError
from bench.methods.trace import Trace
from bench.report import figures, style
from bench.results.view import Cell, RunView
from bench.tables.rounds import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_METRICS = 2
_GRAYS = ("#2b2b2b", "#6e6e6e", "#a8a8a8", "#d4d4d4", "#efefef")
"""Of reasons, in the order of how often they occur: bars of one method are told apart by lightness."""


class Curve(NamedTuple):
    """Methods that belong together on one curve: (mean rounds, value) each, ascending."""

    name: str
    points: Sequence[tuple[float, float]]


def lines(data: RunView, dataset: str, metric: str, cells: Sequence[Cell]) -> list[Curve]:
    """A curve for each setting of a method of the catalogue that is run with several fixed numbers of rounds, and a
    point for every other one that tells its rounds. Whatever has not all of its items, or no finite mean, is left out
    (`undrawn` says so)."""
    mean = {method: one.mean for where, method, one in counted(data) if where == dataset and one.n == one.expected}
    mine = [c for c in cells if (c.dataset, c.column.label) == (dataset, metric)]
    values = {c.method: c.value for c in mine if figures.no_point(c) is None}
    fixed: dict[tuple[str, str], list[tuple[float, float]]] = {}
    found: list[Curve] = []
    for method in data.record.methods:
        at, value = mean.get(method.label), values.get(method.label)
        if at is None or value is None:
            continue
        options: Mapping[str, object] = method.identity.get("options") or {}
        if options.get("adaptive") is False and all(
            options.get(name, True) is True for name in ("verify", "rollback", "assessment")
        ):
            others = {name: value for name, value in options.items() if name not in ("rounds", "adaptive")}
            setting = ", ".join(f"{name} {value}" for name, value in sorted(others.items()))
            fixed.setdefault((method.name, setting), []).append((at, value))
        else:
            found.append(Curve(method.label, [(at, value)]))
    several = [name for name, _ in fixed]
    named = {
        (name, setting): f"{name}, fixed" + (f" ({setting})" if several.count(name) > 1 and setting else "")
        for name, setting in fixed
    }
    return [*(Curve(named[each], sorted(points)) for each, points in fixed.items()), *found]


def undrawn(data: RunView, choice: figures.FigureChoice) -> Iterator[str]:
    """What the figure leaves out of a choice, a line each: its reader would take what is left for all."""
    told, metrics = _told(data, choice), _metrics(data, choice)
    for dataset, method, one in counted(data):
        if (dataset, method) in told and one.n != one.expected:
            yield f"{method} on {dataset}: rounds of {one.n} of {one.expected} {one.things}, not drawn"
    for cell in figures.chosen(data, choice):
        place = cell.dataset, cell.method
        if place not in told or cell.column.label not in metrics or len(data.traces[place]) != len(cell.scores):
            continue
        if why := figures.no_point(cell):
            yield f"{cell.method} on {cell.dataset}, {cell.column.heading}: {why}, not drawn"


def _told(data: RunView, choice: figures.FigureChoice) -> dict[tuple[str, str], Sequence[Any]]:
    return {
        place: each for place, each in data.traces.items()
        if (not choice.datasets or place[0] in choice.datasets) and (not choice.methods or place[1] in choice.methods)
    }  # fmt: skip


def _metrics(data: RunView, choice: figures.FigureChoice) -> list[str]:
    cells = [cell for cell in figures.chosen(data, choice) if cell.value is not None]
    found = list(dict.fromkeys(cell.column.label for cell in cells))
    if len(choice.metrics) > _MOST_METRICS:
        raise BenchError(
            f"a figure of rounds has room for {_MOST_METRICS} metrics: --metric names {len(choice.metrics)}"
        )
    return found[:_MOST_METRICS]


def quality(traces: Sequence[Trace]) -> list[float]:
    """Mean quality, as judged, after 0, 1, 2 … rounds; an image whose rounds ended keeps its last one. Empty where no
    method said any."""
    each = [curve for trace in traces if (curve := quality_of(trace))]
    if not each:
        return []
    longest = max(map(len, each))
    return [statistics.fmean(curve[min(at, len(curve) - 1)] for curve in each) for at in range(longest)]


def quality_of(trace: Trace) -> list[float]:
    """Of one image: what is taken counts, what is rolled back leaves the quality where it was."""
    known = [step for step in trace.steps if step.quality is not None]
    curve = [known[0].quality] if known else []
    for step in known:
        if step.verdict != "stopped":
            curve.append(step.quality_after if step.taken else step.quality)
    return [value for value in curve if value is not None]


def draw(data: RunView, choice: figures.FigureChoice = figures.FigureChoice(), width: float = style.PAGE) -> Figure:  # noqa: B008
    """Raises `BenchError` where no method of the choice tells its rounds."""
    cells = [cell for cell in figures.chosen(data, choice) if cell.value is not None]
    whole = {(dataset, method) for dataset, method, one in counted(data) if one.n == one.expected}
    told = {place: each for place, each in _told(data, choice).items() if place in whole}
    datasets = list(dict.fromkeys(dataset for dataset, _ in told))
    if not datasets and (partly := list(undrawn(data, choice))):
        raise BenchError(partly[0])
    if not datasets:
        raise BenchError(f"run {data.number} ({data.record.suite}) has no method that tells its rounds, such as rar")
    names = list(dict.fromkeys(method for _, method in told))
    metrics = _metrics(data, choice)
    columns = len(metrics) + 2
    drawn = style.figure(width, len(datasets) * max(1.7, 0.75 + 0.14 * len(names)) + 0.3)
    axes = drawn.subplots(len(datasets), columns, squeeze=False)
    shown: list[str] = []
    order = _ordered([one.trace for each in told.values() for one in each])
    for row, dataset in zip(axes, datasets, strict=True):
        for axis, metric in zip(row, metrics, strict=False):
            of_metric = [cell for cell in cells if cell.column.label == metric]
            _against(axis, lines(data, dataset, metric, of_metric), shown, of_metric[0])
        _qualities(row[-2], {name: [one.trace for one in told.get((dataset, name), ())] for name in names}, shown)
        _reasons(row[-1], {name: [one.trace for one in told.get((dataset, name), ())] for name in names}, order)
        if len(datasets) > 1:
            row[0].set_title(style.plain_text(dataset))
    figures.legend(drawn, axes.flat[0], shown, markers=True)
    return drawn


def _index(shown: list[str], name: str) -> int:
    if name not in shown:
        shown.append(name)
    return shown.index(name)


def _against(axis: Axes, drawn: Sequence[Curve], shown: list[str], cell: Cell) -> None:
    for line in drawn:
        index = _index(shown, line.name)
        axis.plot(
            *zip(*line.points, strict=True), color=style.colour(index), marker=style.marker(index),
            linestyle=style.dashes(index) if len(line.points) > 1 else "none",
        )  # fmt: skip
    axis.set_xlabel("rounds per image")
    axis.set_ylabel(figures.axis_label(cell))


def _qualities(axis: Axes, traces: Mapping[str, Sequence[Trace]], shown: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, each in traces.items():
        curve = quality(each)
        if curve:
            index = _index(shown, name)
            axis.plot(
                range(len(curve)), curve, color=style.colour(index), marker=style.marker(index),
                linestyle=style.dashes(index),
            )  # fmt: skip
    axis.set_xlabel("after round")
    axis.set_ylabel("quality, as assessed")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _ordered(traces: Sequence[Trace]) -> list[str]:
    """Why rounds ended, the most frequent first."""
    every = [trace.reason or "not said" for trace in traces]
    return sorted(dict.fromkeys(every), key=lambda reason: (-every.count(reason), reason))


def _reasons(axis: Axes, traces: Mapping[str, Sequence[Trace]], order: Sequence[str]) -> None:
    """Stacked shares, a bar per method; a reason has one gray in all datasets."""
    from matplotlib.transforms import offset_copy

    present = [name for name, each in traces.items() if each]
    for place, name in enumerate(present):
        left = 0.0
        for index, reason in enumerate(order):
            share = sum((trace.reason or "not said") == reason for trace in traces[name]) / len(traces[name])
            colour = _GRAYS[min(index, len(_GRAYS) - 1)]
            axis.barh(-place, share, left=left, height=0.7, color=colour, label=reason if place == 0 else None)
            left += share
    names = [style.plain_text(name, 24) for name in present]
    axis.set_yticks([-place for place in range(len(present))], names, fontsize=6)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share, by why rounds ended")
    axis.grid(False)
    axis.tick_params(axis="y", length=0)
    figure: Any = axis.figure
    below = offset_copy(axis.transAxes, figure, y=-0.36)  # inches: under the axis' own words
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, ncols=2, fontsize=6)

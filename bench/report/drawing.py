"""A run as a figure, whichever is asked for: what the command and the function of Python share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError, suggest
from bench.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.report.figures import FigureChoice
    from bench.results.view import RunView

KINDS = ("grid", "distribution", "sweep", "pareto", "rounds", "ascent")


class Asked(NamedTuple):
    """A figure as it is asked for."""

    kind: str
    """One of `KINDS`."""
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    per_dataset: int = 2
    """Items of each dataset."""
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    """Parts to enlarge: left, top, width and height in pixels."""
    option: str | None = None
    """The swept option on the axis."""
    prior: str = "iqpir-tiny-quality"
    """What is climbed."""
    width: str = "page"
    """page or column."""


def draw(
    asked: Asked, run: str | None, results: Path, target: Path | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> Figure:  # fmt: skip
    """Draw a run, and write it where a file is named; `note` is told what that file had to leave out.

    Raises `BenchError` for what a run does not have.
    """
    from bench.report import ascent, figures, grid, pareto_figure, rounds_figure
    from bench.results import leases, view
    from bench.results.pictures import Pictures
    from bench.tables.pareto import front

    if asked.kind not in KINDS:
        raise BenchError(f"no figure {asked.kind!r}{suggest(asked.kind, KINDS)} (there are {', '.join(KINDS)})")
    if asked.kind == "pareto" and len(asked.metrics) != 1:
        raise BenchError("pareto draws one metric: --metric NAME")
    if target is not None:
        style.suffix_of(target)
    inches = style.PAGE if asked.width == "page" else style.COLUMN
    choice = figures.FigureChoice(asked.datasets, asked.methods, asked.metrics)
    with leases.reading(results) as store, style.applied():
        data = view.read_cells(store, view.find_run(store, run))
        if asked.kind == "grid":
            pictures = Pictures(store, data, results)
            details = grid.Details(asked.boxes)
            drawn = grid.draw(data, pictures, choice, asked.items, asked.per_dataset, details, inches)
        elif asked.kind == "distribution":
            drawn = figures.distribution(data, choice, inches)
        elif asked.kind == "ascent":
            drawn = ascent.draw(data, Pictures(store, data, results), choice, asked.per_dataset, asked.prior, inches)
        elif asked.kind == "rounds":
            drawn = rounds_figure.draw(data, choice, inches)
        elif asked.kind == "pareto":
            chosen = data._replace(cells=figures.chosen(data, choice))
            drawn = pareto_figure.draw(front(chosen, asked.metrics[0]), inches)
        else:
            drawn = figures.sweep(data, choice, asked.option, inches)
        for line in _undrawn(data, choice, asked):
            note(line)
        if target is not None:
            said = style.save(drawn, target)
            if said:
                note(f"{target}: {said}")
    return drawn


def _undrawn(data: RunView, choice: FigureChoice, asked: Asked) -> Iterator[str]:
    """What of a choice a figure does not show."""
    from bench.report import figures, grid, rounds_figure

    if asked.kind in ("distribution", "sweep"):
        yield from figures.undrawn(data, choice, asked.kind, asked.option)
    elif asked.kind == "rounds":
        yield from rounds_figure.undrawn(data, choice)
    elif asked.kind == "grid":
        yield from grid.undrawn(data, choice)

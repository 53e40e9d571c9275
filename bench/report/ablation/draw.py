"""Figures of an ablation: means with intervals, differences, score sweep, ascents, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.report import style
from bench.report.ablation import numbers
from bench.report.ablation.arm_tables import MAIN, Results
from bench.report.ablation.measure import BINS, PRIOR, SWEPT, Column
from bench.report.ablation.numbers import Difference, Mean
from iqpir.training.ablation import Arm
from iqpir.training.pursuit import SPACES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = (PRIOR, "brisque", "piqe", "psnr")


def _label(column: Column) -> str:
    return f"{column.heading} {'↑' if column.higher_better else '↓'}"


def _bar(axis: Axes, at: float, found: Mean | Difference, colour: str, upright: bool = True) -> None:
    """A point with its interval."""
    ends = found.interval or (found.value, found.value)
    spans = [[found.value - ends[0]], [ends[1] - found.value]]
    look: dict[str, Any] = {"fmt": "o", "color": colour, "markersize": 4, "capsize": 2, "elinewidth": 1.1}
    if upright:
        axis.errorbar([at], [found.value], yerr=spans, **look)
    else:
        axis.errorbar([found.value], [at], xerr=spans, **look)


def main(found: Results) -> Figure:
    """Above the means of the main arms, a faint mark per seed; below the differences to the first arm."""
    arms = [arm for arm in found.arms(MAIN) if arm.name not in found.pending]
    columns = list(found.columns.values())
    drawn = style.figure(style.PAGE * 1.35, 3.6)
    axes = drawn.subplots(2, len(columns), squeeze=False)
    for place, column in enumerate(columns):
        top, low = axes[0, place], axes[1, place]
        top.set_title(_label(column) + ("  († in d)" if column.name == PRIOR else ""))
        for number, arm in enumerate(arms):
            mean = found.mean(arm.name, "restored", column.name)
            values = numbers.values(found.rows, arm.name, "restored", column.name)
            if mean is None or values is None:
                continue
            _bar(top, number, mean, style.colour(number))
            top.plot([number + 0.22] * len(values.seeds), values.table.mean(axis=1), "_", color=style.colour(number),
                     alpha=0.6)  # fmt: skip
            made = found.difference(arm.name, arm.against, "restored", column.name)
            if made is not None:
                _bar(low, number, made, style.colour(number))
        low.axhline(0, color="#5b5b5b", linewidth=0.8)
        for axis in (top, low):
            axis.set_xticks(range(len(arms)), [f"({arm.name})" for arm in arms])
            axis.set_xlim(-0.5, len(arms) - 0.5)
    axes[0, 0].set_ylabel("mean")
    axes[1, 0].set_ylabel(f"difference to ({arms[0].against})")
    return drawn


def sides(found: Results) -> Figure | None:
    """Every other arm's differences to the arm that it is compared with."""
    lines: list[tuple[Arm | None, str]] = []
    for group in found.groups:
        arms = [arm for arm in found.arms(group) if group != MAIN and arm.name not in found.pending]
        if arms:
            lines.append((None, group))
            lines += [(arm, f"{arm.title} − ({arm.against})") for arm in arms]
    if not lines:
        return None
    columns = [found.columns[name] for name in _SIDE if name in found.columns]
    drawn = style.figure(style.PAGE * 1.2, 0.5 + 0.19 * len(lines))
    axes = drawn.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, columns, strict=True):
        axis.set_title(_label(column))
        axis.axvline(0, color="#5b5b5b", linewidth=0.8)
        for place, (arm, _) in enumerate(lines):
            made = found.difference(arm.name, arm.against, "restored", column.name) if arm else None
            if made is not None:
                better = (made.value > 0) == column.higher_better
                _bar(axis, -place, made, style.colour(2 if better else 1) if made.clear else style.colour(7), False)
        axis.grid(False, axis="y")
    axes[0].set_yticks([-place for place in range(len(lines))], [style.plain_text(text, 60) for _, text in lines])
    for text, (arm, _) in zip(axes[0].get_yticklabels(), lines, strict=True):
        text.set_fontweight("bold" if arm is None else "normal")
    axes[0].tick_params(axis="y", length=0)
    return drawn


def _line(axis: Axes, at: Sequence[float], means: Sequence[Mean | None], look: Mapping[str, Any], label: str) -> None:
    known = [(x, mean) for x, mean in zip(at, means, strict=True) if mean is not None]
    places = [x for x, _ in known]
    axis.plot(places, [mean.value for _, mean in known], label=label, **look)
    spans = [(mean.interval or (mean.value, mean.value)) for _, mean in known]
    axis.fill_between(
        places, [low for low, _ in spans], [high for _, high in spans], color=look["color"], alpha=0.1, linewidth=0
    )


def _look(number: int) -> dict[str, Any]:
    return {"color": style.colour(number), "marker": style.marker(number), "markersize": 3}


def sweep(found: Results) -> Figure | None:
    """A panel per metric, a curve per arm, the score that is asked for on the axis."""
    arms = [arm for arm in found.arms(MAIN) if found.mean(arm.name, "sweep", PRIOR) is not None]
    if not arms:
        return None
    names = [name for name in (PRIOR, *SWEPT) if name in found.columns]
    drawn = style.figure(style.PAGE * 1.2, 1.9)
    axes = drawn.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(_label(found.columns[name]))
        axis.set_xlabel("score asked for")
        for arm in arms:
            number = found.arms(MAIN).index(arm)
            means = [found.mean(arm.name, "sweep", name, (step + 0.5) / BINS) for step in range(BINS)]
            _line(axis, range(BINS), means, _look(number), f"({arm.name}) {arm.title}")
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms))
    return drawn


def ascent(found: Results) -> Figure | None:
    """Above by steps, below by what the prior says: continuous and discrete."""
    name, steps = found.plan.evaluation.pursue, found.plan.evaluation.pursue_steps
    if not any(row.kind in SPACES for row in found.rows):
        return None
    watched = [metric for metric in SWEPT if metric in found.columns]
    drawn = style.figure(style.PAGE * 1.2, 3.4)
    axes = drawn.subplots(2, 1 + len(watched), squeeze=False)
    means = {
        (space, metric): [found.mean(name, space, metric, float(step)) for step in steps]
        for space in SPACES for metric in (PRIOR, *watched)
    }  # fmt: skip
    for place, metric in enumerate((PRIOR, *watched)):
        axes[0, place].set_title(_label(found.columns[metric]))
        axes[0, place].set_xlabel("steps")
        axes[0, place].set_xscale("symlog", linthresh=1)
        axes[0, place].set_xticks([step for step in steps if step in (0, 1, 5, 20, 80)])
        axes[0, place].set_xticklabels([str(step) for step in steps if step in (0, 1, 5, 20, 80)])
        for number, space in enumerate(SPACES):
            _line(axes[0, place], list(steps), means[space, metric], _look(number), space)
            if metric != PRIOR:
                pairs = [
                    (one.value, two.value)
                    for one, two in zip(means[space, PRIOR], means[space, metric], strict=True) if one and two
                ]  # fmt: skip
                axes[1, place].plot(*np.array(pairs).T, **_look(number))
                axes[1, place].set_xlabel("prior")
                axes[1, place].set_ylabel(_label(found.columns[metric]))
    axes[1, 0].set_axis_off()
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return drawn


def pictures(rows: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """Images uint8 [H,W,3], a row per window, a column per key."""
    names = list(rows[0])
    width = style.PAGE * 1.2
    drawn = style.figure(width, width / len(names) * len(rows) + 0.25)
    axes = drawn.subplots(len(rows), len(names), squeeze=False)
    for row, images in zip(axes, rows, strict=True):
        for axis, name in zip(row, names, strict=True):
            axis.imshow(images[name], interpolation="nearest")
            axis.set_axis_off()
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(style.plain_text(name))
    return drawn

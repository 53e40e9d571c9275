"""How far metrics agree with people, drawn: a panel for each number, a mark with its interval for each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report import style
from bench.tables.agreement import Agreement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERS = (("srocc", "SROCC", 0.0), ("plcc", "PLCC", 0.0), ("accuracy", "Pairs right", 0.5))


def draw(found: Sequence[Agreement], width: float = style.PAGE) -> Figure:
    """Metrics by their mean SROCC, the best on top; one mark per dataset and kind of votes. Raises `BenchError`."""
    if not found:
        raise BenchError("nothing to draw: no metric has values of outputs that people judged")
    metrics = sorted(dict.fromkeys(one.metric for one in found), key=lambda metric: _mean(found, metric))
    series = list(dict.fromkeys((one.dataset, one.against) for one in found))
    drawn = style.figure(width, 0.9 + 0.24 * len(metrics) * max(1, len(series) * 0.6))
    axes = drawn.subplots(1, len(_NUMBERS), sharey=True)
    for panel, (name, title, chance) in zip(axes, _NUMBERS, strict=True):
        for number, key in enumerate(series):
            shift = (number - (len(series) - 1) / 2) * 0.7 / max(len(series), 2)
            for one in (one for one in found if (one.dataset, one.against) == key):
                estimate = getattr(one, name)
                place = metrics.index(one.metric) - shift
                if math.isfinite(estimate.low):
                    panel.plot([estimate.low, estimate.high], [place, place], color=style.colour(number), linewidth=1)
                panel.plot(
                    [estimate.value], [place], style.marker(number), color=style.colour(number),
                    label=style.plain_text(f"{key[0]}, {key[1]}"),
                )  # fmt: skip
        panel.axvline(chance, color="#888888", linewidth=0.6)
        panel.set_xlabel(title)
        panel.grid(axis="y", visible=False)
    axes[0].set_ylim(-0.6, len(metrics) - 0.4)
    axes[0].set_yticks(range(len(metrics)), [style.plain_text(one) for one in metrics])
    handles, labels = axes[0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    drawn.legend(named.values(), named.keys(), loc="outside upper center", ncols=min(len(named), 4))
    return drawn


def _mean(found: Sequence[Agreement], metric: str) -> float:
    values = [one.srocc.value for one in found if one.metric == metric and math.isfinite(one.srocc.value)]
    return sum(values) / len(values) if values else -1.0

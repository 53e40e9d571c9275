"""Score distributions as inline SVG: one strip per method, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from bench.tables.layout import format_value, printable

_WIDTH, _ROW, _LABEL, _TOP, _BOTTOM = 520, 22, 132, 6, 22
_DOTS = 80
"""Up to so many values each is a dot; beyond, their density is drawn."""


def strips(title: str, values: Mapping[str, Sequence[float]], digits: int, colours: Mapping[str, int]) -> str:
    """Quartile box, median and every value (or their density) per method, on one axis.

    Values that are not finite are left out and counted. The text is a whole <svg> element.
    """
    finite = {name: np.array([v for v in given if math.isfinite(v)], dtype=float) for name, given in values.items()}
    drawn = [one for one in finite.values() if one.size]
    if not drawn:
        return ""
    every = np.concatenate(drawn)
    low, high = float(every.min()), float(every.max())
    pad = (high - low) * 0.03 or max(abs(low) * 0.05, 0.5)
    low, high = low - pad, high + pad
    height = _TOP + _ROW * len(values) + _BOTTOM
    out = [
        f'<svg class="strips" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_text(title)}">',
        f"<title>{_text(title)}</title>",
    ]

    def at(value: float) -> float:
        return round(_LABEL + (value - low) / (high - low) * (_WIDTH - _LABEL - 10), 1)

    base = _TOP + _ROW * len(values)
    for tick in _ticks(low, high):
        out.append(f'<line class="grid" x1="{at(tick)}" x2="{at(tick)}" y1="{_TOP}" y2="{base}"/>')
        out.append(f'<text class="tick" x="{at(tick)}" y="{base + 14}" text-anchor="middle">{tick:g}</text>')
    for row, (name, found) in enumerate(finite.items()):
        middle = _TOP + _ROW * row + _ROW / 2
        lost = len(values[name]) - found.size
        out.append(f'<g class="s{colours.get(name, 0) % 8}">')
        short = printable(name)
        short = short if len(short) <= 20 else short[:19] + "…"
        out.append(f'<text class="name" x="{_LABEL - 8}" y="{middle + 4}" text-anchor="end">{_text(short)}</text>')
        if found.size:
            first, median, third = (float(q) for q in np.quantile(found, [0.25, 0.5, 0.75]))
            said = f"{name}: median {format_value(median, digits)}, quartiles {format_value(first, digits)} to "
            said += f"{format_value(third, digits)}, {found.size} values" + (f", {lost} not finite" if lost else "")
            out.append(f"<title>{_text(said)}</title>")
            out.append(_spread(found, at, middle, low, high))
            width = max(at(third) - at(first), 0.5)
            out.append(f'<rect class="box" x="{at(first)}" y="{middle - 6}" width="{width:.1f}" height="12"/>')
            out.append(
                f'<line class="median" x1="{at(median)}" x2="{at(median)}" y1="{middle - 8}" y2="{middle + 8}"/>'
            )
        out.append("</g>")
    return "".join([*out, "</svg>"])


def _spread(found: np.ndarray, at: Callable[[float], float], middle: float, low: float, high: float) -> str:
    if found.size <= _DOTS:
        # The height of a dot follows from its rank, so that equal values stay apart and a page is made alike twice.
        places = sorted(found)
        return "".join(
            f'<circle class="dot" cx="{at(value)}" cy="{middle + (rank % 3 - 1) * 3:.1f}" r="2.4"/>'
            for rank, value in enumerate(places)
        )
    counts, edges = np.histogram(found, bins=40, range=(low, high))
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], "same")
    heights = smooth / smooth.max() * (_ROW / 2 - 1)
    centres = (edges[:-1] + edges[1:]) / 2
    upper = [f"{at(float(c))},{middle - h:.1f}" for c, h in zip(centres, heights, strict=True)]
    lower = [f"{at(float(c))},{middle + h:.1f}" for c, h in zip(centres, heights, strict=True)]
    return f'<polygon class="density" points="{" ".join([*upper, *reversed(lower)])}"/>'


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside an interval."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    first = math.ceil(low / step)
    return [round(n * step, 10) for n in range(first, math.floor(high / step) + 1)]


def _text(text: str) -> str:
    return escape(printable(text))

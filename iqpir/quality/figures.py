"""An assessment as pictures: the distribution of scores (IQPIR Fig. 1), and examples of each bin (IQPFR Fig. 10).

Drawn at the width of a paper's page (7 inches), as PNG and as PDF. Bars are the counts of the table, bin by bin.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iqpir import image_files
from iqpir.errors import ImageFailure, IQPIRError
from iqpir.quality.prior import MemberStatistics, QualityPrior, bin_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from iqpir.quality.assess import FolderAssessment

WIDTH = 7.0
"""Inches."""
COLUMNS = 8
"""Examples in a row of the contact sheet."""
_BARS, _ENSEMBLE, _HQ, _INK = "#9aa5b1", "#4477aa", "#cc6633", "#333333"
_STYLE: Any = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,  # text stays text
}


def distribution(found: FolderAssessment, out: Path) -> list[Path]:
    """Histograms of every member and of the ensemble, over the prior's bins. Returns the files written."""
    prior = _prior(found)
    panels = len(prior.members) + (len(prior.members) > 1)
    columns = 2 if panels == 4 else min(3, panels)
    rows = -(-panels // columns)
    short = {name: name.rpartition(":")[2] for name in prior.names}  # without the provider
    with _figure(WIDTH if columns > 1 else WIDTH / 2, 2.15 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        places = list(grid.flat)
        for axes, member in zip(places, prior.members, strict=False):
            alone = len(prior.members) == 1
            title = short[member.name] if list(short.values()).count(short[member.name]) == 1 else member.name
            _member_panel(axes, member, title, found.normalised[member.name], prior, with_threshold=alone)
        if len(prior.members) > 1:
            _ensemble_panel(places[len(prior.members)], found.score, prior)
        for axes in places[panels:]:
            axes.set_axis_off()
        for place, axes in enumerate(places[:panels]):
            if place % columns == 0:
                axes.set_ylabel("images")
        return _write(figure, out / "distribution")


def _member_panel(
    axes: Axes,
    member: MemberStatistics,
    title: str,
    normalised: np.ndarray,
    prior: QualityPrior,
    *,
    with_threshold: bool,
) -> None:
    scores = normalised[np.isfinite(normalised)]
    _bars(axes, scores, prior, _BARS, with_threshold=with_threshold)
    axes.set_xlabel("normalised score")
    arrow = "lower" if member.lower_better else "higher"
    axes.set_title(f"{title} ({arrow} is better)", color=_INK)
    spread = member.maximum - member.minimum + prior.eps

    def to_raw(score: Any) -> Any:
        return member.maximum - score * spread if member.lower_better else member.minimum + score * spread

    def from_raw(raw: Any) -> Any:
        return (member.maximum - raw if member.lower_better else raw - member.minimum) / spread

    if member.maximum > member.minimum:
        top = axes.secondary_xaxis("top", functions=(to_raw, from_raw))
        top.set_xlabel("raw score", fontsize=6.5, labelpad=2)
        top.tick_params(labelsize=6)


def _ensemble_panel(axes: Axes, score: np.ndarray, prior: QualityPrior) -> None:
    scores = score[np.isfinite(score)]
    _bars(axes, scores, prior, _ENSEMBLE, with_threshold=True)
    axes.set_xlabel("ensemble score (mean)")
    axes.set_title(f"ensemble, {len(scores)} images", color=_INK)
    top = axes.secondary_xaxis("top")
    step = -(-prior.bins // 10)
    shown = range(0, prior.bins, step)
    top.set_xticks([(place + 0.5) / prior.bins for place in shown], [str(place) for place in shown])
    top.set_xlabel("bin", fontsize=6.5, labelpad=2)
    top.tick_params(labelsize=6, length=0)


def _bars(axes: Axes, scores: np.ndarray, prior: QualityPrior, colour: str, *, with_threshold: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    counts = np.bincount(bin_scores(scores, prior.bins), minlength=prior.bins)
    high = scores[prior.is_hq(scores)] if with_threshold else scores[:0]
    high_counts = np.bincount(bin_scores(high, prior.bins), minlength=prior.bins)
    edges = np.arange(prior.bins) / prior.bins
    shape: Any = {"width": 1 / prior.bins, "align": "edge", "edgecolor": "white", "linewidth": 0.5}
    axes.bar(edges, counts - high_counts, color=colour, **shape)
    axes.bar(edges, high_counts, bottom=counts - high_counts, color=_HQ, **shape)
    for edge, count in zip(edges, counts, strict=True):
        if count and prior.bins <= 12:
            axes.annotate(
                _count(int(count)),
                (edge + 0.5 / prior.bins, count),
                xytext=(0, 1.5),
                textcoords="offset points",
                ha="center",
                fontsize=5,
                color=_INK,
            )
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    mean = float(scores.mean())
    axes.axvline(mean, color=_INK, linewidth=1, ymin=0.93)
    notes = [(f"mean {mean:.2f}", _INK)]
    if with_threshold:
        axes.axvline(prior.threshold, color=_HQ, linewidth=0.9, linestyle=(0, (3, 2)))
        notes.append((f"HQ+ (> {prior.threshold:g}): {len(high)}", _HQ))
    # Words stand where the bars are not: above the tallest of them and its count.
    axes.set_ylim(0, max(int(counts.max()), 1) / (0.88 - 0.1 * len(notes)))
    place, side = (0.03, "left") if mean > 0.5 else (0.97, "right")
    for line, (text, ink) in enumerate(notes):
        axes.text(
            place,
            0.95 - 0.1 * line,
            text,
            transform=axes.transAxes,
            ha=side,
            va="top",
            fontsize=6.5,
            color=ink,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )


def _count(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.1f}k"


def contact_sheet(found: FolderAssessment, out: Path) -> list[Path]:
    """One row of example images per bin, worst bin on top, spread evenly over the bin's scores."""
    prior = _prior(found)
    score, bins = found.score, found.bins
    chosen = [_spread(np.flatnonzero(bins == place), score) for place in range(prior.bins)]
    label, gap, caption = 0.85, 0.05, 0.14
    side = (WIDTH - label - gap * COLUMNS) / COLUMNS
    heights = [side + caption if len(row) else 0.2 for row in chosen]
    total = sum(heights) + gap * (len(heights) + 1)
    with _figure(WIDTH, total, layout=None) as figure:
        top = total - gap
        for place, (row, height) in enumerate(zip(chosen, heights, strict=True)):
            _row_label(figure, found, place, len(row), (0.06, top - (side if len(row) else height) / 2), total)
            for column, image in enumerate(row):
                left = label + column * (side + gap)
                axes = figure.add_axes((left / WIDTH, (top - side) / total, side / WIDTH, side / total))
                _example(axes, found.folder / found.names[image])
                high = bool(prior.is_hq(float(score[image])))
                caption_text = f"{score[image]:.3f}{'  HQ+' if high else ''}"
                axes.set_xlabel(caption_text, fontsize=6, labelpad=1.5, color=_HQ if high else _INK)
            top -= height + gap
        return _write(figure, out / "contact-sheet")


def _row_label(
    figure: Figure, found: FolderAssessment, place: int, shown: int, where: tuple[float, float], total: float
) -> None:
    prior = _prior(found)
    at = (where[0] / WIDTH, where[1] / total)
    count = int((found.bins == place).sum())
    if not shown:
        figure.text(*at, f"bin {place}: no image", fontsize=6.5, color="#888888", va="center")
        return
    edges = f"{place / prior.bins:.3g} – {(place + 1) / prior.bins:.3g}"
    images_word = "image" if count == 1 else "images"
    figure.text(at[0], at[1] + 0.05 / total, f"bin {place}", fontsize=8.5, fontweight="bold", va="bottom", color=_INK)
    figure.text(*at, f"{edges}\n{count} {images_word}", fontsize=6.5, va="top", color=_INK, linespacing=1.3)


def _spread(members: np.ndarray, score: np.ndarray) -> list[int]:
    """At most `COLUMNS` of these places, from the lowest score to the highest in even steps."""
    ordered = members[np.argsort(score[members], kind="stable")]
    if len(ordered) <= COLUMNS:
        return [int(place) for place in ordered]
    return [int(ordered[step]) for step in np.linspace(0, len(ordered) - 1, COLUMNS).round().astype(int)]


def _example(axes: Axes, path: Path) -> None:
    """An image whole, in the middle of a square."""
    import cv2

    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    try:
        pixels = image_files.decode(image_files.read_bytes(path))
    except ImageFailure:  # it was there when it was scored
        axes.text(0.5, 0.5, "gone", ha="center", va="center", fontsize=6)
        return
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    height, width = pixels.shape[:2]
    scale = 300 / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    half_wide, half_high = width / max(height, width) / 2, height / max(height, width) / 2
    axes.imshow(pixels, extent=(0.5 - half_wide, 0.5 + half_wide, 0.5 - half_high, 0.5 + half_high), aspect="auto")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _prior(found: FolderAssessment) -> QualityPrior:
    if found.prior is None or not found.scored.any():
        raise IQPIRError("no image has a score: there is nothing to draw")
    return found.prior


@contextmanager
def _figure(width: float, height: float, layout: Any = "constrained") -> Iterator[Figure]:
    """A figure of that many inches, outside pyplot, so that no display and no global state is touched."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout=layout)


def _write(figure: Figure, stem: Path) -> list[Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for file in files:
        figure.savefig(file, dpi=300)
    return files

"""How every figure for a paper looks: sizes, fonts, colours that colour-blind readers can tell apart.

matplotlib is imported when a figure is made, never with the package, and its global settings stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import files
from bench.errors import BenchError, suggest

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

COLUMN = 3.45
"""Width of one column of a two-column paper, inches."""
PAGE = 7.1
"""Width of its page, inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#5B5B5B")
"""Okabe and Ito's palette without its yellow, which white paper swallows, and two more; in the order of use."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))

SUFFIXES = ("pdf", "png", "svg")
DPI = 300
"""Of PNG files, and of photographs inside the others."""

_LARGEST_PNG = 1_000_000
"""Bytes beyond which a PNG is too heavy for a page or a mail."""
_LIGHTER = ((300, 256), (300, 128), (300, 64), (300, 32), (225, 64), (150, 64), (100, 64), (72, 64), (50, 32), (30, 32))
"""(dots per inch, colours) of a PNG that is too heavy, in the order in which they are tried."""
_RC: Any = {  # newer releases of matplotlib want a Literal for each key
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.frameon": False, "legend.handlelength": 1.8, "legend.borderaxespad": 0.3,
    "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False, "axes.titlepad": 4,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "axes.grid": True, "grid.linewidth": 0.4, "grid.color": "#d9d9d9", "axes.axisbelow": True,
    "lines.linewidth": 1.3, "lines.markersize": 4, "patch.linewidth": 0.6,
    "figure.dpi": 100, "savefig.dpi": DPI, "figure.constrained_layout.use": True,
    "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "bench",
    # A label is text that somebody chose, never TeX.
    "text.parse_math": False, "text.usetex": False,
}  # fmt: skip


def colour(index: int) -> str:
    """The colour of the series with that position; they repeat, and `dashes` and `marker` then differ."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def dashes(index: int) -> Any:
    """A line style that changes each time the colours begin again."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


@contextmanager
def applied() -> Iterator[None]:
    """Figures made inside look like the others; needs no display. Font look-ups stay silent."""
    import logging

    import matplotlib

    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context(_RC):
            yield
    finally:
        logger.setLevel(before)


def figure(width: float = COLUMN, height: float | None = None) -> Figure:
    """An empty figure of that size in inches, apart from pyplot's global list; call inside `applied`."""
    from bench.report.inline_figure import InlineFigure

    return InlineFigure(figsize=(width, width * 0.62 if height is None else height), layout="constrained")


def suffix_of(target: Path) -> str:
    """The file type a name asks for. Raises `BenchError` for one that is not written."""
    found = target.suffix.lower().removeprefix(".")
    if found not in SUFFIXES:
        raise BenchError(f"{target}: a figure ends in {', '.join(SUFFIXES)}, not {found!r}{suggest(found, SUFFIXES)}")
    return found


def save(drawn: Figure, target: Path) -> str:
    """Write a figure as its name's suffix says, the same bytes each time; call inside `applied`.

    Returns what was given up for a PNG of less than a megabyte, in one line; empty for nothing.
    """
    said: list[str] = []
    kind = suffix_of(target)
    # Without a date two runs of one command give one file.
    about: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]

    def write(path: Path) -> None:
        drawn.savefig(path, format=kind, metadata=about, bbox_inches="tight", pad_inches=0.02)
        if kind == "png" and path.stat().st_size > _LARGEST_PNG:
            said.append(_shrink(path))

    files.write_for(target, write)
    return said[0] if said else ""


def _shrink(path: Path) -> str:
    """Make a PNG lighter than `_LARGEST_PNG`: photographs weigh several bytes a pixel, and a palette that suits them,
    dithered, one at most. Fewer colours come first, as print wants its resolution. Returns what was done."""
    from PIL import Image

    with Image.open(path) as image:
        full = image.convert("RGB")
    for dpi, colours in _LIGHTER:
        share = dpi / DPI
        size = max(1, round(full.width * share)), max(1, round(full.height * share))
        sized = full if share == 1 else full.resize(size, Image.Resampling.LANCZOS)
        small = sized.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
        small.save(path, "PNG", optimize=True, dpi=(dpi, dpi))
        if path.stat().st_size <= _LARGEST_PNG:
            break
    else:
        raise BenchError(f"a figure of {full.width}×{full.height} pixels fits into no PNG of a megabyte: take .pdf")
    resolution = f"{dpi} dpi" + ("" if dpi == DPI else f" instead of {DPI}")
    return f"drawn with {colours} colours at {resolution}, to weigh less than a megabyte; .pdf keeps all colours"


def fitted(pixels: np.ndarray, inches: float) -> np.ndarray:
    """A photograph at the resolution of print, whichever file it goes into; what has fewer pixels stays as it is."""
    import numpy as np
    from PIL import Image

    wide = max(1, round(inches * DPI))
    if pixels.shape[1] <= wide:
        return pixels
    high = max(1, round(pixels.shape[0] * wide / pixels.shape[1]))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), Image.Resampling.LANCZOS))


def plain_text(text: str, limit: int = 40) -> str:
    """A label as a figure shows it: one printable line, cut where it would not fit."""
    shown = re.sub(r"\s+", " ", "".join(sign if sign.isprintable() else " " for sign in text)).strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"

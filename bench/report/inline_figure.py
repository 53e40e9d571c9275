"""A figure that a notebook shows as a picture by itself, apart from pyplot and its global list of figures.

Imported when a figure is made: matplotlib is, too.
"""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

_DPI = 150
"""Of the picture in a notebook: sharp on most screens, and small."""


class InlineFigure(Figure):
    """A figure of matplotlib; what IPython asks for is its picture."""

    def _repr_png_(self) -> bytes:
        from bench.report import style

        target = BytesIO()
        with style.applied():  # fonts are looked up when it is drawn
            self.savefig(target, format="png", dpi=_DPI)
        return target.getvalue()

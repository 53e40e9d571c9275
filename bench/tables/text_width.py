"""How wide text is in print, by the widths of Computer Modern Roman, which is wider than Times.

A table is laid out before LaTeX sees it: what does not fit must be known here. An estimate, always on the wide side.
"""

from __future__ import annotations

from bench.tables.latex import KNOWN

_PER_MILLE = {
    "abdhknpqu": 556, "ceszt": 444, "fijlI.,:;|!'[]": 306, "m": 833, "w": 722, "r()-": 392, "ovxyg": 528,
    "ACHNDUVXYO": 778, "BEFLPSTJZGKQR": 785, "M": 917, "W": 1028, "%×+−<>=&": 833, "0123456789/*?$#": 500, " ": 333,
    "↑↓†‡¶∗": 500,
}  # fmt: skip
_WIDTHS = {sign: width for signs, width in _PER_MILLE.items() for sign in signs}
_OTHER = 800
_UNKNOWN = 3400
"""Of a sign that pdfLaTeX prints as its number."""
_OPTICAL = {10: 1.0, 9: 1.028, 8: 1.063, 7: 1.139}
"""Small sizes of the family are cut wider."""
BOLD = 1.16


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Points."""
    width = (
        sum(_WIDTHS.get(sign) or (_OTHER if sign in KNOWN else _UNKNOWN) for sign in text)
        / 1000
        * size
        * _OPTICAL.get(round(size), 1.0)
    )
    return width * BOLD if bold else width

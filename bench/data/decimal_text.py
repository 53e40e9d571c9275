"""Numbers as other people's text files have them: decimal, as every program reads them.

Python alone also reads `4_0` and the digits of other scripts; a number that says something else elsewhere is none.
"""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)


def decimal(text: str) -> float:
    """The number; NaN and infinity, as such or beyond any float, are the caller's to judge. Raises `ValueError`."""
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no decimal number")
    return float(text)

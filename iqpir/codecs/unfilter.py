"""The rows of a PNG of 8-bit RGB → its pixels: the five filters of its specification (9.2), undone in compiled loops.

The three channels go through each loop together: what one pixel adds to the next is a chain that no processor can
shorten, but three chains it follows at once.
"""

from __future__ import annotations

import numpy as np

from iqpir.compiled import compiled


@compiled()
def unfiltered(rows: np.ndarray, pixels: np.ndarray) -> bool:
    """Fill `pixels`, uint8 [H,3·W], from `rows`, uint8 [H·(1 + 3·W)]; false for a filter that there is not."""
    height, width = pixels.shape
    above = np.zeros(width, np.uint8)
    for y in range(height):
        start = y * (width + 1)
        kind, row, out = rows[start], rows[start + 1 : start + 1 + width], pixels[y]
        if kind == 0:
            out[:] = row
        elif kind == 1:
            _sub(row, out)
        elif kind == 2:
            for x in range(width):
                out[x] = (np.int32(row[x]) + np.int32(above[x])) & 255
        elif kind == 3:
            _average(row, above, out)
        elif kind == 4:
            _paeth(row, above, out)
        else:
            return False
        above = out
    return True


@compiled()
def _sub(row: np.ndarray, out: np.ndarray) -> None:
    red = green = blue = np.int32(0)
    for x in range(0, len(row), 3):
        red = (red + np.int32(row[x])) & 255
        green = (green + np.int32(row[x + 1])) & 255
        blue = (blue + np.int32(row[x + 2])) & 255
        out[x], out[x + 1], out[x + 2] = red, green, blue


@compiled()
def _average(row: np.ndarray, above: np.ndarray, out: np.ndarray) -> None:
    red = green = blue = np.int32(0)
    for x in range(0, len(row), 3):
        red = (np.int32(row[x]) + ((red + np.int32(above[x])) >> 1)) & 255
        green = (np.int32(row[x + 1]) + ((green + np.int32(above[x + 1])) >> 1)) & 255
        blue = (np.int32(row[x + 2]) + ((blue + np.int32(above[x + 2])) >> 1)) & 255
        out[x], out[x + 1], out[x + 2] = red, green, blue


@compiled()
def _paeth(row: np.ndarray, above: np.ndarray, out: np.ndarray) -> None:
    red = green = blue = np.int32(0)
    corner_red = corner_green = corner_blue = np.int32(0)
    for x in range(0, len(row), 3):
        over_red, over_green, over_blue = np.int32(above[x]), np.int32(above[x + 1]), np.int32(above[x + 2])
        red = (np.int32(row[x]) + _nearest(red, over_red, corner_red)) & 255
        green = (np.int32(row[x + 1]) + _nearest(green, over_green, corner_green)) & 255
        blue = (np.int32(row[x + 2]) + _nearest(blue, over_blue, corner_blue)) & 255
        out[x], out[x + 1], out[x + 2] = red, green, blue
        corner_red, corner_green, corner_blue = over_red, over_green, over_blue


@compiled()
def _nearest(left: np.int32, over: np.int32, corner: np.int32) -> np.int32:
    """Of the three the one that left + over − corner is nearest to; of equals the first named."""
    to_left, to_over, to_corner = abs(over - corner), abs(left - corner), abs(left + over - 2 * corner)
    other = over if to_over <= to_corner else corner
    return left if to_left <= min(to_over, to_corner) else other

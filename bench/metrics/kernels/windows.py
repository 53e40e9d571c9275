"""What is computed of planes under a separable window, in one pass that keeps no map of its means.

Tiles of columns, strips of rows: what a tile needs stays in the first caches. Each row is filtered across once and kept
until the rows below have come. One module, because Numba's copies on disk follow the file of their kernel alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba.extending import overload

from iqpir.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

_TILE = 64
_LINE = _TILE + 16
"""A tile with the columns around it that its windows see."""
_ROW = 4 * _TILE
"""Four maps are filtered at a time."""
_STRIP = 16
"""Rows of means for which the rows below are kept; whole blocks."""
_GROUP = 8
"""Rows that are read before they are filtered: a processor waits where it loads what it stored in other pieces."""
_BLOCK = 4
"""Rows of means that are made together: they have most of the rows in common that they are made of."""
WHITE = 255.0
"""What 1 is to `ssim_sums`: levels are whole numbers to it, and so are their squares, products and sums of two."""


@compiled()
def ssim_sums(
    x: np.ndarray, y: np.ndarray, meaning: np.ndarray, weights: tuple[float, ...],
    c1: float, c2: float, scale: float, least: float,
) -> tuple[float, float]:  # fmt: skip
    """Sums of the structure and of the similarity map of two contiguous [H,W], where the window fits.

    Both are float64 in [0,1]; or uint8 levels with the float64 value [256] of each, times `WHITE`; or uint8 levels that
    are their own values, with a float32 [0]: float32 holds all that the filter adds before it weighs it, exactly, in
    half the room, so that the bits are those of float64. `c1` and `c2` are for a range up to `WHITE`.
    `weights` are one side of the separable window from its end to its middle, at most nine; `scale` corrects the
    covariances; a structure below `least` counts as `least`.
    """
    reach = 2 * (len(weights) - 1)
    rows, columns = x.shape[0] - reach, x.shape[1] - reach
    lines = np.zeros((_GROUP, 4 * _LINE), dtype=meaning.dtype)
    across = np.zeros((_STRIP + reach) * _ROW)
    means = np.zeros(_BLOCK * _ROW)
    lanes = np.zeros(2 * _TILE)
    structure = ssim = 0.0
    for left in range(0, columns, _TILE):
        right = min(left + _TILE, columns)
        lanes[:] = 0
        there = 0
        for top in range(0, rows, _STRIP):
            count = min(_STRIP, rows - top)
            for first in range(there, count + reach, _GROUP):
                group = min(_GROUP, count + reach - first)
                for row in range(group):
                    ours = x[top + first + row, left : right + reach]
                    theirs = y[top + first + row, left : right + reach]
                    line = lines[row]
                    for column in range(len(ours)):
                        line[column] = _value(ours[column], meaning)
                    for column in range(len(theirs)):
                        line[_LINE + column] = _value(theirs[column], meaning)
                for row in range(group):
                    _products(lines[row])
                for row in range(group):
                    _filter_across(lines[row], weights, across[(first + row) * _ROW :])
            for block in range(0, count, _BLOCK):
                _filter_down(across[block * _ROW :], weights, means)
                for row in range(min(_BLOCK, count - block)):
                    _add(means[row * _ROW :], c1, c2, scale, least, lanes)
            across[: reach * _ROW] = across[_STRIP * _ROW :]
            there = reach
        for lane in range(right - left):
            structure += lanes[lane]
            ssim += lanes[_TILE + lane]
    return structure, ssim


def _value(pixel: Any, meaning: np.ndarray) -> Any:
    """What a pixel stands for, `WHITE` being 1."""
    raise NotImplementedError("only compiled")


@overload(_value)
def _value_of(pixel: Any, meaning: np.ndarray) -> Callable[..., Any]:
    def level(pixel: Any, meaning: np.ndarray) -> Any:
        return np.float32(pixel)

    def meant(pixel: Any, meaning: np.ndarray) -> Any:
        return meaning[pixel]

    def number(pixel: Any, meaning: np.ndarray) -> Any:
        return WHITE * pixel

    if str(pixel) != "uint8":
        return number
    return level if str(meaning.dtype) == "float32" else meant


@compiled()
def normalised(padded: np.ndarray, weights: tuple[float, ...], signs: np.ndarray, flat: float, out: np.ndarray) -> None:
    """(x − μ) / (σ + 1) of a contiguous float64 plane that has the window's radius added on each side.

    Where x and μ differ by less than `flat` they count as that far apart, with the sign of the level that x is.
    """
    reach = 2 * (len(weights) - 1)
    rows, columns = out.shape
    lines = np.zeros((_GROUP, 4 * _LINE))
    across = np.zeros((_STRIP + reach) * _ROW)
    means = np.zeros(_BLOCK * _ROW)
    spread = np.zeros(_TILE)
    for left in range(0, columns, 2 * _TILE):
        middle, right = min(left + _TILE, columns), min(left + 2 * _TILE, columns)
        there = 0
        for top in range(0, rows, _STRIP):
            count = min(_STRIP, rows - top)
            for first in range(there, count + reach, _GROUP):
                group = min(_GROUP, count + reach - first)
                for row in range(group):
                    pixels = padded[top + first + row]
                    lines[row, : middle + reach - left] = pixels[left : middle + reach]
                    lines[row, 2 * _LINE : 2 * _LINE + right + reach - middle] = pixels[middle : right + reach]
                for row in range(group):
                    _squares(lines[row])
                for row in range(group):
                    _filter_across(lines[row], weights, across[(first + row) * _ROW :])
            for block in range(0, count, _BLOCK):
                _filter_down(across[block * _ROW :], weights, means)
                for row in range(min(_BLOCK, count - block)):
                    line = top + block + row
                    levels, made = padded[line + reach // 2, reach // 2 :], out[line]
                    near, far = means[row * _ROW :], means[row * _ROW + 2 * _TILE :]
                    _normalise(levels[left:middle], near, spread, signs, flat, made[left:middle])
                    _normalise(levels[middle:right], far, spread, signs, flat, made[middle:right])
            across[: reach * _ROW] = across[_STRIP * _ROW :]
            there = reach


@compiled()
def _squares(lines: np.ndarray) -> None:
    for column in range(_LINE):
        lines[_LINE + column] = lines[column] * lines[column]
        lines[3 * _LINE + column] = lines[2 * _LINE + column] * lines[2 * _LINE + column]


@compiled()
def _normalise(
    levels: np.ndarray, means: np.ndarray, spread: np.ndarray, signs: np.ndarray, flat: float, out: np.ndarray
) -> None:
    """A row of a tile, given the means of its values and of their squares."""
    near = 0
    for column in range(len(levels)):
        mean = means[column]
        out[column] = levels[column] - mean
        spread[column] = np.sqrt(abs(means[_TILE + column] - mean * mean)) + 1
        near += abs(out[column]) < flat
    if near:
        for column in range(len(levels)):
            if abs(out[column]) < flat:
                out[column] = flat * signs[min(max(int(np.rint(levels[column])), 0), 255)]
    for column in range(len(levels)):
        out[column] /= spread[column]


@compiled()
def _products(lines: np.ndarray) -> None:
    for column in range(_LINE):
        one, other = lines[column], lines[_LINE + column]
        lines[2 * _LINE + column] = one * one + other * other
        lines[3 * _LINE + column] = one * other


@compiled(fused=True)
def _filter_across(lines: np.ndarray, weights: tuple[float, ...], out: np.ndarray) -> None:
    radius = len(weights) - 1
    for plane in range(4):
        for column in range(_TILE):
            place = plane * _LINE + column
            total = weights[radius] * np.float64(lines[place + radius])
            for tap in range(radius):
                total += weights[tap] * np.float64(lines[place + tap] + lines[place + 2 * radius - tap])
            out[plane * _TILE + column] = total


@compiled(fused=True)
def _filter_down(rows: np.ndarray, weights: tuple[float, ...], out: np.ndarray) -> None:
    """`_BLOCK` rows of means; each of the rows above is loaded once for all of them."""
    radius = len(weights) - 1
    second, third, fourth = _ROW, 2 * _ROW, 3 * _ROW
    for place in range(_ROW):
        middle = place + radius * _ROW
        total = weights[radius] * rows[middle]
        total2 = weights[radius] * rows[middle + second]
        total3 = weights[radius] * rows[middle + third]
        total4 = weights[radius] * rows[middle + fourth]
        for tap in range(radius):
            above, below = place + tap * _ROW, place + (2 * radius - tap) * _ROW
            total += weights[tap] * (rows[above] + rows[below])
            total2 += weights[tap] * (rows[above + second] + rows[below + second])
            total3 += weights[tap] * (rows[above + third] + rows[below + third])
            total4 += weights[tap] * (rows[above + fourth] + rows[below + fourth])
        out[place] = total
        out[place + second] = total2
        out[place + third] = total3
        out[place + fourth] = total4


@compiled()
def _add(means: np.ndarray, c1: float, c2: float, scale: float, least: float, lanes: np.ndarray) -> None:
    """Both maps of a row of a tile, each column to its lane. One division for two quotients: it is what takes time."""
    for column in range(_TILE):
        one, other = means[column], means[_TILE + column]
        cross, squares = one * other, one * one + other * other
        covariance, variances = means[3 * _TILE + column] - cross, means[2 * _TILE + column] - squares
        contrast, light = scale * variances + c2, squares + c1
        inverse = 1 / (contrast * light)
        structure = max((2 * scale * covariance + c2) * (light * inverse), least)
        lanes[column] += structure
        lanes[_TILE + column] += structure * ((2 * cross + c1) * (contrast * inverse))

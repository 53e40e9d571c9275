"""What is computed of planes under a separable window, in one pass that keeps no map of its means.

Tiles of columns, strips of rows: what a tile needs stays in the first caches. Each row is filtered across once and kept
until the rows below have come. One module, because Numba's copies on disk follow the file of their kernel alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba.extending import overload

from bench.metrics.kernels.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

_TILE = 64
_LINE = _TILE + 16
"""A tile with the columns around it that its windows see."""
_ROW = 4 * _TILE
"""Four maps are filtered at a time."""
_STRIP = 32
_GROUP = 6
"""Rows that are read before they are filtered: a processor waits where it loads what it stored in other pieces."""


@compiled()
def ssim_sums(
    x: np.ndarray, y: np.ndarray, meaning: np.ndarray, weights: tuple[float, ...],
    c1: float, c2: float, scale: float, least: float,
) -> tuple[float, float]:  # fmt: skip
    """Sums of the structure and of the similarity map of two contiguous [H,W], where the window fits.

    Both are float64, or uint8 with the value [256] of each level.
    `weights` are one side of the separable window from its end to its middle, at most nine; `scale` corrects the
    covariances; a structure below `least` counts as `least`.
    """
    reach = 2 * (len(weights) - 1)
    rows, columns = x.shape[0] - reach, x.shape[1] - reach
    lines = np.zeros((_GROUP, 4 * _LINE))
    across = np.zeros((_STRIP + reach) * _ROW)
    means = np.zeros(_ROW)
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
                    _read(x[top + first + row, left : right + reach], meaning, lines[row])
                    _read(y[top + first + row, left : right + reach], meaning, lines[row, _LINE:])
                for row in range(group):
                    _products(lines[row])
                for row in range(group):
                    _filter_across(lines[row], weights, across[(first + row) * _ROW :])
            for row in range(count):
                _filter_down(across[row * _ROW :], weights, means)
                _add(means, c1, c2, scale, least, lanes)
            across[: reach * _ROW] = across[_STRIP * _ROW :]
            there = reach
        for lane in range(right - left):
            structure += lanes[lane]
            ssim += lanes[_TILE + lane]
    return structure, ssim


def _read(pixels: np.ndarray, meaning: np.ndarray, out: np.ndarray) -> None:
    """The values of a row of pixels."""
    raise NotImplementedError("only compiled")


@overload(_read)
def _reader(pixels: np.ndarray, meaning: np.ndarray, out: np.ndarray) -> Callable[..., None]:
    def levels(pixels: np.ndarray, meaning: np.ndarray, out: np.ndarray) -> None:
        for column in range(len(pixels)):
            out[column] = meaning[pixels[column]]

    def floats(pixels: np.ndarray, meaning: np.ndarray, out: np.ndarray) -> None:
        for column in range(len(pixels)):
            out[column] = pixels[column]

    return levels if str(pixels.dtype) == "uint8" else floats


@compiled()
def normalised(padded: np.ndarray, weights: tuple[float, ...], signs: np.ndarray, flat: float, out: np.ndarray) -> None:
    """(x − μ) / (σ + 1) of a contiguous float64 plane that has the window's radius added on each side.

    Where x and μ differ by less than `flat` they count as that far apart, with the sign of the level that x is.
    """
    reach = 2 * (len(weights) - 1)
    rows, columns = out.shape
    lines = np.zeros((_GROUP, 4 * _LINE))
    across = np.zeros((_STRIP + reach) * _ROW)
    means = np.zeros(_ROW)
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
            for row in range(count):
                _filter_down(across[row * _ROW :], weights, means)
                levels = padded[top + row + reach // 2, reach // 2 :]
                _normalise(levels[left:middle], means[: 2 * _TILE], spread, signs, flat, out[top + row, left:middle])
                _normalise(levels[middle:right], means[2 * _TILE :], spread, signs, flat, out[top + row, middle:right])
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
            total = weights[radius] * lines[place + radius]
            for tap in range(radius):
                total += weights[tap] * (lines[place + tap] + lines[place + 2 * radius - tap])
            out[plane * _TILE + column] = total


@compiled(fused=True)
def _filter_down(rows: np.ndarray, weights: tuple[float, ...], out: np.ndarray) -> None:
    radius = len(weights) - 1
    for place in range(_ROW):
        total = weights[radius] * rows[place + radius * _ROW]
        for tap in range(radius):
            total += weights[tap] * (rows[place + tap * _ROW] + rows[place + (2 * radius - tap) * _ROW])
        out[place] = total


@compiled()
def _add(means: np.ndarray, c1: float, c2: float, scale: float, least: float, lanes: np.ndarray) -> None:
    """Both maps of a row of a tile, each column to its lane."""
    for column in range(_TILE):
        one, other = means[column], means[_TILE + column]
        cross, squares = one * other, one * one + other * other
        covariance, variances = means[3 * _TILE + column] - cross, means[2 * _TILE + column] - squares
        structure = max((2 * scale * covariance + c2) / (scale * variances + c2), least)
        lanes[column] += structure
        lanes[_TILE + column] += structure * ((2 * cross + c1) / (squares + c1))

"""What PIQE takes of each 16×16 block of a plane, a row of blocks at a time."""

from __future__ import annotations

import numpy as np

from iqpir.compiled import compiled

_SIDE = 16
_SEGMENT = 6
_MIDDLE = (7, 8)
_BOTH = 8
_NEITHER = 9
"""The surround misses columns 7 and 9, not the middle 7 and 8: MATLAB takes out the second after the first is gone."""


@compiled()
def variances(plane: np.ndarray) -> np.ndarray:
    """Contiguous float64 [H,W] → [4, blocks]: sample variances, row by row of whole blocks.

    Of the block, of its two middle columns, of their surround, and the least one of six neighbours on an edge.
    """
    down, across = plane.shape[0] // _SIDE, plane.shape[1] // _SIDE
    width = across * _SIDE
    out = np.zeros((4, down * across))
    sums, squares, parts = np.zeros(width), np.zeros(width), np.zeros(width)
    means, part_means, surrounds = np.zeros(width), np.zeros(width), np.zeros(across)
    edges = np.zeros((4, _SIDE))
    for row in range(down):
        lines = range(row * _SIDE, (row + 1) * _SIDE)
        sums[:] = 0
        for line in lines:
            _add(plane[line, :width], sums)
        for block in range(across):
            surrounds[block] = _means(sums[block * _SIDE :], means[block * _SIDE :], part_means[block * _SIDE :])
        squares[:] = 0
        parts[:] = 0
        for line in lines:
            _add_squares(plane[line, :width], means, squares)
            _add_squares(plane[line, :width], part_means, parts)
        for block in range(across):
            left, found = block * _SIDE, out[:, row * across + block]
            middle = surround = 0.0
            for column in range(_SIDE):
                found[0] += squares[left + column]
                if column in _MIDDLE:
                    middle += parts[left + column]
                elif column != _NEITHER:
                    surround += parts[left + column]
            for line in lines:
                deviation = plane[line, left + _BOTH] - surrounds[block]
                surround += deviation * deviation
            found[0] /= _SIDE * _SIDE - 1
            found[1] = middle / (2 * _SIDE - 1)
            found[2] = surround / (14 * _SIDE - 1)
            for place in range(_SIDE):
                edges[0, place] = plane[row * _SIDE, left + place]
                edges[1, place] = plane[row * _SIDE + _SIDE - 1, left + place]
                edges[2, place] = plane[row * _SIDE + place, left]
                edges[3, place] = plane[row * _SIDE + place, left + _SIDE - 1]
            found[3] = min(min(_least(edges[0]), _least(edges[1])), min(_least(edges[2]), _least(edges[3])))
    return out


@compiled()
def _add(line: np.ndarray, sums: np.ndarray) -> None:
    for column in range(len(line)):
        sums[column] += line[column]


@compiled()
def _means(sums: np.ndarray, means: np.ndarray, part_means: np.ndarray) -> float:
    """The block's mean, that of the middle or else of the surround, for each column; also returns the latter."""
    whole = middle = surround = 0.0
    for column in range(_SIDE):
        whole += sums[column]
        if column in _MIDDLE:
            middle += sums[column]
        elif column != _NEITHER:
            surround += sums[column]
    surround = (surround + sums[_BOTH]) / (14 * _SIDE)
    for column in range(_SIDE):
        means[column] = whole / (_SIDE * _SIDE)
        part_means[column] = middle / (2 * _SIDE) if column in _MIDDLE else surround
    return surround


@compiled()
def _add_squares(line: np.ndarray, means: np.ndarray, squares: np.ndarray) -> None:
    for column in range(len(line)):
        deviation = line[column] - means[column]
        squares[column] += deviation * deviation


@compiled()
def _least(edge: np.ndarray) -> float:
    """The least sample variance of so many neighbours on an edge of a block."""
    least = np.inf
    for start in range(_SIDE - _SEGMENT + 1):
        mean = 0.0
        for place in range(_SEGMENT):
            mean += edge[start + place]
        mean /= _SEGMENT
        squares = 0.0
        for place in range(_SEGMENT):
            deviation = edge[start + place] - mean
            squares += deviation * deviation
        least = min(least, squares)
    return least / (_SEGMENT - 1)

"""One gain for the whole image in linear light: what a longer exposure would have given, clipped or with a shoulder.

Not a tone curve of pixel values (`tone`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STOPS = 10
"""Bound on the gain, 2^±10: ten stops bring even the first of 255 levels, 3.0e-4 in linear light, to middle gray."""


def auto_exposure(image: np.ndarray, mean: float) -> np.ndarray:
    """The gain g, one for all channels, at which the output's mean is `mean`: srgb(min(1, g·lin(x))).

    Both curves are those of IEC 61966-2-1. The mean over pixels and channels never falls as g grows, so log2 g is
    bisected between −10 and 10 stops, to float64's precision. A mean that no gain in there reaches (most of the image
    is exactly black, or all of it white at 2^-10) gets the nearer bound; a black image has nothing to expose.
    """
    return _exposed(image, mean, _encoded)


def auto_exposure_shoulder(image: np.ndarray, mean: float, shoulder: float, gamma: float) -> np.ndarray:
    """The gain g, found likewise, with highlights bent instead of broken off: srgb(c(g·lin(x)))^γ.

    c(L) = (1 − shoulder)·min(1, L) + shoulder·L/(1 + L), the latter equation 3 of Reinhard et al.
    """

    def curve(light: np.ndarray) -> np.ndarray:
        bent: np.ndarray = _encoded((1 - shoulder) * np.minimum(light, 1) + shoulder * light / (1 + light)) ** gamma
        return bent

    return _exposed(image, mean, curve)


def _exposed(image: np.ndarray, mean: float, curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    light = _linear(image.astype(np.float64))
    levels, counts = np.unique(light, return_counts=True)  # 256 at most for an 8-bit image
    if levels[-1] <= 0:
        return image
    low, high = -float(STOPS), float(STOPS)
    for _ in range(60):
        middle = (low + high) / 2
        if np.average(curve(levels * 2.0**middle), weights=counts) < mean:
            low = middle
        else:
            high = middle
    return curve(light * 2.0**high).astype(np.float32)


def _linear(code: np.ndarray) -> np.ndarray:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def _encoded(light: np.ndarray) -> np.ndarray:
    light = np.minimum(light, 1.0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)

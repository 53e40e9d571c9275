"""Phase congruency (Kovesi's PC2) of a plane, with the parameters that FSIM fixes, in float64.

Four scales and four orientations of log-Gabor filters in the frequency domain, less a noise threshold taken from the
finest scale. Not a general toolbox: moments, angles and symmetry are left out.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

_SCALES, _ORIENTATIONS = 4, 4
_SHORTEST, _FACTOR = 6, 2
"""Wavelength of the finest filter in pixels, and the step to the next."""
_BANDWIDTH, _SPREAD = 0.55, 1.2
_NOISE_DEVIATIONS, _OVERESTIMATE = 2.0, 1.7


class _Bank(NamedTuple):
    """Filters of one size. Radial and angular factors are kept apart: half the memory of their products."""

    radial: np.ndarray
    """[scales, H, W]"""
    angular: np.ndarray
    """[orientations, H, W]"""
    noise: tuple[float, ...]
    """By orientation: the threshold over the root of the median energy of the finest scale."""


def phase_congruency(plane: np.ndarray, *, epsilon: float, lower_median: bool) -> np.ndarray:
    """[H,W] → phase congruency in [0,1] of each pixel; 0 all over for a flat plane.

    `epsilon` keeps the mean phase finite where there is no energy: 1e-4 in Kovesi's code, for images in 0..255.
    `lower_median` takes the lower of the two middle values instead of their mean.
    """
    import numpy as np
    from scipy import fft

    bank = _bank(*plane.shape)
    # Without its mean, which every filter drops anyway, the spectrum of a bright image loses no digits.
    spectrum = fft.fft2(plane - plane.mean())
    energy, amplitude = np.zeros(plane.shape), np.zeros(plane.shape)
    for angular, noise in zip(bank.angular, bank.noise, strict=True):
        responses = fft.ifft2(spectrum * angular * bank.radial, axes=(1, 2), overwrite_x=True)
        squares = np.square(responses.real)
        squares += np.square(responses.imag)
        threshold = noise * math.sqrt(_median(squares[0], lower_median))
        amplitude += np.sqrt(squares, out=squares).sum(axis=0)
        mean = responses.sum(axis=0)
        mean /= np.sqrt(np.square(mean.real) + np.square(mean.imag)) + epsilon
        # Turned by the mean phase: what agrees with it is real, what deviates imaginary.
        responses *= mean.conj()
        found = responses.real.sum(axis=0)
        found -= np.abs(responses.imag, out=squares).sum(axis=0)
        found -= threshold
        energy += np.maximum(found, 0, out=found)
    return np.divide(energy, amplitude, out=np.zeros(plane.shape), where=amplitude > 0)


def _median(values: np.ndarray, lower: bool) -> float:
    import numpy as np

    if not lower:
        return float(np.median(values))
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle, axis=None)[middle])


@functools.lru_cache(maxsize=4)
def _bank(height: int, width: int) -> _Bank:
    import numpy as np
    from scipy import fft

    down, across = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius = np.hypot(across, down)
    low = 1 / (1 + (radius / 0.45) ** 30)  # Butterworth, so that the corners of the spectrum do not ring
    radius[0, 0] = 1
    waves = [_SHORTEST * _FACTOR**scale for scale in range(_SCALES)]
    radial = np.stack([low * np.exp(-(np.log(radius * wave) ** 2) / (2 * math.log(_BANDWIDTH) ** 2)) for wave in waves])
    radial[:, 0, 0] = 0
    theta = np.arctan2(-down, across)
    sigma = math.pi / _ORIENTATIONS / _SPREAD
    away = [np.angle(np.exp(1j * (theta - index * math.pi / _ORIENTATIONS))) for index in range(_ORIENTATIONS)]
    angular = np.stack([np.exp(-(distance**2) / (2 * sigma**2)) for distance in away])

    def threshold(spread: np.ndarray) -> float:
        # Rayleigh statistics of the energy of Gaussian noise whose power the finest scale tells: twice the squares of
        # the impulse responses and four times their products by pairs, which together is twice the square of the sum.
        filters = spread * radial
        impulses = fft.ifft2(filters.sum(axis=0)).real * math.sqrt(height * width)
        power = 1 / math.log(2) / np.square(filters[0]).sum()
        tau = math.sqrt(power * np.square(impulses).sum())
        deviation = math.sqrt(2 - math.pi / 2)
        return tau * (math.sqrt(math.pi / 2) + _NOISE_DEVIATIONS * deviation) / _OVERESTIMATE

    return _Bank(radial, angular, tuple(threshold(spread) for spread in angular))


def _frequencies(size: int) -> np.ndarray:
    """Frequencies of a row in cycles per pixel, 0 first; odd sizes reach ±1/2, as in Kovesi's code."""
    import numpy as np

    steps = np.arange(-(size // 2), (size + 1) // 2)
    return np.fft.ifftshift(steps / (size - size % 2))

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
    """By orientation: the threshold over the median amplitude of the finest scale."""


def phase_congruency(plane: np.ndarray, *, epsilon: float, lower_median: bool) -> np.ndarray:
    """[H,W] → phase congruency in [0,1] of each pixel; 0 all over for a flat plane.

    `epsilon` keeps the mean phase finite where there is no energy: 1e-4 in Kovesi's code, for images in 0..255.
    `lower_median` takes the lower of the two middle values instead of their mean.
    """
    import cv2
    import numpy as np
    import torch

    bank = _doubled(*plane.shape)
    # Without its mean, which every filter drops anyway, the spectrum of a bright image loses no digits.
    spectrum = torch.fft.fft2(torch.from_numpy((plane - plane.mean()).astype(np.complex128))).numpy()
    turned, filtered = np.empty_like(spectrum), torch.empty(plane.shape, dtype=torch.complex128)
    response = torch.empty_like(filtered)
    factors, pairs = filtered.numpy(), response.numpy().view(np.float64).reshape(*plane.shape, 2)
    even, odd = (np.empty((_SCALES, *plane.shape)) for _ in range(2))
    mean_even, mean_odd, scratch = (np.empty(plane.shape) for _ in range(3))
    energy, amplitude = np.zeros(plane.shape), np.zeros(plane.shape)
    for angular, noise in zip(bank.angular, bank.noise, strict=True):
        _scaled(spectrum, angular, out=turned)
        mean_even.fill(0)
        mean_odd.fill(0)
        for scale, radial in enumerate(bank.radial):
            _scaled(turned, radial, out=factors)
            torch.fft.ifft2(filtered, out=response)
            cv2.split(pairs, [even[scale], odd[scale]])
            amplitude += cv2.magnitude(even[scale], odd[scale], magnitude=scratch)
            mean_even += even[scale]
            mean_odd += odd[scale]
            if not scale:
                threshold = noise * _median(scratch, lower_median)
        energy += _in_phase(even, odd, mean_even, mean_odd, epsilon, threshold)
    return np.divide(energy, amplitude, out=np.zeros(plane.shape), where=amplitude > 0)


def _scaled(spectrum: np.ndarray, doubled: np.ndarray, out: np.ndarray) -> None:
    """Complex [H,W] times real factors, each there twice [H,2W]: a product of floats, not of complex numbers."""
    import numpy as np

    np.multiply(spectrum.view(np.float64), doubled, out=out.view(np.float64))


def _in_phase(
    even: np.ndarray, odd: np.ndarray, mean_even: np.ndarray, mean_odd: np.ndarray, epsilon: float, threshold: float
) -> np.ndarray:
    """Energy along the mean phase of the scales, less what deviates from it and the threshold; [H,W] from [scales,H,W].

    Turned by the mean phase, what agrees with it is real and what deviates imaginary. Writes over the means.
    """
    import cv2
    import numpy as np

    length = cv2.magnitude(mean_even, mean_odd)
    found = length * length
    length += epsilon
    mean_even /= length
    mean_odd /= length
    found /= length
    across, along = np.empty_like(length), length
    for one, other in zip(even, odd, strict=True):
        np.multiply(other, mean_even, out=across)
        np.multiply(one, mean_odd, out=along)
        across -= along
        found -= np.abs(across, out=across)
    found -= threshold
    return np.maximum(found, 0, out=found)


def _median(amplitudes: np.ndarray, lower: bool) -> float:
    """The root of the median of their squares; with `lower`, of the lower of the two middle values."""
    import numpy as np

    middle, other = (amplitudes.size - 1) // 2, amplitudes.size // 2
    ordered = np.partition(amplitudes, [middle] if lower else [middle, other], axis=None)
    return float(ordered[middle]) if lower else math.sqrt((ordered[middle] ** 2 + ordered[other] ** 2) / 2)


@functools.lru_cache(maxsize=4)
def _doubled(height: int, width: int) -> _Bank:
    """Each factor twice, for the real and the imaginary part: [scales, H, 2W] and [orientations, H, 2W]."""
    import numpy as np

    bank = filters(height, width)
    return _Bank(np.repeat(bank.radial, 2, axis=2), np.repeat(bank.angular, 2, axis=2), bank.noise)


def filters(height: int, width: int) -> _Bank:
    """The bank of one size."""
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

    noise = tuple(threshold(spread) for spread in angular)
    return _Bank(radial, angular, noise)


def _frequencies(size: int) -> np.ndarray:
    """Frequencies of a row in cycles per pixel, 0 first; odd sizes reach ±1/2, as in Kovesi's code."""
    import numpy as np

    steps = np.arange(-(size // 2), (size + 1) // 2)
    return np.fft.ifftshift(steps / (size - size % 2))

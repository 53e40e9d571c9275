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
    from torch import Tensor

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


def phase_congruency(
    plane: np.ndarray, *, epsilon: float, lower_median: bool, work: Tensor | None = None
) -> np.ndarray:
    """[H,W] → phase congruency in [0,1] of each pixel; 0 all over for a flat plane.

    `epsilon` keeps the mean phase finite where there is no energy: 1e-4 in Kovesi's code, for images in 0..255.
    `lower_median` takes the lower of the two middle values instead of their mean. `work` is what `room` gives for this
    shape: fresh memory of that size costs page faults.
    """
    import numpy as np
    import torch

    from bench.metrics.kernels import phase

    bank = _bank(*plane.shape)
    # Without its mean, which every filter drops anyway, the spectrum of a bright image loses no digits.
    spectrum = torch.fft.fft2(torch.from_numpy((plane - plane.mean()).astype(np.complex128)))
    responses = room(*plane.shape) if work is None else work
    filtered = torch.empty_like(spectrum)
    pairs = [torch.view_as_real(one).numpy().ravel() for one in (spectrum, filtered)]
    parts = torch.view_as_real(responses).numpy().reshape(_SCALES, -1)
    amplitude, energy, finest, found = np.zeros((4, plane.size))
    for angular, noise in zip(bank.angular, bank.noise, strict=True):
        for radial, response in zip(bank.radial, responses, strict=True):
            phase.filtered(pairs[0], angular.ravel(), radial.ravel(), pairs[1])
            torch.fft.ifft2(filtered, out=response)
        phase.in_phase(parts, epsilon, amplitude, finest, found)
        phase.add_above(found, noise * _median(finest, lower_median), energy)
    congruency = np.divide(energy, amplitude, out=np.zeros_like(energy), where=amplitude > 0)
    return congruency.reshape(plane.shape)


def room(height: int, width: int) -> Tensor:
    """Memory for the responses of one orientation."""
    import torch

    return torch.empty((_SCALES, height, width), dtype=torch.complex128)


def _median(squares: np.ndarray, lower: bool) -> float:
    """The root of the median; with `lower`, of the lower of the two middle values."""
    import numpy as np

    middle = (squares.size - 1) // 2
    ordered = np.partition(squares, middle)
    if lower or squares.size % 2:
        return math.sqrt(ordered[middle])
    return math.sqrt((ordered[middle] + ordered[middle + 1 :].min()) / 2)


@functools.lru_cache(maxsize=4)
def _bank(height: int, width: int) -> _Bank:
    return filters(height, width)


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

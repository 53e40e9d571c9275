"""What phase congruency does to every pixel between its Fourier transforms.

Complex planes come flat, as pairs of float64 with the real part first: a second axis would hide from the compiler that
pairs lie together.
"""

from __future__ import annotations

import numpy as np

from iqpir.compiled import compiled

_TILE = 256
"""Pixels worked on at a time, so that what is between the steps stays in the first cache."""


@compiled()
def filtered(spectrum: np.ndarray, angular: np.ndarray, radial: np.ndarray, out: np.ndarray) -> None:
    """A spectrum [2N] under the product of two real filters [N], into [2N]."""
    for place in range(len(angular)):
        factor = angular[place] * radial[place]
        out[2 * place] = spectrum[2 * place] * factor
        out[2 * place + 1] = spectrum[2 * place + 1] * factor


@compiled()
def in_phase(
    responses: np.ndarray, epsilon: float, amplitude: np.ndarray, finest: np.ndarray, energy: np.ndarray
) -> None:
    """Responses [scales,2N] of one orientation → energy along the mean phase of the scales, less what deviates [N].

    Adds the amplitudes of all scales to `amplitude` [N], and gives the squared one of the finest scale. Turned by the
    mean phase, what agrees with it is real and what deviates imaginary. `epsilon` keeps the phase finite.
    """
    scales, count = responses.shape[0], responses.shape[1] // 2
    even, odd, length = np.zeros(_TILE), np.zeros(_TILE), np.zeros(_TILE)
    for start in range(0, count, _TILE):
        part = slice(start, min(start + _TILE, count))
        pairs = slice(2 * part.start, 2 * part.stop)
        even[:] = 0
        odd[:] = 0
        for scale in range(scales):
            _gather(responses[scale, pairs], even, odd, amplitude[part])
        _square(responses[0, pairs], finest[part])
        _along(even, odd, length, epsilon, energy[part])
        for scale in range(scales):
            _across(responses[scale, pairs], even, odd, energy[part])
        energy[part] /= length[: part.stop - part.start]


@compiled()
def _gather(response: np.ndarray, even: np.ndarray, odd: np.ndarray, amplitude: np.ndarray) -> None:
    for place in range(len(amplitude)):
        one, other = response[2 * place], response[2 * place + 1]
        even[place] += one
        odd[place] += other
        amplitude[place] += np.sqrt(one * one + other * other)


@compiled()
def _square(response: np.ndarray, out: np.ndarray) -> None:
    for place in range(len(out)):
        one, other = response[2 * place], response[2 * place + 1]
        out[place] = one * one + other * other


@compiled()
def _along(even: np.ndarray, odd: np.ndarray, length: np.ndarray, epsilon: float, energy: np.ndarray) -> None:
    """The energy along the sum of the scales, and its length; both are divided by the length at the end, once."""
    for place in range(len(energy)):
        energy[place] = even[place] * even[place] + odd[place] * odd[place]
        length[place] = np.sqrt(energy[place]) + epsilon


@compiled()
def _across(response: np.ndarray, even: np.ndarray, odd: np.ndarray, energy: np.ndarray) -> None:
    for place in range(len(energy)):
        energy[place] -= abs(response[2 * place + 1] * even[place] - response[2 * place] * odd[place])


@compiled()
def add_above(found: np.ndarray, threshold: float, total: np.ndarray) -> None:
    """Adds what lies above the threshold."""
    for place in range(len(found)):
        total[place] += max(found[place] - threshold, 0.0)

"""Degradations that no training preset here has: water, a display before the lens, and an old print's wear.

They stand in for UDC, EUVP and scanned photographs, where a restorer meets what nobody showed it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.data import degrade
from bench.data.degrade import generator, smooth_noise, to_linear, to_srgb, uniform

KINDS: Mapping[str, str] = {
    "underwater": "underwater", "under-display": "under-display", "old-photo": "scratches",
}  # fmt: skip
"""Folder → what is done, by the names of `bench.data.told`."""
_WAVES = (630.0, 530.0, 460.0)
"""Wavelengths of red, green and blue, nm."""
_ORDERS = 6


def spoiled(name: str, image: np.ndarray, seed: tuple[str, ...]) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the same, spoiled by one of `KINDS`."""
    rng = generator(*seed)
    if name == "underwater":
        return degrade.underwater(image, rng, degrade.Underwater.draw(rng))
    return under_display(image, rng) if name == "under-display" else old_photo(image, rng)


def under_display(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """γ·(I ⊛ k) + n in linear light, as of Zhou et al. (Image Restoration for Under-Display Camera, CVPR 2021).

    k is the far-field diffraction of a grid of square openings: orders at multiples of a spacing that grows with the
    wavelength, of heights sinc²(order · open part) either way; `spread` is the lens's own blur.
    """
    spacing, part, spread = uniform(rng, (3.0, 6.0)), uniform(rng, (0.55, 0.8)), uniform(rng, (0.5, 1.0))
    passed, sigma = uniform(rng, (0.45, 0.75)), uniform(rng, (0.004, 0.012))
    margin = int(np.ceil(_ORDERS * spacing * _WAVES[0] / _WAVES[1] + 4 * spread))
    frame = np.pad(to_linear(image), ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    rows, columns = frame.shape[:2]
    down, across = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    seen = np.empty_like(frame)
    for channel, wave in enumerate(_WAVES):
        step = spacing * wave / _WAVES[1]
        response = grating(down, step, part) * grating(across, step, part)
        response = response * np.exp(-2 * (np.pi * spread) ** 2 * (down**2 + across**2))
        seen[:, :, channel] = np.fft.irfft2(np.fft.rfft2(frame[:, :, channel]) * response, (rows, columns))
    light = passed * seen[margin : rows - margin, margin : columns - margin]
    return to_srgb(light + rng.standard_normal(light.shape) * sigma)


def grating(frequency: np.ndarray, step: float, part: float) -> np.ndarray:
    """The transfer function along one axis of a grating whose orders lie `step` pixels apart; 1 at frequency 0."""
    heights = np.sinc(np.arange(_ORDERS + 1) * part) ** 2
    heights = heights / (heights[0] + 2 * heights[1:].sum())
    turns = 2 * np.pi * step * frequency
    found: np.ndarray = heights[0] + 2 * sum(
        height * np.cos(order * turns) for order, height in enumerate(heights[1:], 1)
    )
    return found


def old_photo(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A faded print: less contrast, a yellow cast that varies, grain, specks of dust, scratches from top to bottom."""
    height, width = image.shape[:2]
    gray = image @ np.array([0.299, 0.587, 0.114])
    faded = gray[:, :, None] + (image - gray[:, :, None]) * uniform(rng, (0.35, 0.7))
    black, white = uniform(rng, (0.08, 0.2)), uniform(rng, (0.8, 0.95))
    stain = smooth_noise(rng, height, width, cells=3)[:, :, None]
    print_ = (black + faded * (white - black)) * (1 - np.array([0.02, 0.08, 0.25]) * (0.5 + stain))
    print_ = print_ + rng.standard_normal((height, width, 1)) * uniform(rng, (0.012, 0.03))
    cover, shade = worn(rng, height, width)
    return np.clip(print_ * (1 - cover[:, :, None]) + shade * cover[:, :, None], 0, 1)


def worn(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, float]:
    """Where the print is gone [H,W] in [0,1], by scratches one or two pixels wide and specks, and what shows there."""
    cover = np.zeros((height, width))
    across = np.arange(width)[None, :]
    for _ in range(int(rng.integers(6, 13))):
        top, length = int(rng.integers(0, height)), int(height * uniform(rng, (0.2, 1.0)))
        rows = np.arange(top, min(height, top + length))
        drift = np.cumsum(rng.standard_normal(rows.size) * 0.25) + rows * uniform(rng, (-0.2, 0.2))
        place = uniform(rng, (0, width)) + drift - drift[0]
        line = np.exp(-0.5 * ((across - place[:, None]) / uniform(rng, (0.4, 0.9))) ** 2)
        cover[rows] = np.maximum(cover[rows], line * uniform(rng, (0.6, 1.0)))
    specks = (rng.random((height, width)) < 0.0006).astype(float)
    cover = np.maximum(cover, np.clip(6 * degrade.blur(specks[:, :, None], 1.2, 0.9, 0.4)[:, :, 0], 0, 1))
    return cover, uniform(rng, (0.85, 1.0))

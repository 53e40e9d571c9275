"""Low light, haze, rain and snow, alone and together, as CDD-11's images are made.

Formulas and ranges are those of OneRestore's `syn_data.py` (Guo et al., ECCV 2024); its maps of depth, light, rain and
snow are files, in place of which they are calculated here. Not meant to train on: nothing of this is shared with what
restorers here are trained on, so that they are tested on degradations that somebody else made.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.data.degrade import Range, blur, generator, log_uniform, smooth_noise, uniform

MIXTURES: Mapping[str, tuple[str, ...]] = {
    "low": ("low light",),
    "haze": ("haze",),
    "rain": ("rain",),
    "snow": ("snow",),
    "low_haze": ("low light", "haze"),
    "low_rain": ("low light", "rain"),
    "low_snow": ("low light", "snow"),
    "haze_rain": ("rain", "haze"),
    "haze_snow": ("snow", "haze"),
    "low_haze_rain": ("low light", "rain", "haze"),
    "low_haze_snow": ("low light", "snow", "haze"),
}
"""CDD-11's eleven folders → what is done, in that order: light first, then what falls, then what lies between."""
EXPONENT: Range = (2.0, 3.0)
NOISE: Range = (0.03, 0.08)
"""Standard deviation of what low light adds."""
DENSITY: Range = (1.0, 2.0)
AIRLIGHT: Range = (0.6, 0.9)
DEEPEST = 0.7
"""Distances, in [0,1], are cut off here."""


def mixture(name: str, image: np.ndarray, seed: tuple[str, ...]) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the same, spoiled by one of `MIXTURES`. A kind falls alike in all mixtures of a scene,
    as only then does one tell by comparing two of them what the other kind does."""
    for kind in MIXTURES[name]:
        image = _KINDS[kind](image, generator(*seed, kind))
    return image


def low_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """R·L^γ + n, with R = I/L. The light L is the blurred maximum of the channels; OneRestore's is LIME's."""
    exponent, sigma = uniform(rng, EXPONENT), uniform(rng, NOISE)
    light = blur(image.max(axis=2, keepdims=True), 3.0, 3.0, 0.0).clip(1e-3, 1.0)
    return np.clip(image * light ** (exponent - 1) + rng.standard_normal(image.shape) * sigma, 0, 1)


def haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """I·t + A·(1 − t), t = exp(−β·min(d, 0.7)); d is near at the bottom and far at the top, with relief."""
    density, air = uniform(rng, DENSITY), uniform(rng, AIRLIGHT)
    height, width = image.shape[:2]
    rise = np.linspace(1.0, 0.0, height)[:, None]
    distance = np.clip(0.05 + 0.6 * rise + 0.4 * (smooth_noise(rng, height, width, cells=3) - 0.5), 0.0, DEEPEST)
    return through_haze(image, distance, density, air)


def through_haze(image: np.ndarray, distance: np.ndarray, density: float, air: float) -> np.ndarray:
    """Koschmieder's law, with distances [H,W]."""
    left = np.exp(-density * distance)[:, :, None]
    return image * left + air * (1 - left)


def rain(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """I + streaks: drops drawn out along one direction, thin ones and a few thick."""
    height, width = image.shape[:2]
    fall = np.pi / 2 + uniform(rng, (-0.45, 0.45))
    streaks = np.zeros((height, width))
    for share, length, thickness, weight in ((0.0045, 7.0, 0.6, 0.4), (0.0007, 14.0, 1.0, 0.55)):
        drops = (rng.random((height, width)) < share * log_uniform(rng, (0.7, 1.6))) * rng.random((height, width))
        drawn = blur(drops[:, :, None], length, thickness, fall)[:, :, 0]
        streaks += weight * np.clip(drawn * (2 * np.pi * length * thickness) * 0.8, 0, 1)
    return np.clip(image + np.clip(streaks, 0, 0.85)[:, :, None], 0, 1)


def snow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """I·(1 − m) + m: white flakes of three sizes, the larger the fewer and the softer."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width))
    for share, radius in ((0.0016, 0.7), (0.0004, 1.4), (0.0001, 2.6)):
        flakes = (rng.random((height, width)) < share * log_uniform(rng, (0.7, 1.6))).astype(float)
        turn = uniform(rng, (0.0, np.pi))
        soft = blur(flakes[:, :, None], radius * 1.3, radius, turn)[:, :, 0] * (2 * np.pi * 1.3 * radius**2)
        cover = np.maximum(cover, np.clip(1.3 * soft, 0, 1) * uniform(rng, (0.75, 1.0)))
    cover = cover[:, :, None]
    return image * (1 - cover) + cover


_KINDS = {"low light": low_light, "haze": haze, "rain": rain, "snow": snow}

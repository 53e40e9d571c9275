"""Low light of a scene, not of a picture: radiance that goes on above the photograph's white.

`degrade.LowLight` darkens a finished photograph, so that the brightest pixel of the LQ is the exposure, and a method
may read the answer off it. Here a photograph becomes a scene with lamps, sky and reflections brighter than white; the
GT is a well exposed picture of it, clipped as pictures are, and the LQ a short exposure of the same scene. As in
`degrade`: synthetic, to try the harness with, not to train on or to rank methods by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.data.degrade import (
    Range,
    generator,
    jpeg,
    log_uniform,
    quantise,
    smooth_noise,
    to_linear,
    to_srgb,
    uniform,
)

KNEE = 0.35
"""Luminance of the photograph above which it is taken for a highlight that its camera compressed."""


@dataclass(frozen=True)
class CapturedScene:
    """What lay before the camera, and how bright its well exposed picture is."""

    highlights: float
    """Stops by which the photograph's white lies below the scene's brightest surface."""
    sigma: float
    """Standard deviation of the smooth field of light over the scene, stops."""
    mean: float
    """Mean sRGB value that the GT is exposed for."""

    RANGES: ClassVar[Mapping[str, Range]] = {"highlights": (1.5, 3.5), "sigma": (0.45, 0.75), "mean": (0.40, 0.48)}

    @classmethod
    def draw(cls, rng: np.random.Generator) -> CapturedScene:
        """Every parameter uniform in its range."""
        return cls(*(uniform(rng, cls.RANGES[name]) for name in ("highlights", "sigma", "mean")))


@dataclass(frozen=True)
class Camera:
    """A hand-held camera that exposed too little."""

    stops: float
    """How far the LQ's exposure lies below the GT's."""
    red: float
    """Gain of red against green: a white balance that is slightly off."""
    blue: float
    """… and of blue."""
    shot: float
    """Variance of the shot noise at full scale: 1 / full well in electrons, times the gain."""
    read: float
    """Standard deviation of the read noise, full scale = 1."""
    gamma: float
    """Exponent of the tone curve after sRGB encoding; 1 in half of the draws."""
    quality: int | None
    """JPEG quality, or None where the camera wrote no JPEG: half of the draws."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "stops": (2.0, 4.5),
        "red": (0.94, 1.06),
        "blue": (0.94, 1.06),
        "shot": (5e-5, 5e-4),
        "read": (2e-4, 1.2e-3),
        "gamma": (0.85, 1.18),
        "quality": (70, 95),
    }

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Shot and read noise log-uniform, the rest uniform in its range."""
        ranges = cls.RANGES
        stops, red, blue = (uniform(rng, ranges[name]) for name in ("stops", "red", "blue"))
        shot, read = log_uniform(rng, ranges["shot"]), log_uniform(rng, ranges["read"])
        plain, gamma = float(rng.random()) < 0.5, uniform(rng, ranges["gamma"])
        low, high = ranges["quality"]
        lossless, quality = float(rng.random()) < 0.5, int(low) + int(rng.random() * (high - low + 1))
        return cls(stops, red, blue, shot, read, 1.0 if plain else gamma, None if lossless else quality)


def radiance(image: np.ndarray, rng: np.random.Generator, params: CapturedScene) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → linear light of the scene [H,W,3], 1 the photograph's white, not clipped.

    E = lin(I) · 2^(highlights·r²) · 2^(sigma·f): r rises from 0 at the knee to 1 at white, on luminance, so that hues
    stay; f is a smooth field of zero mean and unit variance, light that falls unevenly.
    """
    light = to_linear(image)
    luminance = light @ np.array([0.2126, 0.7152, 0.0722])
    rise = np.clip((luminance - KNEE) / (1 - KNEE), 0.0, 1.0)
    height, width = luminance.shape
    field = smooth_noise(rng, height, width, cells=3)
    field = (field - field.mean()) / max(float(field.std()), 1e-9)
    return light * 2.0 ** (params.highlights * rise**2 + params.sigma * field)[:, :, None]


def exposed(light: np.ndarray, mean: float) -> float:
    """The gain at which the picture of `light`, clipped and sRGB-encoded, has this mean; bisected over ±12 stops."""
    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        if to_srgb(light * 2.0**middle).mean() < mean:
            low = middle
        else:
            high = middle
    return 2.0**high


def picture(light: np.ndarray, rng: np.random.Generator, params: Camera) -> np.ndarray:
    """Linear light, 1 the GT's white → the LQ, sRGB [H,W,3] in [0,1].

    x = 2^−stops · balance · E + n, n ~ N(0, shot·x + read²); the sensor clips at 0 and 1, then tone curve and JPEG.
    """
    short = light * (2.0**-params.stops * np.array([params.red, 1.0, params.blue]))
    noise = rng.standard_normal(short.shape) * np.sqrt(params.shot * short + params.read**2)
    code = to_srgb(short + noise) ** params.gamma
    return code if params.quality is None else jpeg(quantise(code), params.quality) / 255.0


def _well_exposed(image: np.ndarray, words: tuple[str, ...]) -> np.ndarray:
    """The scene in units of the GT's white: both pictures are taken of this."""
    rng = generator(*words, "scene")
    params = CapturedScene.draw(rng)
    light = radiance(image, rng, params)
    return light * exposed(light, params.mean)


def _reference(image: np.ndarray, words: tuple[str, ...]) -> np.ndarray:
    return to_srgb(_well_exposed(image, words))


def _dark(image: np.ndarray, words: tuple[str, ...]) -> np.ndarray:
    """With this word the camera's draws fall evenly on the six photographs: three JPEGs, three tone curves."""
    rng = generator(*words, "lq")
    return picture(_well_exposed(image, words), rng, Camera.draw(rng))


PICTURES: Mapping[str, Callable[[np.ndarray, tuple[str, ...]], np.ndarray]] = {"gt": _reference, "lq": _dark}
"""What is taken of a photograph's scene: sRGB [H,W,3] in [0,1] and the words of the seed → the same shape."""

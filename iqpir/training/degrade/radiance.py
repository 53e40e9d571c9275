"""Scenes rather than pictures: linear light that no camera has clipped yet, and the cameras that take pictures of it.

A picture that is darkened has its brightest pixel where the scene had its white, and a network that learns from such
pictures reads the exposure off it. Real dark photographs show lamps and skies far above that. So light here has
headroom: it is exposed, for the good picture as for the bad one, before anything is clipped.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import smooth_field, to_linear, to_srgb, uniform

_METERED = 40
"""Pixels along a side that a camera meters."""
_FLARE = (0.0, 0.04)
"""Of the scene's mean light: what a lens scatters over the whole picture, so that its darkest places are not black."""
_STOPS = (-14.0, 14.0)
"""Exposures that a camera has, in stops."""


class Tone(NamedTuple):
    """A camera's curve from linear light to pixel values."""

    power: float = 1.0
    """Exponent on sRGB values; above 1 it darkens."""
    bend: float = 0.0
    """Share of a smoothstep that is mixed in, 0 to 1: contrast in the middle, for less of it at both ends."""
    shoulder: float = 0.0
    """Share of L/(1+L) that light L is mixed with, 0 to 1: highlights bend where without it they break off. Of 76 real
    well exposed photographs the targets are met best with 0.7 to 0.85 of it (24.2 dB, and 22.4 dB with none)."""

    def __call__(self, light: np.ndarray) -> np.ndarray:
        """Linear light, which ends at 1 where there is no shoulder → float32 in [0,1]."""
        value = to_srgb(self._bent(light) if self.shoulder else light).astype(np.float32)
        if self.power != 1:
            value = value**self.power
        if self.bend:
            value = value + self.bend * (value * value * (3 - 2 * value) - value)
        return value

    def _bent(self, light: np.ndarray) -> np.ndarray:
        positive = np.maximum(light, 0)
        bent: np.ndarray = (1 - self.shoulder) * np.minimum(positive, 1) + self.shoulder * positive / (1 + positive)
        return bent


def draw_tone(rng: np.random.Generator) -> Tone:
    """One camera in eight encodes as sRGB says; the others have a curve of their own, most with a shoulder."""
    if rng.random() < 0.125:
        return Tone()
    bend = uniform(rng, (0.0, 0.3)) if rng.random() < 0.3 else 0.0
    shoulder = uniform(rng, (0.5, 1.0)) if rng.random() < 0.9 else 0.0
    return Tone(uniform(rng, (0.98, 1.2)), bend, shoulder)


def deepened(image: np.ndarray, part: float) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the same with `part` of the light that its darkest hundredth has taken off, float32.

    A hundredth of a photograph is darker than 0.07; generated ones are a little hazy all over, with 0.13.
    """
    light = to_linear(image)
    low = part * float(np.quantile(light.mean(axis=2), 0.01))
    return to_srgb(np.maximum(light - low, 0.02 * low) / (1 - low)).astype(np.float32)


def radiance(image: np.ndarray, rng: np.random.Generator, contrast: float = 1.0, flare: float = 1.0) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → linear light without an upper end, float32: as if the scene were lit unevenly.

    `contrast`: factor of all that, in stops. `flare`: factor of what the lens scatters.

    Light varies smoothly (σ up to 0.8 stops), mostly with a sky above or a lamp in the middle of things, and falls off
    to one side.
    """
    height, width = image.shape[:2]
    stops = uniform(rng, (0.0, 0.8)) * 3.5 * (smooth_field(rng, height, width, 3) - 0.5)
    turn = rng.random() * 2 * np.pi
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    stops = stops + 0.35 * rng.standard_normal() * (np.cos(turn) * columns + np.sin(turn) * rows)
    if rng.random() < 0.75:
        stops = stops + (1.4 + 1.4 * rng.standard_normal()) * sky(rng, height, width)
    light: np.ndarray = to_linear(image).astype(np.float32) * np.exp2(contrast * stops)[:, :, None].astype(np.float32)
    return light + light.mean() * np.float32(flare * uniform(rng, _FLARE))


def sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """float32 [H,W] in [0,1]: 1 above a skyline that is level more or less, ragged, and sharp or soft."""
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    line = uniform(rng, (0.15, 0.75)) + 0.12 * rng.standard_normal() * columns
    ragged = uniform(rng, (0.0, 0.5)) * (smooth_field(rng, height, width, int(rng.integers(3, 9))) - 0.5)
    edge = 0.05 * (12.0 ** rng.random())
    return (0.5 - 0.5 * np.tanh((rows - line + ragged) / edge)).astype(np.float32)


def compress(light: np.ndarray, part: float) -> np.ndarray:
    """Linear light whose range, in stops about its mean, is smaller by `part`: what a camera's tone mapping does.

    The brightness of a neighbourhood changes, its detail does not.
    """
    if part <= 0:
        return light
    height, width = light.shape[:2]
    small = cv2.resize(light.mean(axis=2), (max(2, width // 8), max(2, height // 8)), interpolation=cv2.INTER_AREA)
    stops = cv2.GaussianBlur(np.log2(small + 1e-4), (0, 0), 2.0)
    stops = cv2.resize(stops, (width, height), interpolation=cv2.INTER_LINEAR)
    changed: np.ndarray = light * np.exp2(part * (stops.mean() - stops))[:, :, None].astype(np.float32)
    return changed


def exposure(light: np.ndarray, mean: float, tone: Tone) -> float:
    """The gain that brings the mean pixel value of the picture to `mean`, in [0,1], clipped highlights included.

    Found by halving the stops that a camera has, on a grid of the image; a black scene gets the largest gain.
    """
    step = max(1, min(light.shape[:2]) // _METERED)
    metered = light[::step, ::step]
    low, high = _STOPS
    for _ in range(18):
        middle = (low + high) / 2
        if tone(metered * np.float32(2.0**middle)).mean() < mean:
            low = middle
        else:
            high = middle
    return float(2.0 ** ((low + high) / 2))


def count(light: np.ndarray, shot: float, read: float, rng: np.random.Generator) -> np.ndarray:
    """Linear light as a sensor counts it, at full exposure 1: variance shot·L + read² (Foi et al., 2008), Gaussian."""
    spread = np.sqrt(shot * np.maximum(light, 0) + np.float32(read * read))
    noisy: np.ndarray = light + spread * rng.standard_normal(light.shape, dtype=np.float32)
    return noisy

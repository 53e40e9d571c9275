"""What cameras and files do, one function each, on float32 RGB [H,W,3] in [0,1]; none clips or rounds."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from iqpir.training.degrade.base import log_uniform, sensor, to_linear, to_srgb, uniform
from iqpir.training.degrade.weather import guided

Darkness = Literal["linear", "mio100", "cdd11"]
DARKNESS: tuple[Darkness, ...] = get_args(Darkness)
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def darkened(image: np.ndarray, how: Darkness, stops: float, part: float, rng: np.random.Generator) -> np.ndarray:
    """Low light. `linear`: 2^−stops of the light, counted by a sensor; the others as the two test sets are made.

    `part` in [0,1]: where in the range of such a set's own parameter, 1 the darkest.
    """
    if how == "mio100":
        return _darkened_mio(image, part, rng)
    if how == "cdd11":
        return _darkened_cdd(image, part, rng)
    well, read = log_uniform(rng, (2000.0, 20000.0)), log_uniform(rng, (0.5, 4.0))
    light = to_linear(image).astype(np.float32) * np.float32(2.0**-stops)
    return to_srgb(sensor(light, well, read, rng)).astype(np.float32)


def _darkened_mio(image: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Of the largest channel (HSV's value): 30 to 49 levels less, or its power 1/γ with γ from 0.7 down to 0.5, or its
    range brought to 0 … 149 down to 0 … 100."""
    value = image.max(axis=2, keepdims=True)
    match int(rng.integers(3)):
        case 0:
            darker = np.maximum(value - np.float32((30 + 19 * part) / 255), 0)
        case 1:
            darker = np.clip(value, 0, 1) ** np.float32(1 / (0.7 - 0.2 * part))
        case _:
            low, high = value.min(), value.max()
            darker = (value - low) / max(float(high - low), 1e-6) * np.float32((149 - 49 * part) / 255)
    return image * (darker / np.maximum(value, 1e-6))


def _darkened_cdd(image: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """J/L · L^γ + n: γ in [2,3], σ of n in [0.03,0.08]. L stands for the set's maps of illumination, which no formula
    is given for: here the brightest channel, smoothed but for edges (Guo et al., "LIME", 2017)."""
    bright = image.max(axis=2)
    light = np.clip(guided(bright, bright, max(2, min(image.shape[:2]) // 24)), 0.02, 1)[:, :, None]
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(uniform(rng, (0.03, 0.08)))
    return image * light ** np.float32(1 + part) + noise


def stops_lost(before: np.ndarray, after: np.ndarray) -> float:
    """How much darker an image has become, in stops of its mean linear light; 0 if it has not."""
    first, second = (float((to_linear(np.clip(each, 0, 1)) @ _LUMA).mean()) for each in (before, after))
    return max(0.0, float(np.log2((first + 1e-4) / (second + 1e-4))))


def noisy(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of that deviation, in levels of 255."""
    return image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma / 255)


def poisson(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise of 256 levels, `scale` times (as Real-ESRGAN draws it): σ = 16·scale levels on white."""
    counted = rng.poisson(np.clip(image, 0, 1) * 256).astype(np.float32) / 256
    return image + np.float32(scale) * (counted - np.clip(image, 0, 1))


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def moved(image: np.ndarray, sigma: float, angle: float) -> np.ndarray:
    """Motion that sets in and fades as half a Gaussian, over 4σ pixels at most, along `angle` (degrees)."""
    reach = int(np.ceil(2.5 * sigma))
    at = np.arange(-reach - 1, reach + 2, dtype=np.float32)
    turned = np.deg2rad(angle)
    along = at[None, :] * np.cos(turned) + at[:, None] * np.sin(turned)
    across = at[:, None] * np.cos(turned) - at[None, :] * np.sin(turned)
    weight = np.exp(-0.5 * (np.maximum(along, 0) / sigma) ** 2) * np.clip(along + 1, 0, 1) * (along < 4 * sigma)
    kernel = (weight * np.clip(1 - np.abs(across), 0, 1)).astype(np.float32)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def defocused(image: np.ndarray, radius: float) -> np.ndarray:
    """A disc of that radius, its rim one pixel soft."""
    half = int(np.ceil(radius + 1))
    at = np.arange(-half, half + 1, dtype=np.float32)
    kernel = np.clip(radius + 0.5 - np.hypot(at[:, None], at[None, :]), 0, 1)
    return cv2.filter2D(image, -1, (kernel / kernel.sum()).astype(np.float32), borderType=cv2.BORDER_REFLECT)


def lowered(image: np.ndarray, ratio: float) -> np.ndarray:
    """Made smaller by averaging over areas, and brought back by cubic interpolation."""
    height, width = image.shape[:2]
    small = (max(4, round(width / ratio)), max(4, round(height / ratio)))
    return cv2.resize(
        cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_CUBIC
    )


def tinted(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gains of red, green and blue in linear light whose largest is `strength` times the least, without a change of
    their product: a lamp of another colour."""
    hue = uniform(rng, (0, 2 * np.pi))
    tint = np.cos(hue + np.array([0, 2, 4]) * np.pi / 3)
    gains = strength ** (tint / (tint.max() - tint.min()))
    return to_srgb(to_linear(np.clip(image, 0, 1)) * gains.astype(np.float32)).astype(np.float32)

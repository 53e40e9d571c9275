"""Haze, rain and snow on float32 RGB [H,W,3] in [0,1], and the distances that haze needs. Each takes an amount and
a generator for what is left to chance, and neither clips nor rounds."""

from __future__ import annotations

import cv2
import numpy as np

from iqpir.training.degrade.base import Range, log_uniform, smooth_field, uniform

_REFERENCE = 256
"""Shorter side, in pixels, that sizes of streaks and flakes are given for; on other images they grow with the root of
the side, since a larger picture shows both more of the scene and more of each drop."""


def depth(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 [H,W] in [0,1], 1 the farthest: a plane that recedes, mostly upwards, relief upon it, and edges where the
    image has them.

    No distance can be read from a picture by itself; what haze needs is that it is smooth within things and may jump
    between them, which is what filtering by the image gives (He et al., "Guided image filtering", 2013).
    """
    height, width = image.shape[:2]
    turn = 0.35 * float(rng.standard_normal()) if rng.random() < 0.85 else uniform(rng, (-np.pi, np.pi))
    rows, columns = np.linspace(1, -1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    plane = np.cos(turn) * rows + np.sin(turn) * columns
    relief = smooth_field(rng, height, width, int(rng.integers(2, 5))) - 0.5
    rough = (0.5 * plane + uniform(rng, (0.3, 1.4)) * relief).astype(np.float32)
    gray = np.ascontiguousarray(image.mean(axis=2))
    far = guided(gray, rough + uniform(rng, (-0.6, 0.9)) * (gray - gray.mean()), max(3, min(height, width) // 12))
    low, high = np.quantile(far, (0.01, 0.99))
    return np.clip((far - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)


def guided(guide: np.ndarray, values: np.ndarray, radius: int, smoothness: float = 4e-3) -> np.ndarray:
    """`values` [H,W] smoothed over boxes, but for edges of `guide` [H,W] whose variance exceeds `smoothness`."""
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(of: np.ndarray) -> np.ndarray:
        return cv2.blur(of.astype(np.float32), side, borderType=cv2.BORDER_REFLECT)

    guide_mean, values_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * values_mean) / (mean(guide * guide) - guide_mean**2 + smoothness)
    return mean(slope) * guide + mean(values_mean - slope * guide_mean)


def haze(image: np.ndarray, distance: np.ndarray, beta: float, airlight: np.ndarray) -> np.ndarray:
    """J·t + A·(1 − t) with t = exp(−β·d) (Koschmieder); `distance` [H,W], `airlight` [3] or [1]."""
    through = np.exp(-np.float32(beta) * distance)[:, :, None]
    return image * through + airlight.astype(np.float32) * (1 - through)


def rain(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Streaks of one to three depths with one wind, lighter than what is behind them, and in heavy rain a thin veil.

    `amount` in (0,1]: how much of the image is covered and how bright.
    """
    height, width = image.shape[:2]
    scale = (min(height, width) / _REFERENCE) ** 0.5
    slant = uniform(rng, (-35.0, 35.0))
    light = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        near = rng.random()
        length = scale * (7 + 34 * near) * uniform(rng, (0.8, 1.25))
        thickness = scale * (0.45 + 0.75 * near)
        share = (0.03 + 0.15 * amount) / (length * thickness) * uniform(rng, (0.5, 1.2)) / (0.6 + near)
        seeds = np.where(rng.random((height, width)) < share, 0.35 + 0.65 * rng.random((height, width)), 0)
        kernel = streak(length, thickness, slant + 3 * float(rng.standard_normal()))
        drops = cv2.filter2D(seeds.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT)
        light = np.maximum(light, np.minimum(drops, 1) * (0.35 + 0.5 * amount) * uniform(rng, (0.75, 1.1)))
    light = light[:, :, None]
    veil = np.float32(0.16 * amount**2 * rng.random())
    behind = image + veil * (np.float32(0.75) - image)
    return behind + light * (np.float32(0.95) - 0.6 * behind)


def streak(length: float, thickness: float, angle: float) -> np.ndarray:
    """float32 kernel, its largest value 1: a line of that length (pixels) fading at both ends; 0° falls straight."""
    half = int(np.ceil(length / 2 + 2 * thickness))
    at = np.arange(-half, half + 1, dtype=np.float32)
    turned = np.deg2rad(angle)
    along = at[:, None] * np.cos(turned) + at[None, :] * np.sin(turned)
    across = at[None, :] * np.cos(turned) - at[:, None] * np.sin(turned)
    fading = np.clip(1.25 - 1.25 * np.abs(along) / (length / 2 + 1e-6), 0, 1)
    kernel = np.exp(-0.5 * (across / thickness) ** 2) * fading
    return (kernel / kernel.max()).astype(np.float32)


_FLAKES: tuple[tuple[Range, float, Range], ...] = (
    ((0.5, 0.9), 0.045, (0.45, 0.9)),
    ((1.1, 2.0), 0.035, (0.6, 1.0)),
    ((2.6, 5.0), 0.045, (0.3, 0.75)),
)
"""Far, middle and near flakes: σ in pixels, share of the image that is covered, opacity. Near ones are out of focus."""


def snow(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """White flakes of three distances before the image, drawn out a little by their fall, and a faint veil.

    `amount` in (0,1]: how much of the image they cover.
    """
    height, width = image.shape[:2]
    scale = (min(height, width) / _REFERENCE) ** 0.5
    wind, cover = uniform(rng, (-50.0, 50.0)), np.zeros((height, width), np.float32)
    for sigmas, share, opacity in _FLAKES:
        size = scale * log_uniform(rng, sigmas)
        area = 2 * np.pi * size**2
        seeds = rng.random((height, width)) < (0.25 + 0.75 * amount) * share * uniform(rng, (0.4, 1.3)) / area
        weights = np.where(seeds, 0.4 + 0.6 * rng.random((height, width)), 0).astype(np.float32)
        kernel = _flake(size, wind + 15 * float(rng.standard_normal()), uniform(rng, (1.0, 2.2)), rng)
        flakes = cv2.filter2D(weights, -1, kernel, borderType=cv2.BORDER_REFLECT)
        cover = 1 - (1 - cover) * (1 - np.float32(uniform(rng, opacity)) * np.minimum(flakes, 1))
    white = np.array([0.96, 0.97, 1.0], np.float32) * np.float32(uniform(rng, (0.88, 1.0)))
    veil = np.float32(0.12 * amount * rng.random())
    behind = image + veil * (white - image)
    return behind + cover[:, :, None] * (white - behind)


def _flake(size: float, angle: float, stretch: float, rng: np.random.Generator) -> np.ndarray:
    """float32 kernel, its largest value 1: a soft disc, longer along its fall, with a ragged edge."""
    half = int(np.ceil(2.5 * size * stretch))
    at = np.arange(-half, half + 1, dtype=np.float32)
    turned = np.deg2rad(angle)
    along = (at[:, None] * np.cos(turned) + at[None, :] * np.sin(turned)) / stretch
    across = at[None, :] * np.cos(turned) - at[:, None] * np.sin(turned)
    radius = np.sqrt(along**2 + across**2) / size
    bearing = np.arctan2(along, across)
    radius = radius * (
        1 + 0.09 * np.sin(3 * bearing + 6 * rng.random()) + 0.07 * np.sin(5 * bearing + 6 * rng.random())
    )
    kernel = 1 / (1 + np.exp(4 * (radius - 1.2)))  # flatter than a Gaussian: a flake has a rim
    return (kernel / kernel.max()).astype(np.float32)

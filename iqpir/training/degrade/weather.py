"""Haze, rain and snow on float32 RGB [H,W,3] in [0,1], and the distances that haze needs. Each takes an amount and
a generator for what is left to chance, and neither clips nor rounds."""

from __future__ import annotations

import cv2
import numpy as np

from iqpir.training.degrade.base import Range, log_uniform, smooth_field, uniform

_REFERENCE = 256
"""Shorter side, in pixels, that sizes of streaks and flakes are given for; on larger images they grow with the root of
the side, since a larger picture shows both more of the scene and more of each drop. A smaller one is a part of such."""


def _scale(height: int, width: int) -> float:
    return float(max(1.0, (min(height, width) / _REFERENCE) ** 0.5))


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
    """Streaks of one to three depths with one wind, and in heavy rain a thin veil.

    `amount` in (0,1]: how much of the image is covered and how bright. Light is added to what is behind, or takes its
    place: test sets have both, I + S (Yang et al., "Deep Joint Rain Detection and Removal", 2017) and blended streaks.
    """
    height, width = image.shape[:2]
    scale = _scale(height, width)
    slant = uniform(rng, (-40.0, 40.0))
    light = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        near = rng.random()
        length = scale * (7 + 38 * near) * uniform(rng, (0.8, 1.25))
        thickness = scale * (0.4 + 0.8 * near) * log_uniform(rng, (0.75, 1.35))
        covered = (0.03 + 0.15 * amount) * log_uniform(rng, (0.15, 1.3))
        share = covered / (length * thickness) / (0.6 + near)
        seeds = np.where(rng.random((height, width)) < share, 0.35 + 0.65 * rng.random((height, width)), 0)
        kernel = streak(length, thickness, slant + 3 * float(rng.standard_normal()), uniform(rng, (0.15, 1.25)))
        drops = cv2.filter2D(seeds.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT)
        light = np.maximum(light, np.minimum(drops, 1) * (0.35 + 0.5 * amount) * uniform(rng, (0.75, 1.1)))
    light = light[:, :, None]
    veil = np.float32(0.16 * amount**2 * rng.random())
    behind = image + veil * (np.float32(0.75) - image)
    if rng.random() < _ADDED:
        return behind + light
    return behind + light * (np.float32(0.95) - 0.6 * behind)


_ADDED = 0.4
"""Share of rains that are added light."""


def streak(length: float, thickness: float, angle: float, fading: float = 1.25) -> np.ndarray:
    """float32 kernel, its largest value 1: a line of that length (pixels), 0° falls straight. It fades towards both
    ends: above 1 from its middle on, the smaller the later."""
    half = int(np.ceil(length / 2 + 2 * thickness))
    at = np.arange(-half, half + 1, dtype=np.float32)
    turned = np.deg2rad(angle)
    along = at[:, None] * np.cos(turned) + at[None, :] * np.sin(turned)
    across = at[None, :] * np.cos(turned) - at[:, None] * np.sin(turned)
    left = np.clip((1 - np.abs(along) / (length / 2 + 1e-6)) * max(fading, 1.0) / min(fading, 1.0), 0, 1)
    kernel = np.exp(-0.5 * (across / thickness) ** 2) * left
    return (kernel / kernel.max()).astype(np.float32)


_FLAKES: tuple[Range, Range, Range] = ((0.5, 4.5), (0.006, 0.07), (0.35, 1.0))
"""Of one kind of flake: σ in pixels and the share of the image that it covers at most, both log-uniform; opacity."""


def snow(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """White flakes of one to four kinds before the image, and a faint veil.

    `amount` in (0,1]: how much of the image they cover. From a dozen flakes to a storm, round or drawn out by their
    fall, with rims or out of focus: masks of snow differ that much (Liu et al., "DesnowNet", 2018).
    """
    height, width = image.shape[:2]
    scale, (sizes, shares, opacities) = _scale(height, width), _FLAKES
    wind, cover = uniform(rng, (-50.0, 50.0)), np.zeros((height, width), np.float32)
    drawn_out = uniform(rng, (1.0, 2.6)) if rng.random() < 0.6 else 1.0
    for _ in range(int(rng.integers(1, 5))):
        size = scale * log_uniform(rng, sizes)
        covered = (0.25 + 0.75 * amount) * log_uniform(rng, shares)
        seeds = rng.random((height, width)) < max(covered / (2 * np.pi * size**2), 6 / (height * width))
        weights = np.where(seeds, 0.4 + 0.6 * rng.random((height, width)), 0).astype(np.float32)
        weights = np.minimum(weights * np.float32(uniform(rng, (1.0, 2.0))), 1)
        kernel = _flake(size, wind + 15 * float(rng.standard_normal()), drawn_out, rng)
        flakes = cv2.filter2D(weights, -1, kernel, borderType=cv2.BORDER_REFLECT)
        cover = 1 - (1 - cover) * (1 - np.float32(uniform(rng, opacities)) * np.minimum(flakes, 1))
    white = np.array([0.96, 0.97, 1.0], np.float32) * np.float32(uniform(rng, (0.88, 1.04)))
    veil = np.float32(0.12 * amount * rng.random())
    behind = image + veil * (white - image)
    return behind + cover[:, :, None] * (white - behind)


def _flake(size: float, angle: float, stretch: float, rng: np.random.Generator) -> np.ndarray:
    """float32 kernel, its largest value 1: a disc with a rim or without, longer along its fall, with a ragged edge."""
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
    kernel = 1 / (1 + np.exp(uniform(rng, (2.5, 9.0)) * (radius - 1.2)))
    return (kernel / kernel.max()).astype(np.float32)

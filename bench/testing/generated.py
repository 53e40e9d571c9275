"""Pictures for checking metrics: made from a seed, with the statistics of photographs, so that nothing is fetched."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

Image = np.ndarray
"""uint8 RGB [H,W,3]."""

COUNT = 3
LEVELS = (0, 1, 128, 254, 255)
STRENGTHS: Mapping[str, tuple[float, ...]] = {"noise": (2, 6, 18, 50), "blur": (0.6, 1.2, 2.4, 4.8)}
"""Standard deviations, in 8-bit levels of the noise and in pixels of the blur."""


@functools.cache
def photograph(side: int, seed: int, width: int | None = None) -> Image:
    """A procedural picture with a photograph's statistics: 1/f texture, objects with sharp edges, correlated channels.

    uint8 [side, width or side + 13, 3], read-only, the same for the same arguments.
    """
    height, width = side, side + 13 if width is None else width
    random = np.random.default_rng([seed, height, width])
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf

    def texture(exponent: float) -> np.ndarray:
        white = np.fft.rfft2(random.normal(size=(height, width)))
        made = np.fft.irfft2(white / frequency**exponent, s=(height, width))
        return made / (made.std() or 1.0)

    light = 0.45 + 0.11 * texture(1.3)
    image = np.stack([light + 0.05 * texture(1.6) for _ in range(3)], axis=-1)
    rows, columns = np.mgrid[0:height, 0:width]
    for _ in range(7):
        y, x, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(0.05, 0.2) * height
        inside = np.hypot(rows - y, (columns - x) * random.uniform(0.5, 1.5)) < radius
        image[inside] = 0.55 * image[inside] + 0.45 * random.uniform(0.05, 0.95, 3)
    image = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    image.setflags(write=False)
    return image


def distorted(image: Image, kind: str, strength: float) -> Image:
    if kind == "noise":
        own = np.random.default_rng(int(image.sum()))  # another image gets other noise, and so another value
        changed = image + strength * own.normal(size=image.shape)
    else:
        from scipy.ndimage import gaussian_filter

        changed = gaussian_filter(image.astype(np.float64), (strength, strength, 0))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


@functools.cache
def copies(side: int, kind: str, strength: float) -> list[Image]:
    """The test images of that side, distorted; shared by all metrics."""
    return [distorted(photograph(side, seed), kind, strength) for seed in range(COUNT)]


def uniform(level: int, like: Image) -> Image:
    return np.full_like(like, level)

"""Dark-channel priors: I = J·t + A·(1 − t), with the transmission read off the darkest channel of a patch."""

from __future__ import annotations

import numpy as np

from bench.methods.algorithms.primitives import guided_filter, luma


def _darkest(planes: np.ndarray, patch: int) -> np.ndarray:
    """Minimum over channels and a square patch: [H,W,C] → [H,W]."""
    import cv2

    return cv2.erode(np.ascontiguousarray(planes.min(axis=2)), np.ones((patch, patch), np.uint8))


def _clear(
    image: np.ndarray, channels: list[int], patch: int, omega: float, floor: float, radius: int, epsilon: float
) -> np.ndarray:
    """He's algorithm with the dark channel taken over `channels` only."""
    dark = _darkest(image[..., channels], patch).ravel()
    # The 0.1 % haziest pixels, and among them the brightest; a stable sort, so that ties fall alike everywhere.
    haziest = np.argsort(-dark, kind="stable")[: max(1, dark.size // 1000)]
    pixels = image.reshape(-1, 3)[haziest]
    light = np.maximum(pixels[np.argmax(pixels.sum(axis=1))].astype(np.float64), 1e-3)
    rough = 1 - omega * _darkest((image / light)[..., channels], patch)
    transmission = guided_filter(luma(image), rough, radius, epsilon)
    through = np.clip(transmission, floor, 1)[..., None]
    return np.clip((image - light) / through + light, 0, 1).astype(np.float32)


def dark_channel(image: np.ndarray, patch: int, omega: float, floor: float, radius: int, epsilon: float) -> np.ndarray:
    """Dark channel prior, refined by the guided filter with a gray guide.

    He, Sun and Tang, Single Image Haze Removal Using Dark Channel Prior, CVPR 2009 / TPAMI 2011 (patch 15, ω 0.95,
    t₀ 0.1); Guided Image Filtering, TPAMI 2013 (radius 20, ε 10⁻³ for dehazing).
    """
    return _clear(image, [0, 1, 2], patch, omega, floor, radius, epsilon)


def udcp(image: np.ndarray, patch: int, omega: float, floor: float, radius: int, epsilon: float) -> np.ndarray:
    """The dark channel of green and blue alone, because water takes the red.

    Drews et al., Transmission Estimation in Underwater Single Images, ICCV Workshops 2013. Patch 15 and t₀ 0.1 are
    those of the demo in the authors' MATLAB code (15 for VGA images, t₀ between 0.05 and 0.2, refined by soft matting
    or a guided filter; quoted in shiningZZ/GUPDM issue 5). ω, the rule for the light (brightest of the 0.1 % haziest)
    and the filter's radius and ε are He's, as in `dark_channel`: our choice.
    """
    return _clear(image, [1, 2], patch, omega, floor, radius, epsilon)

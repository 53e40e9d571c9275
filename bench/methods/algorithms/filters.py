"""Denoising, sharpening and deconvolution: the baselines for blur, noise and JPEG."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.methods.algorithms.primitives import from_u8, to_u8


def unsharp(image: np.ndarray, radius: float, amount: float) -> np.ndarray:
    """Unsharp masking x + amount·(x − blur(x)), by scikit-image. Gonzalez and Woods 3.6.3."""
    from skimage.filters import unsharp_mask

    # Axis 2, never −1: a negative one filters three rows and returns uninitialised memory (scikit-image issue 7264).
    return unsharp_mask(image, radius=radius, amount=amount, channel_axis=2).astype(np.float32)


def nlm(image: np.ndarray, strength: float, patch: int, search: int) -> np.ndarray:
    """Non-local means on 8-bit CIELab, by OpenCV. Buades, Coll and Morel, CVPR 2005 / IPOL 2011.

    `strength` is OpenCV's h for lightness and colour alike; the cost grows with search².
    """
    import cv2

    return from_u8(cv2.fastNlMeansDenoisingColored(to_u8(image), None, strength, strength, patch, search))


def bilateral(image: np.ndarray, diameter: int, sigma_color: float, sigma_space: float) -> np.ndarray:
    """Bilateral filter in float32, by OpenCV. Tomasi and Manduchi, ICCV 1998; `sigma_color` on the [0,1] scale."""
    import cv2

    return cv2.bilateralFilter(image, diameter, sigma_color, sigma_space)


def median(image: np.ndarray, size: int) -> np.ndarray:
    """Median of a size×size window per channel in float32, by OpenCV. Tukey 1977; sizes 3 and 5."""
    import cv2

    return cv2.medianBlur(image, size)


def tv(image: np.ndarray, weight: float) -> np.ndarray:
    """Total-variation denoising, by scikit-image. Chambolle, JMIV 2004; after Rudin, Osher and Fatemi, 1992."""
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(image, weight=weight, channel_axis=2).astype(np.float32)


def wiener(image: np.ndarray, sigma: float, balance: float) -> np.ndarray:
    """Wiener–Hunt deconvolution of a Gaussian blur, by scikit-image. Hunt 1973; Orieux et al., JOSA A 2010."""
    from skimage.restoration import wiener as deconvolve

    kernel, border = _gaussian_kernel(sigma)
    return _framed(image, border, lambda plane: deconvolve(plane, kernel, balance, clip=False))


def richardson_lucy(image: np.ndarray, sigma: float, iterations: int) -> np.ndarray:
    """Richardson–Lucy deconvolution of a Gaussian blur, by scikit-image. Richardson 1972, Lucy 1974."""
    from skimage.restoration import richardson_lucy as deconvolve

    kernel, border = _gaussian_kernel(sigma)
    return _framed(image, border, lambda p: deconvolve(p, kernel, num_iter=iterations, clip=False, filter_epsilon=1e-6))


def _gaussian_kernel(sigma: float) -> tuple[np.ndarray, int]:
    """A normalised kernel out to 3 sigma, and the border it needs."""
    radius = max(1, int(np.ceil(3 * sigma)))
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum(), 4 * radius


def _framed(image: np.ndarray, border: int, deconvolve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Each channel inside a mirrored frame, which takes the ringing of the border and is cut off again."""
    frame = ((border, border), (border, border))
    planes = [deconvolve(np.pad(image[..., c].astype(np.float64), frame, mode="symmetric")) for c in range(3)]
    inner = np.stack(planes, axis=-1)[border:-border, border:-border]
    return np.clip(inner, 0, 1).astype(np.float32)

"""Underwater enhancement by white balance and multi-scale fusion.

Ancuti, Ancuti, De Vleeschouwer and Bekaert, Color Balance and Fusion for Underwater Image Enhancement, TIP 2018. No
official code was found. The compensation with α = 1, gray-world, the two inputs, the half sum of the sharpening, the
three weights and δ = 0.1 are the paper's, as public reimplementations read it too. It leaves the gamma and the blur of
the sharpening open (reimplementations take gammas of 0.8 to 2): both are options, and their defaults our choice. So
are the scale of CIELab in the saliency and the depth of the pyramid.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bench.methods.algorithms.colour import gray_world
from bench.methods.algorithms.primitives import gaussian, luma


def underwater_fusion(image: np.ndarray, red: float, gamma: float, sigma: float) -> np.ndarray:
    """Red compensation (equation 4, α = `red`), gray-world, then a gamma-corrected and a sharpened copy fused."""
    mean = image.mean(axis=(0, 1), dtype=np.float64)
    compensated = image.astype(np.float64)
    compensated[..., 0] += red * (mean[1] - mean[0]) * (1 - compensated[..., 0]) * compensated[..., 1]
    balanced = gray_world(np.clip(compensated, 0, 1)).astype(np.float64)
    inputs = [balanced**gamma, _sharpened(balanced, sigma)]
    weights = [_weight(copy) for copy in inputs]
    total = sum(weights) + 2 * 0.1  # δ = 0.1 keeps every input in the mix (section IV.B)
    shares = [(weight + 0.1) / total for weight in weights]
    return np.clip(_fuse(inputs, shares), 0, 1).astype(np.float32)


def _sharpened(image: np.ndarray, sigma: float) -> np.ndarray:
    """Normalised unsharp masking (equation 6): the mean of the image and its stretched detail."""
    detail = np.stack([image[..., c] - gaussian(image[..., c], sigma) for c in range(3)], axis=-1)
    low, high = detail.min(), detail.max()
    # One shift and one factor for all channels; a flat image has no detail to add.
    return image if high - low < 1e-9 else (image + (detail - low) / (high - low)) / 2


def _weight(image: np.ndarray) -> np.ndarray:
    """Laplacian contrast + saliency + saturation (section IV.B)."""
    import cv2

    light = luma(image)
    contrast = np.abs(cv2.Laplacian(light, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REPLICATE))
    lab = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2LAB).astype(np.float64) / 100
    # Frequency-tuned saliency, Achanta et al., CVPR 2009: distance of a slightly blurred colour from the mean colour.
    # Their 5×5 binomial kernel (1, 4, 6, 4, 1) has variance 1, hence sigma 1.
    blurred = np.stack([gaussian(lab[..., c], 1.0) for c in range(3)], axis=-1)
    saliency = np.linalg.norm(blurred - lab.mean(axis=(0, 1)), axis=2)
    saturation = np.sqrt(((image - light[..., None]) ** 2).mean(axis=2))
    return contrast + saliency + saturation


def _fuse(inputs: list[np.ndarray], shares: list[np.ndarray]) -> np.ndarray:
    """Sum of Laplacian pyramids of the inputs times Gaussian pyramids of their shares. Burt and Adelson, 1983."""
    import cv2

    # Down to a coarsest side of four to eight pixels.
    levels = max(1, int(np.log2(min(inputs[0].shape[:2]))) - 2)
    result: list[np.ndarray] = []
    for image, share in zip(inputs, shares, strict=True):
        gaussians, masks = [image], [share]
        for _ in range(levels - 1):
            gaussians.append(cv2.pyrDown(gaussians[-1]))
            masks.append(cv2.pyrDown(masks[-1]))
        details = [fine - cv2.pyrUp(coarse, dstsize=fine.shape[1::-1]) for fine, coarse in pairwise(gaussians)]
        weighted = [detail * mask[..., None] for detail, mask in zip([*details, gaussians[-1]], masks, strict=True)]
        result = weighted if not result else [a + b for a, b in zip(result, weighted, strict=True)]
    fused = result[-1]
    for detail in reversed(result[:-1]):
        fused = cv2.pyrUp(fused, dstsize=detail.shape[1::-1]) + detail
    return fused

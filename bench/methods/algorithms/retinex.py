"""Retinex: an image is reflectance times illumination, and the illumination is estimated by smoothing.

Centre/surround retinex as its IPOL description fixes it, and LIME's structure-aware illumination map.
"""

from __future__ import annotations

import numpy as np

from bench.errors import ItemError
from bench.methods.algorithms.primitives import gaussian, stretch


def _multiscale(plane: np.ndarray, scales: list[float]) -> np.ndarray:
    """Mean over the scales of log(plane) − log(blurred plane), on 8-bit values plus one."""
    level = plane.astype(np.float64) * 255 + 1
    return np.mean([np.log(level) - np.log(np.maximum(gaussian(level, s), 1)) for s in scales], axis=0)


def msr(image: np.ndarray, scales: list[float], clip: float) -> np.ndarray:
    """Multi-scale retinex on each channel, then a stretch that saturates a share `clip` at each end.

    Jobson, Rahman and Woodell, A Multiscale Retinex for Bridging the Gap Between Color Images and the Human
    Observation of Scenes, TIP 1997. Logarithms of level + 1, equal weights, scales 15, 80 and 250 and the stretch (1 %
    at each end, in place of Jobson's fixed gain and offset) as in Petro, Sbert and Morel, Multiscale Retinex, IPOL
    2014, MSR_original.cpp; checked against that program's steps.
    """
    planes = [stretch(_multiscale(image[..., c], scales), clip, clip) for c in range(3)]
    return np.stack([image[..., c] if p is None else p for c, p in enumerate(planes)], axis=-1).astype(np.float32)


def msrcr(image: np.ndarray, scales: list[float], clip: float) -> np.ndarray:
    """Multi-scale retinex times the colour restoration log(125·x / Σx), then the stretch. Sources as `msr`.

    125 is Jobson's α and IPOL's; Jobson's β = 46 and the display's gain and offset (30 and −6 in IPOL's program) are
    affine in each channel, and the stretch undoes them.
    """
    level = image.astype(np.float64) * 255 + 1
    restoration = np.log(125 * level) - np.log(level.sum(axis=2, keepdims=True))
    planes = [stretch(_multiscale(image[..., c], scales) * restoration[..., c], clip, clip) for c in range(3)]
    return np.stack([image[..., c] if p is None else p for c, p in enumerate(planes)], axis=-1).astype(np.float32)


def msrcp(image: np.ndarray, scales: list[float], clip: float) -> np.ndarray:
    """Multi-scale retinex of the intensity with the chromaticity kept. Petro et al., IPOL 2014, algorithm 2.

    As the article prints it: the gain is limited by the brightest channel alone. Its program also limits the gain to 3
    and takes the ratio on levels plus one.
    """
    intensity = image.mean(axis=2, dtype=np.float64)
    enhanced = stretch(_multiscale(intensity, scales), clip, clip)
    if enhanced is None:
        return image
    brightest = np.maximum(image.max(axis=2), 1e-6)
    gain = np.minimum(1 / brightest, enhanced / np.maximum(intensity, 1e-6))
    return (image * gain[..., None]).astype(np.float32)


def lime(image: np.ndarray, alpha: float, gamma: float, sigma: float, max_pixels: int) -> np.ndarray:
    """LIME with the sped-up solver and weight strategy III, without the optional BM3D step.

    Guo, Li and Ling, LIME: Low-Light Image Enhancement via Illumination Map Estimation, TIP 2017, equations 17–19.
    The sparse system has one unknown per pixel: above `max_pixels` it is refused.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    height, width = image.shape[:2]
    if height * width > max_pixels:
        raise ItemError(f"lime solves for {height * width} unknowns and takes at most {max_pixels} (option max_pixels)")
    initial = image.max(axis=2).astype(np.float64)
    index = np.arange(initial.size).reshape(height, width)
    pairs = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    first, second = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    weight = np.concatenate([_smoothness(np.diff(initial, axis=axis), sigma).ravel() for axis in (1, 0)]) * alpha
    ones = np.ones(initial.size)
    # Identity plus the weighted graph Laplacian of the pixel grid.
    system = coo_array(
        (
            np.concatenate([ones, weight, weight, -weight, -weight]),
            (
                np.concatenate([index.ravel(), first, second, first, second]),
                np.concatenate([index.ravel(), first, second, second, first]),
            ),
        )
    ).tocsc()
    solver = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    illumination = np.clip(solver.solve(initial.ravel()).reshape(height, width), 1e-3, 1) ** gamma
    return np.clip(image / illumination[..., None], 0, 1).astype(np.float32)


def _smoothness(gradient: np.ndarray, sigma: float) -> np.ndarray:
    """How strongly to smooth across each gradient: little where it persists over a window (structure), much elsewhere.

    Equation 22's window mass is 1, because the Gaussian is normalised; both divisions are kept off zero by 1e-3.
    """
    if not gradient.size:
        return gradient
    return 1 / ((np.abs(gaussian(gradient, sigma)) + 1e-3) * (np.abs(gradient) + 1e-3))

"""Colour constancy: one light colours the whole image, and a gain per channel takes it out."""

from __future__ import annotations

import numpy as np

from bench.methods.algorithms.primitives import per_channel


def _neutral(image: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Divide by the light's colour, keeping its mean: von Kries with a diagonal matrix. A black channel stays black."""
    gains = np.where(light > 1e-6, light.mean() / np.maximum(light, 1e-6), 1.0)
    return np.clip(image * gains, 0, 1).astype(np.float32)


def gray_world(image: np.ndarray) -> np.ndarray:
    """The average of a scene is gray. Buchsbaum, A spatial processor model for object colour perception, 1980."""
    return _neutral(image, image.mean(axis=(0, 1), dtype=np.float64))


def max_rgb(image: np.ndarray, percentile: float) -> np.ndarray:
    """The brightest patch is white. Land, The Retinex Theory of Color Vision, 1977; 100 is the plain maximum."""
    light = np.percentile(image.reshape(-1, 3).astype(np.float64), percentile, axis=0)
    gains = np.where(light > 1e-6, light.max() / np.maximum(light, 1e-6), 1.0)
    return np.clip(image * gains, 0, 1).astype(np.float32)


def shades_of_gray(image: np.ndarray, norm: float) -> np.ndarray:
    """Between the two: the Minkowski mean is gray. Finlayson and Trezzi, Shades of Gray, CIC 2004 (norm 6)."""
    return _neutral(image, np.mean(image.astype(np.float64) ** norm, axis=(0, 1)) ** (1 / norm))


def simplest_color_balance(image: np.ndarray, clip: float) -> np.ndarray:
    """Stretch each channel, saturating a share `clip` at each end. Limare et al., IPOL 2011."""
    return per_channel(image, clip, clip).astype(np.float32)

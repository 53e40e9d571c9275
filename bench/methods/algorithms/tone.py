"""Tone curves and histograms: the brightness baselines of low-light and backlit papers. Not retinex (`retinex`)."""

from __future__ import annotations

import numpy as np

from bench.methods.algorithms.primitives import from_u8, luma, to_u8


def identity(image: np.ndarray) -> np.ndarray:
    """The input as it is: what every other number has to beat."""
    return image


def gamma(image: np.ndarray, gamma: float) -> np.ndarray:
    """x^gamma; below 1 brightens. The power law, Gonzalez and Woods, Digital Image Processing, 3.2.3."""
    return image**gamma


def auto_gamma(image: np.ndarray, target: float) -> np.ndarray:
    """The gamma that sends the mean luma to `target`: log(target) / log(mean).

    Babakhani and Zarei, Automatic gamma correction based on average of brightness, ACSIJ 2015.
    """
    mean = float(np.clip(luma(image).mean(dtype=np.float64), 1e-3, 1 - 1e-3))
    return image ** np.float32(np.log(target) / np.log(mean))


def agcwd(image: np.ndarray, alpha: float) -> np.ndarray:
    """Adaptive gamma correction with weighting distribution on HSV value, 256 levels.

    Huang, Cheng and Chiu, Efficient Contrast Enhancement Using AGCWD, TIP 2013, equations 4–8.
    """
    value = image.max(axis=2)
    level = to_u8(value)
    share = np.bincount(level.ravel(), minlength=256) / level.size
    if share.max() == share.min():
        weighted = share
    else:
        weighted = share.max() * ((share - share.min()) / (share.max() - share.min())) ** alpha
    cumulative = np.cumsum(weighted) / weighted.sum()
    curve = (np.arange(256) / 255) ** (1 - cumulative)
    gain = np.interp(value, np.arange(256) / 255, curve) / np.maximum(value, 1e-6)
    # Black has no hue to keep; with a gain of at most 1/value no channel leaves [0,1].
    return np.where(value[..., None] > 0, image * gain[..., None], 0).astype(np.float32)


def hist_eq(image: np.ndarray) -> np.ndarray:
    """Histogram equalisation of the 8-bit luma, chroma kept. Gonzalez and Woods 3.3.1, by OpenCV."""
    import cv2

    ycrcb = cv2.cvtColor(to_u8(image), cv2.COLOR_RGB2YCrCb)
    ycrcb[..., 0] = cv2.equalizeHist(np.ascontiguousarray(ycrcb[..., 0]))
    return from_u8(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB))


def clahe(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the 8-bit CIELab lightness, by OpenCV.

    Zuiderveld, Graphics Gems IV, 1994. `clip` is OpenCV's clipLimit, `tiles` its grid along each axis.
    """
    import cv2

    lab = cv2.cvtColor(to_u8(image), cv2.COLOR_RGB2LAB)
    equalise = cv2.createCLAHE(clipLimit=clip, tileGridSize=(tiles, tiles))
    lab[..., 0] = equalise.apply(np.ascontiguousarray(lab[..., 0]))
    return from_u8(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))

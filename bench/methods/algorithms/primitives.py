"""What several classical methods are built from: filters, histograms, colour balance. Not methods themselves."""

from __future__ import annotations

import numpy as np


def to_u8(image: np.ndarray) -> np.ndarray:
    """[0,1] → uint8, rounded; for the algorithms that are defined on 8-bit images only."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def from_u8(image: np.ndarray) -> np.ndarray:
    """uint8 → float32 in [0,1]."""
    return image.astype(np.float32) / np.float32(255)


def luma(image: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma of RGB [H,W,3] → [H,W]."""
    return image @ np.array([0.299, 0.587, 0.114], dtype=image.dtype)


def gaussian(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H,W] with mirrored borders, exact for any sigma and any size, in float64.

    A product in the cosine domain, where the cost does not grow with sigma (retinex goes up to 250 pixels).
    """
    from scipy.fft import dctn, idctn

    rows, columns = (np.pi * np.arange(length) / length for length in plane.shape)
    decay = np.exp(-0.5 * sigma**2 * rows[:, None] ** 2) * np.exp(-0.5 * sigma**2 * columns[None, :] ** 2)
    return idctn(dctn(plane.astype(np.float64), norm="ortho") * decay, norm="ortho")


def box_mean(plane: np.ndarray, radius: int) -> np.ndarray:
    """Mean over the (2·radius+1)² window, of the part that lies inside the image; float64."""
    total = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    np.cumsum(np.cumsum(plane, axis=0, dtype=np.float64), axis=1, out=total[1:, 1:])
    (top, bottom), (left, right) = (
        (np.maximum(np.arange(n) - radius, 0), np.minimum(np.arange(n) + radius + 1, n)) for n in plane.shape
    )
    area = (bottom - top)[:, None] * (right - left)[None, :]
    upper, lower = total[top], total[bottom]
    return (lower[:, right] - lower[:, left] - upper[:, right] + upper[:, left]) / area


def guided_filter(guide: np.ndarray, plane: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Edge-preserving smoothing of [H,W] by a gray guide [H,W]. He, Sun and Tang, TPAMI 2013, algorithm 1."""
    guide, plane = guide.astype(np.float64), plane.astype(np.float64)
    mean_guide, mean_plane = box_mean(guide, radius), box_mean(plane, radius)
    variance = box_mean(guide * guide, radius) - mean_guide**2
    slope = (box_mean(guide * plane, radius) - mean_guide * mean_plane) / (variance + epsilon)
    offset = mean_plane - slope * mean_guide
    return box_mean(slope, radius) * guide + box_mean(offset, radius)


def stretch(plane: np.ndarray, low: float, high: float) -> np.ndarray | None:
    """Affine map that saturates a share `low` of the darkest and `high` of the brightest values to 0 and 1.

    Limare et al., Simplest Color Balance, IPOL 2011. None where nothing is left between the two: a flat plane.
    """
    ordered = np.sort(plane, axis=None)
    bottom = ordered[min(int(low * ordered.size), ordered.size - 1)]
    top = ordered[max(ordered.size - 1 - int(high * ordered.size), 0)]
    if not top > bottom:
        return None
    return np.clip((plane - bottom) / (top - bottom), 0, 1)


def per_channel(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """`stretch` on each channel of [H,W,C]; a flat channel stays as it is, cut to [0,1]."""
    planes = [image[..., c] for c in range(image.shape[2])]
    stretched = [stretch(plane, low, high) for plane in planes]
    return np.stack([np.clip(p, 0, 1) if s is None else s for p, s in zip(planes, stretched, strict=True)], axis=-1)

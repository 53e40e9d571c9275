"""MS-SSIM, GMSD, FSIM, VIF and PIQE word for word from their definitions, for tests: slow, plain SciPy, no shortcut.

Gray images are float64 [H,W] in 0..255, colour images [H,W,3].
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from scipy.ndimage import correlate
from scipy.signal import convolve2d

GAUSS = np.exp(-(np.add.outer(np.arange(-5, 6) ** 2, np.arange(-5, 6) ** 2)) / (2 * 1.5**2))
GAUSS /= GAUSS.sum()


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """8-bit [H,W,3] → float64 [1,3,H,W] in [0,1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


def ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """The authors' release: mean filter with mirrored border, then every second sample."""
    result = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        (mx, my), c1, c2 = (convolve2d(one, GAUSS, "valid") for one in (x, y)), 2.55**2, 7.65**2
        vx, vy, vxy = (
            convolve2d(one * other, GAUSS, "valid") - mean * means
            for one, other, mean, means in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
        )
        factor = (2 * vxy + c2) / (vx + vy + c2)
        if scale == 4:
            factor = factor * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        result *= factor.mean() ** weight
        x, y = (
            sum(
                np.pad(one, (0, 1), "symmetric")[i : i + len(one), j : j + one.shape[1]] for i in (0, 1) for j in (0, 1)
            )[::2, ::2]
            / 4
            for one in (x, y)
        )
    return result


def same(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """MATLAB's conv2(…, 'same'): for an even kernel the window begins on the pixel."""
    full = convolve2d(plane, kernel, "full")
    top, left = (math.ceil((size + 1) / 2) - 1 for size in kernel.shape)
    return full[top : top + plane.shape[0], left : left + plane.shape[1]]


def gmsd(x: np.ndarray, y: np.ndarray) -> float:
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    x, y = (same(one, np.full((2, 2), 0.25))[::2, ::2] for one in (x, y))
    gx, gy = (np.sqrt(same(one, prewitt) ** 2 + same(one, prewitt.T) ** 2) for one in (x, y))
    return float(np.std((2 * gx * gy + 170) / (gx**2 + gy**2 + 170), ddof=1))


def phase_congruency(plane: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape

    def axis(size: int) -> np.ndarray:
        return np.arange(-(size - 1) / 2, size / 2) / (size - 1) if size % 2 else np.arange(-size / 2, size / 2) / size

    u, v = np.meshgrid(axis(columns), axis(rows))
    radius, theta = np.fft.ifftshift(np.sqrt(u**2 + v**2)), np.fft.ifftshift(np.arctan2(-v, u))
    low = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    spectrum = np.fft.fft2(plane)
    energy, total = np.zeros(plane.shape), np.zeros(plane.shape)
    for angle in (0, math.pi / 4, math.pi / 2, 3 * math.pi / 4):
        sine = np.sin(theta) * math.cos(angle) - np.cos(theta) * math.sin(angle)
        cosine = np.cos(theta) * math.cos(angle) + np.sin(theta) * math.sin(angle)
        spread = np.exp(-(np.abs(np.arctan2(sine, cosine)) ** 2) / (2 * (math.pi / 4 / 1.2) ** 2))
        filters = []
        for wave in (6, 12, 24, 48):
            gabor = np.exp(-(np.log(radius * wave) ** 2) / (2 * math.log(0.55) ** 2)) * low
            gabor[0, 0] = 0
            filters.append(gabor * spread)
        found = [np.fft.ifft2(spectrum * one) for one in filters]
        even, odd = (sum(part(one) for one in found) for part in (np.real, np.imag))
        length = np.sqrt(even**2 + odd**2) + 1e-4
        even, odd = even / length, odd / length
        here = sum(r.real * even + r.imag * odd - np.abs(r.real * odd - r.imag * even) for r in found)
        noise = -np.median(np.abs(found[0]) ** 2) / math.log(0.5) / np.sum(filters[0] ** 2)
        impulses = [np.real(np.fft.ifft2(one)) * math.sqrt(rows * columns) for one in filters]
        squares = sum(np.sum(one**2) for one in impulses)
        products = sum(np.sum(one * other) for one, other in itertools.combinations(impulses, 2))
        tau = math.sqrt((2 * noise * squares + 4 * noise * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        energy += np.maximum(here - threshold, 0)
        total += sum(np.abs(one) for one in found)
    return energy / total


def fsim(x: np.ndarray, y: np.ndarray, chroma: bool) -> float:
    """Two [H,W,3]. The authors' release, with the real part of complex powers."""
    factor = max(1, math.floor(min(x.shape[:2]) / 256 + 0.5))
    weights = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    mean = np.full((factor, factor), 1 / factor**2)
    small = [[same(plane, mean)[::factor, ::factor] for plane in np.moveaxis(one @ weights.T, 2, 0)] for one in (x, y)]
    scharr = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    pcs = [phase_congruency(one[0]) for one in small]
    gradients = [np.sqrt(same(one[0], scharr) ** 2 + same(one[0], scharr.T) ** 2) for one in small]

    def alike(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
        return (2 * a * b + constant) / (a**2 + b**2 + constant)

    weight = np.maximum(*pcs)
    local = alike(*pcs, 0.85) * alike(*gradients, 160) * weight
    if chroma:
        colour = alike(small[0][1], small[1][1], 200) * alike(small[0][2], small[1][2], 200)
        local = local * np.real(colour.astype(complex) ** 0.03)
    return float(local.sum() / weight.sum())


def vif(x: np.ndarray, y: np.ndarray) -> float:
    """`x` restored, `y` reference, block by block as the release has it. Filters: the published coefficients."""
    from pyiqa.archs.vif_arch import sp5_filters  # takes seconds, which other users of this module need not wait

    filters = sp5_filters()
    low = [correlate(one, filters["lo0filt"], mode="mirror") for one in (x, y)]
    kept = whole = 0.0
    for level in range(4):
        size = 2 ** (4 - level) + 1
        for orientation in (0, 3):
            kernel = filters["bfilts"][:, orientation].reshape(7, 7).T
            rows, columns = (side // 3 * 3 for side in low[0].shape)
            band, reference = (correlate(one, kernel, mode="mirror")[:rows, :columns] for one in low)
            all_blocks = np.array([
                reference[i : i + 3, j : j + 3].ravel() for i in range(rows - 2) for j in range(columns - 2)
            ])  # fmt: skip
            covariance = np.cov(all_blocks.T, bias=True)
            inverse, values = np.linalg.inv(covariance), np.linalg.eigvalsh(covariance)
            edge = math.ceil((size - 1) / 2 / 3)
            half = size // 2
            padded = [np.pad(one, half, mode="reflect") for one in (reference, band)]
            for i in range(edge, rows // 3 - edge):
                for j in range(edge, columns // 3 - edge):
                    block = reference[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].ravel()
                    power = block @ inverse @ block / 9
                    a, b = (one[3 * i + 1 : 3 * i + 1 + size, 3 * j + 1 : 3 * j + 1 + size] for one in padded)
                    cross, xx, yy = (
                        np.sum((one - one.mean()) * (other - other.mean())) for one, other in ((a, b), (a, a), (b, b))
                    )
                    gain = cross / (xx + 1e-15)
                    noise = (yy - gain * cross) / size**2
                    if xx < 1e-15:
                        gain, noise = 0.0, yy
                    if yy < 1e-15:
                        gain, noise = 0.0, 0.0
                    if gain < 0:
                        gain, noise = 0.0, yy
                    noise = max(noise, 1e-15)
                    kept += np.sum(np.log2(1 + gain**2 * power * values / (noise + 0.4)))
                    whole += np.sum(np.log2(1 + power * values / 0.4))
        low = [correlate(one, filters["lofilt"], mode="mirror")[::2, ::2] for one in low]
    return kept / whole


def piqe(gray: np.ndarray) -> float:
    """MATLAB's: whole levels, the border repeated up to whole blocks."""
    offsets = np.arange(-3, 4)
    kernel = np.exp(-(np.add.outer(offsets**2, offsets**2)) / (2 * (7 / 6) ** 2))
    kernel /= kernel.sum()
    plane = np.pad(gray, [(0, -size % 16) for size in gray.shape], mode="edge")
    mean = correlate(plane, kernel, mode="nearest")
    plane = (plane - mean) / (np.sqrt(np.abs(correlate(plane**2, kernel, mode="nearest") - mean**2)) + 1)
    score, active = 0.0, 0
    for top in range(0, plane.shape[0], 16):
        for left in range(0, plane.shape[1], 16):
            block = plane[top : top + 16, left : left + 16]
            variance = np.var(block, ddof=1)
            if variance <= 0.1:
                continue
            active += 1
            edges = (block[0], block[-1], block[:, 0], block[:, -1])
            if any(np.std(edge[k : k + 6], ddof=1) < 0.1 for edge in edges for k in range(11)):
                score += 1 - variance
            rest = np.delete(np.delete(block, 7, axis=1), 8, axis=1)
            ratio = np.std(block[:, 7:9], ddof=1) / np.std(rest, ddof=1)
            sigma = math.sqrt(variance)
            if sigma > 2 * abs(sigma - ratio) / max(sigma, ratio):
                score += variance
    return 100 * (score + 1) / (active + 1)

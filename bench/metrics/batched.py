"""Native metrics of whole batches in torch, for images that lie on a GPU; by their definitions, in float64.

Each function stands beside a metric of the same name that works image by image on the CPU, and gives its values
to 1e-9. The metrics call them for tensors of other devices; nothing here is tuned for a CPU.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.metrics.primitives import nss
from bench.metrics.primitives.matlab import resampling
from bench.metrics.primitives.phase_congruency import filters
from bench.metrics.primitives.steerable import kernels

if TYPE_CHECKING:
    from collections.abc import Sequence


def filtered(planes: Tensor, kernel: Sequence[Sequence[float]] | np.ndarray, border: str, stride: int = 1) -> Tensor:
    """Correlation of [B,1,H,W] with a kernel of odd sides, at the size of the planes; `border` as in `F.pad`."""
    weights = torch.as_tensor(np.array(kernel), dtype=torch.float64, device=planes.device)
    down, across = (size // 2 for size in weights.shape)
    return F.conv2d(F.pad(planes, (across, across, down, down), mode=border), weights[None, None], stride=stride)


def _separable(planes: Tensor, taps: np.ndarray, border: str) -> Tensor:
    return filtered(filtered(planes, taps[None], border), taps[:, None], border)


# GMSD


def gmsd(restored: Tensor, reference: Tensor, *, drop_odd: bool, constant: float) -> Tensor:
    """[B,1,H,W] → [B]."""
    ours, theirs = (_prewitt_energy(one, drop_odd) for one in (restored, reference))
    similarity = (2 * (ours * theirs).sqrt() + constant) / (ours + theirs + constant)
    return similarity.flatten(1).std(dim=1, correction=1)


def _prewitt_energy(planes: Tensor, drop_odd: bool) -> Tensor:
    below, right = (0 if drop_odd else size % 2 for size in planes.shape[-2:])
    half = F.avg_pool2d(F.pad(planes, (0, right, 0, below)), 2)
    across = np.outer(np.full(3, 1 / 3), [1.0, 0.0, -1.0])
    return filtered(half, across, "constant").square() + filtered(half, across.T, "constant").square()


# FSIM


def phase_congruency(planes: Tensor, *, epsilon: float, lower_median: bool) -> Tensor:
    """[B,H,W] → [B,H,W]."""
    bank = filters(*planes.shape[-2:])
    radial, angular = (torch.as_tensor(one, device=planes.device) for one in (bank.radial, bank.angular))
    spectrum = torch.fft.fft2(planes - planes.mean(dim=(1, 2), keepdim=True))
    energy, amplitude = torch.zeros_like(planes), torch.zeros_like(planes)
    for spread, noise in zip(angular, bank.noise, strict=True):
        responses = torch.fft.ifft2(spectrum[:, None] * spread * radial)
        squares = responses.real.square() + responses.imag.square()
        ordered = squares[:, 0].flatten(1).sort(dim=1).values
        count = ordered.shape[1]
        middle = ordered[:, (count - 1) // 2]
        if not lower_median:
            middle = (middle + ordered[:, count // 2]) / 2
        amplitude += squares.sqrt().sum(dim=1)
        mean = responses.sum(dim=1, keepdim=True)
        turned = responses * (mean / (mean.abs() + epsilon)).conj()
        found = turned.real.sum(dim=1) - turned.imag.abs().sum(dim=1) - (noise * middle.sqrt())[:, None, None]
        energy += found.clamp(min=0)
    return torch.where(amplitude > 0, energy / amplitude, 0.0)


def scharr(planes: Tensor) -> Tensor:
    """Magnitude of the gradient of [B,H,W], zeros beyond the border."""
    across = np.outer(np.array([3.0, 10.0, 3.0]) / 16, [1.0, 0.0, -1.0])
    one, other = (filtered(planes[:, None], kernel, "constant")[:, 0] for kernel in (across, across.T))
    return (one.square() + other.square()).sqrt()


# VIF


def subbands(planes: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """[B,1,H,W] → per level, from the finest, the bands across and down, [B,H,W] each."""
    bank = kernels()
    low, found = filtered(planes, bank.first, "reflect"), []
    for level in range(levels):
        if level:
            low = filtered(low, bank.low, "reflect", stride=2)
        found.append((filtered(low, bank.across, "reflect")[:, 0], filtered(low, bank.down, "reflect")[:, 0]))
    return found


def information(band: Tensor, reference: Tensor, window: int, *, noise: float, tol: float) -> tuple[Tensor, Tensor]:
    """Bits [B] about the scene in the restored band and in the reference's [B,H,W], sides multiples of 3."""
    gain, disturbance = _channel(band, reference, window, tol)
    overlapping = reference.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3).flatten(1, 2)  # [B,N,9]
    centred = overlapping - overlapping.mean(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(centred.mT @ centred / centred.shape[1])
    blocks = reference.unfold(1, 3, 3).unfold(2, 3, 3).flatten(3)  # [B,h,w,9]
    scores = blocks.flatten(1, 2) @ vectors
    kept = values > 1e-15 * values[:, -1:]  # directions without variance have no inverse
    inverse = torch.where(kept, 1 / torch.where(kept, values, 1.0), 0.0)
    power = ((scores.square() * inverse[:, None]).sum(dim=2) / 9).reshape(gain.shape)
    edge = -(-(window // 2) // 3)
    gain, disturbance, power = (each[:, edge:-edge, edge:-edge] for each in (gain, disturbance, power))
    signals = gain.square() * power / (disturbance + noise), power / noise
    kept_bits, whole = (
        torch.log2(1 + values[:, None, None] * signal[..., None]).sum(dim=(1, 2, 3)) for signal in signals
    )
    return kept_bits, whole


def _channel(band: Tensor, reference: Tensor, window: int, tol: float) -> tuple[Tensor, Tensor]:
    count, radius = window**2, window // 2

    def summed(planes: Tensor) -> Tensor:
        padded = F.pad(planes[:, None], 4 * (radius,), mode="reflect")[:, :, 1:, 1:]
        return F.avg_pool2d(padded, window, stride=3, divisor_override=1)[:, 0]

    x, y = summed(reference), summed(band)
    covariance = summed(reference * band) - x * y / count
    xx = (summed(reference * reference) - x * x / count).clamp(min=0)
    yy = (summed(band * band) - y * y / count).clamp(min=0)
    gain = covariance / (xx + tol)
    noise = (yy - gain * covariance) / count
    noise = torch.where(xx < tol, yy, noise)
    gain = torch.where(xx < tol, 0.0, gain)
    noise, gain = (torch.where(yy < tol, 0.0, each) for each in (noise, gain))
    noise = torch.where(gain < 0, yy, noise)
    return gain.clamp(min=0), noise.clamp(min=tol)


# PIQE


def piqe_blocks(gray: Tensor, block: int, segment: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Levels [B,H,W] → variances [B,K]: of the block, of its middle, of the surround, the least on an edge."""
    planes = gray[:, None]
    mean, power = (_separable(one, nss.window(), "replicate") for one in (planes, planes * planes))
    normal = ((planes - mean) / ((power - mean * mean).abs().sqrt() + 1))[:, 0]
    blocks = normal.unfold(1, block, block).unfold(2, block, block).flatten(1, 2)  # [B,K,16,16]
    edges = torch.stack([blocks[:, :, 0], blocks[:, :, -1], blocks[:, :, :, 0], blocks[:, :, :, -1]])
    edge = edges.unfold(3, segment, 1).var(dim=4, correction=1).amin(dim=(0, 3))
    surround = [*range(7), 8, *range(10, block)]
    middle, around = (blocks[..., columns].flatten(2).var(dim=2, correction=1) for columns in ([7, 8], surround))
    return blocks.flatten(2).var(dim=2, correction=1), middle, around, edge


# NIQE and BRISQUE


def normalised(gray: Tensor, border: str) -> Tensor:
    """`nss.normalised` of levels [B,H,W]."""
    planes, kind = gray[:, None], {"replicate": "replicate", "zero": "constant"}[border]
    mean, power = (_separable(one, nss.window(), kind)[:, 0] for one in (planes, planes * planes))
    difference, spread = gray - mean, (power - mean * mean).abs().sqrt() + 1
    signs = torch.as_tensor(nss.flat_sign(np.arange(256.0)), device=gray.device)
    flat = signs[gray.round().clamp(0, 255).long()] * nss.FLAT
    return torch.where(difference.abs() < nss.FLAT, flat, difference) / spread


def moments(blocks: Tensor) -> np.ndarray:
    """What `nss.fits_of` takes, of blocks [K,h,w]: [6,5,K]."""
    above = blocks.roll(1, 1)
    neighbours = (blocks.roll(1, 2), above, above.roll(1, 2), above.roll(-1, 2))
    fields = torch.stack([blocks, *(blocks * other for other in neighbours)]).flatten(2)
    sides = fields.clamp(min=0), fields.clamp(max=0)
    rows = [each.sum(dim=2) for each in sides] + [each.square().sum(dim=2) for each in sides]
    rows += [(fields > 0).sum(dim=2), (fields < 0).sum(dim=2)]
    return torch.stack([row.double() for row in rows]).cpu().numpy()


def halved(gray: Tensor) -> Tensor:
    """MATLAB's `imresize(…, 0.5)` of [B,H,W]."""
    rows, columns = (_dense(size, gray.device) for size in gray.shape[-2:])
    return rows @ gray @ columns.mT


@functools.lru_cache(maxsize=8)
def _dense(size: int, device: torch.device) -> Tensor:
    return torch.as_tensor(resampling(size, 0.5).toarray(), device=device)


def fsim(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], *, epsilon: float, original: bool, constants: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Planes Y, or Y, I and Q, [B,H,W] in 0..255 → the weighted sum and the sum of weights, [B] each."""
    luma, gradient, chroma, exponent = constants
    one, other = (phase_congruency(each[0], epsilon=epsilon, lower_median=not original) for each in (ours, theirs))
    weight = torch.maximum(one, other)
    local = weight * _ratio(one, other, luma) * _ratio(scharr(ours[0]), scharr(theirs[0]), gradient)
    if len(ours) > 1:
        colour = _ratio(ours[1], theirs[1], chroma) * _ratio(ours[2], theirs[2], chroma)
        local = local * colour.abs() ** exponent
        if original:  # the real part of a negative number's complex power
            local = torch.where(colour < 0, local * math.cos(exponent * math.pi), local)
    return local.sum(dim=(1, 2)), weight.sum(dim=(1, 2))


def _ratio(ours: Tensor, theirs: Tensor, constant: float) -> Tensor:
    return (2 * ours * theirs + constant) / (ours * ours + theirs * theirs + constant)

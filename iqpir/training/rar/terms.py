"""What RAR's stages make small, and the measures that held-out samples are judged by. Pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from iqpir.rar.assessor import Assessment
from iqpir.training.losses import box_ssim

Losses = dict[str, Tensor]
_PSNR = (8.0, 40.0)
"""dB that count as nothing and as everything."""
APART = 0.02
"""Qualities that differ by less are no pair to be told apart."""


def closeness(images: Tensor, references: Tensor) -> Tensor:
    """How good images are, [B] in [0,1]: the mean of their SSIM and of their PSNR between 8 and 40 dB.

    Both float [B,3,H,W] in [0,1]. Structure alone forgives light and colour, error alone forgives blur.
    """
    structure = torch.stack([box_ssim(a[None], b[None]) for a, b in zip(images, references, strict=True)])
    part = (psnr(images, references) - _PSNR[0]) / (_PSNR[1] - _PSNR[0])
    return (structure.clamp(0, 1) + part.clamp(0, 1)) / 2


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """[B], dB, of [B,3,H,W] in [0,1], clamped; 50 at most, or a few clean inputs outweigh all others in a mean."""
    error = (images.clamp(0, 1) - references).square().mean(dim=(1, 2, 3)).clamp_min(1e-5)
    return -10 * error.log10()


def assessor_terms(
    found: Assessment,
    severity: Tensor,
    quality: Tensor,
    weights: tuple[float, float, float, float],
    apart: float = APART,
) -> Losses:
    """What the assessor has to learn of `[S·B]` latents: S states of each of B images, state by state.

    `severity` [L·B,kinds]: of the first L states, whose labels are known. `quality` [S,B]. `weights`: of kinds,
    severity, quality and rank. `apart`: see `ranking`.
    """
    states, batch = quality.shape
    known = len(severity)
    there = (severity > 0).float()
    kinds = F.binary_cross_entropy_with_logits(found.logits[:known], there)
    clean = F.binary_cross_entropy_with_logits(found.clean[:known], (there.sum(dim=1) == 0).float())
    error = F.smooth_l1_loss(found.severity[:known], severity, reduction="none", beta=0.1)
    how_bad = (error * there).sum() / there.sum().clamp_min(1)
    good = F.smooth_l1_loss(found.quality.view(states, batch), quality, beta=0.1)
    rank = ranking(found.utility.view(states, batch), quality, apart)
    terms = (kinds + clean, how_bad, good, rank)
    total = sum((weight * term for weight, term in zip(weights, terms, strict=True)), torch.zeros_like(kinds))
    return {"kinds": kinds, "clean": clean, "severity": how_bad, "quality": good, "rank": rank, "total": total}


def ranking(utility: Tensor, quality: Tensor, apart: float = APART) -> Tensor:
    """−log σ(u_A − u_B), the mean over all pairs of states [S,B] of one image of which A is better by `apart`."""
    first, second = torch.triu_indices(len(utility), len(utility), 1, device=utility.device)
    margin, gap = utility[first] - utility[second], quality[first] - quality[second]
    counts = (gap.abs() > apart).float()
    return (F.softplus(-margin * gap.sign()) * counts).sum() / counts.sum().clamp_min(1)


def ranked_right(utility: Tensor, quality: Tensor, apart: float = APART) -> float:
    """The share of those pairs that utilities order as qualities do; ½ where there is no pair."""
    first, second = torch.triu_indices(len(utility), len(utility), 1, device=utility.device)
    gap = quality[first] - quality[second]
    pairs = gap.abs() > apart
    right = (utility[first] - utility[second]).sign() == gap.sign()
    return float(right[pairs].float().mean()) if bool(pairs.any()) else 0.5


def average_precision(scores: Tensor, there: Tensor) -> float:
    """Of one ranking of everything in two tensors of equal shape: the mean, over what is there, of the share of what
    is there among all that is ranked at least as high. 0 where nothing is."""
    order = scores.flatten().argsort(descending=True, stable=True)
    hits = there.flatten()[order].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1, device=hits.device)
    return float((precision * hits).sum() / hits.sum().clamp_min(1))


def times(count: int, start: float, like: Tensor) -> Tensor:
    """[B] in [0,1]: 0 for a share `start` of samples, logit-normal(0,1) for the others."""
    drawn = torch.randn(count, device=like.device).sigmoid()
    return torch.where(torch.rand(count, device=like.device) < start, torch.zeros_like(drawn), drawn)


def on_the_way(begin: Tensor, end: Tensor, time: Tensor) -> Tensor:
    """(1 − t)·z₀ + t·z₁, with t [B]."""
    return torch.lerp(begin, end, time[:, None, None, None].to(begin.dtype))

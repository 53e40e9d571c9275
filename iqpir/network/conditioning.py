"""From quality scores to what the network is conditioned on: bins, and the learned map of each bin.

Scores lie in [0,1]: 0 is the worst and 1 the best quality that the network has seen in training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from iqpir.errors import IQPIRError
from iqpir.network.config import SCORE_CHANNELS, IQPIRConfig


def score_bins(score: Tensor, bins: int) -> Tensor:
    """Scores of any shape → int64 bins 0 … bins−1 of the same shape: floor(score · bins), clamped.

    The product is rounded in the scores' own dtype, so that k / bins lies in bin k in every dtype; a score of 1 or
    more is in the last bin, a negative one in the first. Raises `IQPIRError` for NaN.
    """
    if torch.isnan(score).any():
        raise IQPIRError("a score is NaN; scores are numbers in [0,1]")
    return _bins(score, bins)


def _bins(score: Tensor, bins: int) -> Tensor:
    return (score * bins).floor().clamp(0, bins - 1).long()


def batch_scores(score: Tensor | float | Sequence[float], batch: int, device: torch.device) -> Tensor:
    """One score per image, floating, [B] on `device`; a single number stands for every image.

    Raises `IQPIRError` for another shape, or for NaN.
    """
    scores = _tensor(score, device)
    if scores.ndim == 0:
        scores = scores.expand(batch)
    if scores.shape != (batch,):
        raise IQPIRError(f"scores of shape {tuple(scores.shape)} for {batch} images; give one number, or [{batch}]")
    if torch.isnan(scores).any():
        raise IQPIRError("a score is NaN; scores are numbers in [0,1]")
    return scores


def _tensor(score: Tensor | float | Sequence[float], device: torch.device) -> Tensor:
    if not isinstance(score, Tensor):
        try:
            score = torch.tensor(score, dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise IQPIRError(f"scores must be numbers in [0,1], not {type(score).__name__}") from error
    return (score if score.is_floating_point() else score.double()).to(device)


def score_embedding(config: IQPIRConfig) -> nn.Embedding | nn.ModuleList | None:
    """The learned rows, one per bin, each a flattened map [C,h,w] of the latent's size; None without conditioning."""
    area = config.latent_size**2
    match config.conditioning:
        case "none":
            return None
        case "add-list":
            made = nn.ModuleList([nn.Embedding(bins, config.latent_channels * area) for bins in config.bins])
        case "add":
            made = nn.Embedding(config.bins[0], config.latent_channels * area)
        case "adaln":
            return nn.Embedding(config.bins[0], SCORE_CHANNELS * area)  # zero modulation is the layers' business
    if config.score_init == "zero":
        for weight in made.parameters():
            nn.init.zeros_(weight)
    return made


def score_maps(
    embedding: nn.Embedding | nn.ModuleList,
    score: Tensor | float | Sequence[Tensor] | Sequence[float],
    batch: int,
    size: int,
    device: torch.device,
) -> Tensor:
    """The map of each image's bin, [B,C,h,w]; with one embedding per IQA model, the sum of their maps.

    `score` is one number, or [B]; per IQA model it is a sequence of those, or a tensor [models, B]. Raises
    `IQPIRError` for another shape, or for NaN.
    """
    if isinstance(embedding, nn.ModuleList):
        models = len(embedding)
        if not isinstance(score, Tensor | Sequence) or (isinstance(score, Tensor) and score.ndim == 0):
            raise IQPIRError(f"this network takes a list of {models} scores, one per IQA model, not a single one")
        if len(score) != models:
            raise IQPIRError(
                f"{len(score)} scores for {models} IQA models; give one per model, [{models}] or [{models},B]"
            )
        parts = [score_maps(each, value, batch, size, device) for each, value in zip(embedding, score, strict=True)]
        return torch.stack(parts).sum(dim=0)
    rows = embedding(_bins(batch_scores(score, batch, device), embedding.num_embeddings))
    return rows.view(batch, -1, size, size)


def to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps learned per position of the training images' latent, [B,C,h,w], for a latent of another `grid`.

    Stretched bilinearly over the whole latent (corners not aligned, no antialiasing), in at least float32; the
    training grid itself gets the very tensor. Linear in the maps: each new position has a weighted mean of four.
    """
    if tuple(maps.shape[-2:]) == grid:
        return maps
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return interpolate(wide, grid, mode="bilinear", align_corners=False).to(maps.dtype)


def positions_to_grid(positions: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """What belongs to the positions of a square grid, row by row, [size²,width] → [h·w,width], by `to_grid`."""
    if grid == (size, size):
        return positions
    maps = positions.unflatten(0, (size, size)).permute(2, 0, 1)
    return to_grid(maps[None], grid)[0].flatten(1).T.contiguous()


LEAST_GRID = 2
"""Positions of a latent along each side that the network can do with: statistics of one position have no variance."""


def grid_of(image: Tensor, config: IQPIRConfig, any_size: bool) -> tuple[int, int]:
    """Height and width of the latent of images [B,3,H,W]. Raises `IQPIRError` for what the network cannot take."""
    side, step = config.image_size, config.downsampling
    if image.ndim == 4 and image.shape[1:] == (3, side, side):
        return config.latent_size, config.latent_size
    shape = tuple(image.shape)
    if not any_size:
        raise IQPIRError(f"images of shape {shape}; this network takes [B,3,{side},{side}]: resize or tile them")
    if image.ndim != 4 or shape[1] != 3 or any(each % step or each < LEAST_GRID * step for each in shape[2:]):
        raise IQPIRError(
            f"images of shape {shape}; this network takes [B,3,H,W], sides multiples of {step} from "
            f"{LEAST_GRID * step} on: pad them"
        )
    return shape[2] // step, shape[3] // step

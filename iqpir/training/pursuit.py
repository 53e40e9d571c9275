"""Climbing a quality prior image by image, in the generator's continuous latent space or among its codes.

IQPIR (Fig. 7) and IQPFR (Table 5) say that what climbs freely ends in images which only the prior likes, and that the
finite set of codes prevents it. Here both climb the same prior from the same prediction, with the network fixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from iqpir.network.model import IQPIR, Score
from iqpir.training.losses import Quality

Space = Literal["continuous", "discrete"]
SPACES: tuple[Space, ...] = ("continuous", "discrete")


class AscentStep(NamedTuple):
    """Where an ascent stands."""

    step: int
    """Gradient steps done; 0: the prediction itself."""
    images: Tensor
    """float32 [B,3,H,W] in [0,1], clamped."""
    quality: Tensor
    """[B]: the prior's verdict on them."""
    moved: Tensor
    """[B]: share of positions that have another code than the prediction's; of a continuous latent, the distance from
    the predicted one relative to that one's norm."""


def pursue(
    network: IQPIR,
    images: Tensor,
    score: Score | None,
    quality: Quality,
    *,
    space: Space,
    rate: float,
    steps: Sequence[int],
) -> Iterator[AscentStep]:
    """Let Adam maximise the prior from a prediction on, and tell of the steps asked for (ascending, 0 allowed).

    `images`: [B,3,H,W] in [-1,1], H and W multiples of the network's side: their squares are coded one by one and
    judged as one image. `rate`: Adam's, in standard deviations of the predicted latents for a continuous space, and of
    the predicted logits for a discrete one. A discrete image is always that of whole codes; its gradient is that of the
    softmax-weighted mean of all codes, `IQPIR.relax`.
    """
    side = network.config.image_size
    squares = split(images, side)
    with torch.no_grad():
        logits, _ = network.read(network.encoder(squares), _each(score, len(squares) // len(images)))
        codes = network.best_codes(logits)
        latent = network.dequantize(codes)
    start = logits if space == "discrete" else latent
    usable = start[torch.isfinite(start)]
    unit = float(usable.std())
    # Logits of −∞ stand for codes beyond the end of the smaller book: they stay what they are.
    variable = torch.nan_to_num(start, neginf=float(usable.min()) - 20 * unit).clone().requires_grad_(True)
    optimiser = torch.optim.Adam([variable], lr=rate * unit)
    for step in range(max(steps) + 1):
        with torch.set_grad_enabled(step < max(steps)):
            there = network.relax(variable) if space == "discrete" else variable
            made = join(((network.generator(there) + 1) / 2).clamp(0, 1), images)
            found = quality(made)
        if step in steps:
            yield AscentStep(
                step, made.detach(), found.detach(), _moved(network, space, variable.detach(), codes, latent)
            )
        if step < max(steps):
            optimiser.zero_grad()
            # The sum: an image's path does not depend on the others of its batch.
            (-found.sum()).backward()
            optimiser.step()


def split(images: Tensor, side: int) -> Tensor:
    """[B,C,H,W] → [B·n,C,side,side], row by row."""
    batch, channels, height, width = images.shape
    parts = images.reshape(batch, channels, height // side, side, width // side, side)
    return parts.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)


def join(squares: Tensor, like: Tensor) -> Tensor:
    """What `split` took apart, with the height and width of `like`."""
    batch, _, height, width = like.shape
    side = squares.shape[2]
    parts = squares.reshape(batch, height // side, width // side, squares.shape[1], side, side)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(batch, squares.shape[1], height, width)


def _each(score: Score | None, times: int) -> Score | None:
    return score.repeat_interleave(times) if isinstance(score, Tensor) and score.ndim else score


def _moved(network: IQPIR, space: Space, variable: Tensor, codes: Tensor, latent: Tensor) -> Tensor:
    if space == "discrete":
        return (network.best_codes(variable) != codes).float().flatten(1).mean(dim=1)
    return (variable - latent).flatten(1).norm(dim=1) / latent.flatten(1).norm(dim=1)

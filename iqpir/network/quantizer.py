"""Codebooks, and how the latents that two of them quantise become one.

Both codebooks quantise the same latent: the HQ+ code is not a residual, though IQPFR's text calls it one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from iqpir.network.blocks import attend, group_norm


class Quantized(NamedTuple):
    """What a codebook makes of a latent [B,C,h,w]."""

    latent: Tensor
    """[B,C,h,w]: the nearest codes; its gradient goes to the unquantised latent (straight-through)."""
    loss: Tensor
    """[B]: the codebook loss of each image."""
    codes: Tensor
    """int64 [B,h,w]."""
    perplexity: Tensor
    """Scalar: exp of the entropy of the codes in this batch; 1 … size of the codebook."""
    distance: Tensor
    """Scalar: mean squared distance from latents to all codes."""


class VectorQuantizer(nn.Module):
    """A codebook of `size` codes with `channels` numbers each, uniform in ±1/size at first.

    The loss is ‖sg(z) − q‖² + β·‖z − sg(q)‖² with β on the commitment term (VQ-VAE, and Eq. 6 of the paper), or with β
    on the codebook's term, as the authors' code has it. The two have one value and different gradients.
    """

    def __init__(self, size: int, channels: int, beta: float, beta_on: Literal["commitment", "codebook"]) -> None:
        super().__init__()
        self.beta = beta
        self.beta_on = beta_on
        self.embedding = nn.Embedding(size, channels)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    def distances(self, latent: Tensor) -> Tensor:
        """[B,C,h,w] → [B,h,w,size], squared and Euclidean, in at least float32, under autocast too."""
        wide = torch.promote_types(latent.dtype, torch.float32)
        with torch.autocast(latent.device.type, enabled=False):
            points, codes = latent.permute(0, 2, 3, 1).to(wide), self.embedding.weight.to(wide)
            squares = points.square().sum(dim=3, keepdim=True) + codes.square().sum(dim=1)
            return squares - 2 * points @ codes.T

    def nearest(self, latent: Tensor) -> Tensor:
        """[B,C,h,w] → int64 [B,h,w]."""
        return self.distances(latent).argmin(dim=3)

    def lookup(self, codes: Tensor) -> Tensor:
        """Integers [B,h,w] → [B,C,h,w]."""
        return self.embedding(codes).permute(0, 3, 1, 2).contiguous()

    def forward(self, latent: Tensor) -> Quantized:
        latent = latent.to(torch.promote_types(latent.dtype, torch.float32))
        with torch.no_grad():
            distances = self.distances(latent)
            codes = distances.argmin(dim=3)
            shares = torch.bincount(codes.flatten(), minlength=len(self.embedding.weight)).to(distances) / codes.numel()
            perplexity = torch.exp(-(shares * torch.log(shares + 1e-10)).sum())
        chosen = self.lookup(codes)
        through = latent + (chosen - latent).detach()
        return Quantized(through, self.loss(latent, chosen), codes, perplexity, distances.mean())

    def loss(self, latent: Tensor, chosen: Tensor) -> Tensor:
        """[B,C,h,w], the encoder's and what stands for it → [B]."""
        codebook = (latent.detach() - chosen).square().mean(dim=(1, 2, 3))
        commitment = (latent - chosen.detach()).square().mean(dim=(1, 2, 3))
        whole, weighted = (codebook, commitment) if self.beta_on == "commitment" else (commitment, codebook)
        return whole + self.beta * weighted


class AttentionFusion(nn.Module):
    """Common and HQ+ latents [B,C,h,w] → one: 8-head attention, queries from the common one (IQPFR, Eq. 17–20).

    Keys and values come from the HQ+ latent where `use_hq` [B] says so, and elsewhere from the common one. With
    `switch` "batch" the choice is made for the whole batch, as the authors' code does: an image without HQ+ codes
    then attends to zeros wherever another image of its batch has some.
    """

    HEADS = 8

    def __init__(self, channels: int, groups: int, switch: Literal["sample", "batch"]) -> None:
        super().__init__()
        self.switch = switch
        self.norm1 = group_norm(channels, groups)
        self.norm2 = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, common: Tensor, hq: Tensor, use_hq: Tensor) -> Tensor:
        query = self.norm1(common)
        each = use_hq.view(-1, 1, 1, 1)
        if self.switch == "sample":
            context = torch.where(each, self.norm2(hq), query)
        else:
            context = torch.where(use_hq.any(), self.norm2(hq * each), query)
        return common + self.proj_out(attend(self.q(query), self.k(context), self.v(context), self.HEADS))

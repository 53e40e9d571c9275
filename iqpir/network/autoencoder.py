"""The autoencoder of stage 1: encoder, one or two codebooks, generator.

The restorer inherits it, so that the state dicts of both use the same names, which are the authors'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from iqpir.errors import IQPIRError
from iqpir.network.blocks import AttnBlock, Downsample, ResBlock, Shuffle, Unshuffle, Upsample, conv3, group_norm
from iqpir.network.conditioning import batch_scores
from iqpir.network.config import AutoEncoderConfig
from iqpir.network.quantizer import AttentionFusion, Quantized, VectorQuantizer

INPUT = -1
"""In place of a block's index: the image itself, of which the fidelity block of the largest size takes the pixels."""


class Encoder(nn.Module):
    """[B,3,H,W] in [-1,1] → latent [B,C,h,w]. No activation lies between the last norm and the last convolution."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        channels, groups = config.channels, config.groups
        blocks: list[nn.Module] = [Unshuffle(channels, config.stem)]
        self.taps: dict[int, int] = {}
        """Side of a training image's feature map → index of the block whose output the fidelity blocks take."""
        if config.stem > 1:
            self.taps[config.image_size] = INPUT
        for size in config.sizes:
            if size != config.sizes[0]:
                blocks.append(Downsample(channels))
            for _ in range(config.blocks):
                blocks.append(ResBlock(channels, config.channels_at(size), groups))
                channels = config.channels_at(size)
                self.taps[size] = len(blocks) - 1
                if size in config.attention_sizes:
                    blocks.append(AttnBlock(channels, groups))
        blocks += [
            ResBlock(channels, channels, groups),
            AttnBlock(channels, groups),
            ResBlock(channels, channels, groups),
        ]
        blocks += [group_norm(channels, groups), conv3(channels, config.latent_channels)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Tensor) -> Tensor:
        return self.features(image, ())[0]

    def features(self, image: Tensor, sizes: Collection[int]) -> tuple[Tensor, dict[int, Tensor]]:
        """The latent, and the feature maps of `sizes` (sides for a training image)."""
        wanted = {self.taps[size]: size for size in sizes}
        kept = {wanted[INPUT]: image} if INPUT in wanted else {}
        for index, block in enumerate(self.blocks):
            image = block(image)
            if index in wanted:
                kept[wanted[index]] = image
        return image, kept


class Generator(nn.Module):
    """Latent [B,C,h,w] → [B,3,H,W], about [-1,1] but not bounded."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        groups, smallest = config.groups, config.sizes[-1]
        channels = config.channels_at(smallest)
        blocks: list[nn.Module] = [conv3(config.latent_channels, channels)]
        blocks += [
            ResBlock(channels, channels, groups),
            AttnBlock(channels, groups),
            ResBlock(channels, channels, groups),
        ]
        self.joints: dict[int, int] = {}
        """Side of a training image's feature map → index of the block after which its fidelity block comes."""
        for size in reversed(config.sizes):
            if size != smallest:
                blocks.append(Upsample(channels))
            for _ in range(config.blocks):
                blocks.append(ResBlock(channels, config.channels_at(size), groups))
                channels = config.channels_at(size)
                # After the first residual block of a level; of the smallest level, after its last.
                if size == smallest or size not in self.joints:
                    self.joints[size] = len(blocks) - 1
                if size in config.attention_sizes:
                    blocks.append(AttnBlock(channels, groups))
        blocks += [group_norm(channels, groups), Shuffle(channels, config.stem)]
        if config.stem > 1:
            self.joints[config.image_size] = len(blocks) - 1
        self.blocks = nn.ModuleList(blocks)

    def forward(self, latent: Tensor) -> Tensor:
        for block in self.blocks:
            latent = block(latent)
        return latent


class Reconstruction(NamedTuple):
    """What stage 1 makes of an image, and what it is trained on."""

    image: Tensor
    """[B,3,H,W]."""
    latent: Tensor
    """[B,C,h,w], before quantisation."""
    common: Quantized
    hq: Quantized | None
    """None without an HQ+ codebook. Its loss is 0 for images that do not use it, and for all where one loss serves both
    codebooks (`vq_on`: it is `common`'s then); codes are given for all."""
    uses_hq: Tensor | None
    """bool [B]."""


class VQAutoEncoder(nn.Module):
    """Encoder, codebooks and generator; images [B,3,H,W] in [-1,1], sides multiples of `config.downsampling`."""

    def __init__(self, config: AutoEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.alpha = config.alpha
        self.encoder = Encoder(config)
        self.quantize = VectorQuantizer(config.codebook, config.latent_channels, config.beta, config.beta_on)
        if config.dual:
            self.quantize_aesthetic = VectorQuantizer(
                config.hq_codebook, config.latent_channels, config.beta, config.beta_on
            )
            if config.fusion == "attention":
                self.attention = AttentionFusion(config.latent_channels, config.groups, config.fusion_switch)
        self.generator = Generator(config)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], alpha: float | None = None) -> VQAutoEncoder:
        """From the tensors alone, named as the authors name them; see `iqpir.checkpoint`."""
        from iqpir.checkpoint import autoencoder_from_state

        return autoencoder_from_state(state, alpha=alpha)

    @classmethod
    def from_checkpoint(cls, path: str | PathLike[str], alpha: float | None = None) -> VQAutoEncoder:
        """From a file, the authors' or ours; see `iqpir.checkpoint`."""
        from iqpir.checkpoint import load_autoencoder

        return load_autoencoder(path, alpha=alpha)

    def fuse(self, common: Tensor, hq: Tensor, uses_hq: Tensor | None = None) -> Tensor:
        """Two quantised latents [B,C,h,w] → one: common + α·HQ+ (Eq. 1), or attention.

        `uses_hq`, bool [B], leaves the HQ+ latent out of some images; None: it is used for all.
        """
        if self.config.fusion == "attention":
            if uses_hq is None:
                uses_hq = torch.ones(len(common), dtype=torch.bool, device=common.device)
            return self.attention(common, hq, uses_hq)
        if uses_hq is not None:
            hq = hq * uses_hq.view(-1, 1, 1, 1)
        return common + self.alpha * hq

    def hq_input(self, latent: Tensor, common: Tensor) -> Tensor:
        """What the HQ+ codebook quantises, of the latent and its common codes' latent, [B,C,h,w] each."""
        return latent if self.config.hq_of == "latent" else latent - common.detach()

    def reconstruct(
        self,
        image: Tensor,
        score: Tensor | float | Sequence[float] | None = None,
        hq: Literal["score", "always"] = "score",
    ) -> Reconstruction:
        """Encode, quantise, decode: stage 1.

        The HQ+ codebook takes part where the score, one number or [B], is strictly greater than the threshold, or
        `hq="always"`. Raises `IQPIRError` for a missing score, or an image that the network cannot take.
        """
        factor = self.config.downsampling
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % factor or image.shape[3] % factor:
            raise IQPIRError(
                f"images of shape {tuple(image.shape)}; give [B,3,H,W] with sides that are multiples of {factor}"
            )
        if hq not in ("score", "always"):
            raise IQPIRError(f"hq is {hq!r}, not 'score' or 'always'")
        latent = self.encoder(image)
        common = self.quantize(latent)
        if not self.config.dual:
            return Reconstruction(self.generator(common.latent), latent, common, None, None)
        if hq == "always":
            uses_hq = torch.ones(len(image), dtype=torch.bool, device=image.device)
        elif score is None:
            raise IQPIRError("an autoencoder with two codebooks needs scores, or hq='always'")
        else:
            uses_hq = batch_scores(score, len(image), image.device) > self.config.threshold
        quantized = self.quantize_aesthetic(self.hq_input(latent, common.latent))
        if self.config.vq_on == "sum":
            both = (self.quantize.lookup(common.codes), self.quantize_aesthetic.lookup(quantized.codes))
            common = common._replace(loss=self.quantize.loss(latent, self.fuse(*both, uses_hq)))
            quantized = quantized._replace(loss=torch.zeros_like(quantized.loss))
        else:
            quantized = quantized._replace(loss=quantized.loss * uses_hq)
        restored = self.generator(self.fuse(common.latent, quantized.latent, uses_hq))
        return Reconstruction(restored, latent, common, quantized, uses_hq)

    def forward(
        self,
        image: Tensor,
        score: Tensor | float | Sequence[float] | None = None,
        hq: Literal["score", "always"] = "score",
    ) -> Reconstruction:
        """`reconstruct`, for wrappers that call modules."""
        return self.reconstruct(image, score, hq)

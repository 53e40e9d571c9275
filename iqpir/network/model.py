"""IQPIR: predicts the codes of a high-quality image from a degraded one and the quality that is asked for.

Encode, add the score, predict codes by a transformer, look them up in one or two codebooks, generate. The steps are
methods of their own, so that training and faster engines can take them apart. Quality assessment is not here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from iqpir.errors import FidelityWarning, IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.conditioning import grid_of, positions_to_grid, score_embedding, score_maps, to_grid
from iqpir.network.config import IQPIRConfig
from iqpir.network.fidelity import fidelity_block, match_statistics
from iqpir.network.quantizer import VectorQuantizer
from iqpir.network.transformer import TransformerLayer

if TYPE_CHECKING:
    from iqpir.network.fast.optimized import OptimizedIQPIR

Score: TypeAlias = Tensor | float | Sequence[Tensor] | Sequence[float]

STAGE_1 = ("encoder", "quantize", "quantize_aesthetic", "attention", "generator")
"""The parts that a restorer has from its autoencoder."""


class Restoration(NamedTuple):
    image: Tensor
    """[B,3,H,W], about [-1,1] but not clamped."""
    logits: Tensor
    """[B,h·w,codes], or [B,h·w,codes,2] with two codebooks: the HQ+ codebook is 0, the common one 1."""
    features: Tensor
    """[B,C,h,w]: the latent that the codes were predicted from, with the score's map added under `add`."""


class Prediction(NamedTuple):
    logits: Tensor
    features: Tensor
    skips: dict[int, Tensor]
    """Encoder features for the fidelity blocks, by the side of the feature map; empty if they were not asked for."""


class IQPIR(VQAutoEncoder):
    """Images [B,3,S,S] in [-1,1] with S = `config.image_size` → restored images of the same shape.

    Other sizes are refused, as position embedding and score maps are learned per position: resize or tile them, or say
    `any_size`. Then both are stretched over the latent that the image has, and everything else goes through at the
    image's own size, as in any convolutional network; how well a network does there is not known from its training.
    """

    config: IQPIRConfig
    for_photographs = False
    """Whether it takes images in [0,1] of any size and sets their light, as `iqpir.network.photo` does."""

    def __init__(self, config: IQPIRConfig | None = None, *, fidelity_trained: bool = False) -> None:
        config = config or IQPIRConfig()
        super().__init__(config)
        self.fidelity_trained = fidelity_trained
        """Whether the fidelity blocks were trained: CodeFormer's were, those in IQPIR's stage-2 files were not."""
        self._warned = False
        self.position_emb = nn.Parameter(torch.zeros(config.latent_size**2, config.width))
        self.feat_emb = nn.Linear(config.latent_channels, config.width)
        embedding = score_embedding(config)
        if embedding is not None:
            self.score_embed = embedding
        self.ft_layers = nn.ModuleList([TransformerLayer(config) for _ in range(config.layers)])
        # With two codebooks the rows alternate: row 2n is the HQ+ book's code n, row 2n+1 the common book's.
        rows = 2 * max(config.codebook, config.hq_codebook) if config.dual else config.codebook
        self.idx_pred_layer = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, rows, bias=False))
        self.fuse_convs_dict = nn.ModuleDict({str(size): fidelity_block(config, size) for size in config.connect})

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        alpha: float | None = None,
        *,
        config: IQPIRConfig | None = None,
        fidelity_trained: bool = False,
    ) -> IQPIR:
        """A float32 network on the CPU that fits these tensors, with copies of them; see `iqpir.checkpoint`."""
        from iqpir.checkpoint import restorer_from_state

        return restorer_from_state(state, alpha=alpha, config=config, fidelity_trained=fidelity_trained)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | PathLike[str],
        alpha: float | None = None,
        *,
        config: IQPIRConfig | None = None,
        fidelity_trained: bool = False,
    ) -> IQPIR:
        """From a file, the authors' or ours; see `iqpir.checkpoint`."""
        from iqpir.checkpoint import load_restorer

        return load_restorer(path, alpha=alpha, config=config, fidelity_trained=fidelity_trained)

    def adopt(self, autoencoder: VQAutoEncoder) -> None:
        """Copy encoder, codebooks and generator of stage 1; raises `IQPIRError` where they do not fit, or some lack."""
        from iqpir.checkpoint import check_fit

        own = self.state_dict()
        part = {name: own[name] for name in own if name.split(".")[0] in STAGE_1}
        given = autoencoder.state_dict()
        check_fit(part, given, "this autoencoder does not fit this restorer")
        self.load_state_dict(given, strict=False)

    def optimize(
        self, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu", *, compiled: bool = False
    ) -> OptimizedIQPIR:
        """A plan for fast inference with copies of the weights as they are now; see `iqpir.network.fast.optimized`."""
        from iqpir.network.fast.optimized import OptimizedIQPIR

        return OptimizedIQPIR(self, dtype, device, compiled)

    def forward(  # type: ignore[override]  # a restorer is an autoencoder by its tensors, not by its use
        self,
        image: Tensor,
        score: Score | None = None,
        fidelity: float = 0.0,
        adain: bool = True,
        *,
        codes: Tensor | None = None,
        detach_16: bool = True,
        detach_skips: bool = True,
        any_size: bool = False,
    ) -> Restoration:
        """Restore.

        `score`: the quality asked for, in [0,1], one number or [B]; per IQA model a list of those or [models,B].
        `fidelity`: ≥ 0, how far the generator is bent towards the input's features (CodeFormer's w).
        `adain`: give the looked-up latent the input's statistics; the authors do when they restore, not in training.
        `codes`: integers to decode in place of the predicted ones, [B,h·w] or [B,h·w,2], ordered as the logits.
        `detach_16`: no gradient passes the codes; else it goes straight through to the features.
        `detach_skips`: no gradient passes from the fidelity blocks to the encoder.
        `any_size`: take [B,3,H,W] whose sides are multiples of `config.downsampling`, twice that or more.

        Raises `IQPIRError` for another size, a missing, misshapen or NaN score, codes that do not exist.
        """
        predicted = self.predict(image, score, with_skips=fidelity > 0, any_size=any_size)
        if codes is None:
            codes = self.best_codes(predicted.logits)
        else:
            self._check_codes(codes, predicted.logits.shape)
        restored = self.decode(
            codes, predicted.features, fidelity=fidelity, skips=predicted.skips, adain=adain, detach_16=detach_16,
            detach_skips=detach_skips,
        )  # fmt: skip
        return Restoration(restored, predicted.logits, predicted.features)

    def predict(
        self, image: Tensor, score: Score | None = None, with_skips: bool = False, *, any_size: bool = False
    ) -> Prediction:
        """The logits alone, without decoding: what stage 2 trains most of the time."""
        grid_of(image, self.config, any_size)
        latent, skips = self.encoder.features(image, self.config.connect if with_skips else ())
        return Prediction(*self.read(latent, score), skips)

    def read(self, latent: Tensor, score: Score | None = None) -> tuple[Tensor, Tensor]:
        """The encoder's latent [B,C,h,w] → logits and features, as in `Prediction`."""
        features, score_map = self.condition(latent, score)
        tokens = self.feat_emb(features.flatten(2).transpose(1, 2))
        position = positions_to_grid(self.position_emb, self.config.latent_size, _grid(features))
        for layer in self.ft_layers:
            tokens = layer(tokens, position, score_map)
        return self._by_book(self.idx_pred_layer(tokens)), features

    def condition(self, latent: Tensor, score: Score | None) -> tuple[Tensor, Tensor | None]:
        """[B,C,h,w] → the features that codes are predicted from, and under adaLN the score's map [B,32,h,w]."""
        if self.config.conditioning == "none":
            return latent, None
        if score is None:
            raise IQPIRError("this network is conditioned on quality: give a score in [0,1], such as 0.9")
        maps = score_maps(self.score_embed, score, len(latent), self.config.latent_size, latent.device)
        maps = to_grid(maps, _grid(latent))
        return (latent, maps) if self.config.conditioning == "adaln" else (latent + maps, None)

    def _by_book(self, logits: Tensor) -> Tensor:
        """[B,N,rows] → [B,N,codes,2] with two codebooks; rows beyond the smaller book's end are −∞."""
        config = self.config
        if not config.dual:
            return logits
        logits = logits.unflatten(2, (-1, 2))
        if config.codebook == config.hq_codebook:
            return logits
        sizes = torch.tensor([config.hq_codebook, config.codebook], device=logits.device)
        beyond = torch.arange(logits.shape[2], device=logits.device)[:, None] >= sizes
        return logits.masked_fill(beyond, -torch.inf)

    @staticmethod
    def best_codes(logits: Tensor) -> Tensor:
        """Logits → int64 [B,h·w], or [B,h·w,2]."""
        return logits.argmax(dim=2)

    def dequantize(self, codes: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Integers [B,h·w], or [B,h·w,2], → the latent that they stand for, [B,C,h,w].

        `grid`: h and w; None: those of a training image. It is the same in `relax`.
        """
        placed = codes.unflatten(1, grid or self._square)
        if not self.config.dual:
            return self.quantize.lookup(placed)
        return self.fuse(self.quantize.lookup(placed[..., 1]), self.quantize_aesthetic.lookup(placed[..., 0]))

    @property
    def _square(self) -> tuple[int, int]:
        return self.config.latent_size, self.config.latent_size

    def relax(
        self, logits: Tensor, temperature: float = 1.0, gumbel: bool = False, grid: tuple[int, int] | None = None
    ) -> Tensor:
        """Logits → the latent of the best codes, whose gradient is that of the softmax-weighted mean of all codes.

        So a loss on the image trains the transformer, which looked-up codes cut off. With `gumbel` noise is added
        first, and the codes are samples of the softmax. The codebooks themselves get no gradient.
        """
        if gumbel:
            logits = logits - torch.empty_like(logits).exponential_().log()
        grid = grid or self._square
        hard = self.dequantize(self.best_codes(logits), grid)
        shares = torch.softmax(logits / temperature, dim=2)
        if not self.config.dual:
            soft = self._mean_code(shares, self.quantize, grid)
        else:
            hq, common = shares.unbind(dim=3)
            soft = self.fuse(
                self._mean_code(common, self.quantize, grid), self._mean_code(hq, self.quantize_aesthetic, grid)
            )
        return soft + (hard - soft).detach()

    @staticmethod
    def _mean_code(shares: Tensor, book: VectorQuantizer, grid: tuple[int, int]) -> Tensor:
        codes = book.embedding.weight.detach()
        means = shares[..., : len(codes)] @ codes
        return means.transpose(1, 2).unflatten(2, grid)

    def decode(
        self,
        codes: Tensor,
        features: Tensor,
        *,
        fidelity: float = 0.0,
        skips: Mapping[int, Tensor] | None = None,
        adain: bool = True,
        detach_16: bool = True,
        detach_skips: bool = True,
    ) -> Tensor:
        """Codes and the features of the input → images. `skips` as `predict` gives them; needed if `fidelity` > 0."""
        latent = self.dequantize(codes, _grid(features))
        latent = latent.detach() if detach_16 else features + (latent - features).detach()
        latent = match_statistics(latent, features) if adain else latent
        return self.generate(latent, fidelity, skips, detach_skips=detach_skips)

    def generate(
        self,
        latent: Tensor,
        fidelity: float = 0.0,
        skips: Mapping[int, Tensor] | None = None,
        *,
        detach_skips: bool = True,
    ) -> Tensor:
        """A latent [B,C,h,w] → images [B,3,H,W], bent towards the encoder's features if `fidelity` > 0.

        `detach_skips`: the fidelity blocks teach the encoder nothing, as in the authors' code.
        """
        if not fidelity >= 0:
            raise IQPIRError(f"fidelity is {fidelity}; it must be 0 or more")
        if fidelity == 0:
            return self.generator(latent)
        if skips is None or set(skips) != set(self.config.connect):
            raise IQPIRError("fidelity > 0 needs the encoder's features: predict(…, with_skips=True)")
        self._warn_of_fidelity()
        joints = {self.generator.joints[size]: size for size in self.config.connect}
        for index, block in enumerate(self.generator.blocks):
            latent = block(latent)
            if index in joints:
                size = joints[index]
                skip = skips[size].detach() if detach_skips else skips[size]
                latent = self.fuse_convs_dict[str(size)](skip, latent, fidelity)
        return latent

    def _warn_of_fidelity(self) -> None:
        if not self.fidelity_trained and not self.training and not self._warned:
            self._warned = True
            message = (
                "fidelity > 0 is meaningless with untrained fidelity weights, and these are not known to be trained"
            )
            warnings.warn(message, FidelityWarning, stacklevel=4)

    def _check_codes(self, codes: Tensor, logits: torch.Size) -> None:
        expected = (*logits[:2], *logits[3:])
        if codes.shape != expected or codes.is_floating_point():
            raise IQPIRError(
                f"codes of shape {tuple(codes.shape)} and {codes.dtype}; give integers of shape {expected}"
            )
        config = self.config
        sizes = torch.tensor(
            [config.hq_codebook, config.codebook] if config.dual else config.codebook, device=codes.device
        )
        if ((codes < 0) | (codes >= sizes)).any():
            raise IQPIRError(f"codes must lie in 0 … {sizes.tolist()} (excluded)")


def _grid(latent: Tensor) -> tuple[int, int]:
    return latent.shape[-2], latent.shape[-1]

"""What a network is made of: frozen settings, checked when they are made, and the published settings by name.

Nothing here needs torch, so a command can list presets and check a file's settings before anything heavy is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from iqpir.errors import IQPIRError

Fusion = Literal["add", "attention"]
Conditioning = Literal["none", "add", "add-list", "adaln"]

SCORE_CHANNELS = 32
"""Channels of the score's map under adaLN."""


@dataclass(frozen=True)
class AutoEncoderConfig:
    """The autoencoder of stage 1. The defaults are the published face model with both codebooks."""

    image_size: int = 512
    """Side of the square training images, in pixels."""
    stem: int = 1
    """Side of the blocks of pixels that become channels before the first convolution and pixels again after the last;
    1: none. No published network has it: it makes small networks quick, as no map is kept at full resolution."""
    channels: int = 64
    """Channels of the largest feature maps."""
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 4, 8)
    """Channels per level, as multiples of `channels`; each further level halves the side."""
    blocks: int = 2
    """Residual blocks per level."""
    attention_sizes: tuple[int, ...] = (16,)
    """Sides of the feature maps that get self-attention."""
    groups: int = 32
    """Groups of every GroupNorm."""
    latent_channels: int = 256
    """Channels of the latent, and the length of a code."""
    codebook: int = 1024
    """Codes in the common codebook."""
    hq_codebook: int = 1024
    """Codes in the HQ+ codebook; 0: there is none."""
    alpha: float = 0.8
    """Weight of the HQ+ code in the sum. The authors' models were trained with 0.8, the papers say 1.0."""
    fusion: Fusion = "add"
    """How the two quantised latents become one: their weighted sum, or cross-attention (IQPFR, Eq. 17–20)."""
    fusion_switch: Literal["sample", "batch"] = "sample"
    """Attention fusion falls back to self-attention per sample, as printed, or per batch, as in the authors' code."""
    threshold: float = 0.9
    """Stage 1 uses the HQ+ codebook for images whose score is strictly greater."""
    beta: float = 0.25
    """Weight of one of the two terms of the codebook loss."""
    beta_on: Literal["commitment", "codebook"] = "commitment"
    """Which term: the commitment, as printed (and in VQ-VAE), or the codebook's, as the authors' code has it."""
    vq_on: Literal["books", "sum"] = "books"
    """Each codebook has a loss of its own (the authors' code), or one loss draws their fused latent and the encoder's
    to each other (Eq. 6 as printed), which makes the HQ+ codes a correction of the common ones."""
    hq_of: Literal["latent", "residual"] = "latent"
    """What the HQ+ codebook quantises: the latent, as the common one does (the authors' code), or what the common
    codes leave of it (the papers' "residual")."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))  # JSON has lists only
        object.__setattr__(self, "attention_sizes", tuple(sorted(set(self.attention_sizes))))
        counts = ("image_size", "stem", "channels", "blocks", "groups", "latent_channels", "codebook")
        self._require(all(getattr(self, name) > 0 for name in counts), f"{', '.join(counts)} must be positive")
        self._require(self.hq_codebook >= 0, "hq_codebook must not be negative")
        self._require(bool(self.multipliers) and min(self.multipliers) > 0, "multipliers must be positive")
        factor = self.downsampling
        self._require(self.image_size % factor == 0, f"image_size must be a multiple of {factor}")
        widths = [self.channels * m for m in self.multipliers]
        self._require(all(width % self.groups == 0 for width in widths), f"groups must divide the channels {widths}")
        self._require(math.isfinite(self.alpha), "alpha must be finite")
        self._require(math.isfinite(self.threshold), "threshold must be finite")
        self._require(math.isfinite(self.beta) and self.beta >= 0, "beta must be finite and not negative")
        self._choice("fusion", ("add", "attention"))
        self._choice("fusion_switch", ("sample", "batch"))
        self._choice("beta_on", ("commitment", "codebook"))
        self._choice("vq_on", ("books", "sum"))
        self._choice("hq_of", ("latent", "residual"))
        if self.fusion == "attention":
            self._require(self.hq_codebook > 0, "fusion 'attention' needs an HQ+ codebook")
            fits = self.latent_channels % 8 == 0 and self.latent_channels % self.groups == 0
            self._require(fits, "fusion 'attention' needs latent_channels that 8 heads and the groups divide")

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise IQPIRError(f"{type(self).__name__}: {otherwise}")

    def _choice(self, name: str, allowed: tuple[str, ...]) -> None:
        given = getattr(self, name)
        self._require(given in allowed, f"{name} is {given!r}, not one of {', '.join(allowed)}")

    @property
    def dual(self) -> bool:
        return self.hq_codebook > 0

    @property
    def downsampling(self) -> int:
        """Pixels per latent position, along one side."""
        return self.stem * 2 ** (len(self.multipliers) - 1)

    @property
    def latent_size(self) -> int:
        """Side of the latent for a training image."""
        return self.image_size // self.downsampling

    def channels_at(self, size: int) -> int:
        """Channels of the feature maps whose side is `size`."""
        return self.channels * self.multipliers[self.sizes.index(size)]

    @property
    def sizes(self) -> list[int]:
        """Sides of the feature maps, largest first."""
        return [self.image_size // self.stem // 2**level for level in range(len(self.multipliers))]

    @property
    def joinable(self) -> list[int]:
        """Sides at which fidelity blocks can be: those of the feature maps, and under a stem that of the images."""
        return self.sizes if self.stem == 1 else [self.image_size, *self.sizes]

    def as_dict(self) -> dict[str, Any]:
        """What `from_dict` takes; plain JSON types but for tuples."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Raises `IQPIRError` for a setting that does not exist, or one of the wrong kind."""
        unknown = sorted(set(settings) - {field.name for field in fields(cls)})
        if unknown:
            raise IQPIRError(
                f"{cls.__name__} knows no setting {', '.join(unknown)}; was this written by a later version?"
            )
        try:
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise IQPIRError(f"{cls.__name__}: {error}") from error


@dataclass(frozen=True)
class IQPIRConfig(AutoEncoderConfig):
    """The restorer: the autoencoder, and the transformer that predicts its codes from a degraded image."""

    width: int = 512
    """Length of a token in the transformer."""
    heads: int = 8
    layers: int = 9
    mlp: int = 1024
    """Hidden units of each layer's MLP."""
    conditioning: Conditioning = "add"
    """How the score enters: not at all, as a map added to the latent, as one map per IQA model, or by adaLN."""
    bins: tuple[int, ...] = (10,)
    """Score bins; one number per IQA model under `add-list`."""
    score_init: Literal["normal", "zero"] = "normal"
    """N(0,1) as the authors', or zero: then a new network ignores the score until it has learned otherwise."""
    adaln_drops_attention: bool = False
    """Reproduce the authors' adaLN layer, which computes its attention and forgets to add it."""
    connect: tuple[int, ...] = (32, 64, 128, 256)
    """Sides of the feature maps at which the fidelity blocks join encoder and generator. Under a stem the side of the
    images is another: there a block joins the blocks of pixels that go in with those that come out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bins", tuple(self.bins))
        object.__setattr__(self, "connect", tuple(sorted(set(self.connect))))
        counts = ("width", "heads", "layers", "mlp")
        self._require(all(getattr(self, name) > 0 for name in counts), f"{', '.join(counts)} must be positive")
        self._require(self.width % self.heads == 0, "heads must divide width")
        self._choice("conditioning", ("none", "add", "add-list", "adaln"))
        self._choice("score_init", ("normal", "zero"))
        self._require(bool(self.bins) and min(self.bins) > 0, "bins must be positive")
        one = self.conditioning == "add-list" or len(self.bins) == 1
        self._require(one, f"conditioning {self.conditioning!r} takes one number of bins, not {len(self.bins)}")
        strange = [size for size in self.connect if size not in self.joinable]
        self._require(not strange, f"connect names {strange}, and there are maps with sides {self.joinable}")


_SMALL: dict[str, Any] = {
    "image_size": 64, "channels": 32, "multipliers": (1, 2, 2), "blocks": 1, "latent_channels": 64, "codebook": 64,
    "hq_codebook": 64, "width": 64, "layers": 2, "mlp": 128, "connect": (32, 64),
}  # fmt: skip

_TINY: dict[str, Any] = {
    "image_size": 256, "stem": 4, "channels": 48, "multipliers": (1, 2, 2), "blocks": 1, "attention_sizes": (),
    "groups": 16, "latent_channels": 96, "codebook": 512, "hq_codebook": 256, "threshold": 0.9, "width": 128,
    "heads": 4, "layers": 4, "mlp": 256, "score_init": "zero", "connect": (32, 64, 256),
}  # fmt: skip

_OVERVIEW: dict[str, Any] = {
    "image_size": 80, "channels": 32, "multipliers": (1, 2, 2, 3), "blocks": 1, "attention_sizes": (), "groups": 16,
    "latent_channels": 96, "codebook": 512, "hq_codebook": 256, "threshold": 0.9, "width": 128, "heads": 4,
    "layers": 4, "mlp": 256, "score_init": "zero", "connect": (20, 40, 80),
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "full": {},
    "paper": {"alpha": 1.0},
    "baseline": {"hq_codebook": 0, "conditioning": "none"},
    "score-only": {"hq_codebook": 0},
    "dual-only": {"conditioning": "none"},
    "multi-score": {"conditioning": "add-list", "bins": (20, 20, 20, 20)},
    "adaln": {"conditioning": "adaln"},
    "inpainting": {"connect": (32, 64, 128)},
    "small": _SMALL,
    "tiny": _TINY,
    "overview": _OVERVIEW,
}
"""`full` is IQPIR as published, with the authors' α; `paper` has the α that the papers print; `baseline` is the network
of CodeFormer, `score-only` and `dual-only` add one idea to it; `small` is for a CPU: 64×64 images, 1.5 M parameters;
`tiny` sees 256×256 as 64×64 blocks of 4×4 pixels, 3.9 M parameters; `overview` is the
IQPIR within `iqpir.network.photo`."""


def preset(name: str, **changes: Any) -> IQPIRConfig:
    """The settings of that name, with `changes` on top. Raises `IQPIRError` for a name that does not exist."""
    if name not in PRESETS:
        raise IQPIRError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return IQPIRConfig.from_dict(PRESETS[name] | changes)

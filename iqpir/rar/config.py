"""What a system is made of: frozen settings, checked when they are made. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from iqpir.errors import IQPIRError, suggest

PARTS = ("latent", "assessor", "flow", "code")
"""In the order in which they are trained. The first is always there; flow and code are the two restorers."""
RESTORERS = ("flow", "code")

MADE_WITH: Mapping[str, tuple[str, ...]] = {
    "latent": ("factor", "latent_channels", "latent_width", "latent_blocks", "groups", "codes"),
    "assessor": ("assessor_width", "assessor_layers", "heads", "queries"),
    "overview": ("overview_width", "overview_blocks"),
    "filler": ("fill_widths",),
    "restorer": ("widths", "blocks", "steps"),
}
"""Settings by the part that is made with them, and learns by them: they stay as they are once it is there."""


@dataclass(frozen=True)
class RARConfig:
    """A part that is off does not exist: its weights are not in the file."""

    parts: tuple[str, ...] = PARTS
    image_size: int = 128
    """Side of the crops that it is trained on, pixels."""
    factor: int = 4
    """Pixels per latent position, along one side. IQPIR's 16×16 codes per image (16 to 32 pixels each) hold what a face
    is, not what a photograph shows: their best reconstruction is what every round would end in. At 4, with 16 channels,
    the latent has a third as many numbers as the image, and what a clean image loses by it is small."""
    latent_channels: int = 16
    latent_width: int = 48
    """Channels of the maps within encoder and decoder."""
    latent_blocks: int = 3
    groups: int = 4
    """Parts of a latent vector, each with a codebook of its own, for the code step."""
    codes: int = 256
    """In each of these codebooks."""
    assessor_width: int = 96
    assessor_layers: int = 4
    overview_width: int = 0
    """Channels of the assessor's view of the whole image at the latent's size; 0: it has none."""
    overview_blocks: int = 3
    fill_widths: tuple[int, ...] = ()
    """Channels, at the latent's size and a half of it, of what fills in what rain and snow hide, by what the assessor's
    view of the whole has seen; empty: nothing does."""
    heads: int = 4
    queries: int = 8
    """Tokens that the assessor answers with; A_Q makes the restorer's condition of them."""
    widths: tuple[int, int, int] = (48, 80, 112)
    """Channels of a restorer at the latent's size, a half and a quarter of it."""
    blocks: int = 2
    """Residual blocks per level, either way."""
    steps: int = 4
    """Euler steps of a round of the flow restorer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(each for each in PARTS if each in self.parts))
        for name in ("widths", "fill_widths"):
            _need(isinstance(getattr(self, name), list | tuple), f"{name} is a list of numbers of channels")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        counts = [
            self.image_size, self.factor, self.latent_channels, self.latent_width, self.latent_blocks, self.groups,
            self.codes, self.assessor_width, self.assessor_layers, self.overview_blocks, self.heads, self.queries,
            self.blocks, self.steps, *self.widths, *self.fill_widths,
        ]  # fmt: skip
        _need(all(type(each) is int and each > 0 for each in counts), "every setting is a positive whole number")
        width = self.overview_width
        _need(type(width) is int and width >= 0, "overview_width is a whole number, 0 for none")
        _need(len(self.fill_widths) in (0, 2), f"fill_widths has {len(self.fill_widths)} values; it takes 2, or none")
        _need(len(self.widths) == 3, f"widths has {len(self.widths)} values; it takes 3")
        _need("latent" in self.parts, "parts: a system has a latent at least")
        _need(self.latent_channels <= 3 * self.factor**2, "latent_channels: no more than a block of pixels has numbers")
        _need(self.latent_channels % self.groups == 0, "groups must divide latent_channels")
        _need(self.assessor_width % (4 * self.heads) == 0, "assessor_width must be a multiple of 4 times heads")
        deep = self.widths[2]
        _need(deep % self.heads == 0 and deep % 4 == 0, "the last of widths must be a multiple of 4 and of heads")
        _need(self.image_size % self.stride == 0, f"image_size must be a multiple of {self.stride}")

    @property
    def stride(self) -> int:
        """What the sides of an image are extended to a multiple of."""
        return 4 * self.factor

    @property
    def restorers(self) -> tuple[str, ...]:
        return tuple(each for each in RESTORERS if each in self.parts)

    @property
    def fixed(self) -> dict[str, str]:
        """Settings that can no longer be others, and the part that has been made with each; see `MADE_WITH`."""
        there = {
            "latent": True, "assessor": "assessor" in self.parts, "overview": bool(self.overview_width),
            "filler": bool(self.fill_widths), "restorer": bool(self.restorers),
        }  # fmt: skip
        return {name: part for part, names in MADE_WITH.items() if there[part] for name in names}

    @property
    def threshold(self) -> float:
        """No part is told a score; above this one a target is good, where only such are wanted."""
        return 0.9

    def as_dict(self) -> dict[str, Any]:
        """What `from_dict` takes; plain JSON types but for tuples."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Raises `IQPIRError` for a setting that does not exist, or one of the wrong kind."""
        known = [each.name for each in fields(cls)]
        for key in settings:
            _need(key in known, f"no setting {key!r}{suggest(str(key), known)}; was this written by a later version?")
        return cls(**settings)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise IQPIRError(f"RARConfig: {otherwise}")

"""IQPIR for photographs of any size: a front end sets light and colour, IQPIR sees that, detail follows at full size.

    y0  = front end(x, score)                    exposure, curve, colour grid: each pixel alone
    c   = IQPIR(overview of y0, score)           codes and, with w, features of a view of fixed size
    out = y0 + detail(x, y0, score) + g·(c − overview), enlarged; g is a map that the detail branch draws

A dark or submerged image is nothing that codes of good images can be read from; y0 is. The overview has a fixed size,
so codes cost the same for every image, and memory does not grow with it where the image is worked through in tiles:
all that is global is known before the first tile.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.errors import IQPIRError
from iqpir.network.conditioning import LEAST_GRID, batch_scores
from iqpir.network.config import IQPIRConfig, preset
from iqpir.network.detail import HALO, DetailBranch, pad_to_step
from iqpir.network.front import FrontEnd, Grade, apply, places
from iqpir.network.model import IQPIR

FULL_SCORE = 0.9
"""From this score on nothing of the damage is asked to stay."""
TILE = 768
"""Side of the squares that large images are worked through in, without what overlaps."""
CodesGrad = Literal["none", "soft", "ste"]
"""No gradient passes the codes; it passes through the softmax to the transformer (`IQPIR.relax`); or straight through
to the encoder."""
_LONGEST = 4
"""An overview is at most so many times as long as it is wide; longer images are squeezed."""


@dataclass(frozen=True)
class PhotoConfig:
    """What the network is made of. A part that is off does not exist: its weights are not in the file."""

    core: IQPIRConfig = field(default_factory=lambda: preset("overview"))
    """IQPIR on the overview, whose shorter side has `core.image_size` pixels in training."""
    overview: int = 128
    """Shorter side of the overview when restoring, pixels."""
    front_width: int = 32
    detail_widths: tuple[int, int, int] = (16, 32, 48)
    """Channels of the detail branch at full size, a half and a quarter."""
    detail_deep: int = 4
    """Blocks at a quarter of the size."""
    codes: bool = True
    """Whether IQPIR takes part."""
    gate: bool = True
    """A map says where IQPIR's correction counts; else it counts everywhere."""
    detail: bool = True
    score: bool = True
    """Whether front end and detail branch are told the score; the core is as its `conditioning` says."""

    def __post_init__(self) -> None:
        if not isinstance(self.core, IQPIRConfig):
            object.__setattr__(self, "core", IQPIRConfig.from_dict(self.core))
        object.__setattr__(self, "detail_widths", tuple(self.detail_widths))
        if min(self.overview, self.front_width, self.detail_deep, *self.detail_widths) < 1:
            raise IQPIRError("PhotoConfig: overview, front_width, detail_widths and detail_deep must be positive")
        if self.gate and not self.detail and self.codes:
            raise IQPIRError("PhotoConfig: the detail branch draws the gate: gate needs detail")

    @property
    def image_size(self) -> int:
        """Side of the crops that it is trained on, pixels."""
        return 2 * self.core.image_size

    @property
    def threshold(self) -> float:
        return self.core.threshold

    @property
    def gated(self) -> bool:
        return self.codes and self.gate

    def as_dict(self) -> dict[str, Any]:
        """What `from_dict` takes; plain JSON types but for tuples."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Raises `IQPIRError` for a setting that does not exist."""
        unknown = sorted(set(settings) - {each.name for each in fields(cls)})
        if unknown:
            raise IQPIRError(f"PhotoConfig knows no setting {', '.join(unknown)}; was this written by a later version?")
        return cls(**settings)


class PhotoRestoration(NamedTuple):
    image: Tensor
    """[B,3,H,W], about [0,1] but not clamped."""
    exposed: Tensor
    """[B,3,H,W] in [0,1]: the front end's, y0."""
    core: Tensor | None
    """[B,3,h,w] in [0,1], about: IQPIR's overview."""
    logits: Tensor | None
    gate: Tensor | None
    """[B,1,H,W] in [0,1]."""


class _Known(NamedTuple):
    """What is known of images before their pixels are worked through."""

    grade: Grade
    told: Tensor
    correction: Tensor | None
    """[B,3,h,w]: IQPIR's overview less the front end's."""
    core: Tensor | None
    logits: Tensor | None


class PhotoIQPIR(nn.Module):
    """RGB images [B,3,H,W] in [0,1] of any size and a score in [0,1] → restored images of the same size."""

    for_photographs = True

    def __init__(self, config: PhotoConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PhotoConfig()
        self.front = FrontEnd(config.front_width, _TOLD_SCORE)
        if config.codes:
            self.core = IQPIR(config.core, fidelity_trained=True)
        if config.detail:
            inputs = 7 + (3 if config.gated else 0)
            outputs = 3 + (1 if config.gated else 0)
            self.detail = DetailBranch(inputs, outputs, config.detail_widths, _TOLD, config.detail_deep)

    def forward(
        self,
        image: Tensor,
        score: Tensor | float = FULL_SCORE,
        fidelity: float = 1.0,
        *,
        codes_grad: CodesGrad = "none",
    ) -> PhotoRestoration:
        """Restore whole images at once.

        `fidelity`: w of the core, ≥ 0. `codes_grad`: how a gradient passes the codes, see `CodesGrad`. Raises
        `IQPIRError` for another shape or score.
        """
        known = self.know(image, score, fidelity, codes_grad=codes_grad)
        height, width = image.shape[-2:]
        place = (places(height, device=image.device), places(width, device=image.device))
        return self._pixels(image, known, place, None)

    @torch.no_grad()
    def restore(self, image: Tensor, score: Tensor | float = FULL_SCORE, fidelity: float = 1.0) -> Tensor:
        """Images of any size → the same in [0,1], in tiles that agree with the whole where there are more than one."""
        height, width = image.shape[-2:]
        known = self.know(image, score, fidelity)
        if max(height, width) <= TILE + 2 * HALO:
            place = (places(height, device=image.device), places(width, device=image.device))
            return self._pixels(image, known, place, None).image.clamp(0, 1)
        restored = torch.empty_like(image)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                self._tile(image, known, top, left, restored)
        return restored

    def _tile(self, image: Tensor, known: _Known, top: int, left: int, restored: Tensor) -> None:
        height, width = image.shape[-2:]
        rows = slice(max(0, top - HALO), min(height, top + TILE + HALO))
        columns = slice(max(0, left - HALO), min(width, left + TILE + HALO))
        part = image[..., rows, columns]
        place = (
            places(part.shape[-2], of=height, start=rows.start, device=image.device),
            places(part.shape[-1], of=width, start=columns.start, device=image.device),
        )
        made = self._pixels(part, known, place, (height, width)).image.clamp(0, 1)
        bottom, right = min(height, top + TILE), min(width, left + TILE)
        restored[..., top:bottom, left:right] = made[
            ..., top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
        ]

    def optimize(
        self, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu", *, compiled: bool = False
    ) -> OptimizedPhoto:
        """A copy for inference; see `OptimizedPhoto`. `compiled` is for IQPIR's plans, and not used here."""
        return OptimizedPhoto(self, dtype, device)

    # Before the pixels

    def know(
        self, image: Tensor, score: Tensor | float, fidelity: float = 1.0, *, codes_grad: CodesGrad = "none"
    ) -> _Known:
        """All that depends on the whole image."""
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < 1:
            raise IQPIRError(f"images of shape {tuple(image.shape)}; they must be [B,3,H,W]")
        scores = batch_scores(score, len(image), image.device).to(image.dtype)
        told_score = self._told_score(scores)
        grade = self.front(image, told_score)
        told = torch.cat(
            [told_score, grade.gain / 4, grade.gamma.log(), 100 * grade.offset, grade.rolloff, grade.strength], dim=1
        ).detach()
        if not self.config.codes:
            return _Known(grade, told, None, None, None)
        exposed = apply(self._overview(image), grade)
        core, logits = self._core(exposed, scores, fidelity, codes_grad)
        return _Known(grade, told, core - exposed, core, logits)

    def _told_score(self, scores: Tensor) -> Tensor:
        if not self.config.score:
            return scores.new_zeros(len(scores), _TOLD_SCORE)
        left = ((FULL_SCORE - scores) / FULL_SCORE).clamp(0, 1)
        return torch.stack([left, left.square(), left.sqrt()], dim=1)

    def _overview(self, image: Tensor) -> Tensor:
        """The image at the size that the core sees: sides multiples of what it divides them by."""
        height, width = image.shape[-2:]
        step, least = self.config.core.downsampling, LEAST_GRID * self.config.core.downsampling
        side = self.config.core.image_size if self.training else self.config.overview
        scale = side / min(height, width)
        size = [max(least, round(min(length * scale, side * _LONGEST) / step) * step) for length in (height, width)]
        return F.interpolate(image, size, mode="area")

    def exposed_overview(self, image: Tensor, score: Tensor | float) -> Tensor:
        """[B,3,h,w] in [0,1]: what the core is given, the front end's overview."""
        return apply(self._overview(image), self.grade(image, score))

    def grade(self, image: Tensor, score: Tensor | float) -> Grade:
        """What the front end would do to images [B,3,H,W] in [0,1]."""
        scores = batch_scores(score, len(image), image.device).to(image.dtype)
        grade: Grade = self.front(image, self._told_score(scores))
        return grade

    def _core(self, exposed: Tensor, scores: Tensor, fidelity: float, codes_grad: CodesGrad) -> tuple[Tensor, Tensor]:
        core = self.core
        score = None if core.config.conditioning == "none" else scores
        predicted = core.predict(exposed * 2 - 1, score, with_skips=fidelity > 0, any_size=True)
        grid = (predicted.features.shape[-2], predicted.features.shape[-1])
        if codes_grad == "soft":
            latent = core.relax(predicted.logits, grid=grid)
        else:
            latent = core.dequantize(core.best_codes(predicted.logits), grid).detach()
            if codes_grad == "ste":
                latent = predicted.features + (latent - predicted.features).detach()
        made = core.generate(latent, fidelity, predicted.skips, detach_skips=False)
        return (made + 1) / 2, predicted.logits

    # Pixel by pixel

    def _pixels(
        self, image: Tensor, known: _Known, place: tuple[Tensor, Tensor], whole: tuple[int, int] | None
    ) -> PhotoRestoration:
        """`whole`: height and width of the image that this is a part of; None: it is the whole."""
        exposed = apply(image, known.grade, place)
        correction = None if known.correction is None else self._enlarged(known.correction, image, place, whole)
        restored, gate = exposed, None
        if self.config.detail:
            brighter = torch.log2((_luma(exposed) + 0.01) / (_luma(image) + 0.01)) / 4
            inputs = [image - 0.5, exposed - 0.5, brighter]
            if self.config.gated:
                assert correction is not None
                inputs.append(correction)
            height, width = image.shape[-2:]
            found = self.detail(pad_to_step(torch.cat(inputs, dim=1)), known.told)[..., :height, :width]
            restored = exposed + found[:, :3]
            if self.config.gated:
                gate = torch.sigmoid(found[:, 3:] - 2)
        if correction is not None:
            restored = restored + (correction if gate is None else gate * correction)
        return PhotoRestoration(restored, exposed, known.core, known.logits, gate)

    @staticmethod
    def _enlarged(
        correction: Tensor, image: Tensor, place: tuple[Tensor, Tensor], whole: tuple[int, int] | None
    ) -> Tensor:
        """The overview's correction at the image's pixels, bilinear; of a tile the very values of the whole."""
        if whole is None:
            return F.interpolate(correction, image.shape[-2:], mode="bilinear", align_corners=False)
        rows, columns = place
        where = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=2)
        where = where.expand(len(image), *where.shape)
        return F.grid_sample(correction, where, padding_mode="border", align_corners=False)


class OptimizedPhoto:
    """A copy of a network with its weights as convolutions like them best, and in another precision if asked for."""

    for_photographs = True

    def __init__(self, network: PhotoIQPIR, dtype: torch.dtype, device: str | torch.device) -> None:
        self.config = network.config
        self._dtype, self._device = dtype, torch.device(device)
        copied = copy.deepcopy(network).eval().requires_grad_(False)
        self._network = copied.to(self._device, memory_format=torch.channels_last)

    def restore(self, image: Tensor, score: Tensor | float = FULL_SCORE, fidelity: float = 1.0) -> Tensor:
        """As `PhotoIQPIR.restore`; light and colour are always worked out in float32."""
        given = image.to(self._device, torch.float32).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            return self._network.restore(given, score, fidelity).float().to(image.device)


_TOLD_SCORE = 3
_TOLD = _TOLD_SCORE + 11
_LUMA = (0.299, 0.587, 0.114)


def _luma(image: Tensor) -> Tensor:
    weights = torch.tensor(_LUMA, device=image.device, dtype=image.dtype)
    return (image * weights[:, None, None]).sum(dim=1, keepdim=True)

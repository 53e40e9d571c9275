"""The stages of a network for photographs: light and colour, then detail, then both together with IQPIR's codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.checkpoint import load_autoencoder, load_photo, load_restorer, save_checkpoint
from iqpir.errors import IQPIRError, suggest
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.front import THUMBNAIL, Grade, apply
from iqpir.network.photo import FULL_SCORE, PhotoConfig, PhotoIQPIR
from iqpir.training import example_photographs as look
from iqpir.training import losses
from iqpir.training.codes import gt_codes
from iqpir.training.degrade.scene import KINDS, OF_LIGHT
from iqpir.training.engine import Player
from iqpir.training.settings import DetailSettings, FrontSettings, JointSettings

Losses = dict[str, Tensor]
_PATCHES = 8
"""Along a side of an image: parts of which the local term takes the means."""
_USUAL = 0.02
"""Mean distance of a picture with noise from one without, on the front end's scale."""
PhotoSettings = FrontSettings | DetailSettings | JointSettings


def _local(image: Tensor, target: Tensor) -> Tensor:
    side = max(2, image.shape[-1] // _PATCHES)
    return F.l1_loss(*(F.avg_pool2d(each, side, stride=side // 2) for each in (image, target)))


def _light_terms(image: Tensor, target: Tensor, settings: PhotoSettings) -> Tensor:
    """The terms that tell of light and colour alone, weighted: `l1` and `local`."""
    return settings.l1 * F.l1_loss(image, target) + settings.local * _local(image, target)


def image_terms(image: Tensor, target: Tensor, settings: PhotoSettings, weights: Tensor | None = None) -> Losses:
    """`l1`, `local`, `ssim` and their weighted sum `total` for two [B,3,H,W] in [0,1].

    `weights` [B,1,1,1]: how much an image's `l1` counts; none: all alike.
    """
    distance = (image - target).abs()
    found = {
        "l1": (distance if weights is None else weights * distance).mean(),
        "local": _local(image, target),
        "ssim": 1 - losses.box_ssim(image, target),
    }
    found["total"] = settings.l1 * found["l1"] + settings.local * found["local"] + settings.ssim * found["ssim"]
    return found


class PhotoStage(ABC):
    """What the stages of a network for photographs share: one player, its measures and its pictures."""

    name: str
    notes: Sequence[str] = ()
    averaged: PhotoIQPIR

    def __init__(self, settings: PhotoSettings, network: PhotoIQPIR) -> None:
        self.settings = settings
        self.averaged = network.to(memory_format=torch.channels_last)
        _need_scores(settings, network.config)
        self.players = {"network": Player(network, settings.rate_at)}

    @abstractmethod
    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses: ...

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        return {}

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        lq, gt = _unit(batch)
        made = self.averaged(lq, batch["score"])
        return {
            "l1": float(F.l1_loss(made.image.clamp(0, 1), gt)),
            "psnr": _psnr(made.image, gt),
            "exposed psnr": _psnr(made.exposed, gt),
            "input psnr": _psnr(lq, gt),
            "ssim": float(losses.box_ssim(made.image.clamp(0, 1), gt)),
        }

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        lq, gt = _unit(batch)
        made = self.averaged(lq, batch["score"])
        low, high = (self.averaged(lq, score).image.clamp(0, 1) for score in (0.1, FULL_SCORE))
        return [lq, made.exposed, made.image.clamp(0, 1), gt, low, high]

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        """Input, restored at scores 0.1, 0.5 and 0.9, target."""
        pairs = look.photographs()
        if not pairs:
            return []
        bad, good = look.batches(pairs)
        made = [self.averaged(bad.to(device), score).image for score in (0.1, 0.5, FULL_SCORE)]
        return [bad, *made, good]

    def save(self, path: Path) -> None:
        save_checkpoint(self.averaged, path)


class FrontStage(PhotoStage):
    """The front end on thumbnails of scenes, which are all that it sees of any image."""

    name = "front"
    settings: FrontSettings

    def __init__(self, settings: FrontSettings, device: torch.device) -> None:
        network = PhotoIQPIR(PhotoConfig.from_dict({"codes": False, **settings.changes}))
        _train_only(network, ("front",))
        super().__init__(settings, network)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        self.averaged.train()
        lq, gt = (F.interpolate(each, (THUMBNAIL, THUMBNAIL), mode="area") for each in _unit(batch))
        grade = self.averaged.grade(lq, batch["score"])
        found = image_terms(apply(lq, grade), gt, self.settings)
        if self.settings.decide:
            found["decide"] = decision(grade, batch["kind"], self.settings.spared)
            found["total"] = found["total"] + self.settings.decide * found["decide"]
        return found


_ASKED = {"backlit": 0.5, "water": 1.0}
"""How much the decision counts of kinds whose light is wrong. Dark ones need none; histograms hardly tell of pictures
against the light, and a network that is made to know them takes good ones for them."""


def decision(grade: Grade, kind: Tensor, spared: float) -> Tensor:
    """Cross entropy of the strength with whether the light is wrong; `spared` times where it is right."""
    strength = grade.strength[:, 0].clamp(1e-4, 1 - 1e-4)
    wrong = sum((weight * (kind == KINDS.index(name)) for name, weight in _ASKED.items()), torch.zeros_like(strength))
    return -(wrong * strength.log() + spared * (kind >= OF_LIGHT) * (1 - strength).log()).mean()


class DetailStage(PhotoStage):
    """The detail branch on the front end's images.

    Its target is what the front end makes of the same picture without noise, blocks and blur. Measured on the target
    itself, the gradient would be that of the exposure's error, which no branch of bounded reach can mend.
    """

    name = "detail"

    def __init__(self, settings: DetailSettings, device: torch.device) -> None:
        network = load_photo(settings.front)
        if network.config.codes or not network.config.detail:
            raise IQPIRError(f"{settings.front}: a network with a detail branch and without codes is needed")
        if not settings.data.scene or settings.data.lq is not None:
            raise IQPIRError("only the degradation scene knows what an LQ image is without its noise: data.degradation")
        _train_only(network, ("detail",))
        super().__init__(settings, network)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        self.averaged.train()
        made, exposed, wanted = self._made(batch)
        before = (exposed - wanted).abs().mean(dim=(1, 2, 3), keepdim=True)
        # A picture with little noise counts nearly as much as one with much, or all would be smoothed for a few.
        return image_terms(made, wanted, self.settings, (_USUAL / (before + _USUAL / 2)).sqrt())

    def _made(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """The network's image, the front end's, and the front end's of the clean picture."""
        lq, _ = _unit(batch)
        made = self.averaged(lq, batch["score"])
        with torch.no_grad():
            grade = self.averaged.grade(lq, batch["score"])
            return made.image, apply(lq, grade), apply(_as_unit(batch["clean"]), grade)

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        made, exposed, wanted = self._made(batch)
        return {
            **super().measures(batch),
            "clean psnr": _psnr(made, wanted),
            "noisy psnr": _psnr(exposed, wanted),
            "clean ssim": float(losses.box_ssim(made.clamp(0, 1), wanted)),
            "noisy ssim": float(losses.box_ssim(exposed, wanted)),
        }


class JointStage(PhotoStage):
    """All parts, from the weights that they have: the core learns what to correct, the gate where."""

    name = "joint"
    settings: JointSettings

    def __init__(self, settings: JointSettings, device: torch.device) -> None:
        network = _assembled(settings)
        _train_only(network, settings.train)
        super().__init__(settings, network)
        self.teacher: VQAutoEncoder | None = None
        if settings.index > 0 and network.config.codes:
            self.teacher = load_autoencoder(settings.autoencoder).eval().requires_grad_(False).to(device)
        self._quality: losses.Quality | None = None
        if settings.quality > 0:
            side = settings.data.crop or network.config.image_size
            self._quality, flat = losses.ensemble_quality(settings.quality_prior, device, side)
            self.notes = [losses.cannot_climb(name) for name in flat]

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings, network = self.settings, self.averaged
        network.train()
        lq, gt = _unit(batch)
        made = network(lq, batch["score"], settings.fidelity, codes_grad=settings.codes_grad)
        found = image_terms(made.image, gt, settings)
        if settings.exposed > 0:
            found["exposed"] = _light_terms(made.exposed, gt, settings)
            found["total"] = found["total"] + settings.exposed * found["exposed"]
        if made.core is not None and settings.core > 0:
            overview = F.interpolate(gt, made.core.shape[-2:], mode="area")
            found["core"] = image_terms(made.core, overview, settings)["total"]
            found["total"] = found["total"] + settings.core * found["core"]
            if self.teacher is not None and made.logits is not None:
                codes = gt_codes(self.teacher, overview * 2 - 1)
                found["index"] = losses.index_loss(made.logits, codes)
                found["total"] = found["total"] + settings.index * found["index"]
        if self._quality is not None:
            found["quality"] = losses.quality_loss(made.image * 2 - 1, self._quality, settings.quality_loss)
            found["total"] = found["total"] + settings.quality * found["quality"]
        return found

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        found = super().measures(batch)
        lq, gt = _unit(batch)
        made = self.averaged(lq, batch["score"])
        if made.gate is not None:
            found["gate"] = float(made.gate.mean())
        if made.core is not None:
            found["core psnr"] = _psnr(made.core, F.interpolate(gt, made.core.shape[-2:], mode="area"))
        return found


def _assembled(settings: JointSettings) -> PhotoIQPIR:
    """The front's network with a core, each with its trained weights; what neither has is new.

    The detail branch of a gated network has more inputs and outputs than that of one without codes: its own come first,
    the new ones begin at zero.
    """
    front = load_photo(settings.detail)
    core = load_restorer(settings.restorer) if settings.restorer else None
    changes = {"codes": core is not None, **settings.changes}
    if core is not None:
        changes["core"] = core.config
    network = PhotoIQPIR(PhotoConfig.from_dict({**front.config.as_dict(), **changes}))
    own = network.state_dict()
    for name, value in front.state_dict().items():
        if name in own:
            own[name] = _fitted(value, own[name])
    if core is not None and network.config.codes:
        own |= {f"core.{name}": value for name, value in core.state_dict().items()}
    network.load_state_dict(own)
    return network


def _fitted(value: Tensor, into: Tensor) -> Tensor:
    if value.shape == into.shape:
        return value
    grown = torch.zeros_like(into)
    grown[tuple(slice(length) for length in value.shape)] = value
    return grown


def _train_only(network: PhotoIQPIR, parts: Sequence[str]) -> None:
    known = [name for name, _ in network.named_children()]
    for part in parts:
        if part not in ("front", "core", "detail"):
            raise IQPIRError(f"train: there is no part {part!r}{suggest(part, known)} (there are {', '.join(known)})")
    for name, parameter in network.named_parameters():
        # The codebooks and what makes images of codes are stage 1's business.
        parameter.requires_grad_(name.split(".")[0] in parts and not name.startswith("core.quantize"))


def _need_scores(settings: PhotoSettings, config: PhotoConfig) -> None:
    if settings.data.scores == "none" and (config.score or (config.codes and config.core.conditioning != "none")):
        raise IQPIRError("a network that is told the score needs scores: data.scores")


def _unit(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """LQ and GT in [0,1]; stages are given them in [-1,1]."""
    return _as_unit(batch["lq"]), _as_unit(batch["gt"])


def _as_unit(image: Tensor) -> Tensor:
    return ((image + 1) / 2).contiguous(memory_format=torch.channels_last)


def _psnr(image: Tensor, target: Tensor) -> float:
    error = (image.clamp(0, 1) - target).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return float((-10 * error.log10()).mean())


class Overview(nn.Module):
    """What a front end hands to its core, for the stage that trains the core alone."""

    def __init__(self, file: str, device: torch.device, *, told: bool = True) -> None:
        """`told`: whether it is told the scores; else everything is exposed as for the best."""
        super().__init__()
        self._told = told
        self.network = load_photo(file).requires_grad_(False).to(device)
        self.network.train()  # so that an overview has the size that it has in training

    @property
    def side(self) -> int:
        """Of the overviews, pixels."""
        return self.network.config.core.image_size

    @torch.no_grad()
    def forward(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A batch in [-1,1] → the same with overviews of LQ and GT."""
        lq, gt = _unit(batch)
        told = self._told and batch["score"] is not None
        seen = self.network.exposed_overview(lq, batch["score"] if told else FULL_SCORE)
        return {**batch, "lq": seen * 2 - 1, "gt": F.interpolate(gt, seen.shape[-2:], mode="area") * 2 - 1}

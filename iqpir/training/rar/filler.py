"""The stages of what rain and snow hide: rar-filler fills it in, and rar-judge judges what that has made. Each learns
its own part of a whole system, of which all else stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from iqpir.checkpoint import load_rar
from iqpir.errors import IQPIRError
from iqpir.rar.assessor import ANSWERS, UTILITY
from iqpir.rar.filler import Filler
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.loop import LoopOptions
from iqpir.training.rar.settings import RARFillerSettings, RARJudgeSettings
from iqpir.training.rar.stages import RARStage, RestoringStage, assessed, grown, qualities
from iqpir.training.rar.terms import Losses, assessor_terms, psnr, ranked_right

_RIGHT = -0.1
"""dB that filling in may lose before it counts as wrong."""


class RARFillerStage(RestoringStage):
    """From an image under several degradations to the same without rain and snow, whatever else there is."""

    name = "rar-filler"
    learns = ("filler",)
    settings: RARFillerSettings

    def __init__(self, settings: RARFillerSettings, device: torch.device) -> None:
        system = grown(settings.begin, (), settings.changes)
        system.check_whole(settings.begin)
        if system.filler is None:
            raise IQPIRError("changes: rar-filler trains what fills in: {fill_widths: [48, 80]}")
        self._filler: Filler = system.filler
        super().__init__(settings, system, device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        found = self.image_term(self._filled(batch["lq"]), batch["behind"])
        return {"image": found, "total": found}

    def _filled(self, images: Tensor) -> Tensor:
        """Latents of images in [-1,1], filled in."""
        with torch.no_grad():
            latent = self.averaged.latent.encode(images)
            assessment = self.averaged.assess(latent)
        return self._filler(latent, assessment)

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """Against what is behind: of samples with rain or snow, and of those without, after encoding either way."""
        behind = (batch["behind"] + 1) / 2
        before = psnr(self.decoded(self.averaged.latent.encode(batch["lq"])), behind)
        after = psnr(self.decoded(self._filled(batch["lq"])), behind)
        hidden = (batch["behind"] != batch["lq"]).flatten(1).any(dim=1)
        found = {"filled right": float((after - before >= _RIGHT).float().mean())}
        for name, which in (("psnr", hidden), ("unhidden psnr", ~hidden)):
            if bool(which.any()):
                found |= {name: float(after[which].mean()), f"{name} before": float(before[which].mean())}
        return found

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        return [(batch["lq"] + 1) / 2, self.decoded(self._filled(batch["lq"])), (batch["behind"] + 1) / 2]


class RARJudgeStage(RARStage):
    """Five states of an image are to be ranked: clean, degraded, filled in, after a round without that and with it;
    whatever a round would leave out of these, so that each is learned of every image."""

    name = "rar-judge"
    learns = ("assessor.head", "assessor.overview.answers")
    settings: RARJudgeSettings

    def __init__(self, settings: RARJudgeSettings, device: torch.device) -> None:
        system = load_rar(settings.begin)
        system.check_whole(settings.begin)
        if system.filler is None:
            raise IQPIRError(f"{settings.begin}: rar-judge goes on after rar-filler, and this system fills nothing in")
        if settings.changes:
            raise IQPIRError("changes: rar-judge goes on with the system that it is given")
        self._filler: Filler = system.filler
        super().__init__(settings, system, device)
        rows = torch.zeros(ANSWERS, device=device)
        rows[[UTILITY, *(DEGRADATIONS.index(each) for each in settings.of)]] = 1
        for parameter in system.parameters():
            if parameter.requires_grad:  # a row of weights, or a bias, for each answer
                parameter.register_hook(lambda grad: grad * rows.view(-1, *[1] * (grad.ndim - 1)))

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        states, labels, quality = self._states(batch)
        found = self.averaged.assess(states)
        weights = (self.settings.kinds, 0.0, 0.0, self.settings.rank)  # severity and quality stay as they are
        return assessor_terms(found, labels, quality, weights, self.settings.apart)

    @torch.no_grad()
    def _states(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [5·B,…], severities of the first two states [2·B,kinds], qualities [5,B]."""
        bad, clean = self.averaged.latent.encode(torch.cat([batch["lq"], batch["gt"]])).chunk(2)
        seen = self.averaged.assess(bad)
        filled = self._filler(bad, seen)
        plain = self.averaged.restore_latent(bad, seen, LoopOptions(hidden=1.0))
        whole = self.averaged.restore_latent(filled, self.averaged.assess(filled), LoopOptions(hidden=1.0))
        states = torch.cat([clean, bad, filled, plain, whole])
        labels = torch.cat([batch["severity"][:, 0], batch["severity"][:, -1]])
        return states, labels, qualities(self, states, clean)

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """As of any assessor; and the share of images of which a state is rightly judged against the degraded one."""
        states, labels, quality = self._states(batch)
        found = self.averaged.assess(states)
        utility, apart = found.utility.view_as(quality), self.settings.apart
        judged = {
            f"{name} right": ranked_right(utility[[1, place]], quality[[1, place]], apart)
            for name, place in (("filled", 2), ("plain", 3), ("whole", 4))
        }
        return {**assessed(found, labels, quality), **judged}

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        states, _, _ = self._states(batch)
        return list(self.decoded(states).chunk(5))

"""The stages of RAR that learn in rounds: rar-joint and rar-rounds all parts together, rar-behind the flow alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from iqpir.checkpoint import load_rar
from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment
from iqpir.rar.restorer import Condition
from iqpir.training.rar.settings import RARBehindSettings, RARJointSettings, RARRoundsSettings
from iqpir.training.rar.stages import RestoringStage, assessor_weights, qualities
from iqpir.training.rar.terms import Losses, assessor_terms


class UnrolledStage(RestoringStage):
    """Rounds of a whole system as they are used, unrolled: each begins where the one before has ended by its own steps,
    and learns from where it ends itself."""

    settings: RARJointSettings | RARBehindSettings

    def __init__(self, settings: RARJointSettings | RARBehindSettings, device: torch.device) -> None:
        system = load_rar(settings.begin)
        system.check_whole(settings.begin)
        if settings.changes:
            raise IQPIRError(f"changes: {self.name} goes on with the system that it is given")
        super().__init__(settings, system, device)
        kept = system.named_parameters() if settings.begun else ()
        self._beginning = {name: value.detach().clone() for name, value in kept}

    @contextmanager
    def _with_beginning(self) -> Iterator[None]:
        """The weights that are saved in place of those that learn."""
        own = self.averaged.state_dict()
        kept = {name: own[name].clone() for name in self._beginning}
        mixed = {name: value.lerp(self._beginning[name], self.settings.begun) for name, value in kept.items()}
        self.averaged.load_state_dict(mixed, strict=False)
        try:
            yield
        finally:
            self.averaged.load_state_dict(kept, strict=False)

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        with self._with_beginning():
            return super().measures(batch)

    def save(self, path: Path) -> None:
        with torch.no_grad(), self._with_beginning():
            super().save(path)

    def flow_round(
        self, latent: Tensor, clean: Tensor, gt: Tensor, condition: Condition, found: Losses, turn: int
    ) -> tuple[Tensor, Tensor]:
        """Where one round of the flow ends, and its error, whose parts are written into `found`."""
        end = self.averaged.flow(latent, condition)
        found[f"flow {turn + 1}"], found[f"image {turn + 1}"] = F.mse_loss(end, clean), self.image_term(end, gt)
        return end, self.settings.flow * found[f"flow {turn + 1}"] + found[f"image {turn + 1}"]


class RARJointStage(UnrolledStage):
    """S3: all but the latent learns, and the assessor from the rounds that it sees."""

    name = "rar-joint"
    learns = ("assessor", "adapter", "flow", "code")
    settings: RARJointSettings

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings = self.settings
        latent, clean = self.latents(batch)
        found: Losses = {}
        total, shares = latent.new_zeros(()), sum(settings.weights)
        states, assessments = [], []
        for turn, weight in enumerate(settings.weights):
            # What the assessor learns is no reason for a restorer to change what it shows it.
            states.append(latent.detach())
            assessments.append(self.averaged.assess(states[-1]))
            latent, error = self._round(
                latent, clean, batch["gt"], self.told(assessments[-1], settings.blind), found, turn
            )
            total = total + weight / shares * error
        states.append(latent.detach())
        assessments.append(self.averaged.assess(states[-1]))
        judged = self._assessed(torch.cat([clean, *states]), clean, batch, assessments)
        found |= {name: value for name, value in judged.items() if name != "total"}
        return {**found, "total": total + settings.assess * judged["total"]}

    def _round(
        self, latent: Tensor, clean: Tensor, gt: Tensor, condition: Condition, found: Losses, turn: int
    ) -> tuple[Tensor, Tensor]:
        """Where one round ends, and its error, whose parts are written into `found`."""
        settings, error = self.settings, latent.new_zeros(())
        restorers = self.averaged.config.restorers
        if "code" in restorers and (turn == 0 or restorers == ("code",)):
            found[f"code {turn + 1}"] = self.code_term(latent.detach(), clean, condition, settings.code_share)
            error = settings.code * found[f"code {turn + 1}"]
        if "flow" not in restorers:
            with torch.no_grad():
                return self.averaged.code(latent, condition, self.averaged.latent), error
        end, further = self.flow_round(latent, clean, gt, condition, found, turn)
        return end, error + further

    def _assessed(
        self, states: Tensor, clean: Tensor, batch: Mapping[str, Any], assessments: list[Assessment]
    ) -> Losses:
        """The assessor on clean latents and on what rounds begin and end with; labels are known of the first two."""
        known = [self.averaged.assess(clean), *assessments]
        found = Assessment(*(torch.cat(each) for each in zip(*known, strict=True)))
        labels = torch.cat([batch["severity"][:, 0], batch["severity"][:, -1]])
        with torch.no_grad():
            quality = qualities(self, states, clean)
        return assessor_terms(found, labels, quality, assessor_weights(self.settings))


class RARRoundsStage(RARJointStage):
    """S3 once more, with the assessor that has learned on."""

    name = "rar-rounds"
    settings: RARRoundsSettings


class RARBehindStage(UnrolledStage):
    """The flow on what a round leaves to it: what rain and snow hide is filled in, and what that has made looked at.

    A flow that has seen rain alone, and not where it has been, spoils what is filled in well, and takes too little of
    the haze behind it.
    """

    name = "rar-behind"
    learns = ("flow",)
    settings: RARBehindSettings

    def __init__(self, settings: RARBehindSettings, device: torch.device) -> None:
        super().__init__(settings, device)
        if self.averaged.filler is None or "flow" not in self.averaged.config.restorers:
            raise IQPIRError(f"{settings.begin}: rar-behind trains a flow behind what fills in; one of them is missing")

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings, system = self.settings, self.averaged
        latent, clean = self.latents(batch)
        found: Losses = {}
        total, shares = latent.new_zeros(()), sum(settings.weights)
        for turn, weight in enumerate(settings.weights):
            with torch.no_grad():
                begin, seen = system.filled(latent.detach(), system.assess(latent))
                condition = self.told(seen, settings.blind)
            latent, error = self.flow_round(begin, clean, batch["gt"], condition, found, turn)
            total = total + weight / shares * error
        return {**found, "total": total}

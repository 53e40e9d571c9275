"""The stages of RAR: what each optimises, and what it tells of held-out samples. See `engine` for the loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from iqpir.checkpoint import load_rar, save_checkpoint
from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment
from iqpir.rar.config import RARConfig
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.loop import LoopOptions, rounds
from iqpir.rar.model import RAR
from iqpir.rar.restorer import Condition
from iqpir.training import example_photographs, losses
from iqpir.training.common import Common
from iqpir.training.degrade import degradation
from iqpir.training.engine import Player
from iqpir.training.rar.settings import (
    RARAssessorSettings,
    RARBehindSettings,
    RARFillerSettings,
    RARJointSettings,
    RARLatentSettings,
    RAROverviewSettings,
    RARRestorerSettings,
)
from iqpir.training.rar.terms import (
    Losses,
    assessor_terms,
    average_precision,
    closeness,
    on_the_way,
    psnr,
    ranked_right,
    times,
)

_OVERSHOOT = (-0.4, 1.2)
"""Times of flow states that the assessor sees: beyond both ends, too, since a restorer may go astray."""


class RARStage:
    """What the stages share: one system, of which some parts learn."""

    name: str
    notes: Sequence[str] = ()
    learns: tuple[str, ...] = ()

    def __init__(self, settings: Common, system: RAR, device: torch.device) -> None:
        crop, stride = settings.data.crop or system.config.image_size, system.config.stride
        if crop % stride:
            raise IQPIRError(f"data.crop is {crop}: latents of RAR need a multiple of {stride}")
        self.settings = settings
        self.averaged = system.to(device)
        for name, parameter in system.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(f"{each}." for each in self.learns)))
        self.players = {"network": Player(system, settings.rate_at)}

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        raise NotImplementedError

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        raise NotImplementedError

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        raise NotImplementedError

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        return []

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        return {}

    def save(self, path: Path) -> None:
        save_checkpoint(self.averaged, path)

    def decoded(self, latent: Tensor) -> Tensor:
        """Latents → images in [0,1]."""
        return ((self.averaged.latent.decode(latent) + 1) / 2).clamp(0, 1)


class RARLatentStage(RARStage):
    """The autoencoder, on clean images and what became of them, half and half; codebooks follow its latents."""

    name = "rar-latent"
    learns = ("latent",)
    settings: RARLatentSettings

    def __init__(self, settings: RARLatentSettings, device: torch.device) -> None:
        super().__init__(settings, RAR(RARConfig.from_dict({**settings.changes, "parts": ("latent",)})), device)
        config = self.averaged.config
        self._used = torch.zeros(config.groups, config.codes, dtype=torch.int64, device=device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings, network = self.settings, self.averaged.latent
        images = torch.cat([batch["gt"], batch["lq"]])
        latent = network.encode(images)
        made = network.decode(latent + settings.jitter * torch.randn_like(latent))
        codes = network.codes(latent.detach())
        for group, counts in enumerate(self._used):
            counts += torch.bincount(codes[:, group].flatten(), minlength=len(counts))
        variance, mean = torch.var_mean(latent, dim=(0, 2, 3))
        found = {
            "l1": F.l1_loss(made, images),
            "ssim": 1 - losses.box_ssim((made + 1) / 2, (images + 1) / 2),
            "moments": (mean.square() + (variance.sqrt() - 1).square()).mean(),
            "codebook": F.mse_loss(network.lookup(codes), latent.detach()),
        }
        weights = {name: getattr(settings, name) for name in found}
        found["total"] = sum((weights[name] * term for name, term in found.items()), latent.new_zeros(()))
        return found

    @torch.no_grad()
    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        """Unused codes move to latents of this batch: all after the first step, then every `revive` steps. Counts
        start again with a resumed run, so `save_every` should be a multiple of it."""
        every = self.settings.revive
        if step and (not every or (step + 1) % every):
            return {}
        network = self.averaged.latent
        points = network.encode(torch.cat([batch["gt"], batch["lq"]])).unflatten(1, (len(self._used), -1))
        dead = self._used == 0 if step else torch.ones_like(self._used, dtype=torch.bool)
        for group, gone in enumerate(dead):
            vectors = points[:, group].permute(0, 2, 3, 1).flatten(0, 2)
            chosen = torch.randint(len(vectors), (int(gone.sum()),), device=vectors.device)
            network.codebooks[group][gone] = vectors[chosen]
        self._used.zero_()
        return {"codes dead": float(dead.float().mean())} if step else {}

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        found = {}
        for name in ("gt", "lq"):
            latent = self.averaged.latent.encode(batch[name])
            image = (batch[name] + 1) / 2
            coded = self.averaged.latent.lookup(self.averaged.latent.codes(latent))
            found[f"psnr {name}"] = float(psnr(self.decoded(latent), image).mean())
            found[f"coded psnr {name}"] = float(psnr(self.decoded(coded), image).mean())
        return {"psnr": found["psnr gt"], **found, "deviation": float(latent.std())}

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        rows = []
        for name in ("gt", "lq"):
            latent = self.averaged.latent.encode(batch[name])
            coded = self.averaged.latent.lookup(self.averaged.latent.codes(latent))
            rows += [(batch[name] + 1) / 2, self.decoded(latent), self.decoded(coded)]
        return rows


class RARAssessorStage(RARStage):
    """S1: four states of each image, clean, in between, degraded and on a flow, to be named, measured and ranked."""

    name = "rar-assessor"
    learns = ("assessor",)
    settings: RARAssessorSettings

    def __init__(self, settings: RARAssessorSettings, device: torch.device) -> None:
        super().__init__(settings, grown(settings.latent, ("assessor",), settings.changes), device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        latent, severity, quality = self._states(batch)
        return assessor_terms(self.averaged.assess(latent), severity, quality, assessor_weights(self.settings))

    @torch.no_grad()
    def _states(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [4·B,…], severities of the first three states [3·B,kinds], qualities [4,B]. What comes as an image is
        judged as it is; only the state on the flow is decoded, and held against what a latent can show at best."""
        steps, severity = batch["steps"], batch["severity"]
        each = torch.arange(len(steps), device=steps.device)
        between = torch.randint(1, steps.shape[1] - 1, (len(steps),), device=steps.device)
        known = torch.cat([steps[:, 0], steps[each, between], steps[:, -1]])
        latent = self.averaged.latent.encode(known)
        clean, _, bad = latent.chunk(3)
        low, high = _OVERSHOOT
        time = low + (high - low) * torch.rand(len(steps), device=steps.device)
        flowing = on_the_way(bad, clean, time)
        labels = torch.cat([severity[:, 0], severity[each, between], severity[:, -1]])
        images = (known + 1) / 2
        judged = closeness(images, images[: len(steps)].repeat(3, 1, 1, 1)).view(3, -1)
        return torch.cat([latent, flowing]), labels, torch.cat([judged, qualities(self, flowing, clean)])

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        latent, severity, quality = self._states(batch)
        found = self.averaged.assess(latent)
        terms = assessor_terms(found, severity, quality, assessor_weights(self.settings))
        return {**{name: float(value) for name, value in terms.items()}, **assessed(found, severity, quality)}

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        latent, _, _ = self._states(batch)
        return list(self.decoded(latent).chunk(4))


class RAROverviewStage(RARStage):
    """The assessor's view of the whole, behind a transformer that stays as it is: what is answered about a few
    degradations, from the labels of what comes in. Among all else that an assessor learns, flakes are not found."""

    name = "rar-overview"
    learns = tuple(f"assessor.overview.{each}" for each in ("enter", "blocks", "norm", "hidden", "answers"))
    settings: RAROverviewSettings

    def __init__(self, settings: RAROverviewSettings, device: torch.device) -> None:
        system = grown(settings.begin, (), settings.changes)
        system.check_whole(settings.begin)
        if system.assessor.overview is None:
            raise IQPIRError("changes: rar-overview trains a view of the whole: {overview_width: 64}")
        self._view = system.assessor.overview
        self._places = [DEGRADATIONS.index(each) for each in settings.of]
        # What was said of these so far is forgotten, or the view would learn the opposite of its faults.
        for values in (system.assessor.head.weight, system.assessor.head.bias):
            values.data[self._places] = 0
        super().__init__(settings, system, device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        logits, there = self._seen(batch)
        found = F.binary_cross_entropy_with_logits(logits, there)
        return {"kinds": found, "total": found}

    def _seen(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Logits of the degradations that it learns, and whether they are there; [B,kinds] both."""
        with torch.no_grad():
            latent = self.averaged.latent.encode(batch["lq"])
        there = batch["severity"][:, -1, self._places] > 0
        return self._view(latent)[1][:, self._places], there.float()

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        logits, there = self._seen(batch)
        each = {
            f"average precision {name}": average_precision(logits[:, place], there[:, place])
            for place, name in enumerate(self.settings.of)
        }
        return {"kinds": float(F.binary_cross_entropy_with_logits(logits, there)), **each}

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        return [(batch["lq"] + 1) / 2]


def qualities(stage: RARStage, latent: Tensor, clean: Tensor) -> Tensor:
    """[S,B]: how close S·B latents' images are to what the clean latents show, the best that a round can reach."""
    best = stage.decoded(clean)
    states = len(latent) // len(clean)
    return closeness(stage.decoded(latent), best.repeat(states, 1, 1, 1)).view(states, -1)


def assessed(found: Assessment, severity: Tensor, quality: Tensor) -> dict[str, float]:
    """How well the assessor does: average precision of kinds, correlation of qualities, share of pairs ranked right."""
    known = len(severity)
    told = torch.stack([found.quality, quality.flatten()])
    return {
        "average precision": average_precision(found.logits[:known], severity > 0),
        "clean right": float(((found.clean[:known] > 0) == (severity.sum(dim=1) == 0)).float().mean()),
        "quality correlation": float(torch.corrcoef(told)[0, 1].nan_to_num()),
        "ranked right": ranked_right(found.utility.view_as(quality), quality),
    }


class RestoringStage(RARStage):
    """What the stages share whose errors are those of images."""

    settings: RARRestorerSettings | RARJointSettings | RARFillerSettings | RARBehindSettings

    def told(self, assessment: Assessment, blind: float) -> Condition:
        """The condition; for a share `blind` of samples it tells nothing."""
        made = self.averaged.condition(assessment)
        kept = (torch.rand(len(made.vector), device=made.vector.device) >= blind).to(made.vector.dtype)
        return Condition(made.tokens * kept[:, None, None], made.vector * kept[:, None])

    def image_term(self, latent: Tensor, gt: Tensor) -> Tensor:
        """How far from GT what a latent shows is."""
        settings = self.settings
        if not (settings.image or settings.decibels or settings.structure):
            return latent.new_zeros(())
        made = self.averaged.latent.decode(latent)
        error = settings.image * F.l1_loss(made, gt) + settings.decibels * losses.log_error(made, gt)
        if settings.structure:
            error = error + settings.structure * (1 - losses.box_ssim((made + 1) / 2, (gt + 1) / 2))
        return error

    def code_term(self, latent: Tensor, clean: Tensor, condition: Condition, share: float) -> Tensor:
        """Of a share of the samples."""
        some = math.ceil(share * len(latent))
        told = Condition(condition.tokens[:some], condition.vector[:some])
        logits = self.averaged.code.logits(latent[:some], told)
        return F.cross_entropy(logits.transpose(1, 2), self._codes(clean[:some]))

    def _codes(self, clean: Tensor) -> Tensor:
        return self.averaged.latent.codes(clean)

    @torch.no_grad()
    def latents(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Of LQ and GT."""
        bad, clean = self.averaged.latent.encode(torch.cat([batch["lq"], batch["gt"]])).chunk(2)
        return bad, clean

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        bad, clean = self.latents(batch)
        gt = (batch["gt"] + 1) / 2
        found = {
            "input psnr": float(psnr((batch["lq"] + 1) / 2, gt).mean()),
            "bound psnr": float(psnr(self.decoded(clean), gt).mean()),
            "input l1": float(F.l1_loss(batch["lq"], batch["gt"])) / 2,
        }
        for kind in self.averaged.config.restorers:
            fixed = LoopOptions(4, adaptive=False, restorer=kind)
            states = rounds(self.averaged, bad, fixed, keep=True).states
            for count in (1, 2, 4):
                end = states[min(count, len(states) - 1)]
                found[f"{kind} psnr {count}"] = float(psnr(self.decoded(end), gt).mean())
                found[f"{kind} l1 {count}"] = float(F.l1_loss(self.decoded(end), gt))
        return {"psnr": found[f"{self.averaged.config.restorers[0]} psnr 1"], **found, **self._adaptive(bad, clean, gt)}

    def _adaptive(self, bad: Tensor, clean: Tensor, gt: Tensor) -> dict[str, float]:
        """The loop as it is used, and how often a step that it took was one for the better."""
        made = rounds(self.averaged, bad, LoopOptions(), keep=True)
        best = self.decoded(clean)
        before = [closeness(self.decoded(each), best) for each in made.states]
        steps = [
            float(before[turn][place] > before[turn - 1][place])
            for place, trace in enumerate(made.traces)
            for turn in range(1, trace.taken + 1)
        ]
        return {
            "adaptive psnr": float(psnr(self.decoded(made.latent), gt).mean()),
            "rounds": float(np.mean([trace.taken for trace in made.traces])),
            "steps right": float(np.mean(steps)) if steps else 1.0,
        }

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        lq, gt = (batch["lq"] + 1) / 2, (batch["gt"] + 1) / 2
        once = [
            LoopOptions(count, adaptive=False, restorer=kind)
            for kind in self.averaged.config.restorers
            for count in (1, 4)
        ]
        return [lq, *(self.averaged(lq, options).image for options in (*once, LoopOptions())), gt]

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        """Real photographs: degraded, after one round, by the loop, and clean."""
        clean = example_photographs.clean()
        if not clean:
            return []
        spoil = degradation(self.settings.data.degradation)
        made = [spoil(image, np.random.default_rng([7, place])).image for place, image in enumerate(clean)]
        bad = torch.stack(made).to(device)
        ways = (LoopOptions(1, adaptive=False), LoopOptions())
        return [bad, *(self.averaged(bad, options).image for options in ways), torch.stack(clean)]


class RARRestorerStage(RestoringStage):
    """S2: A_Q and the restorers, with latent and assessor as they are."""

    name = "rar-restorer"
    learns = ("adapter", "flow", "code")
    settings: RARRestorerSettings

    def __init__(self, settings: RARRestorerSettings, device: torch.device) -> None:
        super().__init__(settings, grown(settings.assessor, settings.restorers, settings.changes), device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings = self.settings
        bad, clean = self.latents(batch)
        with torch.no_grad():
            assessment = self.averaged.assess(bad)
        condition = self.told(assessment, self.settings.blind)
        found: Losses = {}
        total = bad.new_zeros(())
        if "flow" in settings.restorers:
            found["flow"], found["image"] = self.flow_terms(bad, clean, batch["gt"], condition)
            total = total + settings.flow * found["flow"] + found["image"]
        if "code" in settings.restorers:
            found["code"] = self.code_term(bad, clean, condition, settings.code_share)
            total = total + settings.code * found["code"]
        return {**found, "total": total}

    def flow_terms(self, latent: Tensor, clean: Tensor, gt: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
        """The velocity's error at a random time, and the weighted one of the image that it leads to."""
        time = times(len(latent), self.settings.start, latent)
        begin = on_the_way(latent, clean, time)
        velocity = self.averaged.flow.velocity(begin, condition, time)
        end = begin + (1 - time)[:, None, None, None] * velocity
        return F.mse_loss(velocity, clean - latent), self.image_term(end, gt)


def grown(file: str, parts: Sequence[str], changes: Mapping[str, Any]) -> RAR:
    """A stage's system with further parts, which are new. Raises `IQPIRError` for changes of a part that is there."""
    before = load_rar(file)
    for name, part in before.config.fixed.items():
        is_now = getattr(before.config, name)
        if name in changes and (tuple(changes[name]) if isinstance(is_now, tuple) else changes[name]) != is_now:
            raise IQPIRError(
                f"changes: {name} is {changes[name]!r}, and {file} has a part ({part}) that was made with {is_now!r}: "
                "it stays as it is"
            )
    config = RARConfig.from_dict({**before.config.as_dict(), **changes, "parts": (*before.config.parts, *parts)})
    system, kept = RAR(config), before.state_dict()
    own = system.state_dict()
    if other := [name for name, value in kept.items() if name not in own or own[name].shape != value.shape]:
        raise IQPIRError(f"changes: {file} has {other[0]} of another shape: its parts stay as they are")
    system.load_state_dict({**own, **kept})
    return system


def assessor_weights(settings: RARAssessorSettings | RARJointSettings) -> tuple[float, float, float, float]:
    return settings.kinds, settings.severity, settings.quality, settings.rank

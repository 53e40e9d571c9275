"""The three stages: what each optimises, and what it tells of held-out samples. See spec and `engine` for the loop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.checkpoint import load_autoencoder, load_restorer, save_checkpoint
from iqpir.errors import IQPIRError, suggest
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig, IQPIRConfig, preset
from iqpir.network.discriminator import Discriminator
from iqpir.network.model import IQPIR, Restoration
from iqpir.training import losses
from iqpir.training.codes import CodeCache, gt_codes
from iqpir.training.engine import Player, Stage
from iqpir.training.photo import DetailStage, FrontStage, JointStage, Overview
from iqpir.training.rar.registry import RAR_STAGES
from iqpir.training.settings import (
    AutoencoderSettings,
    Common,
    DetailSettings,
    FidelitySettings,
    FrontSettings,
    JointSettings,
    RestorerSettings,
)

Losses = dict[str, Tensor]


def make_stage(settings: Common, folder: Path, device: str = "cpu") -> Stage:
    """The stage that settings describe, its networks freshly made (seeded) or read from the file they name.

    `folder`: where the run keeps what it writes beside its states. `device` "cuda" is the GPU of this process, where
    a launcher has started several. Raises `IQPIRError`.
    """
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    for name, earlier in settings.LINKS.items():
        file = getattr(settings, name, "")
        if file and not Path(file).is_file():
            raise IQPIRError(f"{file}: there is no such file; iqpir train {earlier} makes one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if type(settings) in RAR_STAGES:
            made: Stage = RAR_STAGES[type(settings)](settings, torch.device(device))
            return made
        if isinstance(settings, AutoencoderSettings):
            return AutoencoderStage(settings, torch.device(device))
        if isinstance(settings, RestorerSettings):
            return RestorerStage(settings, torch.device(device), folder)
        if isinstance(settings, JointSettings):
            return JointStage(settings, torch.device(device))
        if isinstance(settings, DetailSettings):
            return DetailStage(settings, torch.device(device))
        if isinstance(settings, FrontSettings):
            return FrontStage(settings, torch.device(device))
        assert isinstance(settings, FidelitySettings)
        return FidelityStage(settings, torch.device(device))


class _WithAdversary:
    """What the stages that train against a discriminator share."""

    players: dict[str, Player]

    def _set_up(
        self, settings: AutoencoderSettings | FidelitySettings, network: nn.Module, device: torch.device
    ) -> None:
        adversary = settings.adversary
        self.players = {"network": Player(network, settings.rate_at)}
        self._adversary = adversary
        self._discriminator: Discriminator | None = None
        if adversary.weight > 0:
            self._discriminator = Discriminator(adversary.channels, adversary.depth)
            self.players["discriminator"] = Player(self._discriminator, lambda step: adversary.rate, adversary.start)
        self._perceptual = losses.perceptual(settings.perceptual_form, device) if settings.perceptual > 0 else None

    def _image_losses(
        self, restored: Tensor, target: Tensor, step: int, last: Tensor, l1: float, perceptual: float
    ) -> Losses:
        """L1, perceptual and adversarial terms, weighted; the discriminator's turn sees the same images."""
        found: Losses = {"l1": F.l1_loss(restored, target)}
        reconstruction = l1 * found["l1"]
        if self._perceptual is not None:
            found["perceptual"] = self._perceptual(restored, target)
            reconstruction = reconstruction + perceptual * found["perceptual"]
        found["image"] = reconstruction
        if self._discriminator is not None and step >= self._adversary.start:
            self._discriminator.requires_grad_(False)
            adversarial = losses.generator_loss(self._discriminator(restored), self._adversary.form)
            self._discriminator.requires_grad_(True)
            weight = losses.adaptive_weight(reconstruction, adversarial, last) * self._adversary.weight
            found |= {"adversarial": adversarial, "adversarial weight": weight}
            found["image"] = reconstruction + weight * adversarial
        return found

    def _judged(self, restored: Tensor, target: Tensor) -> Losses:
        assert self._discriminator is not None
        real, fake = self._discriminator(target), self._discriminator(restored.detach())
        loss = losses.discriminator_loss(real, fake, self._adversary.form)
        return {"total": loss}


class AutoencoderStage(_WithAdversary):
    """Stage 1: L1, perceptual and adversarial terms, and a codebook loss for each codebook."""

    name = "autoencoder"
    notes: Sequence[str] = ()

    def __init__(self, settings: AutoencoderSettings, device: torch.device) -> None:
        self.settings = settings
        config = settings.config()
        names = set(AutoEncoderConfig.__dataclass_fields__)
        self.averaged = VQAutoEncoder(
            AutoEncoderConfig(**{key: value for key, value in config.as_dict().items() if key in names})
        )
        if self.averaged.config.dual and settings.hq == "score" and settings.data.scores == "none":
            raise IQPIRError("two codebooks need scores: data.scores, or hq: always")
        self._set_up(settings, self.averaged, device)
        self._unused: dict[str, Tensor] = {}

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        network, gt = self.averaged, batch["gt"]
        network.train()
        if player == "discriminator":
            with torch.no_grad():
                made = network.reconstruct(gt, batch["score"], self.settings.hq)
            return self._judged(made.image, gt)
        made = network.reconstruct(gt, batch["score"], self.settings.hq)
        last = network.generator.blocks[-1].weight
        found = self._image_losses(made.image, gt, step, last, self.settings.l1, self.settings.perceptual)
        found["codebook"] = made.common.loss.mean()
        self._count("quantize", made.common.codes)
        if made.hq is not None:
            assert made.uses_hq is not None
            found["hq codebook"] = made.hq.loss.mean()
            if bool(made.uses_hq.any()):
                self._count("quantize_aesthetic", made.hq.codes[made.uses_hq])
        codebooks = found["codebook"] + found.get("hq codebook", 0.0)
        found["total"] = found.pop("image") + self.settings.codebook * codebooks
        return found

    def _count(self, book: str, codes: Tensor) -> None:
        size = len(getattr(self.averaged, book).embedding.weight)
        if book not in self._unused:
            self._unused[book] = torch.zeros(size, dtype=torch.int64, device=codes.device)
        self._unused[book] += torch.bincount(codes.flatten(), minlength=size)

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        """Every `revive` steps, unused codes move to latents of this batch. Counts start again with a resumed run at
        a multiple of it, so `save_every` should be one."""
        every = self.settings.revive
        if not every or (step + 1) % every:
            return {}
        with torch.no_grad():
            latent = self.averaged.encoder(batch["gt"])
            points = latent.permute(0, 2, 3, 1).reshape(-1, latent.shape[1])
            told = {}
            for book, counts in self._unused.items():
                dead = (counts == 0).nonzero().flatten()
                # Only so many a time that the living keep most of what they stand for.
                dead = dead[torch.randperm(len(dead), device=dead.device)[: max(1, len(counts) // 8)]]
                chosen = torch.randint(len(points), (len(dead),), device=points.device)
                getattr(self.averaged, book).embedding.weight[dead] = points[chosen]
                told[f"{book} dead"] = float((counts == 0).float().mean())
                counts.zero_()
        return told

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        made = self.averaged.reconstruct(batch["gt"], batch["score"], self.settings.hq)
        found = {"l1": float(F.l1_loss(made.image, batch["gt"])), "psnr": psnr(made.image, batch["gt"])}
        found["perplexity"] = float(made.common.perplexity)
        if made.hq is not None:
            found["hq perplexity"] = float(made.hq.perplexity)
        return found

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        return []

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        made = self.averaged.reconstruct(batch["gt"], batch["score"], self.settings.hq)
        return [shown(batch["gt"]), shown(made.image)]

    def save(self, path: Path) -> None:
        save_checkpoint(self.averaged, path)


class RestorerStage:
    """Stage 2: the latent drawn to the GT's codes, their cross-entropy, and a quality prior's verdict."""

    name = "restorer"
    notes: Sequence[str] = ()
    """Lines worth reading before the first step."""

    def __init__(self, settings: RestorerSettings, device: torch.device, folder: Path) -> None:
        self.settings = settings
        autoencoder = load_autoencoder(settings.autoencoder)
        config = _restorer_config(settings, autoencoder.config)
        self.averaged = IQPIR(config)
        self.averaged.adopt(autoencoder)
        if config.conditioning != "none" and settings.data.scores == "none":
            raise IQPIRError("a restorer that is conditioned on quality needs scores: data.scores")
        train_only(self.averaged, settings.train)
        self.teacher = autoencoder.eval().requires_grad_(False).to(device)
        self.players = {"network": Player(self.averaged, settings.rate_at)}
        self._overview: Overview | None = None
        if settings.front:  # a core that knows no score sees what a network without one would show it
            self._overview = Overview(settings.front, device, told=config.conditioning != "none")
            side = self._overview.side
            if side != config.image_size:
                raise IQPIRError(
                    f"{settings.front}: hands over {side} pixels, and {settings.autoencoder} codes {config.image_size}"
                )
        self._quality: losses.Quality | None = None
        if settings.quality > 0:
            self._quality, flat = losses.ensemble_quality(settings.quality_prior, device, config.image_size)
            self.notes = [losses.cannot_climb(name) for name in flat]
        self._codes = CodeCache(folder / "codes.npy", settings.data, autoencoder) if settings.code_cache else None

    def targets(self, batch: Mapping[str, Any]) -> Tensor:
        """The GT's codes by the frozen stage 1, as the logits order them: int64 [B,N], or [B,N,2]."""
        if self._codes is not None:
            return self._codes.of(batch["index"], batch["gt"], self.teacher)
        return gt_codes(self.teacher, batch["gt"])

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        settings, network = self.settings, self.averaged
        network.train()
        batch = self._seen(batch)
        codes = self.targets(batch)
        latent, _ = network.encoder.features(batch["lq"], ())
        logits, features = network.read(latent, self._score(batch))
        found: Losses = {"index": losses.index_loss(logits, codes, summed=settings.index_sum)}
        total = settings.index * found["index"]
        drawn = features if settings.feature_on == "conditioned" else latent
        if settings.feature > 0:
            to = codes if settings.feature_target == "gt" else network.best_codes(logits)
            found["feature"] = F.mse_loss(drawn, network.dequantize(to).detach())
            total = total + settings.feature * found["feature"]
        if self._quality is not None and step >= settings.quality_from:
            restored = network.generate(self._relaxed(logits, features))
            found["quality"] = losses.quality_loss(restored, self._quality, settings.quality_loss)
            total = total + settings.quality * found["quality"]
        with torch.no_grad():
            found["accuracy"] = (network.best_codes(logits) == codes).float().mean()
        found["total"] = total
        return found

    def _seen(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return batch if self._overview is None else self._overview(batch)

    def _relaxed(self, logits: Tensor, features: Tensor) -> Tensor:
        """The best codes' latent, with the gradient that `quality_grad` asks for."""
        network, settings = self.averaged, self.settings
        if settings.quality_grad == "ste":
            latent = network.dequantize(network.best_codes(logits))
            return features + (latent - features).detach()
        return network.relax(logits, settings.temperature, gumbel=settings.quality_grad == "gumbel")

    def _score(self, batch: Mapping[str, Any]) -> Tensor | None:
        return None if self.averaged.config.conditioning == "none" else batch["score"]

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        return {}

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        network, batch = self.averaged, self._seen(batch)
        codes = self.targets({**batch, "index": None}) if self._codes is None else gt_codes(self.teacher, batch["gt"])
        made = network(batch["lq"], self._score(batch), adain=False)
        return {
            "index": float(losses.index_loss(made.logits, codes)),
            "accuracy": float((network.best_codes(made.logits) == codes).float().mean()),
            "psnr": psnr(made.image, batch["gt"]),
            "input psnr": psnr(batch["lq"], batch["gt"]),
            "bound psnr": psnr(network.generator(network.dequantize(codes)), batch["gt"]),
        }

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        return []

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        batch = self._seen(batch)
        made = self.averaged(batch["lq"], self._score(batch), adain=False)
        bound = self.averaged.generator(self.averaged.dequantize(gt_codes(self.teacher, batch["gt"])))
        return [shown(batch["lq"]), shown(made.image), shown(bound), shown(batch["gt"])]

    def save(self, path: Path) -> None:
        save_checkpoint(self.averaged, path)


class FidelityStage(_WithAdversary):
    """Stage 3: the fidelity blocks, with the score and both codebooks' losses."""

    name = "fidelity"
    notes: Sequence[str] = ()

    def __init__(self, settings: FidelitySettings, device: torch.device) -> None:
        self.settings = settings
        self.averaged = load_restorer(settings.restorer)
        self.averaged.fidelity_trained = True
        if not len(self.averaged.fuse_convs_dict):
            raise IQPIRError(f"{settings.restorer} has no fidelity blocks: its `connect` is empty")
        if self.averaged.config.conditioning != "none" and settings.data.scores == "none":
            raise IQPIRError("a restorer that is conditioned on quality needs scores: data.scores")
        self.teacher: VQAutoEncoder | None = None
        if settings.index > 0 or settings.feature > 0:
            self.teacher = load_autoencoder(settings.autoencoder).eval().requires_grad_(False).to(device)
            if _books(self.teacher) != _books(self.averaged):
                raise IQPIRError(f"{settings.autoencoder} has other codebooks than {settings.restorer}")
        train_only(self.averaged, settings.train)
        self._set_up(settings, self.averaged, device)

    def losses(self, player: str, batch: Mapping[str, Any], step: int) -> Losses:
        network, settings = self.averaged, self.settings
        network.train()
        if player == "discriminator":
            with torch.no_grad():
                made = network(batch["lq"], self._score(batch), settings.fidelity, adain=False)
            return self._judged(made.image, batch["gt"])
        made = self._restored(batch)
        largest = max(network.config.connect)
        last = network.fuse_convs_dict[str(largest)].shift[-1].weight
        found = self._image_losses(made.image, batch["gt"], step, last, settings.l1, settings.perceptual)
        total = found.pop("image")
        if self.teacher is not None:
            codes = gt_codes(self.teacher, batch["gt"])
            found["index"] = losses.index_loss(made.logits, codes)
            found["feature"] = F.mse_loss(made.features, network.dequantize(codes).detach())
            total = total + settings.index * found["index"] + settings.feature * found["feature"]
        found["total"] = total
        return found

    def _restored(self, batch: Mapping[str, Any]) -> Restoration:
        """As the network restores with w, and with the gradients that the settings ask for."""
        network, settings = self.averaged, self.settings
        predicted = network.predict(batch["lq"], self._score(batch), with_skips=True)
        if settings.codes_grad == "soft":
            latent = network.relax(predicted.logits)
        else:
            latent = network.dequantize(network.best_codes(predicted.logits)).detach()
        image = network.generate(latent, settings.fidelity, predicted.skips, detach_skips=settings.detach_skips)
        return Restoration(image, predicted.logits, predicted.features)

    def _score(self, batch: Mapping[str, Any]) -> Tensor | None:
        return None if self.averaged.config.conditioning == "none" else batch["score"]

    def after(self, batch: Mapping[str, Any], step: int) -> dict[str, float]:
        return {}

    def measures(self, batch: Mapping[str, Any]) -> dict[str, float]:
        plain = self.averaged(batch["lq"], self._score(batch), adain=False)
        bent = self.averaged(batch["lq"], self._score(batch), self.settings.fidelity, adain=False)
        return {
            "l1": float(F.l1_loss(bent.image, batch["gt"])),
            "psnr": psnr(bent.image, batch["gt"]),
            "psnr w=0": psnr(plain.image, batch["gt"]),
            "input psnr": psnr(batch["lq"], batch["gt"]),
        }

    def looks(self, device: torch.device) -> Sequence[Tensor]:
        return []

    def pictures(self, batch: Mapping[str, Any]) -> Sequence[Tensor]:
        plain = self.averaged(batch["lq"], self._score(batch), adain=False)
        bent = self.averaged(batch["lq"], self._score(batch), self.settings.fidelity, adain=False)
        return [shown(batch["lq"]), shown(plain.image), shown(bent.image), shown(batch["gt"])]

    def save(self, path: Path) -> None:
        save_checkpoint(self.averaged, path)


def _books(network: VQAutoEncoder) -> list[tuple[int, ...]]:
    """Shapes of the codebooks."""
    return [tuple(value.shape) for name, value in network.state_dict().items() if name.endswith("embedding.weight")
            and name.startswith("quantize")]  # fmt: skip


def train_only(network: nn.Module, parts: Sequence[str]) -> None:
    """Leave only these parts a gradient. Raises `IQPIRError` for a part that no network of this kind has."""
    known = {name for name, _ in network.named_children()} | {"position_emb", "score_embed"}
    for part in parts:
        if part not in known:
            raise IQPIRError(
                f"train: there is no part {part!r}{suggest(part, known)} (there are {', '.join(sorted(known))})"
            )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.split(".")[0] in parts)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise IQPIRError(f"train: {', '.join(parts) or 'nothing'} leaves nothing to learn")


def _restorer_config(settings: RestorerSettings, autoencoder: AutoEncoderConfig) -> IQPIRConfig:
    """The autoencoder's settings, the preset's transformer, and what differs from it.

    Fidelity blocks are where the preset has them, or, if its maps have other sides, at all but the smallest.
    """
    named = preset(settings.network).as_dict()
    if not set(named["connect"]) <= set(autoencoder.joinable):
        named["connect"] = tuple(autoencoder.sizes[:-1])
    return IQPIRConfig.from_dict({**named, **autoencoder.as_dict(), **settings.changes})


def psnr(image: Tensor, target: Tensor) -> float:
    """Mean over images in [-1,1], clamped, not rounded: dB."""
    error = (shown(image) - shown(target)).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return float((-10 * error.log10()).mean())


def shown(image: Tensor) -> Tensor:
    """[-1,1] → [0,1], clamped."""
    return ((image + 1) / 2).clamp(0, 1)

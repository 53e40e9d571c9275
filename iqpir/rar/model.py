"""RAR: images → images, with a latent in between that is entered once and left once, whatever happens in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment, Assessor
from iqpir.rar.config import RARConfig
from iqpir.rar.filler import Filler
from iqpir.rar.kinds import DEGRADATIONS, LIGHT
from iqpir.rar.latent import LatentAutoencoder
from iqpir.rar.loop import LoopOptions, Trace, is_clean, is_hidden, rounds
from iqpir.rar.restorer import CodeRestorer, Condition, ConditionAdapter, FlowRestorer

_USUAL = LoopOptions()
_LIGHT = [DEGRADATIONS.index(name) for name in LIGHT]
_SLOW = 4
"""Latent positions on a side, 16 pixels, over which a change is averaged to see what of it is light."""


class Restoration(NamedTuple):
    image: Tensor
    """float32 [B,3,H,W] in [0,1]."""
    traces: list[Trace]
    """One per image."""
    states: Sequence[Tensor] = ()
    """The latents after 0, 1, 2 … rounds, as taken by then; empty unless asked for."""


_BEYOND = 1e-3
"""How far a value may lie outside of [0,1], by an interpolation's rounding."""


def _check(images: object) -> None:
    """Raise `IQPIRError` unless these are images, as numbers in [0,1]."""
    if not isinstance(images, Tensor):
        raise IQPIRError(f"images are a tensor [B,3,H,W], not {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise IQPIRError(f"images of shape {tuple(images.shape)}; they must be [B,3,H,W]")
    if not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise IQPIRError(f"images of {kind}; they must be floats in [0,1]: divide by 255")
    low, high = (float(end) for end in images.aminmax())
    if not (low >= -_BEYOND and high <= 1 + _BEYOND):  # NaN is in no range
        raise IQPIRError(f"images from {low:g} to {high:g}; they must lie in [0,1]")


class RAR(nn.Module):
    """RGB images [B,3,H,W] in [0,1] of any size → restored images of the same size, and how they came about."""

    def __init__(self, config: RARConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RARConfig()
        self.latent = LatentAutoencoder(config)
        if "assessor" in config.parts:
            self.assessor = Assessor(config)
        if config.restorers:
            self.adapter = ConditionAdapter(config)
        self.filler = Filler(config) if config.fill_widths else None
        if "flow" in config.parts:
            self.flow = FlowRestorer(config)
        if "code" in config.parts:
            self.code = CodeRestorer(config)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str]) -> Self:
        """A system from a file, or by the name of one that comes along, on the CPU and ready to restore.

        Raises `IQPIRError` for a file of another kind, or of a stage that has not made all parts yet.
        """
        from iqpir.checkpoint import load_rar
        from iqpir.weights import shipped

        system = load_rar(shipped(os.fspath(path)) or path)
        system.check_whole(path)
        assert isinstance(system, cls)
        return system

    def check_whole(self, path: str | os.PathLike[str]) -> None:
        """Raise `IQPIRError` unless there is a part for every step of the loop."""
        missing = [name for name in ("assessor",) if name not in self.config.parts]
        if missing or not self.config.restorers:
            lacking = " and ".join([*missing, *([] if self.config.restorers else ["restorer"])])
            raise IQPIRError(
                f"{os.fspath(path)}: a stage of RAR without {lacking}: go on with iqpir train all configs/rar-tiny.yaml"
            )

    @torch.no_grad()
    def forward(self, images: Tensor, options: LoopOptions = _USUAL, *, keep: bool = False) -> Restoration:
        """Restore images, in float32. One of which no round was taken is returned as it came, bit for bit as float32
        has it. `keep`: with the latents between the rounds.

        Raises `IQPIRError` for anything but floating-point [B,3,H,W] in [0,1], or a restorer that the file does not
        have.
        """
        _check(images)
        self._restorer(options)
        images = images.float()
        found = rounds(self, self.encode(images), options, keep=keep)
        taken = torch.tensor([trace.taken > 0 for trace in found.traces], device=images.device)
        made = images.clone()
        if bool(taken.any()):
            made[taken] = self.decode(found.latent[taken], images.shape[-2], images.shape[-1])
        return Restoration(made, found.traces, found.states)

    # In and out

    def encode(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] → latents; images are extended by reflection to whole positions of the coarsest map."""
        return self.latent.encode(extended(images, self.config.stride) * 2 - 1)

    def decode(self, latent: Tensor, height: int, width: int) -> Tensor:
        """Latents → images of that size in [0,1]."""
        return ((self.latent.decode(latent)[..., :height, :width] + 1) / 2).clamp(0, 1)

    # The steps of the loop

    def assess(self, latent: Tensor) -> Assessment:
        return self.assessor(latent)

    def fills(self, assessment: Assessment, options: LoopOptions = _USUAL) -> Tensor:
        """bool [B]: in which latents a round fills in what rain and snow hide; in none without a part for it, or
        without assessment."""
        hidden = is_hidden(assessment, options)
        return hidden if self.filler is not None and options.assess else torch.zeros_like(hidden)

    def condition(self, assessment: Assessment, *, told: bool = True) -> Condition:
        return self.adapter(assessment) if told else self.adapter.blind(assessment)

    def restore_latent(self, latent: Tensor, assessment: Assessment, options: LoopOptions = _USUAL) -> Tensor:
        """One round of the restorer that the options name; before it, what rain and snow hide is filled in, and what
        that has made is looked at again: the restorer is told of what it gets, and leaves what is clean by then."""
        hidden = self.fills(assessment, options)
        latent, assessment = self.filled(latent, assessment, options)
        going = ~(hidden & is_clean(assessment, options))
        if bool(going.all()):
            return self._restored(latent, assessment, options)
        if bool(going.any()):
            latent[going] = self._restored(latent[going], assessment.of(going), options)
        return latent

    def filled(
        self, latent: Tensor, assessment: Assessment, options: LoopOptions = _USUAL
    ) -> tuple[Tensor, Assessment]:
        """What a round leaves to its restorer, and what is seen in that: latents with what rain and snow hide filled
        in, where they are, and others as they are."""
        hidden = self.fills(assessment, options)
        if self.filler is None or not bool(hidden.any()):
            return latent, assessment
        latent = latent.clone()
        latent[hidden] = self.filler(latent[hidden], assessment.of(hidden))
        return latent, assessment.changed(hidden, self.assess(latent[hidden]))

    def _restored(self, latent: Tensor, assessment: Assessment, options: LoopOptions) -> Tensor:
        condition = self.condition(assessment, told=options.assess)
        if self._restorer(options) == "code":
            return self.code(latent, condition, self.latent)
        made = self.flow(latent, condition)
        if not (options.light and options.assess):
            return made
        leave = (assessment.logits[:, _LIGHT].sigmoid() < options.light).all(dim=1)
        return made - leave[:, None, None, None] * slow(made - latent)

    def _restorer(self, options: LoopOptions) -> str:
        there = self.config.restorers
        if not there or (options.restorer and options.restorer not in there):
            raise IQPIRError(f"restorer {options.restorer!r}: this system has {', '.join(there) or 'none'}")
        return options.restorer or there[0]


def slow(change: Tensor) -> Tensor:
    """What of latents' change [B,C,h,w] varies slowly over the image."""
    means = F.avg_pool2d(change, _SLOW, ceil_mode=True, count_include_pad=False)
    return F.interpolate(means, change.shape[-2:], mode="bilinear", align_corners=False)


def extended(images: Tensor, stride: int) -> Tensor:
    """Grown at the bottom and on the right to multiples of `stride`, by reflection where the image is large enough."""
    height, width = images.shape[-2:]
    bottom, right = -height % stride, -width % stride
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(images, (0, right, 0, bottom), mode=mode) if bottom or right else images

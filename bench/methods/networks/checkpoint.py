"""Any checkpoint that spandrel knows, as one network from [0,1] to [0,1].

Which architecture a file is of, and with which hyperparameters, is read off its tensors by spandrel and
spandrel_extra_arches. What their own call leaves out for an architecture is here: the input range of the two face
restorers that work in [-1,1], and the switches that the official scripts set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from spandrel import (
    MAIN_REGISTRY,
    ImageModelDescriptor,
    ModelLoader,
    UnsupportedDtypeError,
    UnsupportedModelError,
    canonicalize_state_dict,
)
from spandrel_extra_arches import EXTRA_REGISTRY
from torch import Tensor, nn

from bench.errors import BenchError, ItemError, one_line

SWITCHES: Mapping[str, tuple[str, ...]] = {"CodeFormer": ("fidelity",), "HVICIDNet": ("saturate", "brightness")}
"""Options that an architecture takes, by spandrel's name of it."""


def _codeformer(model: nn.Module, image: Tensor, options: Mapping[str, Any]) -> Tensor:
    return (model(image * 2 - 1, weight=options.get("fidelity", 0.5))[0] + 1) / 2


def _gfpgan(model: nn.Module, image: Tensor, options: Mapping[str, Any]) -> Tensor:
    # The noise stored in the checkpoint; the official script draws new noise in every call.
    return (model(image * 2 - 1, randomize_noise=False)[0] + 1) / 2


FACES: Mapping[str, Callable[[nn.Module, Tensor, Mapping[str, Any]], Tensor]] = {
    "CodeFormer": _codeformer,
    "GFPGAN": _gfpgan,
}
"""Architectures that take 512×512 pixels in [-1,1] and nothing else."""
FACE_SIDE = 512


class Checkpoint(nn.Module):
    """A model of spandrel's: [B,3,H,W] in [0,1] → [B,3,s·H,s·W] in [0,1].

    Sides that the architecture cannot take are grown by reflection on the right and bottom and cut off again, as
    spandrel's size requirements say. Images go through one at a time, which is what spandrel promises for.
    """

    def __init__(self, descriptor: ImageModelDescriptor[nn.Module], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = descriptor.model
        self._descriptor = descriptor
        self._options = dict(options)
        if "saturate" in options:
            # The two gates of the official evaluation: ×1.3 saturation for LOL-v1, a factor on the output for LOL-v2.
            colours: Any = descriptor.model.trans
            colours.gated = options["saturate"]
            colours.gated2, colours.alpha = options["brightness"] != 1, options["brightness"]

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self._one(image[None]) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        architecture = str(self._descriptor.architecture.id)
        if architecture not in FACES:
            return self._descriptor(image)
        height, width = image.shape[-2:]
        if (height, width) != (FACE_SIDE, FACE_SIDE):
            raise ItemError(f"{width}×{height}: {architecture} takes aligned faces of {FACE_SIDE}×{FACE_SIDE} pixels")
        return FACES[architecture](self.model, image, self._options).clamp(0, 1)

    def to(self, *args: Any, **kwargs: Any) -> Checkpoint:
        """Like any module's, but refuses a half precision that spandrel knows the architecture fails in."""
        try:
            self._descriptor.to(*args, **kwargs)
        except UnsupportedDtypeError as error:
            raise BenchError(one_line(error)) from error
        return super().to(*args, **kwargs)


def build(
    content: Mapping[str, Any], where: str, scale: int, architecture: str | None, options: Mapping[str, Any]
) -> Checkpoint:
    """The network that a checkpoint's content is of, with its weights, on the CPU.

    Raises `BenchError` in one line for a file of no known architecture, of another than `architecture`, of another
    scale, for inpainting, for other than RGB images, and for an option that the architecture does not take.
    """
    known = MAIN_REGISTRY.copy()  # the library's own registry is left as it is
    known.add(*EXTRA_REGISTRY, ignore_duplicates=True)
    try:
        descriptor = ModelLoader(registry=known).load_from_state_dict(canonicalize_state_dict(dict(content)))
    except UnsupportedModelError as error:
        raise BenchError(f"{where} is of no architecture that spandrel or spandrel_extra_arches knows") from error
    except Exception as error:  # whatever a library's loader makes of a file that only looks like one of its own
        raise BenchError(
            f"{where} cannot be loaded by spandrel: {type(error).__name__}: {one_line(error, 160)}"
        ) from error
    found = str(descriptor.architecture.id)
    if architecture is not None and found != architecture:
        raise BenchError(f"{where} is a checkpoint of {found}, not of {architecture}")
    if not isinstance(descriptor, ImageModelDescriptor):
        raise BenchError(f"{where} ({found}) is for inpainting: it needs a mask, which no data set here has")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        channels = f"{descriptor.input_channels} → {descriptor.output_channels}"
        raise BenchError(f"{where} ({found}) takes and gives {channels} channels; only RGB, 3 → 3, can be measured")
    if descriptor.scale != scale:
        raise BenchError(f"{where} ({found}) enlarges ×{descriptor.scale}, not ×{scale}: set the option scale")
    foreign = sorted(set(options) - set(SWITCHES.get(found, ())))
    if foreign:
        takers = ", ".join(name for name, taken in SWITCHES.items() if foreign[0] in taken)
        raise BenchError(f"{where} is a checkpoint of {found}; the option {foreign[0]!r} is for {takers or 'no one'}")
    return Checkpoint(descriptor, options)

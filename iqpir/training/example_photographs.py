"""Real photographs to look at while training, as they come with scikit-image: never trained on, never measured here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from iqpir.errors import ImageFailure
from iqpir.image_files import decode, read_bytes, to_tensor
from iqpir.training.degrade.scene import KINDS, Scene, SceneParams

_FILES = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg")
_SHOWN = ("dark", "water", "backlit", "camera")
SIDE = 256


def photographs() -> list[tuple[Tensor, Tensor]]:
    """Pairs of bad picture and target, [3,256,256] in [0,1]: each kind of `Scene` done to a photograph or two.

    Empty where scikit-image is not there, or has other files.
    """
    pairs = []
    for place, image in _squares():
        for kind in (_SHOWN[place], _SHOWN[(place + 1) % len(_SHOWN)]):
            made = Scene().made(image, SceneParams(float(KINDS.index(kind)), 1.0, 0.0, 0.0), _rng(place, kind))
            assert made.target is not None
            pairs.append((made.image, made.target))
    return pairs


def clean() -> list[Tensor]:
    """The photographs as they are, [3,256,256] in [0,1]; empty likewise."""
    return [image for _, image in _squares()]


def _squares() -> list[tuple[int, Tensor]]:
    """Those of the files that there are, with their place in the list."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        return []
    home = Path(spec.submodule_search_locations[0]) / "data"
    found = []
    for place, file in enumerate(_FILES):
        try:
            found.append((place, _square(decode(read_bytes(home / file)))))
        except (ImageFailure, OSError):
            continue
    return found


def _square(pixels: np.ndarray) -> Tensor:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return to_tensor(
        cv2.resize(pixels[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    )


def _rng(place: int, kind: str) -> np.random.Generator:
    return np.random.default_rng([place, *kind.encode()])


def batches(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All bad pictures and all targets, [B,3,H,W] each."""
    return torch.stack([bad for bad, _ in pairs]), torch.stack([good for _, good in pairs])

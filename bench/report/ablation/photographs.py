"""Windows of scikit-image's photographs, degraded as in training: what an ablation is measured on.

They never enter training: `iqpir.training.images` refuses these files. The windows of one photograph have more in
common than two photographs, so what is counted as independent is a photograph, and its windows are averaged first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from bench.data.builtin import photo_folder
from bench.data.images import decode
from bench.errors import BenchError, ImageError
from iqpir.images import to_tensor
from iqpir.training.degrade import degradation

_TEST = 77
"""Begins the seeds of what is drawn here."""

PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "moon.png", "motorcycle_left.png", "rocket.jpg",
)  # fmt: skip
"""Five in colour, six gray; the second motorcycle of the wheel shows the scene of the first."""


class Window(NamedTuple):
    """A square of a photograph."""

    name: str
    photograph: str
    lq: np.ndarray
    """uint8 RGB [side,side,3]."""
    gt: np.ndarray


def windows(kind: Any, side: int, each: int = 2) -> list[Window]:
    """`each` windows of every photograph, from end to end of its longer side, and central along the other.

    `kind`: a degradation of training's, drawn anew for every window from seeds that depend on its name alone. Raises
    `BenchError` for a photograph that is missing or smaller than the window.
    """
    degrade = degradation(kind)
    found = []
    for file in PHOTOGRAPHS:
        pixels = _pixels(file)
        height, width = pixels.shape[:2]
        if min(height, width) < side:
            raise BenchError(f"{file} has {width}×{height} pixels; a window of {side} does not fit")
        for number in range(each):
            along = round((max(height, width) - side) * (number / (each - 1) if each > 1 else 0.5))
            across = (min(height, width) - side) // 2
            top, left = (along, across) if height > width else (across, along)
            gt = np.ascontiguousarray(pixels[top : top + side, left : left + side])
            name = f"{file.partition('.')[0]}-{number}"
            rng = np.random.default_rng([_TEST, *name.encode()])
            made = degrade(to_tensor(gt), rng)
            target = gt if made.target is None else as_pixels(made.target)
            found.append(Window(name, file.partition(".")[0], as_pixels(made.image), target))
    return found


def _pixels(file: str) -> np.ndarray:
    path = photo_folder() / file
    if not path.is_file():
        raise ImageError(f"{path} is not there; reinstall scikit-image")
    return decode(path)


def as_pixels(image: torch.Tensor) -> np.ndarray:
    """float [3,H,W] in [0,1] → uint8 [H,W,3], rounded."""
    found: np.ndarray = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(found)

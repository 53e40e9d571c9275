"""What all training degradations share: ranges, drawing before applying, and the few operations on pixels.

A degradation is a frozen dataclass of ranges. `draw` turns it into one record of numbers, `apply` does what the record
says: so what happened to an image is always known, and either half can be tested alone. Pixels are float32 [H,W,3]
inside and float32 tensors [3,H,W] outside.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from iqpir.errors import IQPIRError

Range = tuple[float, float]
"""The lowest and the highest value that is drawn."""


class Degraded(NamedTuple):
    image: Tensor
    """float32 [3,H,W] in [0,1], on the grid of 8 bits."""
    params: Any
    """The record that was drawn: a NamedTuple of floats, which collates into a NamedTuple of tensors."""
    target: Tensor | None = None
    """What to restore it to, as `image`; None: the image that was degraded."""
    score: float | None = None
    """The quality of the target, where the degradation decides it, in [0,1]."""
    clean: Tensor | None = None
    """`image` without noise, blocks and blur, in the light and the colours that it has; as `image`."""
    steps: Tensor | None = None
    """float32 [K,3,H,W] of a composite: the clean image, and what it is after each degradation; the last is `image`."""
    behind: Tensor | None = None
    """`image` without the rain and the snow before it, where a composite is asked for it; as `image`."""


@dataclass(frozen=True)
class Degradation(ABC):
    """From a good image to a bad one. Every field of two numbers is a range; see the subclass for its unit."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {}
    """Outside these a range has no meaning; by field."""

    def __post_init__(self) -> None:
        """Raises `IQPIRError` for a range that is not two finite numbers in order, or outside `BOUNDS`."""
        for field in fields(self):
            if field.name in self.BOUNDS:
                _check(type(self).__name__, field.name, getattr(self, field.name), self.BOUNDS[field.name])

    @abstractmethod
    def draw(self, rng: np.random.Generator, side: int) -> Any:
        """A record of numbers for an image whose shorter side has `side` pixels."""

    @abstractmethod
    def apply(self, image: np.ndarray, params: Any, rng: np.random.Generator) -> np.ndarray:
        """float32 [H,W,3] in [0,1] → the same, degraded as the record says; neither clipped nor rounded."""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Degraded:
        """float32 RGB [3,H,W] in [0,1] → its degraded version, rounded to 8 bits as a file would be.

        The result depends on the image and on the state of `rng` alone.
        """
        pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
        params = self.draw(rng, min(pixels.shape[:2]))
        degraded = quantise(self.apply(pixels, params, rng)).transpose(2, 0, 1)
        return Degraded(torch.from_numpy(degraded.astype(np.float32) / np.float32(255)), params)


def _check(owner: str, name: str, value: object, bounds: Range) -> None:
    one = isinstance(value, int | float) and not isinstance(value, bool)
    ends = (value,) if one else value
    good = isinstance(ends, tuple) and all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
    if not good or (not one and len(ends) != 2) or not bounds[0] <= ends[0] <= ends[-1] <= bounds[1]:  # type: ignore
        kind = "a number" if one else "two numbers, low and high,"
        raise IQPIRError(f"{owner}: {name} is {value!r}; it must be {kind} within {bounds[0]:g} and {bounds[1]:g}")


def uniform(rng: np.random.Generator, limits: Range) -> float:
    return limits[0] + (limits[1] - limits[0]) * float(rng.random())


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    """Every factor equally likely; for quantities that are told apart by their ratio."""
    return limits[0] * (limits[1] / limits[0]) ** float(rng.random())


def quantise(image: np.ndarray) -> np.ndarray:
    """[0,1] → uint8, clipped and rounded."""
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """float32 RGB [H,W,3] → what a JPEG file of this quality (its whole part, 4:2:0) gives back."""
    done, coded = cv2.imencode(".jpg", quantise(image)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not done:
        raise IQPIRError("OpenCV cannot write JPEG: reinstall opencv-python-headless")
    pixels: np.ndarray = cv2.imdecode(coded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return pixels[:, :, ::-1].astype(np.float32) / np.float32(255)


def to_linear(image: np.ndarray) -> np.ndarray:
    """sRGB in [0,1] → linear light in [0,1] (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((np.maximum(image, 0) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light, clipped to [0,1] → sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def sensor(light: np.ndarray, well: float, read: float, rng: np.random.Generator) -> np.ndarray:
    """Linear light → what a sensor counts of it: Poisson(well·light)/well + N(0, (read/well)²).

    `well` is the electrons of a white pixel, `read` the read noise in electrons (Foi et al., "Practical Poissonian-
    Gaussian noise modeling", 2008). The mean is kept; the variance is light/well + (read/well)².
    """
    electrons = rng.poisson(np.maximum(light, 0) * well) + read * rng.standard_normal(light.shape, dtype=np.float32)
    return (electrons / well).astype(np.float32)


def smooth_field(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """float32 [H,W] in [0,1] that changes over about 1/cells of the image: a coarse random grid, cubic between."""
    grid = rng.random((cells + 3, cells + 3), dtype=np.float32)
    field = cv2.resize(
        grid, (width * (cells + 3) // cells, height * (cells + 3) // cells), interpolation=cv2.INTER_CUBIC
    )
    top, left = (field.shape[0] - height) // 2, (field.shape[1] - width) // 2
    return np.clip(field[top : top + height, left : left + width], 0, 1)

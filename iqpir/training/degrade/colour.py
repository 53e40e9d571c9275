"""Wrong colours of a face: what face colour enhancement (IQPFR, section 4.3) is trained to put right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import Degradation, Range, uniform


class FaceColourParams(NamedTuple):
    red: float
    """Added to the red channel, in levels of 255; 0 where channels were not shifted."""
    green: float
    blue: float
    brightness: float
    """Factor of brightness; 1 where colours were not jittered, as with the next three."""
    contrast: float
    saturation: float
    hue: float
    """Turn of the hue, in parts of a full circle."""
    order: float
    """Which of the 24 orders the four were done in; see `ORDERS`."""
    gray: float
    """1 where colour was taken away, else 0."""


@dataclass(frozen=True)
class FaceColour(Degradation):
    """A shift of each channel; brightness, contrast, saturation and hue in random order; gray: each step by chance.

    Chances and ranges are the authors' colourisation configuration. About half of the images keep their colours.
    """

    shift_chance: float = 0.3
    shift: float = 20.0
    """Largest shift of a channel, either way, in levels of 255; uniform."""
    jitter_chance: float = 0.3
    brightness: Range = (0.5, 1.5)
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.0, 1.5)
    hue: Range = (-0.1, 0.1)
    gray_chance: float = 0.01

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "shift_chance": (0, 1),
        "shift": (0, 255),
        "jitter_chance": (0, 1),
        "brightness": (0, 10),
        "contrast": (0, 10),
        "saturation": (0, 10),
        "hue": (-0.5, 0.5),
        "gray_chance": (0, 1),
    }

    def draw(self, rng: np.random.Generator, side: int) -> FaceColourParams:
        red, green, blue = 0.0, 0.0, 0.0
        if rng.random() < self.shift_chance:
            red, green, blue = (uniform(rng, (-self.shift, self.shift)) for _ in range(3))
        brightness, contrast, saturation, hue, order = 1.0, 1.0, 1.0, 0.0, 0.0
        if rng.random() < self.jitter_chance:
            ranges = (self.brightness, self.contrast, self.saturation, self.hue)
            brightness, contrast, saturation, hue = (uniform(rng, limits) for limits in ranges)
            order = float(rng.integers(len(ORDERS)))
        gray = float(rng.random() < self.gray_chance)
        return FaceColourParams(red, green, blue, brightness, contrast, saturation, hue, order, gray)

    def apply(self, image: np.ndarray, params: FaceColourParams, rng: np.random.Generator) -> np.ndarray:
        shift = np.array([params.red, params.green, params.blue], dtype=np.float32) / np.float32(255)
        image = np.clip(image + shift, 0, 1)
        factors = (params.brightness, params.contrast, params.saturation, params.hue)
        if factors != (1.0, 1.0, 1.0, 0.0):
            for each in ORDERS[int(params.order)]:
                image = _ADJUST[each](image, np.float32(factors[each]))
        return np.repeat(_gray(image), 3, axis=2) if params.gray else image


# The four as torchvision's ColorJitter defines them on float images, which the authors use.


def _gray(image: np.ndarray) -> np.ndarray:
    return (image @ np.array([0.2989, 0.587, 0.114], dtype=np.float32))[:, :, None]


def _brightness(image: np.ndarray, factor: np.float32) -> np.ndarray:
    return np.clip(image * factor, 0, 1)


def _contrast(image: np.ndarray, factor: np.float32) -> np.ndarray:
    return np.clip(image * factor + (1 - factor) * _gray(image).mean(), 0, 1)


def _saturation(image: np.ndarray, factor: np.float32) -> np.ndarray:
    return np.clip(image * factor + (1 - factor) * _gray(image), 0, 1)


def _hue(image: np.ndarray, turn: np.float32) -> np.ndarray:
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    colours[:, :, 0] = (colours[:, :, 0] + turn * 360) % 360
    return np.clip(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), 0, 1)


_ADJUST = (_brightness, _contrast, _saturation, _hue)

ORDERS: tuple[tuple[int, ...], ...] = tuple(
    (first, second, third, 6 - first - second - third)
    for first in range(4)
    for second in range(4)
    for third in range(4)
    if len({first, second, third}) == 3
)
"""Of brightness 0, contrast 1, saturation 2 and hue 3."""

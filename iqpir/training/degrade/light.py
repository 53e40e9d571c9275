"""Too little light: of the whole scene (low light), or of the subject only (backlit). Both in linear light.

The papers train these tasks on real pairs (LOL, BAID) and describe no synthesis; models and ranges are this package's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import (
    Degradation,
    Range,
    log_uniform,
    sensor,
    smooth_field,
    to_linear,
    to_srgb,
    uniform,
)


class LowLightParams(NamedTuple):
    exposure: float
    """Part of the light that is left."""
    gamma: float
    """Exponent of the tone curve, on sRGB values."""
    red: float
    """Gain of the red channel, green = 1: a wrong white balance."""
    blue: float
    well: float
    """Electrons of a white pixel."""
    read: float
    """Read noise in electrons."""


@dataclass(frozen=True)
class LowLight(Degradation):
    """x = gains·e·lin(I), counted by a noisy sensor, sRGB-encoded and bent by a tone curve."""

    exposure: Range = (0.01, 0.25)
    """Log-uniform."""
    gamma: Range = (0.9, 1.4)
    """Uniform; above 1 it darkens shadows further."""
    cast: Range = (0.88, 1.14)
    """Log-uniform gains of red and of blue."""
    well: Range = (1000.0, 12000.0)
    """Log-uniform."""
    read: Range = (1.0, 6.0)
    """Log-uniform."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "exposure": (1e-4, 1),
        "gamma": (0.1, 5),
        "cast": (0.1, 10),
        "well": (10, 1e6),
        "read": (1e-3, 1e3),
    }

    def draw(self, rng: np.random.Generator, side: int) -> LowLightParams:
        return LowLightParams(
            log_uniform(rng, self.exposure),
            uniform(rng, self.gamma),
            log_uniform(rng, self.cast),
            log_uniform(rng, self.cast),
            log_uniform(rng, self.well),
            log_uniform(rng, self.read),
        )

    def apply(self, image: np.ndarray, params: LowLightParams, rng: np.random.Generator) -> np.ndarray:
        gains = np.array([params.red, 1, params.blue], dtype=np.float32) * np.float32(params.exposure)
        return to_srgb(sensor(to_linear(image) * gains, params.well, params.read, rng)) ** params.gamma


class BacklitParams(NamedTuple):
    shade: float
    """Part of the light that is left on the subject."""
    glare: float
    """Exposure of the background."""
    share: float
    """Part of the image that the subject covers."""
    edge: float
    """Width of the passage between them, in parts of the mask's own spread."""
    follow: float
    """How far the mask follows the image's brightness: 0 not at all."""
    well: float
    read: float


@dataclass(frozen=True)
class Backlit(Degradation):
    """lin(I)·glare^(1−m)·shade^m, counted by a noisy sensor; m is the soft mask of a dark subject.

    Between subject and background the exposure passes through their geometric mean, as stops do.
    """

    shade: Range = (0.03, 0.25)
    """Log-uniform."""
    glare: Range = (0.9, 1.6)
    """Uniform; above 1 the background begins to clip."""
    share: Range = (0.2, 0.8)
    """Uniform."""
    edge: Range = (0.03, 0.3)
    """Log-uniform."""
    follow: Range = (0.0, 1.5)
    """Uniform. What is before a bright background is mostly darker than it: so edges of mask and image can agree."""
    cells: Range = (1, 4)
    """Whole number, both ends included: how many bumps the mask has along a side."""
    well: Range = (3000.0, 20000.0)
    read: Range = (1.0, 6.0)

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "shade": (1e-4, 1),
        "glare": (0.1, 10),
        "share": (0, 1),
        "edge": (1e-3, 10),
        "follow": (0, 10),
        "cells": (1, 32),
        "well": (10, 1e6),
        "read": (1e-3, 1e3),
    }

    def draw(self, rng: np.random.Generator, side: int) -> BacklitParams:
        return BacklitParams(
            log_uniform(rng, self.shade),
            uniform(rng, self.glare),
            uniform(rng, self.share),
            log_uniform(rng, self.edge),
            uniform(rng, self.follow),
            log_uniform(rng, self.well),
            log_uniform(rng, self.read),
        )

    def apply(self, image: np.ndarray, params: BacklitParams, rng: np.random.Generator) -> np.ndarray:
        mask = self.mask(image, params, rng)[:, :, None]
        exposure = params.glare * (params.shade / params.glare) ** mask
        return to_srgb(sensor(to_linear(image) * exposure, params.well, params.read, rng))

    def mask(self, image: np.ndarray, params: BacklitParams, rng: np.random.Generator) -> np.ndarray:
        """float32 [H,W] in [0,1], 1 in the subject; above ½ on `params.share` of the image."""
        height, width = image.shape[:2]
        cells = int(rng.integers(int(self.cells[0]), int(self.cells[1]) + 1))
        field = smooth_field(rng, height, width, cells)
        field = (field - field.mean()) / (field.std() + 1e-6)
        soft = cv2.GaussianBlur(image.mean(axis=2), (0, 0), max(1.0, min(height, width) / 64))
        field = field - params.follow * (soft - soft.mean()) / (soft.std() + 0.05)
        level = np.quantile(field, 1 - params.share)
        ramp = np.clip(0.5 + (field - level) / (params.edge * (field.std() + 1e-6)) / 2, 0, 1)
        return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)

"""Under water: red light goes first, and the water between camera and scene glows.

The papers train on real images (UIEB) and describe no synthesis; model and ranges are this package's, from the physics.
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

# Attenuation β of red, green and blue light in 1/m at turbidity 0, ½ and 1: about Jerlov's water types I (clear
# ocean), 1 (coast) and 5 (turbid coast), −ln of the transmissions of one metre in Li, Anwar, Porikli, "Underwater scene
# prior inspired deep underwater image and video enhancement", Pattern Recognition 98 (2020).
_WATERS = np.array([[0.217, 0.040, 0.018], [0.288, 0.122, 0.134], [0.400, 0.315, 0.400]])
_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


class UnderwaterParams(NamedTuple):
    red: float
    """β of red light, 1/m."""
    green: float
    blue: float
    near: float
    """Distance of the nearest point, metres."""
    far: float
    """Distance of the farthest point, metres."""
    depth: float
    """Metres of water above the scene, through which daylight has come."""
    veil: float
    """Brightness of endless water in its clearest colour, relative to the daylight there."""
    scatter: float
    """Standard deviation of the blur by forward scattering at the farthest point, in parts of the shorter side."""
    metering: float
    """How far the camera made up for the loss of light: 0 not at all, 1 to the scene's own mean brightness."""
    well: float
    read: float


@dataclass(frozen=True)
class Underwater(Degradation):
    """I = J·E·e^(−β·d) + B·(1 − e^(−β·d)) in linear light, E = e^(−β·depth) the daylight left (after Jaffe 1990).

    The veil B = veil·E·min(β)/β is what scattering equal in all colours gives (B ∝ E·b/β: Akkaynak and Treibitz, CVPR
    2018). The distance d is a random slope with bumps, as nothing is known of a crop's geometry.
    """

    turbidity: Range = (0.0, 1.0)
    """Uniform; 0 the clear ocean, 1 a turbid coast. Each β then varies by ±`spread` on its own."""
    spread: Range = (0.85, 1.18)
    """Log-uniform factor of each β."""
    near: Range = (0.3, 1.5)
    """Uniform."""
    far: Range = (2.0, 10.0)
    """Uniform, but no farther than `visible` lengths of green light's attenuation."""
    depth: Range = (0.0, 6.0)
    """Uniform, with the same limit."""
    visible: float = 1.5
    """What is farther cannot be made out, and is not worth learning to restore."""
    veil: Range = (0.15, 0.6)
    """Uniform."""
    scatter: Range = (0.0, 0.008)
    """Uniform."""
    metering: Range = (0.0, 1.0)
    """Uniform. Cameras meter; with 0 the picture is as dark as the water."""
    well: Range = (3000.0, 20000.0)
    """Log-uniform."""
    read: Range = (1.0, 6.0)
    """Log-uniform."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "turbidity": (0, 1),
        "spread": (0.1, 10),
        "near": (0, 100),
        "far": (0, 100),
        "depth": (0, 100),
        "visible": (0.1, 10),
        "veil": (0, 1),
        "scatter": (0, 0.1),
        "metering": (0, 1),
        "well": (10, 1e6),
        "read": (1e-3, 1e3),
    }

    def draw(self, rng: np.random.Generator, side: int) -> UnderwaterParams:
        place = uniform(rng, self.turbidity) * 2
        low = min(int(place), 1)
        beta = np.exp(np.log(_WATERS[low]) + (place - low) * np.log(_WATERS[low + 1] / _WATERS[low]))
        red, green, blue = (float(each) * log_uniform(rng, self.spread) for each in beta)
        limit = self.visible / green
        near = min(uniform(rng, self.near), limit)
        return UnderwaterParams(
            red,
            green,
            blue,
            near,
            max(near, min(uniform(rng, self.far), limit)),
            min(uniform(rng, self.depth), limit),
            uniform(rng, self.veil),
            uniform(rng, self.scatter),
            uniform(rng, self.metering),
            log_uniform(rng, self.well),
            log_uniform(rng, self.read),
        )

    def apply(self, image: np.ndarray, params: UnderwaterParams, rng: np.random.Generator) -> np.ndarray:
        distance = self.distance(image.shape[0], image.shape[1], params, rng)
        scene = to_linear(image).astype(np.float32)
        beta = np.array([params.red, params.green, params.blue], dtype=np.float32)
        through = np.exp(-beta * distance[:, :, None])
        daylight = np.exp(-beta * np.float32(params.depth))
        direct = scene * through
        if (sigma := params.scatter * min(image.shape[:2])) > 0.2:
            near = (params.far - distance)[:, :, None] / max(params.far - params.near, 1e-6)
            direct = near * direct + (1 - near) * cv2.GaussianBlur(direct, (0, 0), sigma)
        veil = params.veil * beta.min() / beta
        light = daylight * (direct + veil * (1 - through))
        gain = ((scene @ _LUMA).mean() + 1e-4) / ((light @ _LUMA).mean() + 1e-4)
        return to_srgb(sensor(light * gain**params.metering, params.well, params.read, rng))

    def distance(self, height: int, width: int, params: UnderwaterParams, rng: np.random.Generator) -> np.ndarray:
        """float32 [H,W], metres: reaches `near` at one point at least, and `far` at another."""
        turn = rng.random() * 2 * np.pi
        rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        relief = smooth_field(rng, height, width, 3) + rng.random() * (np.cos(turn) * columns + np.sin(turn) * rows)
        low, high = relief.min(), relief.max()
        part = (relief - low) / max(high - low, 1e-6)
        return (params.near + (params.far - params.near) * part).astype(np.float32)

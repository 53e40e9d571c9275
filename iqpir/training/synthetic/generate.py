"""Training images that need no download: large sheets of generated scenes, drawn once and cropped many times.

A sheet stacks what makes photographs hard: leaves that occlude each other with radii after a power law (the dead-leaves
model: Lee, Mumford, Huang, "Occlusion models for natural images", IJCV 2001), textures, gradients, buildings, lines and
text, out-of-focus grounds, shadows and uneven light. Colours vary along the axes that decorrelate natural ones. It
looks like no particular thing, but edges, spectrum and contrast are those of photographs. Not meant to be realistic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import log_uniform, uniform
from iqpir.training.synthetic import patterns

VERSION = 1
"""Changes whenever the same seed gives other pixels."""
SIDE = 1024
"""Of a sheet, pixels."""


@dataclass(frozen=True)
class SceneKind:
    """What a sheet is made of; one of `SCENES`."""

    weight: float
    """How often, relative to the others."""
    leaves: tuple[int, int]
    """Fewest and most leaves of the layer in focus."""
    radius: tuple[float, float]
    """Range of the smallest radius, pixels; the largest is SIDE/4."""
    shapes: tuple[float, float, float, float]
    """Chances of ellipses, blobs, polygons and boxes."""
    texture: tuple[float, float]
    """Range of the mean amplitude of textures."""
    flat: float
    """Share of leaves without texture."""
    built: float = 0.25
    """Chance of walls: perspective grids of windows, bricks or checks."""
    text: float = 0.25
    lines: float = 0.4
    ground: float = 0.5
    """Chance that the ground is itself full of leaves, out of focus."""


SCENES: dict[str, SceneKind] = {
    "leaves": SceneKind(4, (4000, 12000), (1.5, 4.0), (4, 3, 2, 1), (0.04, 0.14), 0.3),
    "things": SceneKind(4, (400, 2500), (4.0, 14.0), (3, 4, 2, 2), (0.03, 0.12), 0.4),
    "smooth": SceneKind(2, (5, 60), (20.0, 60.0), (3, 4, 1, 1), (0.01, 0.06), 0.6, text=0.1),
    "textures": SceneKind(2, (60, 300), (30.0, 60.0), (1, 4, 2, 2), (0.1, 0.25), 0.1, text=0.1),
    "town": SceneKind(2, (400, 3000), (4.0, 12.0), (1, 1, 2, 6), (0.02, 0.1), 0.5, built=1.0, text=0.5, lines=0.6),
    "page": SceneKind(1, (10, 100), (15.0, 40.0), (1, 1, 1, 4), (0.003, 0.02), 0.8, text=1.0, lines=0.7, ground=0.0),
}


class Palette(NamedTuple):
    """Colours of one sheet."""

    centres: np.ndarray
    """[N,3], sRGB: the few colours that its things have."""
    spread: np.ndarray
    """[3]: standard deviation of luminance, yellow-blue and red-green within one of them."""

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """float32 [count,3]; luminance is drawn anew, as light and shade have all colours."""
        chosen = self.centres[rng.integers(len(self.centres), size=count)]
        colours = chosen + patterns.from_opponent(rng.standard_normal((count, 3)) * self.spread)
        return np.clip(colours, 0.01, 0.99).astype(np.float32)


def draw_palette(rng: np.random.Generator) -> Palette:
    """Luminance varies most, then yellow-blue, then red-green, as in natural images (Ruderman et al., 1998)."""
    count = int(rng.integers(3, 9))
    chroma = log_uniform(rng, (0.15, 1.5))
    opponent = rng.standard_normal((count, 3)) * np.array([0.3, 0.12 * chroma, 0.06 * chroma])
    opponent[:, 2] += 0.3 * opponent[:, 1]  # warm colours and cold ones are commoner than green and purple
    mean = np.array([uniform(rng, (0.3, 0.6)) * 3**0.5, 0.03 + 0.06 * chroma * rng.standard_normal(), 0.01])
    return Palette(
        np.clip(patterns.from_opponent(opponent + mean), 0.02, 0.98), np.array([0.3, 0.03 * chroma, 0.02 * chroma])
    )


def draw_sheet(seed: int, number: int, side: int = SIDE) -> np.ndarray:
    """Sheet `number` of a seed: uint8 RGB [side,side,3]. The same arguments give the same pixels."""
    rng = np.random.default_rng([seed, number, VERSION])
    weights = np.array([scene.weight for scene in SCENES.values()])
    name = list(SCENES)[int(rng.choice(len(SCENES), p=weights / weights.sum()))]
    return draw_scene(SCENES[name], rng, side)


def draw_scene(scene: SceneKind, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """A sheet of one kind: uint8 RGB [side,side,3]."""
    palette = draw_palette(rng)
    fields = patterns.draw_fields(rng, side)
    image = _ground(scene, palette, fields, rng, side)
    # Three times in four walls and lines stand behind the leaves.
    behind = rng.random() < 0.75
    for place in range(2):
        if place == behind:
            image = _leaves(image, scene, palette, fields, rng, int(rng.integers(*scene.leaves)))
        else:
            if rng.random() < scene.built:
                for _ in range(int(rng.integers(1, 4))):
                    image = patterns.put_panel(image, *patterns.wall(palette.draw(rng, 24), rng), rng)
            if rng.random() < scene.lines:
                patterns.put_lines(image, palette.draw(rng, 32), rng)
    if rng.random() < scene.text:
        for _ in range(int(rng.integers(1, 5))):
            image = patterns.put_panel(image, *patterns.text(palette.draw(rng, 2), rng), rng)
    return _develop(image, fields, rng)


def _ground(
    scene: SceneKind, palette: Palette, fields: list[np.ndarray], rng: np.random.Generator, side: int
) -> np.ndarray:
    """float32 [side,side,3]: a gradient with clouds, and with leaves out of focus where the scene has them."""
    corners = palette.draw(rng, 4).reshape(2, 2, 3)
    image = cv2.resize(corners, (side, side), interpolation=cv2.INTER_LINEAR)
    image = image + log_uniform(rng, (0.01, 0.12)) * fields[0][:, :, None]
    if rng.random() < scene.ground:
        small = cv2.resize(image, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
        small = _leaves(small, scene, palette, [field[::2, ::2] for field in fields], rng, int(rng.integers(100, 800)))
        small = cv2.GaussianBlur(small, (0, 0), log_uniform(rng, (0.5, 6.0)))
        image = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    return image


def _leaves(
    image: np.ndarray,
    scene: SceneKind,
    palette: Palette,
    fields: list[np.ndarray],
    rng: np.random.Generator,
    count: int,
) -> np.ndarray:
    """The image with `count` leaves upon it, each with a colour, a gradient, a texture and a shadow of its own."""
    side = image.shape[0]
    smallest = uniform(rng, scene.radius) * max(0.5, side / SIDE)
    numbers, centres, radii = patterns.leaf_map(rng, side, count, smallest, side / 4, scene.shapes)
    colours = palette.draw(rng, count)
    # Number 0 is the ground; its colour in the table only meets the edges of leaves, where it is mixed out again.
    table = np.concatenate([np.zeros((1, 3), np.float32), colours])
    fine = (table * 255).astype(np.uint8)[numbers]
    covered = cv2.resize((numbers > 0).astype(np.uint8) * 255, (side, side), interpolation=cv2.INTER_AREA)
    cover = covered[:, :, None].astype(np.float32) / 255
    painted = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255

    plain = np.ascontiguousarray(numbers[::2, ::2])
    tilt = rng.standard_normal((2, count + 1)).astype(np.float32) * 0.12 / np.concatenate([[1e9], radii])
    at = np.arange(side, dtype=np.float32)
    middle = np.concatenate([np.zeros((1, 2)), centres]).astype(np.float32)
    shade = tilt[0].take(plain) * (at[None, :] - middle[:, 0].take(plain))
    shade += tilt[1].take(plain) * (at[:, None] - middle[:, 1].take(plain))
    np.clip(shade, -0.3, 0.3, out=shade)

    amplitude = rng.exponential(uniform(rng, scene.texture), count + 1) * (rng.random(count + 1) > scene.flat)
    amplitude = np.minimum(amplitude, 0.3).astype(np.float32)
    kinds = rng.choice(len(fields), size=count + 1, p=[0.5, 0.2, 0.15, 0.15])
    for kind, field in enumerate(fields):
        shade += np.where(kinds == kind, amplitude, 0).astype(np.float32).take(plain) * field
    if rng.random() < 0.6:
        shade -= patterns.shadow(plain, rng)
    # A surface gets lighter or darker as a whole: by a factor, not by a sum, and not to black.
    painted *= np.clip(1 + 1.6 * shade, 0.15, 2.5)[:, :, None]
    return image * (1 - cover) + painted


def _develop(image: np.ndarray, fields: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Uneven light, contrast and lens of the whole sheet; float32 → uint8."""
    side = image.shape[0]
    coarse = cv2.resize(rng.standard_normal((5, 5), dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    image = image * np.exp(uniform(rng, (0.0, 0.25)) * coarse)[:, :, None]
    gray = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    contrast = uniform(rng, (0.16, 0.27)) / max(float(gray.std()), 0.05)
    image = (image - gray.mean()) * np.clip(contrast, 0.6, 1.8) + uniform(rng, (0.32, 0.6))
    # Highlights and shadows bend instead of breaking off.
    image = 0.5 + 0.52 * np.tanh(2.5 * (image - 0.5))
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), uniform(rng, (0.3, 0.5)))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)

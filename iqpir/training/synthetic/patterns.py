"""Parts of generated scenes: noise fields, leaves, walls, lines, text. Each draws from the generator it is given."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy import fft

from iqpir.training.degrade.base import log_uniform, uniform

if TYPE_CHECKING:
    from PIL import ImageFont

# Rows: luminance, yellow-blue, red-green; orthonormal. Nearly the principal axes of natural colours.
OPPONENT = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])


def from_opponent(colours: np.ndarray) -> np.ndarray:
    """[N,3] on the axes of `OPPONENT` → RGB."""
    return colours @ OPPONENT


# ---------------------------------------------------------------------------------------------------------------------
# Fields: float32 [side,side], mean 0, standard deviation 1


def draw_fields(rng: np.random.Generator, side: int) -> list[np.ndarray]:
    """Four textures: 1/f noise, the same stretched along a direction, a labyrinth of spots or stripes, and a weave."""
    return [
        power_law(rng, side, uniform(rng, (1.6, 2.6))),
        power_law(rng, side, uniform(rng, (1.6, 2.6)), stretch=log_uniform(rng, (2.5, 12.0))),
        labyrinth(rng, side, log_uniform(rng, (5.0, 28.0))),
        weave(rng, side, log_uniform(rng, (4.0, 32.0))),
    ]


def power_law(rng: np.random.Generator, side: int, slope: float, stretch: float = 1.0) -> np.ndarray:
    """Gaussian noise whose power falls as 1/f^slope; natural images have slopes near 2.

    `stretch` > 1 draws it out along a random direction, as wood and grass are.
    """
    across, along = _frequencies(side, uniform(rng, (0, np.pi)))
    radius = np.sqrt((across / stretch) ** 2 + along**2 * stretch)
    radius[0, 0] = np.inf
    return _filtered(rng, side, radius ** np.float32(-slope / 2))


def labyrinth(rng: np.random.Generator, side: int, wavelength: float) -> np.ndarray:
    """What reaction and diffusion leave: noise of one wavelength (pixels), pressed towards two values."""
    across, along = _frequencies(side, uniform(rng, (0, np.pi)))
    radius = np.sqrt((across * uniform(rng, (1.0, 1.8))) ** 2 + along**2) * wavelength / side
    band = _filtered(rng, side, np.exp(-0.5 * ((radius - 1) / uniform(rng, (0.12, 0.4))) ** 2).astype(np.float32))
    # A level other than 0 makes spots of the stripes.
    pressed = np.tanh(uniform(rng, (1.0, 5.0)) * (band + uniform(rng, (-0.8, 0.8))))
    return _standard(pressed)


def weave(rng: np.random.Generator, side: int, wavelength: float) -> np.ndarray:
    """Two gratings across each other, or one alone, bent by a slow field: cloth, ripples, grilles."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    bend = cv2.resize(rng.standard_normal((7, 7), dtype=np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    bend *= uniform(rng, (0.0, 4.0))
    turn, step = uniform(rng, (0, np.pi)), 2 * np.pi / wavelength
    wave = np.sin(step * (np.cos(turn) * columns + np.sin(turn) * rows) + bend)
    if rng.random() < 0.5:
        wave *= np.sin(step * uniform(rng, (0.4, 1.2)) * (np.cos(turn) * rows - np.sin(turn) * columns) + bend)
    return _standard(np.tanh(uniform(rng, (0.5, 3.0)) * wave))


def _frequencies(side: int, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Cycles per sheet along two axes at right angles, for a half spectrum [side, side//2+1]."""
    rows = (fft.fftfreq(side) * side).astype(np.float32)[:, None]
    columns = np.arange(side // 2 + 1, dtype=np.float32)[None, :]
    sine, cosine = np.float32(np.sin(turn)), np.float32(np.cos(turn))
    return cosine * columns + sine * rows, cosine * rows - sine * columns


def _filtered(rng: np.random.Generator, side: int, response: np.ndarray) -> np.ndarray:
    spectrum = rng.standard_normal((side, side // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, :, 0]
    return _standard(fft.irfft2(spectrum * response.astype(np.float32), s=(side, side)))


def _standard(field: np.ndarray) -> np.ndarray:
    return ((field - field.mean()) / (field.std() + 1e-6)).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Leaves


def leaf_map(
    rng: np.random.Generator,
    side: int,
    count: int,
    smallest: float,
    largest: float,
    shapes: Sequence[float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaves in painter's order: (numbers int32 [2·side,2·side], centres [count,2] as x and y, radii [count]).

    Radii have a density ∝ r^−3, with which occlusion gives scale-invariant images (Lee, Mumford, Huang 2001). A pixel
    of the map, drawn at twice the size so that edges can be smoothed, holds the number of the leaf in front, 1 for the
    first; 0 where there is none. Shapes: chances of ellipses, blobs, polygons and boxes.
    """
    part = rng.random(count)
    radii = smallest / np.sqrt(1 - part * (1 - (smallest / largest) ** 2))
    centres = rng.random((count, 2)) * (side + smallest * 4) - smallest * 2
    chances = np.array(shapes) / sum(shapes)
    kinds = rng.choice(4, size=count, p=chances)
    turns = rng.random(count) * 2 * np.pi
    # Boxes stand upright mostly, as what people build does.
    turns = np.where((kinds == 3) & (rng.random(count) < 0.7), 0.0, turns)
    aspects = np.exp(-np.abs(rng.standard_normal(count)) * 0.6)
    corners = 16
    angles = np.broadcast_to(np.arange(corners) * (2 * np.pi / corners), (count, corners)).copy()
    reach = np.ones((count, corners))
    bumps = rng.standard_normal((count, 4, 2)) / np.arange(1, 5)[None, :, None] * 0.22
    for order in range(1, 5):
        wave = bumps[:, order - 1, :1] * np.cos(order * angles) + bumps[:, order - 1, 1:] * np.sin(order * angles)
        reach += np.where((kinds == 1)[:, None], wave, 0)
    sides = rng.integers(3, 7, size=count)
    jagged = (kinds == 2)[:, None]
    angles = np.where(jagged, np.floor(angles / (2 * np.pi) * sides[:, None]) / sides[:, None] * 2 * np.pi, angles)
    quarter = np.floor(np.arange(corners) / 4) * (np.pi / 2) + np.pi / 4
    angles = np.where((kinds == 3)[:, None], quarter[None, :], angles)
    reach = np.maximum(reach, 0.2) * radii[:, None]
    x, y = reach * np.cos(angles), reach * np.sin(angles) * aspects[:, None]
    cosine, sine = np.cos(turns)[:, None], np.sin(turns)[:, None]
    points = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=2) + centres[:, None, :]
    fixed = np.round(points * 2 * 16).astype(np.int32)  # half pixels, with four binary places
    numbers = np.zeros((2 * side, 2 * side), dtype=np.int32)
    for number in range(count):
        if kinds[number] == 1:
            cv2.fillPoly(numbers, [fixed[number]], number + 1, shift=4)
        else:
            cv2.fillConvexPoly(numbers, fixed[number], number + 1, shift=4)
    return numbers, centres, radii


def shadow(numbers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 [H,W] ≥ 0: how much darker it gets where a leaf further in front stands between it and the light."""
    reach = int(rng.integers(2, 14))
    down, right = int(rng.integers(-reach, reach + 1)), int(rng.integers(-reach, reach + 1))
    front = np.roll(numbers, (down, right), axis=(0, 1))
    mask = (front > numbers).astype(np.float32) * np.float32(uniform(rng, (0.1, 0.4)))
    return cv2.GaussianBlur(mask, (0, 0), max(0.7, reach / uniform(rng, (2.0, 6.0))))


# ---------------------------------------------------------------------------------------------------------------------
# Panels and lines


def put_panel(image: np.ndarray, panel: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image [S,S,3] with a panel [h,w,3], opaque where alpha [h,w] is 1, seen from an angle somewhere upon it."""
    side = image.shape[0]
    height, width = panel.shape[:2]
    scale = log_uniform(rng, (0.5, 1.6)) * side / 1024
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    centred = (frame - frame.mean(axis=0)) * scale
    turn = rng.standard_normal() * 0.15 if rng.random() < 0.7 else uniform(rng, (-np.pi, np.pi))
    turned = centred @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    target = turned * (1 + 0.12 * rng.standard_normal((4, 2))) + rng.random(2) * side
    low = np.clip(np.floor(target.min(axis=0)).astype(int) - 1, 0, side)
    high = np.clip(np.ceil(target.max(axis=0)).astype(int) + 2, 0, side)
    if (high - low).min() < 8:
        return image
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    matrix = cv2.getPerspectiveTransform(frame, (target - low).astype(np.float32))
    if scale < 0.8:  # else fine detail would alias
        panel, alpha = (cv2.GaussianBlur(part, (0, 0), 0.4 / scale) for part in (panel, alpha))
    seen = cv2.warpPerspective(panel.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)
    cover = cv2.warpPerspective(alpha.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR)[:, :, None]
    part = image[low[1] : high[1], low[0] : high[0]]
    image[low[1] : high[1], low[0] : high[0]] = part * (1 - cover) + seen * cover
    return image


def wall(colours: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A panel of bricks, windows or checks: (float32 [h,w,3], alpha [h,w])."""
    cell = rng.integers(10, 64, size=2)
    joint = int(rng.integers(0, max(2, int(cell.min()) // 3)))
    rows, columns = (int(rng.integers(180, 520)) // int(each) + 2 for each in cell)
    height, width = rows * int(cell[0]), columns * int(cell[1])
    kind = int(rng.integers(3))  # bricks, windows, checks
    panel = np.empty((height, width, 3), dtype=np.float32)
    panel[:] = colours[0]
    spread = uniform(rng, (0.0, 0.08))
    for row in range(rows):
        offset = int(cell[1]) // 2 if kind == 0 and row % 2 else 0
        for column in range(columns + 1):
            top, left = row * int(cell[0]), column * int(cell[1]) - offset
            chosen = 1 + (row + column) % 2 if kind == 2 else 1 + int(rng.random() < 0.15)
            colour = colours[chosen] + np.float32(rng.standard_normal() * spread)
            panel[top + joint : top + int(cell[0]), max(left + joint, 0) : max(left + int(cell[1]), 0)] = colour
    alpha = np.ones((height, width), dtype=np.float32)
    return np.clip(panel, 0, 1), alpha


def put_lines(image: np.ndarray, colours: np.ndarray, rng: np.random.Generator) -> None:
    """Draws wires, branches, blades or hair into the image [S,S,3]: smooth curves that share a direction, in place."""
    side = image.shape[0]
    count = int(log_uniform(rng, (4, 300)))
    turn, fan = uniform(rng, (0, np.pi)), log_uniform(rng, (0.02, 1.0))
    length = log_uniform(rng, (0.05, 0.8)) * side
    home, reach = rng.random(2) * side, log_uniform(rng, (0.05, 1.0)) * side
    steps = np.linspace(0, 1, 10)
    for _ in range(count):
        angle = turn + fan * rng.standard_normal() + steps * rng.standard_normal() * 0.6
        path = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1) * (length / 10), axis=0)
        path += home + reach * (rng.random(2) - 0.5)
        colour = colours[int(rng.integers(len(colours)))]
        thick = 1 + int(rng.exponential(1.2))
        mark = np.round(path * 16).astype(np.int32)
        cv2.polylines(image, [mark], False, [float(each) for each in colour], thick, cv2.LINE_8, shift=4)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


_LETTERS = "etaoinshrdlcumwfgypbvkjxqzETAOINSHRDL0123456789.,:-"
_COMMON = 1 / np.arange(2, len(_LETTERS) + 2)


def text(colours: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A panel of lines of invented words in Pillow's own font: (float32 [h,w,3], alpha [h,w]).

    Half of them stand on a sheet of their own colour, the others upon whatever is behind.
    """
    from PIL import Image, ImageDraw

    size = int(log_uniform(rng, (11, 64)))
    width, height = int(rng.integers(120, 520)), int(rng.integers(size + 8, 360))
    letters = rng.choice(len(_LETTERS), size=2000, p=_COMMON / _COMMON.sum())
    page = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(page)
    place = 0
    for top in range(2, max(3, height - size), int(size * 1.25)):
        words: list[str] = []
        while sum(len(word) for word in words) * size * 0.45 < width:
            span = int(rng.integers(2, 9))
            words.append("".join(_LETTERS[each] for each in letters[place : place + span]))
            place = (place + span) % 1900
        pen.text((4, top), " ".join(words), fill=255, font=_font(size))
    ink = np.asarray(page, dtype=np.float32) / 255
    dark, light = sorted((colours[0], colours[1]), key=lambda colour: float(colour.sum()))
    dark, light = dark * np.float32(0.5), 1 - (1 - light) * np.float32(0.4)
    front, back = (dark, light) if rng.random() < 0.6 else (light, dark)
    if rng.random() < 0.5:
        panel = back + ink[:, :, None] * (front - back)
        return panel.astype(np.float32), np.ones_like(ink)
    return np.broadcast_to(front, (height, width, 3)).astype(np.float32).copy(), ink

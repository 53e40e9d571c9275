"""Boxes over pictures, side by side. Drawn by Pillow; nothing is measured here."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

HEIGHT = 360
"""Pixels, of every panel."""
_MARGIN, _STRIP, _LINE = 4, 22, 2


def panel(
    pixels: np.ndarray,
    rows: Sequence[Sequence[float]],
    classes: Sequence[str],
    size: tuple[int, int],
    label: str,
) -> np.ndarray:
    """A picture at `HEIGHT` with its label above and its boxes: uint8 [HEIGHT+22,W,3].

    `rows`: left, top, right, bottom, score, class, in pixels of an image of `size` (height, width), the best first. An
    object without a score of its own has 1. Every class has a colour of its own.
    """
    from PIL import Image, ImageDraw, ImageFont

    width = max(1, round(pixels.shape[1] * HEIGHT / pixels.shape[0]))
    image = Image.new("RGB", (width, HEIGHT + _STRIP), "white")
    image.paste(Image.fromarray(pixels).resize((width, HEIGHT), Image.Resampling.LANCZOS), (0, _STRIP))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    pen.text((_MARGIN, 3), label, fill="black", font=font)
    across, down = width / size[1], HEIGHT / size[0]
    for left, top, right, bottom, score, kind in reversed(rows):  # the best end on top
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(int(kind) / len(classes), 0.85, 1.0))
        corners = [left * across, top * down + _STRIP, right * across, bottom * down + _STRIP]
        limits = [width - 1, HEIGHT + _STRIP - 1] * 2
        corners = [
            min(max(value, low), high) for value, low, high in zip(corners, [0, _STRIP] * 2, limits, strict=True)
        ]
        pen.rectangle(corners, outline=(red, green, blue), width=_LINE)
        text = classes[int(kind)] + (f" {score:.2f}" if score < 1 else "")
        x, y = corners[0], max(corners[1] - 15, _STRIP)
        pen.rectangle(pen.textbbox((x, y), text, font=font), fill=(red, green, blue))
        pen.text((x, y), text, fill="black", font=font)
    return np.asarray(image)


def side_by_side(panels: Sequence[np.ndarray], columns: int = 3) -> np.ndarray:
    """Panels of one height on white, row by row: uint8 [H,W,3]."""
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    wide = max(sum(one.shape[1] + _MARGIN for one in row) for row in rows)
    lines = []
    for row in rows:
        line = np.full((row[0].shape[0] + _MARGIN, wide, 3), 255, np.uint8)
        at = 0
        for one in row:
            line[: one.shape[0], at : at + one.shape[1]] = one
            at += one.shape[1] + _MARGIN
        lines.append(line)
    return np.concatenate(lines)

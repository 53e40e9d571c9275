"""Which part of an item is worth a closer look, and how pictures become text inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_WORKING_SIDE = 384
"""Longer side at which windows are compared, pixels."""


class Window(NamedTuple):
    """Part of a picture, as fractions of its height and width."""

    top: float
    left: float
    height: float
    width: float

    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) in pixels of a picture of that size; at least one pixel, inside it."""
        rows, columns = max(1, round(self.height * height)), max(1, round(self.width * width))
        top, left = round(self.top * height), round(self.left * width)
        return min(top, height - rows), min(left, width - columns), rows, columns

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        top, left, rows, columns = self.box(*pixels.shape[:2])
        return pixels[top : top + rows, left : left + columns]


def find_window(pictures: Sequence[np.ndarray], reference: np.ndarray | None, share: float = 0.22) -> Window:
    """The window with the most detail in the reference and the most difference in detail between the pictures.

    Brightness and colour alone do not count: where methods differ by exposure, all of the picture does. `share` is the
    window's side as a part of the shorter side. Without pictures the middle is taken.
    """
    import cv2

    known = [*([reference] if reference is not None else []), *pictures]
    if not known:
        return Window(0.5 - share / 2, 0.5 - share / 2, share, share)
    height, width = known[0].shape[:2]
    scale = min(1.0, _WORKING_SIDE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    details = np.stack([_detail(cv2.resize(one, size, interpolation=cv2.INTER_AREA)) for one in known])
    side = max(4, round(share * min(size)))
    base = details[0] if reference is not None else details.mean(axis=0)
    measure = 2 * _box(base, side) / (base.mean() + 1e-9)
    if len(known) > 1:
        spread = details.std(axis=0)
        measure = measure + _box(spread, side) / (spread.mean() + 1e-9)
    top, left = np.unravel_index(int(measure.argmax()), measure.shape)
    return Window(int(top) / size[1], int(left) / size[0], side / size[1], side / size[0])


def _detail(pixels: np.ndarray) -> np.ndarray:
    """How much a picture varies around each pixel, relative to how bright it is there."""
    import cv2

    gray = pixels.astype(np.float32).mean(axis=2)
    smooth = cv2.blur(gray, (7, 7))
    return np.abs(gray - smooth) / (smooth + 64)


def _box(values: np.ndarray, side: int) -> np.ndarray:
    """Mean of every window of that side that lies inside."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    side = min(side, *values.shape)
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return np.asarray(inside / side**2)


class Encoded(NamedTuple):
    """A picture as a data address."""

    uri: str
    width: int
    height: int

    @property
    def bytes(self) -> int:
        return len(self.uri)


def thumbnail(pixels: np.ndarray, side: int, quality: int = 82) -> Encoded:
    """A lossy copy whose longer side is at most `side` pixels: WebP, or JPEG where Pillow lacks it.

    One that keeps all its pixels is what they are looked at for, and is compressed less.
    """
    from PIL import Image, features

    image = Image.fromarray(pixels)
    quality = max(quality, 90) if max(image.size) <= side else quality
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "webp" if features.check("webp") else "jpeg"
    return _encoded(image, kind, quality=quality)


def exact(pixels: np.ndarray, side: int = 200) -> Encoded:
    """A lossless copy, pixel for pixel up to `side`, and made smaller by whole steps beyond."""
    from PIL import Image

    step = -(-max(pixels.shape[:2]) // side)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return _encoded(image.reduce(step) if step > 1 else image, "png", optimize=True)


def _encoded(image: object, kind: str, **options: object) -> Encoded:
    from PIL.Image import Image

    assert isinstance(image, Image)
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), **options)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Encoded(f"data:image/{kind};base64,{text}", image.width, image.height)

"""Binary PGM and PPM of more than 8 bits a sample, which Pillow would cut to 8 where they have colour.

Nothing else of the PNM family: 8-bit, text and bitmap files are Pillow's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from iqpir.codecs.damage import Damage
from iqpir.errors import ImageFailure


class Header(NamedTuple):
    """The numbers at the head of a PNM file."""

    width: int
    height: int
    limit: int
    """The sample that stands for white."""
    start: int
    """Offset of the first sample."""


def header(raw: bytes) -> Header:
    """Width, height and maximum of a PGM or PPM file, comments skipped. Raises `ImageFailure`."""
    numbers: list[int] = []
    at = 2
    while len(numbers) < 3:
        while at < len(raw) and (raw[at : at + 1].isspace() or raw[at] == ord("#")):
            at = raw.find(b"\n", at) if raw[at] == ord("#") else at + 1
            if at < 0:
                break
        start = at
        while 0 <= at < len(raw) and raw[at : at + 1].isdigit():
            at += 1
        if at <= start or at - start > 9:
            raise Damage("PNM", "its header is not width, height and maximum")
        numbers.append(int(raw[start:at]))
    return Header(numbers[0], numbers[1], numbers[2], at + 1)


def decode_deep(raw: bytes) -> np.ndarray:
    """Binary PGM or PPM of more than 8 bits, scaled to 16 when its maximum is another (Pillow cuts colour to 8)."""
    head, channels = header(raw), {b"P5": 1, b"P6": 3}.get(raw[:2])
    if channels is None or head.limit > 65535:
        raise ImageFailure("PNM of more than 8 bits that is not binary 16-bit (P5 or P6)")
    count = head.height * head.width * channels
    if len(raw) - head.start < 2 * count:
        raise Damage("PNM", f"it ends early: {len(raw) - head.start} of {2 * count} bytes of pixels")
    samples = np.frombuffer(raw, ">u2", count, head.start).astype(np.uint32)
    if samples.max() > head.limit:
        raise ImageFailure(f"PNM sample {samples.max()} above its maximum {head.limit}")
    scaled = ((samples * 65535 + head.limit // 2) // head.limit).astype(np.uint16)
    pixels = scaled.reshape(head.height, head.width, channels)
    return pixels if channels == 3 else np.repeat(pixels, 3, axis=2)

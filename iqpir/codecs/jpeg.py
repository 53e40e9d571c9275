"""JPEG through TurboJPEG, which tells what libjpeg had to make up; Pillow and OpenCV drop these warnings.

Pixels are those of Pillow (one library, accurate DCT, fancy upsampling), at 0.6 of its time. A warning ends the
decoding, unless it is about something that no pixel depends on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from iqpir.codecs.damage import Damage
from iqpir.errors import ImageFailure, one_line

_HARMLESS = ("Invalid SOS parameters for sequential JPEG", "unknown JFIF revision", "bad ICC marker")
_SCAN, _FIRST_APPLICATION, _THIRD_APPLICATION = 0xDA, 0xE0, 0xE2
_SEQUENTIAL = (0xC0, 0xC1)


def decode(raw: bytes) -> np.ndarray:
    """RGB uint8 [H,W,3] of a gray or colour JPEG. Raises `ImageFailure` for whatever libjpeg warns of."""
    return _strict(raw, "RGB")


def check(raw: bytes, channels: int) -> None:
    """Raise `ImageFailure` where `decode` would; for JPEG of any number of channels, whose pixels another reads."""
    _strict(raw, "CMYK" if channels == 4 else "RGB")


def _strict(raw: bytes, colours: str) -> np.ndarray:
    import simplejpeg

    try:
        try:
            return simplejpeg.decode_jpeg(raw, colours)
        except ValueError as error:
            if not any(known in str(error) for known in _HARMLESS):
                raise
            # Only the first warning is told, so what it is about is put right and the rest is heard as well.
            return simplejpeg.decode_jpeg(_put_right(raw), colours)
    except ValueError as error:
        reason = one_line(error, 120)
        if "subsampling" in reason:
            raise ImageFailure("JPEG of a chroma sampling that cannot be checked for damage; save it as PNG") from error
        raise Damage("JPEG", reason.removeprefix("Corrupt JPEG data: ")) from error


class _Segment(NamedTuple):
    marker: int
    start: int
    """Of the marker's two bytes."""
    end: int


def _segments(raw: bytes) -> Iterator[_Segment]:
    """The segments before the first scan's data; ends where the bytes are no such chain."""
    at = 2
    while at + 4 <= len(raw) and raw[at] == 0xFF:
        if raw[at + 1] == 0xFF:  # fill
            at += 1
            continue
        (length,) = struct.unpack_from(">H", raw, at + 2)
        yield _Segment(raw[at + 1], at, at + 2 + length)
        if raw[at + 1] == _SCAN:
            return
        at += 2 + length


def _put_right(raw: bytes) -> bytes:
    """The same pixels with a usual JFIF version, no ICC profile, and the scan limits that a sequential JPEG has."""
    kept, at = bytearray(), 0
    sequential = False
    for segment in _segments(raw):
        kept += raw[at : segment.start]
        body = bytearray(raw[segment.start : segment.end])
        sequential |= segment.marker in _SEQUENTIAL
        if segment.marker == _FIRST_APPLICATION and body[4:9] == b"JFIF\0" and len(body) > 9:
            body[9] = 1
        elif segment.marker == _THIRD_APPLICATION and body[4:16] == b"ICC_PROFILE\0":
            body.clear()
        elif segment.marker == _SCAN and sequential:
            body[-3:] = b"\0\x3f\0"
        kept += body
        at = segment.end
    return bytes(kept + raw[at:])

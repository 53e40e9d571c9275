"""Which image files were compressed with loss, told from their first bytes and never from their names.

A method's outputs saved as JPEG are not what it made: blocks and blurred colour lower some scores and raise others.
"""

from __future__ import annotations

import os
import stat
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from bench.errors import counted

_HEAD = 64
_CHUNKS = 16
"""Chunks of a WebP file that are looked at: profile and animation come before the image."""
_COMPRESSION = 259
_TIFF_JPEG = (6, 7, 34892)
"""Old JPEG, JPEG, and the JPEG of lossy DNG, as TIFF numbers its compressions."""


def lossy(path: str | os.PathLike[str]) -> str | None:
    """JPEG, WebP, JPEG in TIFF, AVIF or HEIC, where that is how the file holds its pixels; None for what keeps them.

    AVIF and HEIC can be lossless, which their first bytes do not tell; hardly any is. None as well for a file that
    cannot be read: decoding it says so.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 – a pipe would wait for ever for who writes to it
            return None
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            if head[:3] == b"\xff\xd8\xff":
                return "JPEG"
            if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
                return "WebP" if _webp_is_lossy(file) else None
            if head[:4] in (b"II*\0", b"MM\0*"):
                return "JPEG in TIFF" if _tiff_compression(file) in _TIFF_JPEG else None
    except (OSError, ValueError, struct.error):
        return None
    if head[4:8] == b"ftyp":
        return {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC"}.get(head[8:12])
    return None


def _webp_is_lossy(file: BinaryIO) -> bool:
    place = 12
    for _ in range(_CHUNKS):
        file.seek(place)
        kind, size = struct.unpack("<4sI", file.read(8))
        if kind in (b"VP8 ", b"VP8L"):
            return bool(kind == b"VP8 ")
        place += 8 + size + size % 2
    return False


def _tiff_compression(file: BinaryIO) -> int:
    """Of the first page; 1 (none) where it is not said."""
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    _, place = struct.unpack(order + "HI", file.read(6))
    file.seek(place)
    (count,) = struct.unpack(order + "H", file.read(2))
    for _ in range(min(count, _CHUNKS * 16)):
        tag, _, _, value = struct.unpack(order + "HHIH2x", file.read(12))
        if tag == _COMPRESSION:
            return int(value)
    return 1


def note(paths: Iterable[Path | None]) -> str | None:
    """The footnote for a set of outputs; None where none is lossy."""
    every = list(paths)
    kinds = Counter(kind for path in every if path is not None and (kind := lossy(path)) is not None)
    if not kinds:
        return None
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    of = f"{told} of {counted(len(every), 'file')}"
    return f"{of}: compressed with loss, so scores are of the compressed files, not of the method."

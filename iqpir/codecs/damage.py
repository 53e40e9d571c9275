"""What is said of a file that does not decode, in one form for every kind of file and library, and only once.

A decoder's own words are for its programmers: `decoder error -2`, `SyntaxError: 277`. Here they become what is wrong,
and what to do. Libraries that write to standard error by themselves are told not to.
"""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from iqpir.errors import ImageFailure, one_line

REMEDY = "copy it again, or save it again as PNG"
KINDS = {
    "png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP", "bmp": "BMP", "pnm": "PNM", "gif": "GIF",
    "jp2": "JPEG 2000", "avif": "AVIF",
}  # fmt: skip
"""How messages call what `kind_of` tells."""

_EARLY, _HEADER = "it ends early", "its header makes no sense"
_WORDS = (
    (r"truncat|not enough|ends early|unpack_from requires|index out of range|only got \d|incomplete checksum", _EARLY),
    (r"no more images|image not found|BMFF parsing|could not create decoder", "it ends early, or its parts are lost"),
    (r"decoder error|broken data stream|read next frame|Decoding of color", "its compressed pixels cannot be unpacked"),
    (r"checksum in|\(chunk ", "a part of it has a wrong checksum or name"),
    (r"invalid literal|Token too|non-decimal", "it has letters where a number must stand"),
    (r"exceeds limit|decompression bomb", "its header says more pixels than can be"),
    (r"Unsupported BMP", "its header says a kind of BMP that there is not"),
    (r"dimensions|data organization|image mode|samples per pixel|header length|Malformed|not identified"
     r"|not a WEBP|cannot identify|-layer images|quantization table|marker|empty image item|^'?\d+'?$", _HEADER),
)  # fmt: skip


class Damage(ImageFailure):
    """A file of a known kind is not whole; `reason` says it without the kind and the remedy."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind} is damaged ({reason}); {REMEDY}")
        self.reason = reason


def understood(kind: str, error: Exception) -> ImageFailure:
    """A decoder's error in plain words, or its own where none are known, without the name of the exception."""
    told = one_line(error, 120)
    if "unknown pixel mode" in told:
        return ImageFailure(
            f"{kind} with pixels of a kind that is not read (float or 32-bit ones, or a header that is damaged); "
            "8- or 16-bit is needed"
        )
    for pattern, plain in _WORDS:
        if re.search(pattern, told, re.IGNORECASE):
            return Damage(kind, plain)
    return Damage(kind, told)


# What libraries write to standard error


class _TiffWarnings:
    """Stands for the module `warnings` in Pillow's TIFF reader: what it warns of belongs to the file at hand.

    `warnings.catch_warnings` would catch those of all threads.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        before = getattr(self._local, "told", None)
        told: list[str] = []
        self._local.told = told
        try:
            yield told
        finally:
            self._local.told = before

    def warn(self, message: Any, *how: Any, **more: Any) -> None:
        told = getattr(self._local, "told", None)
        if told is None:
            warnings.warn(message, *how, **{"stacklevel": 3, **more})
        else:
            told.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


TIFF_WARNINGS = _TiffWarnings()
_TELLING = re.compile("Corrupt|Truncated|larger than file")
"""Warnings of Pillow's that something of the file is not there; others are about how tags are written."""


def hidden(told: list[str]) -> str | None:
    """What of a TIFF is lost, by the warnings that Pillow went on after; None for nothing."""
    return next((_lower(one_line(line, 100)) for line in told if _TELLING.search(line)), None)


def _lower(line: str) -> str:
    return re.sub(r"\s*[Ss]kipping tag.*|\.$", "", line[:1].lower() + line[1:]).rstrip(". ")


@cache
def quiet_tiff() -> None:
    """Pillow's libtiff writes no errors to standard error: Pillow raises them, without their words. Nor does Pillow."""
    from PIL import TiffImagePlugin, _imaging

    logging.getLogger(TiffImagePlugin.__name__).addHandler(logging.NullHandler())
    vars(TiffImagePlugin)["warnings"] = TIFF_WARNINGS
    with suppress(OSError, AttributeError):  # a build that links it in: its lines stay
        library = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)

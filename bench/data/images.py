"""Decoding an image file into the pixels that everything else hashes, restores and scores – and writing PNG back.

Strict on purpose: a file that cannot be decoded completely and unambiguously is an `ImageError` of one line, never a
padded, resized or shallower picture. What bytes mean is decided in `iqpir.codecs`, for both packages; here are paths,
limits and messages that begin with the file's name.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from bench.data.items import ImageSource, Stamp, file_stamp
from bench.errors import BenchError, ImageError, one_line
from iqpir import codecs
from iqpir.codecs import decoder
from iqpir.codecs.damage import KINDS, TIFF_WARNINGS, understood
from iqpir.codecs.decode import STRICT_PILLOW
from iqpir.errors import ImageFailure, shown

__all__ = ["IMAGE_SUFFIXES", "FileSource", "decode", "decode_bytes", "decoder", "encode_png", "header_size", "shown"]

IMAGE_SUFFIXES = codecs.SUFFIXES
"""File names that count as images in a folder, in any letter case. What a file holds is told from its bytes."""

RAW_LIMIT = 64 * 2**20
"""How much of an undecodable file identifies it, bytes."""

_REMEDY = " (set BENCH_MAX_PIXELS to allow it)"


def max_pixels() -> int:
    """Largest image that is decoded, in pixels: `BENCH_MAX_PIXELS`, else 2**26 (8192×8192)."""
    text = os.environ.get("BENCH_MAX_PIXELS")
    if not text:
        return codecs.MAX_PIXELS
    if not text.strip().isdecimal() or int(text) < 1:
        raise BenchError(f"BENCH_MAX_PIXELS={text!r} is not a positive whole number of pixels")
    return int(text)


def decode(path: str | os.PathLike[str]) -> np.ndarray:
    """Pixels [H,W,3] RGB of an image file: uint16 for 16-bit files, uint8 for all others.

    EXIF orientation is applied. Gray is replicated, palettes are looked up, 1-bit becomes 0 and 255, CMYK is converted
    as Pillow does, and alpha is dropped (not composited), as Pillow's `convert` and OpenCV's loader do.
    Raises `ImageError`, one line that begins with the path.
    """
    where = shown(path)
    with _opened(path, where) as file:
        raw = _read(file, where)
    return decode_bytes(raw, where)


def decode_bytes(raw: bytes, where: str) -> np.ndarray:
    """`decode` for the bytes of an image file; `where` names them in a message."""
    try:
        return codecs.decode(raw, max_pixels(), _REMEDY)
    except ImageFailure as error:
        raise ImageError(f"{where}: {error}") from error


def header_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) as `decode` would give them, from the header alone. Raises `ImageError`."""
    where = shown(path)
    with _opened(path, where) as file:
        return _header_size(file, where)


def header_size_bytes(raw: bytes, where: str) -> tuple[int, int]:
    """`header_size` for the bytes of an image file."""
    return _header_size(io.BytesIO(raw), where)


def _header_size(file: IO[bytes], where: str) -> tuple[int, int]:
    try:
        with STRICT_PILLOW, TIFF_WARNINGS.heard():  # its pixels are read later, and say what is lost
            return codecs.read_header(file, max_pixels(), _REMEDY).size
    except ImageFailure as error:
        raise ImageError(f"{where}: {error}") from error
    except BenchError:
        raise
    except Exception as error:  # a hostile file can make a decoder fail in any way; each is this line
        raise ImageError(f"{where}: {understood(_kind(file), error)}") from error


def _kind(file: IO[bytes]) -> str:
    file.seek(0)
    return KINDS[codecs.kind_of(file.read(16))]


def encode_png(pixels: np.ndarray) -> bytes:
    """A lossless PNG of [H,W,3] RGB uint8 or uint16.

    OpenCV's own choice of zlib settings, tuned for speed: on five 512² photographs 7.8 ms an image, against 17.7 ms of
    Pillow's `compress_level=1` and 55.8 ms of its default, for 0.6 % less and 9 % more bytes.
    """
    import cv2

    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype not in (np.uint8, np.uint16) or pixels.size == 0:
        raise ValueError(f"a PNG is written from [H,W,3] uint8 or uint16, not {pixels.dtype} {list(pixels.shape)}")
    written, encoded = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR))
    if not written:
        raise ValueError(f"OpenCV cannot encode {list(pixels.shape)} as PNG")
    return encoded.tobytes()


@dataclass(frozen=True)
class FileSource(ImageSource):
    """An image file on disk."""

    path: Path
    """Absolute."""

    def load(self) -> np.ndarray:
        return decode(self.path)

    def stamp(self) -> Stamp:
        return file_stamp(f"{_locator(self.path)}?{decoder()}", _stat(self.path, self.where))

    def size(self) -> tuple[int, int]:
        return header_size(self.path)

    def raw(self) -> bytes:
        with _opened(self.path, self.where) as file:
            return file.read(RAW_LIMIT)

    @property
    def where(self) -> str:
        return shown(self.path)


def _locator(path: Path) -> str:
    """The path as text that any database takes, and no other path has: an absolute one never begins with `bytes:`."""
    try:
        str(path).encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        return f"bytes:{os.fsencode(path).hex()}"
    return str(path)


# ---------------------------------------------------------------------------------------------------------------------
# Files


def _stat(path: str | os.PathLike[str], where: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ImageError(f"{where}: {_cause(path, error)}") from error


def _opened(path: str | os.PathLike[str], where: str) -> IO[bytes]:
    # A FIFO or device would block or never end, so the kind of file is looked at before it is opened.
    mode = _stat(path, where).st_mode
    if not stat.S_ISREG(mode):
        raise ImageError(f"{where}: {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not an image")
    try:
        return open(path, "rb")
    except OSError as error:
        raise ImageError(f"{where}: {_cause(path, error)}") from error


def _cause(path: str | os.PathLike[str], error: Exception) -> str:
    reason = getattr(error, "strerror", None) or one_line(error)
    if isinstance(error, FileNotFoundError) and Path(path).is_symlink():
        return f"{reason} (a dangling symbolic link)"
    return reason


def _read(file: IO[bytes], where: str) -> bytes:
    # No image within the pixel limit needs more than 8 bytes a pixel and some metadata; a file beyond that is not read.
    limit = 8 * max_pixels() + RAW_LIMIT
    try:
        # Asked for as much as the file holds: a buffer as large as the limit costs as much as a hash of the image.
        raw = file.read(min(os.fstat(file.fileno()).st_size, limit) + 1)
    except OSError as error:
        raise ImageError(f"{where}: {one_line(error.strerror or error)}") from error
    if len(raw) > limit:
        raise ImageError(f"{where}: larger than {limit} bytes, more than an image of {max_pixels()} pixels can need")
    return raw

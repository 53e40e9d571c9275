"""Decoding an image file into the pixels that everything else hashes, restores and scores – and writing PNG back.

Strict on purpose: a file that cannot be decoded completely and unambiguously is an `ImageError` of one line, never a
padded, resized or shallower picture. It is not a colour-management layer: ICC profiles, gamma chunks and XMP are
ignored, as OpenCV and the papers' own loaders ignore them.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import unicodedata
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from bench.data import pnm
from bench.data.items import ImageSource, Stamp, file_stamp
from bench.errors import BenchError, ImageError, one_line

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""File names that count as images in a folder, in any letter case. What a file holds is told from its bytes."""

DEFAULT_MAX_PIXELS = 2**26
RAW_LIMIT = 64 * 2**20
"""How much of an undecodable file identifies it, bytes."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _EXTRA_SAMPLES = 258, 262, 339, 338

# Pillow modes whose conversion to RGB is the plain one: gray is replicated, palettes looked up, alpha dropped, CMYK as
# Pillow does it. Anything else (float, 32-bit integer, Lab) has no agreed 8- or 16-bit meaning.
_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})


def max_pixels() -> int:
    """Largest image that is decoded, in pixels: `BENCH_MAX_PIXELS`, else 2**26 (8192×8192)."""
    text = os.environ.get("BENCH_MAX_PIXELS")
    if not text:
        return DEFAULT_MAX_PIXELS
    if not text.strip().isdecimal() or int(text) < 1:
        raise BenchError(f"BENCH_MAX_PIXELS={text!r} is not a positive whole number of pixels")
    return int(text)


@cache
def decoder() -> str:
    """Names the decoder, for a memo of decoded content: another JPEG library may round differently."""
    from PIL import __version__, features

    return f"pillow{__version__}+jpeg{features.version('jpg')}"


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
    if not raw:
        raise ImageError(f"{where}: empty file (0 bytes)")
    try:
        with _STRICT_PILLOW:
            return _decode(raw, where)
    except ImageError:
        raise
    except Exception as error:  # a hostile file can make a decoder fail in any way; each is this line
        raise ImageError(f"{where}: cannot be decoded ({type(error).__name__}: {one_line(error, 120)})") from error


def header_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) as `decode` would give them, from the header alone. Raises `ImageError`."""
    where = shown(path)
    with _opened(path, where) as file:
        return _header_size(file, where)


def header_size_bytes(raw: bytes, where: str) -> tuple[int, int]:
    """`header_size` for the bytes of an image file."""
    return _header_size(io.BytesIO(raw), where)


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
        return file_stamp(f"{self.path}?{decoder()}", _stat(self.path, self.where))

    def size(self) -> tuple[int, int]:
        return header_size(self.path)

    def raw(self) -> bytes:
        with _opened(self.path, self.where) as file:
            return file.read(RAW_LIMIT)

    @property
    def where(self) -> str:
        return shown(self.path)


def shown(path: str | os.PathLike[str]) -> str:
    """A path or name as printable text of one line: control characters and undecodable bytes become escapes."""
    return "".join(_escaped(sign) for sign in os.fspath(path))


def _escaped(sign: str) -> str:
    if sign.isprintable() or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("unicode_escape", "surrogatepass").decode("ascii")


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


# ---------------------------------------------------------------------------------------------------------------------
# Headers


class _Header(NamedTuple):
    """What is known before any pixel is decoded."""

    image: ImageFile
    kind: str
    orientation: int
    """EXIF orientation that is still to be applied, 1 to 8."""
    size: tuple[int, int]
    """(height, width) after orientation."""


def _header_size(file: IO[bytes], where: str) -> tuple[int, int]:
    try:
        with _STRICT_PILLOW:
            return _header(file, where).size
    except ImageError:
        raise
    except Exception as error:  # as in decode_bytes
        raise ImageError(f"{where}: header cannot be read ({type(error).__name__}: {one_line(error, 120)})") from error


def _header(file: IO[bytes], where: str) -> _Header:
    kind = _kind(file.read(16), where)
    file.seek(0)
    exif = _png_exif(file) if kind == "png" else b""
    file.seek(0)
    image = _plugin(kind)(file)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"{where}: holds {frames} frames or pages; which one is meant is not defined")
    if kind == "tiff":
        # Pillow turns a TIFF while loading it; whether `size` is already turned depends on its version.
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height, turned = tags[256], tags[257], tags.get(_ORIENTATION, 1)
        orientation = 1
    else:
        width, height = image.size
        orientation = turned = _exif_orientation(exif if kind == "png" else image.info.get("exif", b""))
    size = (width, height) if turned in (5, 6, 7, 8) else (height, width)
    if size[0] < 1 or size[1] < 1:
        raise ImageError(f"{where}: has no pixels ({size[0]}×{size[1]})")
    if size[0] * size[1] > max_pixels():
        raise ImageError(
            f"{where}: {size[0]}×{size[1]} is {size[0] * size[1]} pixels, over the limit of {max_pixels()} "
            "(set BENCH_MAX_PIXELS to allow it)"
        )
    return _Header(image, kind, orientation, size)


def _kind(head: bytes, where: str) -> str:
    if head.startswith(_PNG_MAGIC):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in _TIFF_MAGICS:
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "pnm"
    if head[:2] == b"BM":
        return "bmp"
    if not head:
        raise ImageError(f"{where}: empty file (0 bytes)")
    raise ImageError(f"{where}: not an image of a known kind (PNG, JPEG, BMP, TIFF, WebP, PPM, PGM)")


def _plugin(kind: str) -> type[ImageFile]:
    """Pillow's class for one format.

    Used directly, because `Image.open` would also try formats that are not wanted here and apply a pixel limit that
    can only be changed for the whole process.
    """
    if kind == "png":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile
    if kind == "jpeg":  # of a two-picture phone JPEG (MPO) this class shows the primary picture, as viewers do
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile
    if kind == "tiff":
        from PIL.TiffImagePlugin import TiffImageFile

        return TiffImageFile
    if kind == "webp":
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile
    if kind == "bmp":
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile
    from PIL.PpmImagePlugin import PpmImageFile

    return PpmImageFile


def _exif_orientation(block: bytes) -> int:
    """The orientation of an EXIF block, 1 when it says none.

    A block that cannot be read counts as none: every viewer and OpenCV show such a picture as it is stored.
    """
    if not block:
        return 1
    from PIL.Image import Exif

    exif = Exif()
    try:
        exif.load(block)
        value = exif.get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error, OSError):
        return 1
    return value if value in range(1, 9) else 1


def _png_exif(file: IO[bytes]) -> bytes:
    """The eXIf block of a PNG, which may stand before or after the pixels; found by seeking, without reading them."""
    file.seek(len(_PNG_MAGIC))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return file.read(min(length, 2**20))
        if name == b"IEND":
            break
        file.seek(length + 4, io.SEEK_CUR)
    return b""


# ---------------------------------------------------------------------------------------------------------------------
# Pixels


def _decode(raw: bytes, where: str) -> np.ndarray:
    header = _header(io.BytesIO(raw), where)
    if header.kind == "png":
        _check_png(raw, where)
    deep = _is_deep(header, raw, where)
    if deep and header.kind == "pnm":
        return pnm.decode_deep(raw, where)
    if header.kind == "png" and _is_plain(raw, header.image):
        pixels = _plain_png(raw)
        if pixels is not None:
            return _oriented(pixels, header.orientation)
    image = header.image
    image.load()
    if header.kind == "png" and _is_plain(raw, image):
        raise ImageError(f"{where}: PNG is damaged (its pixels end early)")  # where Pillow fills up with black
    image.info.pop("transparency", None)  # dropped like all alpha; Pillow would warn about it
    if image.mode.startswith("I;16") or (deep and image.mode == "I"):  # Pillow < 11 widens 16-bit gray PNG to "I"
        gray = np.array(image).astype(np.uint16)
        pixels = np.repeat(gray[:, :, None], 3, axis=2)
    elif image.mode not in _PLAIN_MODES:
        raise ImageError(f"{where}: pixels of kind {image.mode!r} (float, 32-bit or Lab); 8- or 16-bit is needed")
    elif deep:
        pixels = _deep_colour(raw, np.asarray(image.convert("RGB")), where)
    else:
        pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    pixels = _oriented(pixels, header.orientation)
    if pixels.shape[:2] != header.size:
        raise ImageError(f"{where}: decodes to {pixels.shape[:2]}, but its header says {header.size}")
    return pixels


def _is_deep(header: _Header, raw: bytes, where: str) -> bool:
    """True when the file stores 16 bits a channel; refuses the TIFF kinds that Pillow or OpenCV would misread."""
    if header.kind == "png":
        return raw[24] == 16
    if header.kind == "pnm":
        return raw[:2] in (b"P2", b"P3", b"P5", b"P6") and pnm.header(raw, where).limit > 255
    if header.kind != "tiff":
        return False
    tags = header.image.tag_v2  # type: ignore[attr-defined]
    bits, formats = set(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (1,)))
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16} or formats != {1}:
        kind = {2: "signed", 3: "float"}.get(max(formats), "unsigned")
        raise ImageError(f"{where}: TIFF of {max(bits)}-bit {kind} samples; unsigned 8- or 16-bit is needed")
    if bits != {16}:
        return False
    if tags.get(_PHOTOMETRIC) not in (1, 2) or 1 in tags.get(_EXTRA_SAMPLES, ()):
        raise ImageError(f"{where}: 16-bit TIFF that is neither gray (black is zero) nor RGB with plain alpha")
    if tags.get(_PHOTOMETRIC) == 2 and tags.get(_ORIENTATION, 1) != 1:
        raise ImageError(f"{where}: 16-bit colour TIFF with an orientation tag; turn the pixels and drop the tag")
    return True


def _is_plain(raw: bytes, image: ImageFile) -> bool:
    """True for an 8-bit RGB PNG without interlacing and transparent colour, as nearly all images here are."""
    return raw[24:26] == b"\x08\x02" and raw[28] == 0 and "transparency" not in image.info


def _plain_png(raw: bytes) -> np.ndarray | None:
    """A plain PNG through OpenCV, which is faster than Pillow and refuses more: None for what it refuses."""
    import cv2

    return cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _check_png(raw: bytes, where: str) -> None:
    """Every chunk that carries pixels is whole and its checksum right, up to IEND. Decoders are more lenient."""
    view, at = memoryview(raw), len(_PNG_MAGIC)
    while at + 12 <= len(raw):
        length, name = struct.unpack_from(">I4s", raw, at)
        end = at + 8 + length
        if end + 4 > len(raw):
            break
        if name[0] & 0x20 == 0 and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", raw, end)[0]:
            raise ImageError(f"{where}: PNG is damaged (checksum of {name.decode('ascii', 'replace')!r} at byte {at})")
        if name == b"IEND":
            return
        at = end + 4
    raise ImageError(f"{where}: PNG is truncated (no end after {len(raw)} bytes)")


def _deep_colour(raw: bytes, high: np.ndarray, where: str) -> np.ndarray:
    """16-bit RGB through OpenCV, proved against Pillow, which decodes strictly but keeps the high bytes only."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageError(f"{where}: 16-bit pixels that OpenCV cannot decode")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    pixels = np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, 2::-1]
    if pixels.shape != high.shape or np.any(np.abs((pixels >> 8).astype(np.int16) - high) > 1):
        raise ImageError(f"{where}: OpenCV and Pillow decode its 16-bit pixels differently")
    return np.ascontiguousarray(pixels)


def _oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[H,W,3] as stored → as shown; the eight cases of the EXIF standard (TIFF 6.0, tag 274)."""
    if orientation == 1:
        return pixels
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


class _StrictPillow:
    """Holds Pillow's process-wide LOAD_TRUNCATED_IMAGES at False while any thread decodes, then puts it back.

    Other libraries switch it on when they are imported (pyiqa does), and a truncated photograph would be gray below.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            if self._users == 0:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._users += 1

    def __exit__(self, *_: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._users -= 1
            if self._users == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._before


_STRICT_PILLOW = _StrictPillow()

"""The pixels of an image file: EXIF orientation applied, gray replicated, alpha dropped, 16 bits kept."""

from __future__ import annotations

import io
import threading
from functools import cache

import numpy as np

from iqpir.codecs import checks, jpeg, png, pnm
from iqpir.codecs.damage import KINDS, TIFF_WARNINGS, Damage, hidden, understood
from iqpir.codecs.header import MAX_PIXELS, Header, kind_of, read_header
from iqpir.errors import ImageFailure

# Pillow modes whose conversion to RGB is the plain one: gray is replicated, palettes looked up, alpha dropped, CMYK as
# Pillow does it. Anything else (float, 32-bit integer, Lab) has no agreed 8- or 16-bit meaning.
_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})


@cache
def decoder() -> str:
    """Names the decoders, for a memo of decoded content: another JPEG library may round differently, and what one
    version lets pass the next may refuse."""
    from importlib.metadata import version

    from PIL import __version__, features

    return f"pillow{__version__}+jpeg{features.version('jpg')}+simplejpeg{version('simplejpeg')}+checks3"


def decode(raw: bytes, limit: int = MAX_PIXELS, remedy: str = "") -> np.ndarray:
    """The bytes of an image file → RGB [H,W,3], uint16 for 16-bit files, else uint8.

    `limit`: pixels; `remedy` is what to do about more. Raises `ImageFailure`, one line, for a file that is damaged,
    ambiguous (several frames), or deeper than what it would become.
    """
    if not raw:
        raise ImageFailure("empty file (0 bytes)")
    try:
        with STRICT_PILLOW, TIFF_WARNINGS.heard() as told:
            header = read_header(io.BytesIO(raw), limit, remedy)
            pixels = _decode(raw, header, limit)
            if header.kind == "tiff" and (lost := hidden(told)):  # an EXIF block is read by the same code
                raise Damage("TIFF", lost)
            return pixels
    except ImageFailure:
        raise
    except Exception as error:  # a hostile file can make a decoder fail in any way; each is this line
        raise understood(KINDS[kind_of(raw[:16])], error) from error


def _decode(raw: bytes, header: Header, limit: int) -> np.ndarray:
    pixels = None
    if header.kind == "png":
        parts = png.taken_apart(raw)
        pixels = png.plain(raw, parts)
        if pixels is None:
            raw = parts.stored()
            header = header._replace(image=read_header(io.BytesIO(raw), limit).image)
    if pixels is None:
        pixels = _by_library(raw, header)
    pixels = _oriented(pixels, header.orientation)
    if pixels.shape[:2] != header.size:
        made, said = (f"{width}×{height}" for height, width in (pixels.shape[:2], header.size))
        raise ImageFailure(f"decodes to {made}, but its header says {said}")
    return pixels


def _by_library(raw: bytes, header: Header) -> np.ndarray:
    deep = _checked(raw, header)
    if deep and header.kind == "pnm":
        return pnm.decode_deep(raw)
    pixels = _fast(raw, header)
    return _through_pillow(raw, header, deep) if pixels is None else pixels


def _checked(raw: bytes, header: Header) -> bool:
    """Whether the file stores 16 bits a channel. Raises `ImageFailure` for what its own bytes say is wrong."""
    if header.kind == "png":
        return raw[24] == 16
    if header.kind == "pnm":
        return raw[:2] in (b"P2", b"P3", b"P5", b"P6") and pnm.header(raw).limit > 255
    if header.kind == "tiff":
        return checks.tiff_is_deep(header)
    if header.kind == "bmp":
        checks.bmp(raw)
    elif header.kind == "jp2":
        checks.jp2(raw)
    elif header.kind == "avif":
        checks.avif(raw)
    elif header.kind == "gif" and header.image.tile and header.image.tile[0][1] != (0, 0, *header.image.size):
        raise ImageFailure("GIF whose picture does not fill it; what lies around it is not defined")
    elif header.kind == "jpeg" and header.image.mode == "CMYK":
        jpeg.check(raw, 4)
    return False


def _fast(raw: bytes, header: Header) -> np.ndarray | None:
    """JPEG, through a decoder that is faster than Pillow and refuses more; None for what is left."""
    if header.kind == "jpeg" and header.image.mode in ("L", "RGB"):
        return jpeg.decode(raw)
    return None


def _through_pillow(raw: bytes, header: Header, deep: bool) -> np.ndarray:
    image = header.image
    image.load()
    if header.kind == "png" and raw[25] == png.PALETTE:
        png.check_palette(raw, np.asarray(image))
    if header.kind == "tiff":
        checks.tiff(raw, header, np.asarray(image))
    image.info.pop("transparency", None)  # dropped like all alpha; Pillow would warn about it
    if image.mode.startswith("I;16") or (deep and image.mode == "I"):  # Pillow < 11 widens 16-bit gray PNG to "I"
        gray = np.array(image).astype(np.uint16)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode not in _PLAIN_MODES:
        raise ImageFailure(f"pixels of kind {image.mode!r} (float, 32-bit or Lab); 8- or 16-bit is needed")
    if deep:
        return _deep_colour(raw, np.asarray(image.convert("RGB")))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _deep_colour(raw: bytes, high: np.ndarray) -> np.ndarray:
    """16-bit RGB through OpenCV, proved against Pillow, which decodes strictly but keeps the high bytes only."""
    import cv2

    log = cv2.utils.logging  # what its TIFF reader has to say of tags
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        log.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageFailure("16-bit pixels that OpenCV cannot decode")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    pixels = np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, 2::-1]
    if pixels.shape != high.shape or np.any(np.abs((pixels >> 8).astype(np.int16) - high) > 1):
        raise ImageFailure("OpenCV and Pillow decode its 16-bit pixels differently")
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


STRICT_PILLOW = _StrictPillow()

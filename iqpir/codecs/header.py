"""What is known of an image file before any pixel is decoded: its kind, size, orientation; bombs end here."""

from __future__ import annotations

import io
import struct
from typing import IO, TYPE_CHECKING, NamedTuple

from iqpir.codecs.damage import quiet_tiff
from iqpir.errors import ImageFailure

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 2**26
"""Largest image that is decoded, in pixels, where the caller gives no other limit: 8192×8192."""

ORIENTATION = 0x0112
"""EXIF's and TIFF's tag."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JP2_MAGIC = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM_MAGIC = b"\xff\x4f\xff\x51"


class Header(NamedTuple):
    """What is known before any pixel is decoded."""

    image: ImageFile
    kind: str
    orientation: int
    """EXIF orientation that is still to be applied, 1 to 8."""
    size: tuple[int, int]
    """(height, width) after orientation."""


def read_header(file: IO[bytes], limit: int = MAX_PIXELS, remedy: str = "") -> Header:
    """The header of an open image file. Raises `ImageFailure`, and whatever Pillow raises for a broken one.

    `limit`: pixels; `remedy` is what to do about more.
    """
    kind = kind_of(file.read(16))
    file.seek(0)
    exif = _png_exif(file) if kind == "png" else b""
    file.seek(0)
    image = _plugin(kind)(file)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageFailure(f"holds {frames} frames or pages; which one is meant is not defined")
    if kind == "tiff":
        # Pillow turns a TIFF while loading it; whether `size` is already turned depends on its version.
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height, turned = tags[256], tags[257], tags.get(ORIENTATION, 1)
        orientation = 1
    else:
        width, height = image.size
        orientation = turned = _exif_orientation(exif if kind == "png" else image.info.get("exif", b""))
    size = (width, height) if turned in (5, 6, 7, 8) else (height, width)
    shown = f"{size[1]}×{size[0]}"
    if size[0] < 1 or size[1] < 1:
        raise ImageFailure(f"has no pixels ({shown})")
    if size[0] * size[1] > limit:
        raise ImageFailure(f"{shown} is {size[0] * size[1]} pixels, over the limit of {limit}{remedy}")
    return Header(image, kind, orientation, size)


def kind_of(head: bytes) -> str:
    """The kind of image file that begins with these 16 bytes. Raises `ImageFailure` for none that is read here."""
    if head.startswith(PNG_MAGIC):
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
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head.startswith((_JP2_MAGIC, _CODESTREAM_MAGIC)):
        return "jp2"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    if not head:
        raise ImageFailure("empty file (0 bytes)")
    raise ImageFailure("not an image of a known kind (PNG, JPEG, BMP, TIFF, WebP, PPM, PGM, GIF, JPEG 2000, AVIF)")


_PLUGINS = {
    "png": "PngImagePlugin:PngImageFile",
    "jpeg": "JpegImagePlugin:JpegImageFile",  # shows the primary picture of a phone's two (MPO), as viewers do
    "tiff": "TiffImagePlugin:TiffImageFile",
    "webp": "WebPImagePlugin:WebPImageFile",
    "bmp": "BmpImagePlugin:BmpImageFile",
    "pnm": "PpmImagePlugin:PpmImageFile",
    "gif": "GifImagePlugin:GifImageFile",
    "jp2": "Jpeg2KImagePlugin:Jpeg2KImageFile",
    "avif": "AvifImagePlugin:AvifImageFile",
}
"""Pillow's classes, used directly: `Image.open` would also try formats that are not wanted here, and apply a pixel
limit that can only be changed for the whole process."""

_OPTIONAL = {"webp": "webp", "jp2": "jpg_2000", "avif": "avif"}
"""Kinds that a build of Pillow may lack, by the names of its features."""


def _plugin(kind: str) -> type[ImageFile]:
    import importlib

    from PIL import features

    if kind in _OPTIONAL and (_OPTIONAL[kind] not in features.features | features.modules | features.codecs):
        raise ImageFailure(f"{kind} is not read by this version of Pillow; update it, or save the image as PNG")
    if kind in _OPTIONAL and not features.check(_OPTIONAL[kind]):
        raise ImageFailure(f"{kind} is not read by this build of Pillow; install its wheel, or save the image as PNG")
    if kind == "tiff":
        quiet_tiff()
    module, _, name = _PLUGINS[kind].partition(":")
    return getattr(importlib.import_module(f"PIL.{module}"), name)


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
        value = exif.get(ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, struct.error, OSError):
        return 1
    return value if value in range(1, 9) else 1


def _png_exif(file: IO[bytes]) -> bytes:
    """The eXIf block of a PNG, which may stand before or after the pixels; found by seeking, without reading them."""
    file.seek(len(PNG_MAGIC))
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return file.read(min(length, 2**20))
        if name == b"IEND":
            break
        file.seek(length + 4, io.SEEK_CUR)
    return b""

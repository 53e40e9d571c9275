"""Checksums and lengths that formats carry and decoders overlook: TIFF, run-length BMP; and depths cut in silence.

Each function looks at the bytes of one kind of file and raises `ImageFailure`; none returns pixels.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

from iqpir.codecs import jpeg
from iqpir.codecs.damage import Damage
from iqpir.codecs.header import ORIENTATION, Header
from iqpir.errors import ImageFailure

BITS, PHOTOMETRIC, SAMPLE_FORMAT, EXTRA_SAMPLES = 258, 262, 339, 338
_COMPRESSION, _CHANNELS, _PLANAR, _PREDICTOR, _JPEG_TABLES = 259, 277, 284, 317, 347
_ROWS, _STRIPS, _STRIP_SIZES = 278, 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 322, 323, 324, 325
_DEFLATE, _FAX, _JPEG, _OLD_JPEG, _PACK_BITS = (8, 32946), (2, 3, 4, 32771), 7, 6, 32773


def tiff_is_deep(header: Header) -> bool:
    """True for 16 bits a channel; refuses the TIFF kinds that Pillow or OpenCV would misread."""
    tags = header.image.tag_v2  # type: ignore[attr-defined]
    bits, formats = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16} or formats != {1}:
        kind = {2: "signed", 3: "float"}.get(max(formats), "unsigned")
        raise ImageFailure(f"TIFF of {max(bits)}-bit {kind} samples; unsigned 8- or 16-bit is needed")
    compression = tags.get(_COMPRESSION, 1)
    if compression in _FAX or compression == _OLD_JPEG:
        kind = "a fax (CCITT)" if compression in _FAX else "an old kind of JPEG"
        raise ImageFailure(f"TIFF compressed as {kind}, of which libtiff hides damage; save it as PNG")
    if bits != {16}:
        return False
    if tags.get(PHOTOMETRIC) not in (1, 2) or 1 in tags.get(EXTRA_SAMPLES, ()):
        raise ImageFailure("16-bit TIFF that is neither gray (black is zero) nor RGB with plain alpha")
    if tags.get(PHOTOMETRIC) == 2 and tags.get(ORIENTATION, 1) != 1:
        raise ImageFailure("16-bit colour TIFF with an orientation tag; turn the pixels and drop the tag")
    return True


def tiff(raw: bytes, header: Header, decoded: np.ndarray) -> None:
    """The compressed strips or tiles are what they should be, where the compression can tell and libtiff does not.

    LZW, Zstandard and WebP inside carry nothing to check; LZMA is checked by libtiff. `decoded` is what Pillow made.
    """
    tags = header.image.tag_v2  # type: ignore[attr-defined]
    compression = tags.get(_COMPRESSION, 1)
    if compression not in (*_DEFLATE, _JPEG, _PACK_BITS):
        return
    known = _checksums(tags, decoded) if compression in _DEFLATE else []
    for number, (part, room) in enumerate(_parts(raw, tags)):
        if number < len(known) and part[-4:] == known[number]:
            continue  # the stream's own checksum is that of the pixels: no need to unpack it again
        try:
            if compression == _JPEG:
                tables = tags.get(_JPEG_TABLES, b"")
                jpeg.check(tables[:-2] + part[2:] if tables else part, _channels_within(tags))
            elif compression == _PACK_BITS:
                _unpack(part, room)
            else:
                _inflate(part, room)
        except ImageFailure as error:
            raise Damage("TIFF", f"in part {number}: {getattr(error, 'reason', error)}") from error


def _checksums(tags: Any, decoded: np.ndarray) -> list[bytes]:
    """What each strip's deflate stream must end with, if they hold these very pixels; 8-bit, channels together."""
    predictor, rows = tags.get(_PREDICTOR, 1), tags.get(_ROWS, tags[257])
    if decoded.dtype != np.uint8 or _TILES in tags or tags.get(_PLANAR, 1) != 1 or predictor not in (1, 2) or rows < 1:
        return []
    stored = decoded.reshape(*decoded.shape[:2], -1)
    if predictor == 2:
        stored = np.concatenate([stored[:, :1], stored[:, 1:] - stored[:, :-1]], axis=1)
    strips = (np.ascontiguousarray(stored[top : top + rows]) for top in range(0, len(stored), rows))
    return [zlib.adler32(strip.data).to_bytes(4, "big") for strip in strips]


def _parts(raw: bytes, tags: Any) -> list[tuple[bytes, int]]:
    """The bytes of each strip or tile, and how many it may hold when unpacked."""
    width, height, bits = tags[256], tags[257], tags.get(BITS, (1,))
    channels = _channels_within(tags)
    if _TILES in tags:
        starts, sizes = tags[_TILES], tags[_TILE_SIZES]
        across, rows = tags[_TILE_WIDTH], [tags[_TILE_HEIGHT]] * len(starts)
    else:
        starts, sizes = tags[_STRIPS], tags.get(_STRIP_SIZES, ())
        across, each = width, min(tags.get(_ROWS, height), height)
        planes = max(1, -(-height // each))
        rows = [min(each, height - index % planes * each) for index in range(len(starts))]
    if len(starts) != len(sizes):
        raise Damage("TIFF", f"{len(starts)} parts and {len(sizes)} lengths")
    line = -(-across * channels * max(bits) // 8)
    return [(raw[start : start + size], line * count) for start, size, count in zip(starts, sizes, rows, strict=True)]


def _channels_within(tags: Any) -> int:
    """Of one strip or tile: all, or one where each channel has its own."""
    return 1 if tags.get(_PLANAR, 1) == 2 else tags.get(_CHANNELS, 1)


def _inflate(part: bytes, room: int) -> None:
    """A zlib stream that ends, and whose checksum is right (zlib compares it). Nothing is kept."""
    stream, given, made = zlib.decompressobj(), part, 0
    try:
        while not stream.eof:
            piece = stream.decompress(given, 2**20)
            given, made = stream.unconsumed_tail, made + len(piece)
            if not piece and not given and not stream.eof:
                raise ImageFailure("its deflate stream has no end")
            if made > 2 * room + 2**20:  # some writers pad the last strip; none holds this much
                raise ImageFailure(f"more than {room} bytes of pixels")
    except zlib.error as error:
        raise ImageFailure(str(error).rpartition(": ")[2]) from error
    if made < room:
        raise ImageFailure(f"{made} of {room} bytes of pixels")


def _unpack(part: bytes, room: int) -> None:
    """PackBits runs that add up to the part's pixels; libtiff cuts a run that is too long and fills what is missing."""
    at = made = 0
    while at < len(part) and made < room:
        code = part[at]
        if code < 128:
            made, at = made + code + 1, at + code + 2
        else:
            made, at = made + (257 - code if code > 128 else 0), at + (2 if code > 128 else 1)
    if made != room or at > len(part):
        raise ImageFailure(f"PackBits runs of {made} bytes for {room} bytes of pixels")


def bmp(raw: bytes) -> None:
    """A run-length BMP says every pixel of every row, and ends where it says so; gaps have no agreed colour."""
    if len(raw) < 54 or struct.unpack_from("<I", raw, 14)[0] < 40:
        return
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", raw, 18)
    if compression not in (1, 2):
        return
    at, x, y = struct.unpack_from("<I", raw, 10)[0], 0, 0
    while at + 1 < len(raw) and y < abs(height) and x <= width:
        count, code = raw[at], raw[at + 1]
        at += 2
        if count:
            x += count
        elif code < 2:  # the end of a row, or of the picture
            if x != width:
                break
            x, y = 0, y + 1
            if code == 1:
                break
        elif code == 2:
            raise ImageFailure("BMP with jumps over pixels, which have no agreed colour")
        else:
            size = code if bits == 8 else -(-code // 2)
            x, at = x + code, at + size + size % 2
    if y != abs(height):
        raise Damage("BMP", f"in row {y} of its run-length data")


def jp2(raw: bytes) -> None:
    """8 bits in every channel, all of one size: Pillow would cut or stretch others without a word."""
    at = raw.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(raw) < at + 42:
        raise Damage("JPEG 2000", "it has no codestream")
    (channels,) = struct.unpack_from(">H", raw, at + 40)
    found = {tuple(raw[at + 42 + 3 * index : at + 45 + 3 * index]) for index in range(channels)}
    if found != {(7, 1, 1)}:
        raise ImageFailure("JPEG 2000 of other than unsigned 8-bit channels of one size; save it as PNG")


def avif(raw: bytes) -> None:
    """8 bits: Pillow would cut 10 and 12 without a word."""
    at = raw.find(b"av1C")
    while 0 <= at < len(raw) - 6:
        if raw[at + 6] & 0x40:
            raise ImageFailure("AVIF of 10 or 12 bits, which Pillow cuts to 8; save it as 16-bit PNG")
        at = raw.find(b"av1C", at + 4)

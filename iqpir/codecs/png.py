"""PNG: checksums, and the compressed pixels unpacked here, because decoders look at less than the file tells.

Pillow and OpenCV stop reading the stream at its last row, before its checksum, and fill up with black where rows are
missing. Unpacked once here, by zlib-ng, the rows become pixels here too where there are enough of the usual kind to
load a compiler for; else they are handed on stored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from zlib_ng.zlib_ng import crc32, decompressobj, error

from iqpir.codecs.damage import Damage
from iqpir.codecs.header import PNG_MAGIC

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type."""

PALETTE = 3
"""The colour type of pixels that are looked up."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps to the next, of each pass of an interlaced PNG (its specification, 8.2)."""

_BLOCK = 0xFFFF
"""The most that a stored block holds."""


_WORTH = 1 << 28
"""Bytes of rows that a process has met before it loads what makes pixels of them faster than Pillow does, which takes
as long as is won with as many: about 350 images of 512²."""
_met = 0


class Parts(NamedTuple):
    """A PNG taken apart."""

    before: list[memoryview]
    """The chunks before the compressed pixels, as they are."""
    rows: bytes
    """Unpacked, each with its filter."""
    checksum: bytes
    after: list[memoryview]
    """The chunks after them."""

    def stored(self) -> bytes:
        """The same PNG with its pixels stored, not compressed, in one IDAT."""
        return b"".join([PNG_MAGIC, *self.before, *_stored(self.rows, self.checksum), *self.after])


def taken_apart(raw: bytes) -> Parts:
    """Raises `Damage` for what is not as written.

    Every chunk that carries pixels is whole and its checksum right, up to IEND; the stream has all rows and no more,
    ends, has the right checksum, and nothing follows it.
    """
    before, stream, after = _chunks(raw)
    if raw[25] == PALETTE and not any(part[4:8] == b"PLTE" for part in before):
        raise Damage("PNG", "it has no palette")
    return Parts(before, _inflated(stream, _room(raw)), stream[-4:], after)


def plain(raw: bytes, parts: Parts) -> np.ndarray | None:
    """uint8 RGB [H,W,3] of a PNG that is of 8-bit RGB, not interlaced, with nothing after its pixels; None for another,
    for one whose rows make no sense, and while a process has met too few to be worth it."""
    global _met
    if tuple(raw[24:29]) != _PLAIN or len(parts.after) != 1:
        return None
    _met += len(parts.rows)
    if _met < _WORTH:
        return None
    from iqpir.codecs.unfilter import unfiltered

    width, height = struct.unpack_from(">II", raw, 16)
    pixels = np.empty((height, 3 * width), np.uint8)
    if not unfiltered(np.frombuffer(parts.rows, np.uint8), pixels):
        return None
    return pixels.reshape(height, width, 3)


_PLAIN = (8, 2, 0, 0, 0)
"""Depth, colour type, and the only method each of compressing, filtering and (not) interlacing."""


def check_palette(raw: bytes, indices: np.ndarray) -> None:
    """Raises `Damage` where a pixel names a colour that the palette has not; decoders show black, or what lies there.

    `raw` is a PNG whose chunks are sound, `indices` its pixels [H,W] before they are looked up.
    """
    at = len(PNG_MAGIC)
    while raw[at + 4 : at + 8] != b"PLTE":
        at += 12 + int.from_bytes(raw[at : at + 4], "big")
    colours = int.from_bytes(raw[at : at + 4], "big") // 3
    if indices.max() >= colours:
        raise Damage("PNG", f"a pixel names colour {indices.max()} of a palette of {colours}")


def _chunks(raw: bytes) -> tuple[list[memoryview], bytes, list[memoryview]]:
    """The chunks before the compressed pixels, these joined, and those after, as they are."""
    view, at = memoryview(raw), len(PNG_MAGIC)
    before: list[memoryview] = []
    parts: list[memoryview] = []
    after: list[memoryview] = []
    while at + 12 <= len(raw):
        length, name = struct.unpack_from(">I4s", raw, at)
        end = at + 8 + length
        if end + 4 > len(raw):
            break
        if name[0] & 0x20 == 0 and crc32(view[at + 4 : end]) != struct.unpack_from(">I", raw, end)[0]:
            named = repr(name)[2:-1] if name.isalnum() else "a part"
            raise Damage("PNG", f"the checksum of {named} at byte {at} is wrong")
        if name == b"IDAT":
            if after:
                raise Damage("PNG", f"its pixels go on at byte {at}, after another part")
            parts.append(view[at + 8 : end])
        else:
            (after if parts else before).append(view[at : end + 4])
        if name == b"IEND":
            return before, b"".join(parts), after
        at = end + 4
    raise Damage("PNG", f"it ends early, after {len(raw)} bytes")


def _room(raw: bytes) -> int:
    """Bytes of all rows, each with its filter, by the header."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", raw, 16)
    if colour not in _CHANNELS:
        raise Damage("PNG", f"there is no colour type {colour}")
    bits, room = depth * _CHANNELS[colour], 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        room += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return room


def _stored(rows: bytes, checksum: bytes) -> Iterator[bytes | memoryview]:
    """The IDAT of these rows as deflate's stored blocks (RFC 1951, 3.2.4), in pieces: joined once, copied once."""
    parts: list[bytes | memoryview] = [b"IDAT", b"\x78\x01"]
    for at in range(0, len(rows), _BLOCK):
        block = memoryview(rows)[at : at + _BLOCK]
        parts += [struct.pack("<BHH", at + _BLOCK >= len(rows), len(block), 0xFFFF - len(block)), block]
    parts.append(checksum)
    yield (sum(map(len, parts)) - 4).to_bytes(4, "big")
    yield from parts
    crc = 0
    for part in parts:
        crc = crc32(part, crc)
    yield crc.to_bytes(4, "big")


def _inflated(stream: bytes, room: int) -> bytes:
    inflater = decompressobj()
    try:
        rows = inflater.decompress(stream, room + 1)
    except error as wrong:  # type: ignore[misc]  # its stub names an instance
        raise Damage("PNG", str(wrong).rpartition(": ")[2]) from wrong
    if len(rows) > room:
        raise Damage("PNG", f"more than {room} bytes of pixels")
    if len(rows) < room:
        raise Damage("PNG", f"{len(rows)} of {room} bytes of pixels")
    if not inflater.eof:
        raise Damage("PNG", "its deflate stream has no end")
    if inflater.unused_data:
        raise Damage("PNG", f"{len(inflater.unused_data)} bytes follow the end of its pixels")
    return rows

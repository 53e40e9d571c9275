"""The compressed pixels of a PNG: a stream that is wrong is one failure in our words, and nothing on standard error.

Every chunk's own checksum is right, so that only the stream itself can tell.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from iqpir import codecs
from iqpir.codecs import png as png_room
from iqpir.errors import ImageFailure

SIDE = 9
GRAY, RGB, PALETTE = 0, 2, 3
KINDS = [(8, RGB), (8, GRAY), (8, PALETTE), (16, RGB), (16, GRAY)]


@pytest.fixture(autouse=True, params=["pillow", "compiled"])
def undone_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes pixels of rows: each test holds for both, whatever the process has read before."""
    monkeypatch.setattr(png_room, "_WORTH", 0 if request.param == "compiled" else 1 << 62)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(depth: int, colour: int, stream: bytes, parts: int = 1, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, colour, 0, 0, interlaced)
    step = -(-len(stream) // parts)
    data = [chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step)]
    palette = chunk(b"PLTE", bytes(768)) if colour == PALETTE else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + b"".join(data) + chunk(b"IEND", b"")


def rows(depth: int, colour: int, count: int = SIDE) -> bytes:
    width = SIDE * (3 if colour == RGB else 1) * depth // 8
    return b"".join(b"\0" + bytes(1 + (row + column) % 200 for column in range(width)) for row in range(count))


@pytest.mark.parametrize(("depth", "colour"), KINDS)
@pytest.mark.parametrize("parts", [1, 3])
def test_a_wrong_checksum_of_the_stream_is_one_failure(
    depth: int, colour: int, parts: int, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = bytearray(zlib.compress(rows(depth, colour)))
    sound = codecs.decode(png(depth, colour, bytes(stream), parts))
    assert sound.shape == (SIDE, SIDE, 3)
    stream[-1] ^= 1
    with pytest.raises(ImageFailure, match="PNG is damaged"):
        codecs.decode(png(depth, colour, bytes(stream), parts))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("depth", "colour"), KINDS)
@pytest.mark.parametrize("count", [0, 1, SIDE - 1])
def test_a_stream_that_ends_before_the_last_row_is_one_failure(
    depth: int, colour: int, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ImageFailure, match="PNG is damaged"):
        codecs.decode(png(depth, colour, zlib.compress(rows(depth, colour, count))))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("depth", "colour"), KINDS)
@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_a_checksum_that_is_cut_is_one_failure(
    depth: int, colour: int, parts: int, lost: int, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = zlib.compress(rows(depth, colour))[:-lost]
    with pytest.raises(ImageFailure, match="its deflate stream has no end"):
        codecs.decode(png(depth, colour, stream, parts))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("depth", "colour"), KINDS)
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda rows: zlib.compress(rows) + b"\0" * 7, "7 bytes follow the end of its pixels"),
        (lambda rows: zlib.compress(rows) + zlib.compress(rows), "bytes follow the end of its pixels"),
        (lambda rows: zlib.compress(rows + rows[-1:]), "more than [0-9]+ bytes of pixels"),
    ],
)
def test_what_follows_the_last_row_is_one_failure(
    depth: int, colour: int, made: Callable[[bytes], bytes], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ImageFailure, match=reason):
        codecs.decode(png(depth, colour, made(rows(depth, colour))))
    assert capfd.readouterr() == ("", "")


def test_a_picture_without_its_palette_is_one_failure() -> None:
    whole = png(8, PALETTE, zlib.compress(rows(8, PALETTE)))
    start = whole.index(b"PLTE") - 4
    with pytest.raises(ImageFailure, match="it has no palette"):
        codecs.decode(whole[:start] + whole[start + 12 + 768 :])


@pytest.mark.parametrize(("colours", "sound"), [(201, True), (200, False), (1, False)])
def test_a_pixel_beyond_the_palette_is_one_failure(colours: int, sound: bool) -> None:
    stream = zlib.compress(b"".join(b"\0" + bytes([200] * SIDE) for _ in range(SIDE)))
    whole = png(8, PALETTE, stream).replace(chunk(b"PLTE", bytes(768)), chunk(b"PLTE", bytes([7]) * 3 * colours))
    if sound:
        assert (codecs.decode(whole) == 7).all()
    else:
        with pytest.raises(ImageFailure, match=f"a pixel names colour 200 of a palette of {colours}"):
            codecs.decode(whole)


def test_pixels_in_two_places_are_one_failure() -> None:
    whole = png(8, RGB, zlib.compress(rows(8, RGB)), parts=2)
    second = whole.rindex(b"IDAT") - 4
    with pytest.raises(ImageFailure, match="its pixels go on at byte"):
        codecs.decode(whole[:second] + chunk(b"tEXt", b"Comment\0between") + whole[second:])


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_every_level_of_compression_and_empty_parts_are_read(level: int) -> None:
    whole = png(8, RGB, zlib.compress(rows(8, RGB), level), parts=5)
    first = whole.index(b"IDAT") - 4
    padded = whole[:first] + chunk(b"IDAT", b"") + whole[first:]
    assert (codecs.decode(padded) == codecs.decode(whole)).all()


def test_a_picture_with_black_below_is_whole() -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:4] = 200
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    assert (codecs.decode(png(8, RGB, stream)) == pixels).all()


def test_interlaced_pictures_are_held_against_the_size_of_their_passes(capfd: pytest.CaptureFixture[str]) -> None:
    # The sizes of the seven passes of 9 × 9 pixels, counted by hand on the specification's pattern.
    passes = [(2, 2), (1, 2), (3, 1), (2, 3), (5, 2), (4, 5), (9, 4)]
    lines = [b"\0" + bytes([9] * columns * 3) for columns, count in passes for _ in range(count)]
    whole = codecs.decode(png(8, RGB, zlib.compress(b"".join(lines)), interlaced=1))
    assert (whole == 9).all()
    with pytest.raises(ImageFailure, match="PNG is damaged"):
        codecs.decode(png(8, RGB, zlib.compress(b"".join(lines[:-1])), interlaced=1))
    assert capfd.readouterr() == ("", "")


def test_pixels_are_those_of_the_writer() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 3), np.uint8)
    for options in ({}, {"compress_level": 0}, {"optimize": True}):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png", **options)
        assert (codecs.decode(file.getvalue()) == pixels).all()


def in_both_ways(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | str]:
    """What a PNG becomes through Pillow and through compiled loops: its pixels or a message."""
    found: list[np.ndarray | str] = []
    for worth in (1 << 62, 0):
        monkeypatch.setattr(png_room, "_WORTH", worth)
        try:
            found.append(codecs.decode(raw))
        except ImageFailure as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("width", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, None])
def test_rows_of_every_filter_are_what_pillow_makes_of_them(
    width: int, kind: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng([width, 9 if kind is None else kind])
    lines = draw.integers(0, 256, (24, 1 + 3 * width), np.uint8)
    lines[:, 0] = draw.integers(0, 5, len(lines)) if kind is None else kind
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(lines), 8, RGB, 0, 0, 0))
    raw = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines.tobytes())) + chunk(b"IEND", b"")
    pillow, ours = in_both_ways(raw, monkeypatch)
    assert isinstance(ours, np.ndarray) and ours.shape == (24, width, 3) and ours.dtype == np.uint8
    assert np.array_equal(ours, pillow)


def test_a_filter_that_there_is_not_is_the_same_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = bytearray(rows(8, RGB))
    lines[4 * (1 + 3 * SIDE)] = 5
    pillow, ours = in_both_ways(png(8, RGB, zlib.compress(bytes(lines))), monkeypatch)
    assert isinstance(pillow, str) and pillow == ours


def test_harm_anywhere_is_told_in_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (11, 13, 3), np.uint8)).save(file, "png")
    sound = file.getvalue()
    for at in range(8, len(sound)):
        changed = bytearray(sound)
        changed[at] ^= 1 << at % 8
        pillow, ours = in_both_ways(bytes(changed), monkeypatch)
        assert isinstance(pillow, str) == isinstance(ours, str)
        assert pillow == ours if isinstance(pillow, str) else np.array_equal(pillow, ours)


def test_a_process_that_reads_little_loads_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_room, "_WORTH", 3 * len(rows(8, RGB)))
    monkeypatch.setattr(png_room, "_met", 0)
    raw = png(8, RGB, zlib.compress(rows(8, RGB)))
    made = [png_room.plain(raw, png_room.taken_apart(raw)) is not None for _ in range(4)]
    assert made == [False, False, True, True]

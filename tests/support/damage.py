"""Small image files of every kind, and ways to damage each that its format can tell."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image

SIDE = 48
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
PIXELS = np.clip(
    np.stack([_ROWS * 5, _COLUMNS * 5, (_ROWS + _COLUMNS) * 2], axis=2)
    + np.random.default_rng(5).normal(0, 12, (SIDE, SIDE, 3)),
    0,
    255,
).astype(np.uint8)
"""A slope with noise: neither flat nor incompressible."""


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(PIXELS)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def run_length_bmp() -> bytes:
    """8 bits with a palette, each row as runs, by Microsoft's description of BI_RLE8."""
    indices = PIXELS[:, :, 0] // 32
    body = bytearray()
    for row in indices[::-1]:
        for value in row:
            body += bytes((1, value))
        body += b"\0\0"
    body += b"\0\1"
    palette = b"".join(bytes((shade * 32,) * 3) + b"\0" for shade in range(8)) + bytes(4 * 248)
    start = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(body), 0, 0, 256, 0)
    return head + info + palette + bytes(body)


def deep(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, PIXELS[:, :, ::-1].astype(np.uint16) * 257, list(options))[1].tobytes()


SOUND: dict[str, bytes] = {
    "baseline.jpg": encoded("JPEG", quality=90),
    "444.jpeg": encoded("JPEG", quality=90, subsampling=0),
    "progressive.jpe": encoded("JPEG", quality=90, progressive=True),
    "gray.jfif": encoded("JPEG", "L", quality=90),
    "cmyk.jpg": encoded("JPEG", "CMYK", quality=90),
    "colour.png": encoded("PNG"),
    "gray.png": encoded("PNG", "L"),
    "palette.png": encoded("PNG", "P"),
    "alpha.png": encoded("PNG", "RGBA"),
    "deep.png": deep(".png"),
    "deflate.tif": encoded("TIFF", compression="tiff_adobe_deflate"),
    "predictor.tif": encoded("TIFF", compression="tiff_adobe_deflate", tiffinfo={317: 2}),
    "strips.tiff": encoded("TIFF", compression="tiff_deflate", tiffinfo={278: 7}),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "packbits.tif": encoded("TIFF", compression="packbits"),
    "jpeg.tif": encoded("TIFF", compression="jpeg"),
    "deep.tif": deep(".tif", cv2.IMWRITE_TIFF_COMPRESSION, 8),
    "plain.bmp": encoded("BMP"),
    "runs.bmp": run_length_bmp(),
    "plain.ppm": encoded("PPM"),
    "lossy.webp": encoded("WEBP", quality=80),
    "lossless.webp": encoded("WEBP", lossless=True),
    "one.gif": encoded("GIF", "P"),
    "wavelet.jp2": encoded("JPEG2000"),
}


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) * 6 // 10]


def cut_and_closed(raw: bytes) -> bytes:
    return cut(raw) + b"\xff\xd9"


def hole(raw: bytes) -> bytes:
    """Zeros from the middle on, a third of the file."""
    middle, size = len(raw) // 2, len(raw) // 3
    return raw[:middle] + bytes(size) + raw[middle + size :]


def gap(raw: bytes) -> bytes:
    middle, size = len(raw) // 2, len(raw) // 3
    return raw[:middle] + raw[middle + size :]


def flip(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 0x55]) + raw[middle + 1 :]


_JPEG = ("baseline.jpg", "444.jpeg", "progressive.jpe", "gray.jfif", "cmyk.jpg")
_CHECKED = ("colour.png", "gray.png", "palette.png", "alpha.png", "deep.png", "deflate.tif", "predictor.tif",
            "strips.tiff", "deep.tif")  # fmt: skip
"""Kinds with a checksum over their pixels: any change is known."""

TELLING: dict[Callable[[bytes], bytes], tuple[str, ...]] = {
    cut: tuple(SOUND),
    cut_and_closed: _JPEG,
    hole: (*_JPEG, *_CHECKED, "packbits.tif", "jpeg.tif", "runs.bmp"),
    gap: (*_JPEG, *_CHECKED, "lzw.tif", "packbits.tif", "jpeg.tif", "runs.bmp", "plain.bmp", "plain.ppm"),
    flip: _CHECKED,
}
"""Which kinds can tell of which damage. Of a single byte neither Huffman codes say anything nor arithmetic ones."""


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _frames(kind: str) -> bytes:
    buffer = io.BytesIO()
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    first.save(buffer, kind, save_all=True, append_images=[second])
    return buffer.getvalue()


def _wrong_adler() -> bytes:
    """A PNG whose chunk is right and whose deflate stream is not."""
    stream = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS)))
    stream[-1] ^= 1
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", bytes(stream)) + _chunk(b"IEND", b"")


def _deep_jp2() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257).save(buffer, "JPEG2000")
    return buffer.getvalue()


OTHERS: dict[str, bytes] = {
    "empty.jpg": b"",
    "html.png": b"<!doctype html><title>404</title>",
    "pointer.tif": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "magic-jpg.jpg": b"\xff\xd8\xff",
    "magic-gif.gif": b"GIF89a",
    "magic-jp2.jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "magic-avif.avif": b"\0\0\0\x1cftypavif\0\0\0\0",
    "heic.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    "adler.png": _wrong_adler(),
    "pages-tif.tif": _frames("TIFF"),
    "animated-gif.gif": _frames("GIF"),
    "animated-png.png": _frames("PNG"),
    "animated-webp.webp": _frames("WEBP"),
    "fax.tif": encoded("TIFF", "1", compression="group4"),
    "deep-jp2.jp2": _deep_jp2(),
    "eoi.jpg": SOUND["baseline.jpg"][:-2] + b"\x12\x34\x56\x78\xff\xd9",
    "no-eoi.jpg": SOUND["baseline.jpg"][:-2],
    "bomb.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0),
}
"""No image, not one image, or one whose damage or depth the decoder hides."""


def malformed() -> Iterator[tuple[str, bytes]]:
    """Over a hundred file names with what lies under them."""
    for harm, kinds in TELLING.items():
        for kind in kinds:
            stem, _, suffix = kind.rpartition(".")
            yield f"{harm.__name__}-{stem}-{suffix}.{suffix}", harm(SOUND[kind])
    yield from OTHERS.items()
    for seed, magic in enumerate((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"RIFF\0\0\0\0WEBPVP8 ", b"BM",
                                  b"P6 ", b"GIF89a", b"\xff\x4f\xff\x51")):  # fmt: skip
        rng = np.random.default_rng(seed)
        for size in (20, 90, 300, 900):
            yield f"noise-{seed}-{size}.png", magic + rng.integers(0, 256, size, dtype=np.uint8).tobytes()

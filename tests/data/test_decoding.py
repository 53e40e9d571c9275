"""What a decodable file becomes: colour kinds, depth, orientation; and PNG written back."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data import images
from bench.errors import BenchError, ImageError

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (23, 31, 3), dtype=np.uint16)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int, height: int, bits: int, colour: int, rows: bytes, *, before: bytes = b"", after: bytes = b""
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + pixels + after + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".ppm", ".PNG", ".webp"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(COLOUR), **options)
    decoded = images.decode(path)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable and decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, COLOUR)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_equals_pillow_and_opencv(tmp_path: Path, subsampling: int) -> None:
    smooth = cv2.resize(COLOUR, (160, 120), interpolation=cv2.INTER_CUBIC)
    path = saved(tmp_path / "a.jpg", Image.fromarray(smooth), quality=90, subsampling=subsampling)
    decoded = images.decode(path)
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(path).convert("RGB")))
    opencv = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    # Two builds of libjpeg-turbo may round a DCT or the chroma upsampling differently by a level or two.
    assert np.abs(decoded.astype(int) - opencv).max() <= 3


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    saved(tmp_path / "a.bmp", Image.fromarray(COLOUR)).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(images.decode(tmp_path / "a.jpg"), COLOUR)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".pgm"])
def test_gray_is_replicated(tmp_path: Path, suffix: str) -> None:
    gray = COLOUR[:, :, 0]
    decoded = images.decode(saved(tmp_path / f"g{suffix}", Image.fromarray(gray)))
    np.testing.assert_array_equal(decoded, np.dstack([gray] * 3))


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    bits = COLOUR[:, :, 0] > 127
    decoded = images.decode(saved(tmp_path / "b.png", Image.fromarray(bits)))
    np.testing.assert_array_equal(decoded, np.where(bits, 255, 0)[:, :, None].repeat(3, 2))


@pytest.mark.parametrize("bits, values", [(2, [0, 85, 170, 255]), (4, [0, 17, 238, 255])])
def test_gray_of_few_bits_spans_the_full_range(bits: int, values: list[int]) -> None:
    codes = [value * (2**bits - 1) // 255 for value in values]
    packed = int("".join(f"{code:0{bits}b}" for code in codes), 2).to_bytes(bits * 4 // 8, "big")
    decoded = images.decode_bytes(png(4, 1, bits, 0, b"\0" + packed), "x")
    assert decoded[0, :, 1].tolist() == values


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palette_is_looked_up_and_its_transparency_dropped(tmp_path: Path, transparency: object) -> None:
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), mode="P")
    image.putpalette([10, 20, 30, 200, 100, 50, 1, 2, 3])
    options = {} if transparency is None else {"transparency": transparency}
    decoded = images.decode(saved(tmp_path / "p.png", image, **options))
    assert decoded.tolist() == [
        [[10, 20, 30], [200, 100, 50], [1, 2, 3]],
        [[1, 2, 3], [200, 100, 50], [10, 20, 30]],
    ]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_dropped_not_composited(tmp_path: Path, suffix: str) -> None:
    rgba = np.dstack([COLOUR, np.full(COLOUR.shape[:2], 1, np.uint8)])
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    decoded = images.decode(saved(tmp_path / f"a{suffix}", Image.fromarray(rgba), **options))
    np.testing.assert_array_equal(decoded, COLOUR)


def test_gray_with_alpha_drops_alpha(tmp_path: Path) -> None:
    both = np.dstack([COLOUR[:, :, 0], COLOUR[:, :, 1]])
    decoded = images.decode(saved(tmp_path / "la.png", Image.fromarray(both)))
    np.testing.assert_array_equal(decoded, np.dstack([COLOUR[:, :, 0]] * 3))


def test_cmyk_jpeg_is_converted_as_pillow_does(tmp_path: Path) -> None:
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    decoded = images.decode(saved(tmp_path / "c.jpg", flat, quality=95))
    assert np.abs(decoded.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, suffix: str, channels: int) -> None:
    pixels = np.dstack([DEEP, DEEP[:, :, :1]])[:, :, :channels]
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]
    path = tmp_path / f"d{suffix}"
    assert cv2.imwrite(str(path), pixels[:, :, order])
    decoded = images.decode(path)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, np.dstack([DEEP[:, :, 0]] * 3) if channels == 1 else DEEP)


def test_sixteen_bit_gray_with_alpha(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + DEEP[y, :, :2].astype(">u2").tobytes() for y in range(23))
    decoded = images.decode_bytes(png(31, 23, 16, 4, rows), "x")
    np.testing.assert_array_equal(decoded, np.dstack([DEEP[:, :, 0]] * 3))


@pytest.mark.parametrize("channels, magic", [(1, b"P5"), (3, b"P6")])
def test_sixteen_bit_pnm(channels: int, magic: bytes) -> None:
    raw = magic + b"\n# a comment\n31 23\n65535\n" + DEEP[:, :, :channels].astype(">u2").tobytes()
    expected = DEEP if channels == 3 else np.dstack([DEEP[:, :, 0]] * 3)
    np.testing.assert_array_equal(images.decode_bytes(raw, "x"), expected)


def test_ten_bit_pnm_is_scaled_so_that_its_maximum_is_white() -> None:
    raw = b"P5 3 1 1023\n" + np.array([0, 341, 1023], ">u2").tobytes()
    assert images.decode_bytes(raw, "x")[0, :, 0].tolist() == [0, 21845, 65535]  # 341/1023 = 1/3


def test_tiff_compressions(tmp_path: Path) -> None:
    for compression in ("tiff_lzw", "tiff_deflate", "packbits"):
        path = saved(tmp_path / f"{compression}.tif", Image.fromarray(COLOUR), compression=compression)
        np.testing.assert_array_equal(images.decode(path), COLOUR)


# A 2×3 picture whose six shown pixels are known; STORED[n] is how a camera of orientation n writes it down
# (TIFF 6.0: n says where the stored first row and first column are in the scene).
SHOWN = [[1, 2, 3], [4, 5, 6]]
STORED = {
    1: [[1, 2, 3], [4, 5, 6]],  # row 0 = top, column 0 = left
    2: [[3, 2, 1], [6, 5, 4]],  # top, right
    3: [[6, 5, 4], [3, 2, 1]],  # bottom, right
    4: [[4, 5, 6], [1, 2, 3]],  # bottom, left
    5: [[1, 4], [2, 5], [3, 6]],  # row 0 = left, column 0 = top
    6: [[3, 6], [2, 5], [1, 4]],  # right, top
    7: [[6, 3], [5, 2], [4, 1]],  # right, bottom
    8: [[4, 1], [5, 2], [6, 3]],  # left, bottom
}


def blocks(numbers: list[list[int]]) -> np.ndarray:
    """Numbers as 16×16 blocks of gray, so that JPEG keeps them apart."""
    return np.kron(np.array(numbers, np.uint8) * 36, np.ones((16, 16), np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = Image.fromarray(np.dstack([blocks(STORED[orientation])] * 3))
    options = {"tiffinfo": {0x0112: orientation}} if suffix == ".tif" else {"exif": exif(orientation)}
    path = saved(tmp_path / f"o{suffix}", stored, **options)
    decoded = images.decode(path)
    assert decoded.shape == (32, 48, 3)
    assert np.abs(decoded[8::16, 8::16, 0].astype(int) - np.array(SHOWN) * 36).max() <= 4
    assert images.header_size(path) == (32, 48)


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("bits", [8, 16])
def test_png_orientation_after_the_pixels_counts_too(orientation: int, bits: int) -> None:
    stored = np.array(STORED[orientation], np.uint8 if bits == 8 else ">u2")
    rows = b"".join(b"\0" + np.dstack([row] * 3).astype(stored.dtype).tobytes() for row in stored)
    block = chunk(b"eXIf", exif(orientation).removeprefix(b"Exif\0\0"))
    raw = png(stored.shape[1], stored.shape[0], bits, 2, rows, after=block)
    assert images.decode_bytes(raw, "x")[:, :, 0].tolist() == SHOWN
    assert images.header_size_bytes(raw, "x") == (2, 3)


def test_sixteen_bit_gray_tiff_is_turned(tmp_path: Path) -> None:
    stored = Image.fromarray(np.array(STORED[6], np.uint16) * 10000)
    path = saved(tmp_path / "o.tif", stored, tiffinfo={0x0112: 6})
    assert (images.decode(path)[:, :, 0] // 10000).tolist() == SHOWN


def test_unreadable_exif_is_no_orientation(tmp_path: Path) -> None:
    path = saved(tmp_path / "e.jpg", Image.fromarray(COLOUR), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert images.decode(path).shape == COLOUR.shape


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (64, 64)])
def test_png_round_trip_is_lossless(dtype: type, shape: tuple[int, int]) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max + 1, (*shape, 3)).astype(dtype)
    raw = images.encode_png(pixels)
    np.testing.assert_array_equal(images.decode_bytes(raw, "x"), pixels)
    assert images.header_size_bytes(raw, "x") == shape


def test_written_png_reads_the_same_in_pillow() -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(images.encode_png(COLOUR)))), COLOUR)


def test_png_of_a_view_is_the_view() -> None:
    turned = COLOUR[::-1, ::2]
    np.testing.assert_array_equal(images.decode_bytes(images.encode_png(turned), "x"), turned)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_only_rgb_of_8_or_16_bits_is_written(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="PNG"):
        images.encode_png(pixels)


def test_header_size_reads_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    path.write_bytes(images.encode_png(COLOUR)[:200])
    assert images.header_size(path) == (23, 31)
    with pytest.raises(ImageError):
        images.decode(path)


def test_file_source_tells_size_stamp_and_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    source = images.FileSource(path)
    assert source.size() == (23, 31)
    # The decoder is part of the name: another JPEG library may decode the same bytes to other pixels.
    status = path.stat()
    expected = (f"{path}?{images.decoder()}", status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    assert source.stamp() == expected
    assert source.raw() == path.read_bytes()
    np.testing.assert_array_equal(source.load(), COLOUR)


@pytest.mark.parametrize("value", ["-1", "0", "many", "1e6"])
def test_a_wrong_pixel_limit_is_said(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BENCH_MAX_PIXELS", value)
    with pytest.raises(BenchError, match="BENCH_MAX_PIXELS"):
        images.max_pixels()


def test_the_pixel_limit_is_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = images.encode_png(COLOUR)
    monkeypatch.setenv("BENCH_MAX_PIXELS", str(23 * 31))
    assert images.decode_bytes(raw, "x").shape == COLOUR.shape
    monkeypatch.setenv("BENCH_MAX_PIXELS", str(23 * 31 - 1))
    with pytest.raises(ImageError, match="over the limit"):
        images.decode_bytes(raw, "x")


def test_a_raised_limit_is_not_stopped_by_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert images.decode_bytes(images.encode_png(COLOUR), "x").shape == COLOUR.shape


def test_pillows_global_state_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    before = Image.MAX_IMAGE_PIXELS
    images.decode_bytes(images.encode_png(COLOUR), "x")
    with pytest.raises(ImageError):
        images.decode_bytes(b"nothing", "x")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert before == Image.MAX_IMAGE_PIXELS


def test_importing_the_room_imports_no_heavy_library() -> None:
    import subprocess

    modules = "images pairing folder image_files hub builtin degrade build"
    code = (
        f"import sys; [__import__('bench.data.' + name) for name in '{modules}'.split()];"
        "print([name for name in ('torch','cv2','pandas','datasets','skimage','PIL','scipy') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

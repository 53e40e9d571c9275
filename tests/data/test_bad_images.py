"""The corpus of files that are no image, or not quite: each is one ImageError of one line that begins with its name."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data import images
from bench.errors import ImageError

PIXELS = np.random.default_rng(3).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def encoded(kind: str, pixels: np.ndarray = PIXELS, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int, rest: bytes = b"") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + rest


def float_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


def int_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.int32)).save(buffer, "TIFF")
    return buffer.getvalue()


def pages(kind: str) -> bytes:
    buffer = io.BytesIO()
    first, second = Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])
    first.save(buffer, kind, save_all=True, append_images=[second])
    return buffer.getvalue()


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :]


def deep_tiff(pixels: np.ndarray, orientation: int = 1, photometric: int = 2) -> bytes:
    """A 16-bit TIFF of one strip, written by hand (TIFF 6.0, little-endian)."""
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    start = 8 + 2 + 12 * 10 + 4 + 8  # header, ten entries, no next page, the bits per sample
    bits = start - 8
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, bits if channels > 2 else 16 * 65537)]
    entries += [(259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, start), (274, 3, 1, orientation)]
    entries += [(277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data))]
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, 10) + fields + bytes(4) + struct.pack("<4H", 16, 16, 16, 16) + data


PNG, DEEP_PNG = encoded("PNG"), images.encode_png(PIXELS.astype(np.uint16) * 257)

CORPUS: dict[str, bytes] = {
    "empty.png": b"",
    "text.png": b"this is not a picture\n",
    "html.jpg": b"<!doctype html><title>404</title>",
    "gif.png": b"GIF89a" + bytes(40),
    "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "magic-only.png": b"\x89PNG\r\n\x1a\n",
    "magic-only.jpg": b"\xff\xd8\xff",
    "magic-only.webp": b"RIFF\x10\0\0\0WEBP",
    "magic-only.tif": b"II*\0",
    "magic-only.bmp": b"BM",
    "half.png": PNG[: len(PNG) // 2],
    "no-end.png": PNG[:-12],
    "last-byte.png": PNG[:-1],
    "half-16.png": DEEP_PNG[: len(DEEP_PNG) // 2],
    "bit-flip.png": flipped(PNG, len(PNG) // 2),
    "bit-flip-16.png": flipped(DEEP_PNG, len(DEEP_PNG) // 2),
    "short-stream.png": png_header(48, 64, chunk(b"IDAT", zlib.compress(bytes(500))) + chunk(b"IEND", b"")),
    "no-pixels.png": png_header(48, 64, chunk(b"IEND", b"")),
    "zero-size.png": png_header(0, 64, chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")),
    "half.jpg": encoded("JPEG")[:-1200],
    "no-end.jpg": encoded("JPEG")[:-2],
    "header.jpg": encoded("JPEG")[:200],
    "half.bmp": encoded("BMP")[:-1000],
    "half.tif": encoded("TIFF")[:-3000],
    "half-lzw.tif": encoded("TIFF", compression="tiff_lzw")[: 48 * 64],
    "half.webp": encoded("WEBP", lossless=True)[:-1000],
    "half.ppm": encoded("PPM")[:-1000],
    "half-16.ppm": b"P6 48 64 65535\n" + bytes(1000),
    "above-maximum.pgm": b"P5 2 1 1000\n" + struct.pack(">HH", 5, 1001),
    "text-16.ppm": b"P3 1 1 1000\n1 2 3\n",
    "header.ppm": b"P6 x y 255\n",
    "float.tif": float_tiff(),
    "int32.tif": int_tiff(),
    "turned-16.tif": deep_tiff(PIXELS.astype(np.uint16) * 257, orientation=6),
    "white-is-zero-16.tif": deep_tiff(PIXELS[:, :, :1].astype(np.uint16), photometric=0),
    "lab-16.tif": deep_tiff(PIXELS.astype(np.uint16), photometric=8),
    "cut-16.tif": deep_tiff(PIXELS.astype(np.uint16))[:-100],
    "pages.tif": pages("TIFF"),
    "animated.png": pages("PNG"),
    "animated.webp": pages("WEBP"),
    "bomb.png": png_header(20000, 20000, chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")),
    "bomb.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 20000, 20000, 1, 24, 0, 0, 0, 0, 0, 0),
    "bomb.pgm": b"P5 20000 20000 255\n",
    "bomb-16.pgm": b"P5 20000 20000 65535\n",
}


def test_the_hand_written_tiff_is_good_when_nothing_is_wrong_with_it() -> None:
    deep = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(images.decode_bytes(deep_tiff(deep), "x"), deep)


def line_of(path: str | Path) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(path)
    message = str(caught.value)
    assert message.isprintable(), repr(message)
    assert message.startswith(images.shown(path) + ": ")
    assert len(message) < 500
    return message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lenient", [False, True], ids=["", "after another library made Pillow lenient"])
@pytest.mark.parametrize("name", CORPUS)
def test_bad_file_is_one_line(tmp_path: Path, name: str, lenient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    path = tmp_path / name
    path.write_bytes(CORPUS[name])
    line_of(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


@pytest.mark.parametrize("name", [name for name in CORPUS if name.startswith("bomb")])
def test_a_bomb_is_refused_from_its_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(CORPUS[name])
    began = time.perf_counter()
    assert "20000×20000 is 400000000 pixels, over the limit of 67108864" in line_of(path)
    assert time.perf_counter() - began < 0.5
    with pytest.raises(ImageError, match="over the limit"):
        images.header_size(path)


@pytest.mark.parametrize("cut", range(0, len(PNG) - 1, 997))
def test_a_png_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(ImageError):
        images.decode_bytes(PNG[:cut], "x")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_a_progressive_jpeg_cut_anywhere_is_refused(part: float) -> None:
    raw = encoded("JPEG", progressive=True)
    with pytest.raises(ImageError):
        images.decode_bytes(raw[: int(len(raw) * part)], "x")


def test_random_bytes_after_every_magic_are_refused_or_decoded_but_never_crash() -> None:
    rng = np.random.default_rng(0)
    magics = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBPVP8 ", b"BM", b"P6 "]
    for magic in magics:
        for _ in range(60):
            raw = magic + rng.integers(0, 256, int(rng.integers(1, 300)), dtype=np.uint8).tobytes()
            try:
                decoded = images.decode_bytes(raw, "x")
            except ImageError as error:
                assert str(error).isprintable()
            else:
                assert decoded.ndim == 3


def test_a_folder_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "dir.png").mkdir()
    assert "a folder" in line_of(tmp_path / "dir.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in line_of(tmp_path / "gone.png")


def test_a_dangling_link_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("nowhere.png")
    assert "dangling" in line_of(tmp_path / "a.png")


def test_a_link_that_loops_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    assert "symbolic links" in line_of(tmp_path / "a.png")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in line_of(tmp_path / "pipe.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    assert "ermission" in line_of(path)


def test_a_refused_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    assert "Permission denied" in line_of(path)


def test_a_null_character_in_a_path_is_one_line() -> None:
    line_of("a\0b.png")


@pytest.mark.parametrize(
    "name, told",
    [
        ("line\nbreak.png", "line\\nbreak.png"),
        ("größe 图.png", "größe 图.png"),
        ("tab\t\a.png", "tab\\t\\x07.png"),
    ],
)
def test_odd_names_decode_and_are_escaped_in_messages(tmp_path: Path, name: str, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(PNG)
    np.testing.assert_array_equal(images.decode(path), PIXELS)
    path.write_bytes(b"")
    assert told in line_of(path)


def test_undecodable_bytes_in_a_name_are_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / name).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert "caf\\udce9.png" in line_of(tmp_path / name)


def test_sources_of_missing_files_raise_for_every_question(tmp_path: Path) -> None:
    source = images.FileSource(tmp_path / "gone.png")
    for ask in (source.load, source.stamp, source.size, source.raw):
        with pytest.raises(ImageError, match=r"gone\.png"):
            ask()


def test_an_unreadable_files_bytes_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(images, "RAW_LIMIT", 40)
    assert images.FileSource(path).raw() == b"x" * 40


def test_a_file_far_larger_than_any_allowed_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG + bytes(4000))
    monkeypatch.setattr(images, "RAW_LIMIT", 1000)
    monkeypatch.setenv("BENCH_MAX_PIXELS", "100")
    assert "larger than 1800 bytes" in line_of(path)


def test_threads_share_the_strictness(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    broken = encoded("JPEG")[:-1500]

    def refused(_: int) -> bool:
        try:
            images.decode_bytes(broken, "x")
        except ImageError:
            return True
        return False

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(refused, range(200)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
def test_a_pipe_in_a_folder_is_never_waited_for(tmp_path: Path) -> None:
    from bench.data.folder import folder
    from bench.data.lossy import note
    from bench.errors import BenchError

    os.mkfifo(tmp_path / "pipe.jpg")
    assert note([tmp_path / "pipe.jpg"]) is None
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BenchError, match="is no file"):
        folder("mine", tmp_path, lq=str(tmp_path / "*.png"), split=str(tmp_path / "pipe.jpg"))

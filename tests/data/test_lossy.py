"""Which files were compressed with loss: by their bytes as Pillow and OpenCV write them, whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from bench.data.lossy import lossy, note

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ("JPEG", {}, "JPEG"),
    ("JPEG", {"quality": 100, "subsampling": 0}, "JPEG"),
    ("JPEG", {"progressive": True}, "JPEG"),
    ("PNG", {}, None),
    ("BMP", {}, None),
    ("PPM", {}, None),
    ("TIFF", {}, None),
    ("TIFF", {"compression": "tiff_lzw"}, None),
    ("TIFF", {"compression": "tiff_deflate"}, None),
    ("TIFF", {"compression": "jpeg"}, "JPEG in TIFF"),
    ("WEBP", {"lossless": True}, None),
    ("WEBP", {"quality": 90}, "WebP"),
    ("WEBP", {"quality": 90, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}, "WebP"),
    ("WEBP", {"lossless": True, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}, None),
    ("AVIF", {}, "AVIF"),
]


@pytest.mark.parametrize(("form", "options", "expected"), CASES, ids=lambda value: str(value)[:40])
def test_the_bytes_tell(tmp_path: Path, form: str, options: dict[str, Any], expected: str | None) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    file = tmp_path / "called.png"
    PICTURE.save(file, form, **options)
    assert lossy(file) == expected


@pytest.mark.parametrize("data", [b"", b"\xff", b"RIFF\0\0\0\0WEBP", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"\0" * 64])
def test_a_damaged_file_is_not_judged(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(data)
    assert lossy(file) is None
    assert lossy(tmp_path / "none.jpg") is None


def test_the_note_counts_by_kind_and_is_absent_without_any(tmp_path: Path) -> None:
    files: list[Path | None] = [None]
    for number, form in enumerate(("JPEG", "JPEG", "WEBP", "PNG")):
        files.append(tmp_path / str(number))
        PICTURE.save(tmp_path / str(number), form)
    assert str(note(files)).startswith("2 JPEG, 1 WebP of 5 files: compressed with loss")
    assert note(files[-1:]) is None

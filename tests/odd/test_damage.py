"""What a decoder can know, it says: damage that a format can tell of is a failure in both packages, never a picture."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageCms
from support.damage import PIXELS, SIDE, SOUND, TELLING, cut, encoded, malformed

from bench.data.images import decode_bytes, header_size_bytes
from bench.errors import ImageError
from iqpir.codecs import is_image, left_out
from iqpir.errors import ImageFailure
from iqpir.image_files import decode

CORPUS = dict(malformed())


def test_the_corpus_is_large_and_of_every_kind() -> None:
    assert len(CORPUS) > 120


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CORPUS)
def test_malformed_bytes_are_one_line_in_both_packages(name: str) -> None:
    with pytest.raises(ImageError) as ours:
        decode_bytes(CORPUS[name], name)
    with pytest.raises(ImageFailure) as theirs:
        decode(CORPUS[name])
    for line in (str(ours.value), str(theirs.value)):
        assert line.isprintable() and len(line) < 400 and " object at 0x" not in line


OWN_WORDS = re.compile(
    r"[A-Z][a-z]+Error|decoder error|b'|\bFILE: \w+ is damaged \((?!.*\); copy it again, or save it)"
)
"""What a message must not hold: a decoder's own words, or damage without the remedy."""


def damaged_everywhere() -> Iterator[tuple[str, bytes]]:
    """Every kind cut at eight places, and with one byte changed at forty."""
    draw = np.random.default_rng(0)
    for name, raw in {**SOUND, "zstd.tif": encoded("TIFF", compression="zstd"), "raw.tif": encoded("TIFF")}.items():
        for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.995):
            yield f"{name} cut at {share}", raw[: int(len(raw) * share)]
        ends = [*range(8, 160, 9), *range(len(raw) - 110, len(raw), 8), *draw.integers(0, len(raw), 12)]
        for place in ends:
            changed = bytearray(raw)
            changed[place % len(raw)] ^= int(draw.integers(1, 256))
            yield f"{name} changed at {place}", bytes(changed)


def test_damage_is_said_in_one_form_and_no_library_speaks_beside_it(capfd: pytest.CaptureFixture[str]) -> None:
    told = 0
    for name, raw in damaged_everywhere():
        for read in (decode_bytes, header_size_bytes):
            try:
                read(raw, "FILE")
            except ImageError as error:
                told += 1
                assert not OWN_WORDS.search(str(error)), (name, str(error))
        assert capfd.readouterr() == ("", ""), name
    assert told > 500


def test_what_a_tiff_lacks_by_pillows_warnings_is_damage() -> None:
    raw = bytearray(encoded("TIFF", dpi=(72, 72)))
    directory = int.from_bytes(raw[4:8], "little")
    for entry in range(int.from_bytes(raw[directory : directory + 2], "little")):
        at = directory + 2 + 12 * entry
        if int.from_bytes(raw[at : at + 2], "little") == 282:  # the resolution, a rational elsewhere in the file
            raw[at + 8 : at + 12] = (len(raw) + 1000).to_bytes(4, "little")
    with pytest.raises(ImageError, match="TIFF is damaged"):
        decode_bytes(bytes(raw), "x")


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_what_pillow_makes_of_them(name: str) -> None:
    decoded = decode_bytes(SOUND[name], name)
    with Image.open(io.BytesIO(SOUND[name])) as image:
        if image.mode.startswith("I;16") or name.startswith("deep"):
            expected = PIXELS.astype(np.uint16) * 257
        else:
            expected = np.asarray(image.convert("RGB"))
    assert decoded.dtype == expected.dtype
    np.testing.assert_array_equal(decoded, expected)
    np.testing.assert_array_equal(decode(SOUND[name]), expected)
    assert header_size_bytes(SOUND[name], name) == (SIDE, SIDE)
    assert is_image(name)


@pytest.mark.parametrize("harm", TELLING, ids=lambda harm: harm.__name__)
def test_damage_changes_the_bytes(harm) -> None:
    assert all(harm(SOUND[name]) != SOUND[name] for name in TELLING[harm])


def odd_scan_limits(raw: bytes) -> bytes:
    """Ss, Se and AhAl of a sequential scan as some phones write them; decoders ignore the three."""
    at = raw.index(b"\xff\xda")
    place = at + 5 + 2 * raw[at + 4]
    return raw[:place] + b"\0\0\0" + raw[place + 3 :]


def odd_version(raw: bytes) -> bytes:
    at = raw.index(b"JFIF\0") + 5
    return raw[:at] + b"\x05" + raw[at + 1 :]


def odd_profile(raw: bytes) -> bytes:
    """A colour profile whose parts are numbered wrongly; no pixel depends on it."""
    profile = b"ICC_PROFILE\0" + bytes((7, 1)) + ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    segment = b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile
    at = raw.index(b"\xff\xdb")
    return raw[:at] + segment + raw[at:]


@pytest.mark.parametrize("odd", [odd_scan_limits, odd_version, odd_profile])
def test_warnings_about_what_no_pixel_depends_on_are_no_damage(odd) -> None:
    raw = SOUND["baseline.jpg"]
    np.testing.assert_array_equal(decode_bytes(odd(raw), "x"), decode_bytes(raw, "x"))
    with pytest.raises(ImageError, match="damaged"):
        decode_bytes(cut(odd(raw)) + b"\xff\xd9", "x")


def test_trailing_bytes_after_the_end_are_not_the_pictures() -> None:
    raw = SOUND["baseline.jpg"]
    np.testing.assert_array_equal(decode_bytes(raw + raw, "x"), decode_bytes(raw, "x"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_read_and_turned(orientation: int) -> None:
    features = pytest.importorskip("PIL.features")
    if "avif" not in features.modules or not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded("AVIF", quality=100, subsampling="4:4:4", exif=exif)
    plain = Image.fromarray(PIXELS)
    exif_turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's Transpose, as ImageOps.exif_transpose has them
    if orientation != 1:
        plain = plain.transpose(Image.Transpose(exif_turn[orientation]))
    assert np.abs(decode_bytes(raw, "x").astype(int) - np.asarray(plain)).max() <= 6


def test_a_deep_avif_is_refused_not_cut() -> None:
    box = struct.pack(">I4s4B", 12, b"av1C", 0x81, 0x20, 0x40, 0)
    from iqpir.codecs import checks

    with pytest.raises(ImageFailure, match="10 or 12 bits"):
        checks.avif(b"\0\0\0\x1cftypavif" + box)


@pytest.mark.parametrize(
    "names, told",
    [
        (["a.png", "b.txt", "c.yaml", "notes.md"], None),
        (["a.heic"], "1 file is left out that may be images but have no suffix that is read (1 .heic): a.heic"),
        (
            ["x/f0", "b.HEIC", "c.jxl", "d.jpg_large", "e.jfif"],
            "4 files are left out that may be images but have no suffix that is read "
            "(1 .heic, 1 .jpg_large, 1 .jxl, 1 no suffix): b.HEIC, c.jxl, d.jpg_large, …",
        ),
        (["a\x1b[31m"], "(1 no suffix): a\\x1b[31m"),
    ],
)
def test_files_that_may_be_images_are_named_in_one_line(names: list[str], told: str | None) -> None:
    line = left_out(names)
    assert line == told if told is None or told[0] in "14" else line is not None and line.endswith(told)

"""BIQI: a port that runs LIBSVM's own programs, the theory of Daubechies' wavelets, and what has no value."""

from __future__ import annotations

import numpy as np
import pytest
from support.live import GRID, RISING, golden, gray, needs_mirror, photograph, released, value

from bench.errors import BenchError, ItemError
from bench.metrics.biqi import DISTORTIONS, PARTS, Biqi, image_features, jpeg_score
from bench.metrics.primitives.wavelet import _LOW, details


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "live"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BENCH_HOME", str(folder))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width)).astype(float)


@needs_mirror
@pytest.mark.parametrize("options, image, expected", golden("biqi"))
def test_it_gives_the_ports_value_part_by_part(options, image, expected):
    assert value(released("biqi", **options), photograph(image)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@needs_mirror
def test_the_index_is_the_expected_score(pair):
    parts = {part: value(released("biqi", part=part, features="float"), pair.restored) for part in PARTS}
    chances = [parts[f"prob_{name}"] for name in DISTORTIONS]
    assert sum(chances) == pytest.approx(1, abs=1e-12)
    expected = sum(chance * parts[name] for chance, name in zip(chances, DISTORTIONS, strict=True))
    assert parts["quality"] == pytest.approx(expected, rel=1e-12)


def test_the_filter_is_daubechies_with_nine_vanishing_moments():
    low = np.array(_LOW)
    high = -low[::-1] * (-1.0) ** np.arange(18)
    for shift in range(0, 18, 2):  # orthonormal to its even shifts
        assert np.dot(low[shift:], low[: 18 - shift]) == pytest.approx(float(shift == 0), abs=1e-12)
    positions = np.arange(18) - 8.5
    for moment in range(9):
        assert np.dot(high, positions**moment) == pytest.approx(0, abs=1e-9 * 8.5**moment)
    assert abs(np.dot(high, positions**9)) > 1
    # Of the filters with these properties Daubechies' has minimum phase: reversed, its energy comes first.
    assert np.cumsum(low[::-1] ** 2)[5] > 0.9


@pytest.mark.parametrize("height, width", [(16, 16), (45, 60)])
def test_details_are_filters_over_the_mirrored_image_at_every_second_sample(height, width):
    image = noise(height, width)
    low = np.array(_LOW)
    high = -low[::-1] * (-1.0) ** np.arange(18)

    def along(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
        # The first sample of the downsampled "valid" convolution is at 1; a side may be shorter than the extension.
        extended = np.pad(signal, 17, mode="symmetric")
        return np.convolve(extended, taps, mode="valid")[1::2]

    for found in details(image, 3):
        both = {
            (a, b): np.apply_along_axis(along, 1, np.apply_along_axis(along, 0, image, one), other)
            for a, one in (("l", low), ("h", high))
            for b, other in (("l", low), ("h", high))
        }
        np.testing.assert_allclose(found.horizontal, both["h", "l"], atol=1e-9)
        np.testing.assert_allclose(found.vertical, both["l", "h"], atol=1e-9)
        np.testing.assert_allclose(found.diagonal, both["h", "h"], atol=1e-9)
        image = both["l", "l"]
        assert found.diagonal.shape == image.shape


def test_details_equal_pywavelets():
    pywt = pytest.importorskip("pywt")
    image = noise(77, 120)
    found = details(image, 3)
    expected = pywt.wavedec2(image, "db9", mode="symmetric", level=3)
    for ours, theirs in zip(found, expected[:0:-1], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-9)


def test_features_are_variances_then_shapes_by_direction_then_level():
    image = noise(90, 70)
    levels = details(image, 3)
    bands = [getattr(one, way) for way in ("horizontal", "vertical", "diagonal") for one in levels]
    variances = [np.var(band) for band in bands]
    shapes = [
        GRID[np.argmin(np.abs(np.var(band) / np.abs(band - band.mean()).mean() ** 2 - 1 / RISING))] for band in bands
    ]
    np.testing.assert_allclose(image_features(image), [*variances, *shapes], rtol=1e-12)


def test_the_jpeg_score_is_the_definition_by_hand():
    # Steps of 1 along rows that turn at every pixel, and of 3 more over each border of 8: the same along columns.
    row = np.array([0, 1] * 16) + np.repeat(np.arange(4) % 2 * 4, 8)
    image = row[None, :] + row[:, None].astype(float)
    steps = np.diff(row)
    blocking = np.abs(steps[[7, 15, 23]]).mean()
    activity = (8 * np.abs(steps).mean() - blocking) / 7
    crossings = np.mean(np.sign(steps[1:]) * np.sign(steps[:-1]) < 0)
    powers = (235.4451 / 10000, 128.7548 / 10000, -341.4790 / 10000)
    expected = -927.4240 + 850.8986 * np.prod(np.array([blocking, activity, crossings]) ** powers)
    assert jpeg_score(image) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("image, says", [
    (np.full((32, 32), 9.0), "its gray levels never turn"),
    (np.add.outer(np.arange(32.0), np.arange(32.0)), "its gray levels never turn"),
    (np.add.outer(*[np.arange(128) // 8 % 2 * 50.0] * 2) + 0.0, "."),
])  # fmt: skip
def test_an_image_without_a_jpeg_score_is_refused_with_the_reason(image, says):
    with pytest.raises(ItemError, match=f"biqi is undefined: .*{says}"):
        jpeg_score(image)


@needs_mirror
def test_a_smaller_image_is_refused_with_the_smallest_size():
    with pytest.raises(ItemError, match="biqi needs 16×16 pixels or more, the view is 100×15"):
        value(released("biqi"), gray(noise(15, 100)))


@needs_mirror
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_is_refused_with_the_reason(level):
    with pytest.raises(ItemError, match="biqi is undefined"):
        value(released("biqi"), gray(np.full((64, 64), level)))


def test_what_changes_the_value_is_in_the_signature():
    signatures = {str(Biqi(part=part, features=kind).signature()) for part in PARTS for kind in ("text", "float")}
    assert len(signatures) == 2 * len(PARTS)
    with pytest.raises(BenchError, match=r"part 'prob_jpg' is not one of .*; did you mean 'prob_jpeg'"):
        Biqi(part="prob_jpg")

"""BRISQUE: MATLAB's published values, LIVE's definition written as loops, and what has no value.

The signs of flat areas are calibrated on these images of TID2013 (see `nss`); I04 has no flat area and needs none.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gamma
from support.live import (
    GRID,
    RISING,
    asymmetric,
    golden,
    gray,
    halved,
    needs_mirror,
    normalised,
    photograph,
    released,
    shifted,
    value,
)

from bench.errors import BenchError, ItemError
from bench.metrics.brisque import Brisque, image_features
from bench.metrics.primitives.libsvm import Model, Range
from bench.metrics.scorer import Scorer


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "live"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BENCH_HOME", str(folder))


def loops(image: np.ndarray) -> np.ndarray:
    features = []
    for _ in range(2):
        field = normalised(image, "constant")
        power = np.mean(field**2)
        features += [GRID[np.argmin(np.abs(power / np.abs(field).mean() ** 2 - 1 / RISING))], power]
        for shift in ((0, 1), (1, 0), (1, 1), (-1, 1)):
            alpha, left, right = asymmetric(shifted(field, shift))
            scale = np.sqrt(gamma(1 / alpha)) / np.sqrt(gamma(3 / alpha))
            mean = (right - left) * gamma(2 / alpha) / gamma(1 / alpha) * scale
            features += [alpha, mean, left**2, right**2]
        image = halved(image)
    return np.array(features)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width)).astype(float)


def machine(metric: Brisque, width: float = 1e-3) -> Brisque:
    """With one support vector at the origin: the value is exp(−width·‖scaled features‖²)."""
    model = Model("nu_svr", width, np.zeros(1), (), np.zeros(0), np.zeros(0), (), np.ones((1, 1)), np.zeros((1, 36)))
    from bench.metrics.brisque import _Machine

    metric._loaded.made["model"] = _Machine(Range(-1, 1, np.full(36, -0.3), np.full(36, 3.1)), model)
    return metric


@needs_mirror
@pytest.mark.parametrize("options, image, expected", golden("brisque"))
def test_it_gives_matlabs_value_of_lives_release(options, image, expected):
    found = value(released("brisque", **options), photograph(image))
    # MATLAB's were printed with six digits; a third of I19 is flat.
    assert found == pytest.approx(expected, rel=1e-3 if "I19" in image else 2e-5, abs=1e-6)


@needs_mirror
def test_the_release_reads_features_from_text():
    image = photograph("tid2013/I04.bmp")
    text, plain = (value(released("brisque", features=kind), image) for kind in ("text", "float"))
    assert text == pytest.approx(-0.107618, abs=1e-6) and abs(plain - text) > 1e-4


@pytest.mark.parametrize("height, width", [(14, 14), (101, 160), (64, 33)])
def test_features_are_the_definition_written_as_loops(height, width):
    image = noise(height, width)
    np.testing.assert_allclose(image_features(image), loops(image), rtol=1e-9, atol=1e-9)


def test_the_value_is_the_machines_of_the_scaled_features(pair):
    levels = pair.reference[..., 0]
    found = np.array([float(f"{one:f}") for one in loops(levels.astype(float))])
    scaled = np.array([float(f"{-1 + 2 * (one + 0.3) / 3.4:g}") for one in found])
    assert value(machine(Brisque()), gray(levels)) == pytest.approx(np.exp(-1e-3 * (scaled**2).sum()), rel=1e-12)


@pytest.mark.parametrize("level", [0, 3, 6, 77, 128, 255])
def test_an_image_of_one_level_is_refused_whatever_the_level(level):
    # Its border against MATLAB's zeros would be all its texture, and the sign of its level decided whether that counts.
    with pytest.raises(ItemError, match="brisque is undefined: the image has no texture"):
        value(machine(Brisque()), gray(np.full((40, 40), level)))


def test_one_other_pixel_is_texture():
    levels = np.full((40, 40), 77)
    levels[20, 20] = 78
    assert np.isfinite(value(machine(Brisque()), gray(levels)))


def test_a_smaller_image_is_refused_with_the_smallest_size():
    with pytest.raises(ItemError, match="brisque needs 14×14 pixels or more, the view is 200×13"):
        value(machine(Brisque()), gray(noise(13, 200)))


def test_sixteen_bits_are_rounded_to_eight(pair):
    scorer = Scorer([machine(Brisque())], "cpu")
    deep = pair.restored.astype(np.uint16) * 257 + 50
    assert scorer.score(deep, None)[0].value == scorer.score(pair.restored, None)[0].value


def test_what_changes_the_value_is_in_the_signature(pair):
    signatures = {
        str(Brisque(**one).signature()) for one in ({}, {"gray": "cv2"}, {"gray": "y"}, {"features": "float"})
    }
    assert len(signatures) == 4
    with pytest.raises(BenchError, match="features 'txt' is not one of text, float; did you mean 'text'"):
        Brisque(features="txt")


def test_without_parameters_it_says_so():
    with pytest.raises(BenchError, match="brisque: no parameter files are given"):
        Brisque().load("cpu")

"""Generated images: the statistics of photographs, variety, and the same pixels for the same seed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from iqpir.image_files import decode
from iqpir.training.synthetic import patterns
from iqpir.training.synthetic.generate import SCENES, draw_scene, draw_sheet

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def sheets() -> list[np.ndarray]:
    return [draw_sheet(0, number) for number in range(10)]


def crops(images: list[np.ndarray], size: int, each: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    found = []
    for image in images:
        for _ in range(each):
            top, left = (int(rng.integers(0, length - size + 1)) for length in image.shape[:2])
            found.append(image[top : top + size, left : left + size] / 255)
    return np.array(found)


def spectral_slope(images: np.ndarray) -> float:
    """Of log power against log frequency, from two cycles an image to a third of the sampling rate, ensemble mean."""
    size = images.shape[1]
    gray = images @ LUMA
    window = np.hanning(size)[:, None] * np.hanning(size)[None, :]
    power = (np.abs(np.fft.fft2((gray - gray.mean(axis=(1, 2), keepdims=True)) * window)) ** 2).mean(axis=0)
    along = np.fft.fftfreq(size) * size
    radius = np.round(np.hypot(along[:, None], along[None, :])).astype(int)
    rings = np.arange(2, size // 3)
    means = [power[radius == ring].mean() for ring in rings]
    return float(np.polyfit(np.log(rings), np.log(means), 1)[0])


def photographs() -> list[np.ndarray]:
    folder = Path(find_spec("skimage").submodule_search_locations[0]) / "data"
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    return [decode((folder / name).read_bytes()) for name in names]


def test_the_spectrum_falls_as_that_of_photographs(sheets):
    slopes = [spectral_slope(crops(sheets, size, 8)) for size in (64, 128, 256)]
    # The literature has −2 for many scenes, with −1.6 … −3 for single ones (Torralba and Oliva, 2003), and the lens
    # adds to it near the sampling limit.
    assert all(-3.3 < slope < -1.8 for slope in slopes), slopes
    real = spectral_slope(crops(photographs(), 256, 20))
    assert abs(slopes[2] - real) < 0.4


def test_colours_have_the_axes_of_natural_ones(sheets):
    pixels = crops(sheets, 64, 12).reshape(-1, 3)
    luminance, yellow_blue, red_green = (pixels @ patterns.OPPONENT.T).T
    assert luminance.std() > 2 * yellow_blue.std() > 2 * red_green.std() > 0.04
    assert abs(np.corrcoef(luminance, yellow_blue)[0, 1]) < 0.25
    assert abs(np.corrcoef(luminance, red_green)[0, 1]) < 0.25
    assert 0.7 < np.corrcoef(pixels[:, 0], pixels[:, 2])[0, 1] < 0.97
    assert 0.3 < pixels.mean() < 0.6


def test_edges_are_rare_and_strong_as_in_photographs_not_gaussian(sheets):
    steps = np.diff(crops(sheets, 128, 6) @ LUMA, axis=2)
    kurtosis = (steps**4).mean() / (steps**2).mean() ** 2
    assert kurtosis > 10  # a Gaussian has 3
    assert 0.02 < steps.std() < 0.12


def test_crops_differ_from_flat_to_busy(sheets):
    contrast = (crops(sheets, 64, 20) @ LUMA).std(axis=(1, 2))
    assert np.quantile(contrast, 0.1) < 0.08
    assert np.quantile(contrast, 0.9) > 0.2
    assert (contrast > 1e-3).all()


def test_a_seed_and_a_number_give_one_sheet():
    first = draw_sheet(3, 5, side=256)
    assert first.shape == (256, 256, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, draw_sheet(3, 5, side=256))
    assert not np.array_equal(first, draw_sheet(3, 6, side=256))
    assert not np.array_equal(first, draw_sheet(4, 5, side=256))


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_can_be_drawn(name):
    image = draw_scene(SCENES[name], np.random.default_rng(0), side=256)
    assert image.shape == (256, 256, 3)
    assert image.std() > 5


@pytest.mark.parametrize("slope", [1.6, 2.0, 2.6])
def test_noise_fields_have_the_slope_they_are_asked_for(slope):
    fields = [patterns.power_law(np.random.default_rng(seed), 256, slope) for seed in range(4)]
    images = np.repeat(np.array(fields)[:, :, :, None], 3, axis=3)
    assert spectral_slope(images) == pytest.approx(-slope, abs=0.1)


def test_a_labyrinth_has_the_wavelength_it_is_asked_for():
    field = patterns.labyrinth(np.random.default_rng(1), 256, 16.0)
    power = np.abs(np.fft.fft2(field)) ** 2
    along = np.fft.fftfreq(256) * 256
    radius = np.hypot(along[:, None], along[None, :])
    # It may be stretched up to 1.8 times; most power lies between the two wavelengths.
    inside = (radius > 0.45 * 256 / 16) & (radius < 1.5 * 256 / 16)
    assert power[inside].sum() > 0.6 * power.sum()


def test_leaf_radii_follow_the_power_law_and_leaves_in_front_hide_others():
    numbers, centres, radii = patterns.leaf_map(np.random.default_rng(0), 256, 4000, 2.0, 64.0, (1, 0, 0, 0))
    # Density ∝ r^−3 between a and b: P(r > x) = (x^−2 − b^−2) / (a^−2 − b^−2).
    for x in (3.0, 6.0, 20.0):
        expected = (x**-2 - 64.0**-2) / (2.0**-2 - 64.0**-2)
        assert (radii > x).mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / 4000))
    assert numbers.shape == (512, 512)
    last = centres[-1]
    if (last > 2).all() and (last < 254).all():
        assert numbers[round(last[1] * 2), round(last[0] * 2)] == 4000
    seen = np.unique(numbers)
    assert (seen > 2000).sum() > (seen[seen > 0] <= 2000).sum()  # later leaves are in front

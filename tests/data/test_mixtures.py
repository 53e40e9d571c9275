"""The built-in mixtures and unknown degradations: CDD-11's formulas and difficulty, a grating's physics, repeatable."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.data import builtin, degrade, mixtures, unknown
from bench.data.items import Item
from bench.data.told import KINDS

PUBLISHED = {
    "low": 12.00, "haze": 15.87, "rain": 22.02, "snow": 23.62, "low_haze": 14.94, "low_rain": 14.61,
    "low_snow": 13.50, "haze_rain": 14.78, "haze_snow": 14.79, "low_haze_rain": 15.25, "low_haze_snow": 14.63,
}  # fmt: skip
"""PSNR of the inputs of CDD-11's test set, dB: 01_input in metrics_CDD-11.xlsx of OneRestore's repository."""


def psnr(item: Item) -> float:
    assert item.lq is not None and item.gt is not None
    return float(10 * np.log10(255**2 / np.mean((item.lq.load().astype(float) - item.gt.load()) ** 2)))


def test_mixtures_are_cdd_11s_and_about_as_hard():
    dataset = builtin.composite("c", None)
    folders: dict[str, list[float]] = {}
    for item in dataset.items:
        folders.setdefault(item.id.partition("/")[0], []).append(psnr(item))
    assert len(dataset.items) == 66 and set(folders) == set(PUBLISHED)
    for name, values in folders.items():
        assert abs(np.mean(values) - PUBLISHED[name]) < 2, name


def test_each_item_says_what_was_done_to_it():
    for build in (builtin.composite, builtin.unseen):
        for item in build("c", None, side=32).items:
            assert item.done and set(item.done) <= set(KINDS)
    told = {item.id: item.done for item in builtin.composite("c", None, side=32).items}
    assert told["low_haze_rain/cat"] == ("low light", "rain", "haze")


def test_haze_is_koschmieders_law():
    image = np.full((2, 3, 3), 0.2)
    made = mixtures.through_haze(image, np.array([[0.0, 0.5, 0.7]] * 2), 1.5, 0.8)
    by_hand = [0.2, 0.2 * 0.472367 + 0.8 * 0.527633, 0.2 * 0.349938 + 0.8 * 0.650062]
    np.testing.assert_allclose(made[0, :, 0], by_hand, atol=1e-6)


def test_low_light_takes_a_flat_gray_to_its_power():
    """R·L^γ with R = 1 of a gray is gray^γ, γ in [2, 3]; the noise has a mean of nothing."""
    image = np.full((64, 64, 3), 0.5)
    for seed in range(8):
        rng = degrade.generator("t", str(seed))
        exponent = 2 + float(degrade.generator("t", str(seed)).random())
        assert abs(mixtures.low_light(image, rng).mean() - 0.5**exponent) < 0.01


def test_rain_and_snow_only_add_light_and_leave_most_of_the_picture():
    image = np.full((128, 128, 3), 0.3)
    for fall in (mixtures.rain, mixtures.snow):
        made = fall(image, degrade.generator("x"))
        assert made.min() >= 0.3 - 1e-9 and made.max() > 0.55
        assert 0.5 < np.mean(np.abs(made - 0.3) < 0.02) < 0.99


def test_rain_is_drawn_out_along_one_direction():
    made = mixtures.rain(np.full((128, 128, 3), 0.3), degrade.generator("x"))[:, :, 0]
    down, across = np.abs(np.diff(made, axis=0)).mean(), np.abs(np.diff(made, axis=1)).mean()
    assert across > 1.5 * down


def test_a_kind_falls_alike_in_every_mixture_of_a_scene():
    image, seed = np.full((64, 64, 3), 0.4), ("v1", "composite", "cat")
    rain = mixtures.mixture("rain", image, seed)
    hazy = mixtures.mixture("haze_rain", image, seed)
    np.testing.assert_allclose(hazy, mixtures.haze(rain, degrade.generator(*seed, "haze")))


def test_a_grating_passes_flat_light_whole_and_repeats_points_at_its_orders():
    """Heights of the orders are sinc²(k·part) (Goodman, Introduction to Fourier Optics, 4.4): for a half-open grating
    the second order vanishes and the first has (2/π)² = 0.405 of the middle's."""
    size, step = 240, 10
    response = unknown.grating(np.fft.fftfreq(size), step, 0.5)
    assert response[0] == pytest.approx(1.0)
    point = np.fft.ifft(response).real
    assert point[step] / point[0] == pytest.approx(4 / np.pi**2, rel=1e-6)
    assert abs(point[2 * step]) < 1e-9 and point[3 * step] / point[0] == pytest.approx(4 / (9 * np.pi**2), rel=1e-6)
    assert np.abs(np.delete(point, [(k * step) % size for k in range(-6, 7)])).max() < 1e-9


def test_a_display_takes_light_and_detail():
    rng = np.random.default_rng(0)
    image = rng.random((96, 96, 3))
    made = unknown.under_display(image, degrade.generator("d"))
    assert made.mean() < image.mean() and made.std() < 0.8 * image.std()


def test_an_old_print_is_yellow_flat_and_scratched():
    image = np.full((96, 96, 3), 0.5)
    made = unknown.old_photo(image, degrade.generator("p"))
    median = np.median(made, axis=(0, 1))
    assert median[0] > median[1] > median[2]
    assert 0.002 < np.mean(made.min(axis=2) > 0.75) < 0.2, "scratches and dust"


@pytest.mark.parametrize("build", ["composite", "unseen"])
def test_two_loads_are_equal_in_another_process(build: str):
    code = (
        "from bench.data import builtin; import hashlib;"
        f"print([hashlib.sha256(i.lq.load()).hexdigest() for i in builtin.{build}('n', None, side=48).items[::7]])"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout and runs[0].stdout.count("'") > 4


def test_stamps_tell_folders_apart():
    every = [*builtin.composite("c", None).items, *builtin.unseen("u", None).items]
    assert len({item.lq.stamp() for item in every if item.lq}) == 66 + 18

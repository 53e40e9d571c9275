"""Natural scene statistics: distributions with known parameters, whole-grid scans, and direct sums as other routes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gennorm
from support.live import GRID, RISING, asymmetric, normalised, shifted

from bench.metrics.primitives import nss


def asymmetric_sample(shape: float, left: float, right: float, size: int) -> np.ndarray:
    """Draws from an asymmetric generalised Gaussian with those scales β, by mixing two halves in their proportion."""
    random = np.random.default_rng(11)
    draws = np.abs(gennorm.rvs(shape, size=size, random_state=random))
    below = random.random(size) < left / (left + right)
    return np.where(below, -left * draws, right * draws)


@pytest.mark.parametrize("shape, left, right", [(0.8, 1.0, 1.0), (2.0, 0.5, 1.5), (3.5, 2.0, 0.7)])
def test_known_asymmetric_gaussians_are_found_again(shape, left, right):
    sample = asymmetric_sample(shape, left, right, 300 * 1000).reshape(1, 300, 1000)
    found, mean, power = nss.fits(sample)
    assert found.shape[0, 0] == pytest.approx(shape, rel=0.03)
    one, _, three = nss.gammas(found.shape)
    assert (found.left * np.sqrt(one / three))[0, 0] == pytest.approx(left, rel=0.03)
    assert (found.right * np.sqrt(one / three))[0, 0] == pytest.approx(right, rel=0.03)
    assert mean[0, 0] == pytest.approx(np.abs(sample).mean()) and power[0, 0] == pytest.approx(np.mean(sample**2))


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 5.0])
def test_known_symmetric_shapes_are_found_again(shape):
    sample = gennorm.rvs(shape, size=400_000, random_state=np.random.default_rng(5))
    ratio = np.mean(sample**2) / np.abs(sample).mean() ** 2
    assert nss.symmetric_shape(np.array([ratio]))[0] == pytest.approx(shape, rel=0.03)


def test_the_search_for_a_shape_gives_what_a_scan_of_the_grid_gives():
    random = np.random.default_rng(2)
    targets = np.concatenate([random.uniform(0, 1.2, 500), RISING[::97], (RISING[1:] + RISING[:-1])[::101] / 2])
    expected = [GRID[np.argmin((RISING - target) ** 2)] for target in targets]
    np.testing.assert_array_equal(nss._tables().grid[nss._nearest(nss._tables().rising, targets)], expected)
    ratios = np.concatenate([random.uniform(0.9, 40, 500), 1 / RISING[::97]])
    falling = 1 / RISING
    expected = [GRID[np.argmin(np.abs(ratio - falling))] for ratio in ratios]
    np.testing.assert_allclose(nss.symmetric_shape(ratios), expected, atol=1e-12)


def test_of_two_equally_near_shapes_the_lower_one_is_taken():
    assert nss._nearest(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5])).tolist() == [0, 1]
    assert nss._nearest(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5]), later=True).tolist() == [1, 2]


def test_a_moment_that_is_no_number_gives_the_first_shape_as_matlabs_min_does():
    assert nss.symmetric_shape(np.array([np.nan, np.inf])).tolist() == [0.2, 0.2]
    found, _, _ = nss.fits(np.ones((1, 6, 6)))  # no negative values
    assert found.shape[0, 0] == 0.2 and np.isnan(found.left[0, 0]) and found.right[0, 0] == 1


@pytest.mark.parametrize("height, width", [(48, 48), (131, 37)])
def test_fits_of_products_are_those_of_circular_shifts(height, width):
    blocks = np.random.default_rng(height).normal(0.1, 1, (3, height, width))
    found, _, _ = nss.fits(blocks)
    for index, block in enumerate(blocks):
        fields = [block, *(shifted(block, shift) for shift in [(0, 1), (1, 0), (1, 1), (1, -1)])]
        for field, values in enumerate(fields):
            expected = asymmetric(values)
            got = (found.shape[field, index], found.left[field, index], found.right[field, index])
            assert got == pytest.approx(expected, rel=1e-12)
        # BRISQUE asks for below left, which is the same set of products as above right.
        assert asymmetric(shifted(block, (-1, 1))) == pytest.approx(asymmetric(fields[4]), rel=1e-12)


@pytest.mark.parametrize("border, mode", [("replicate", "nearest"), ("zero", "constant")])
def test_coefficients_are_those_of_the_whole_window_at_once(border, mode):
    image = np.random.default_rng(8).integers(0, 256, (40, 51)).astype(float)
    np.testing.assert_allclose(nss.normalised(image, border=border), normalised(image, mode), atol=1e-9)


def test_a_flat_area_has_the_calibrated_sign_of_its_level_wherever_it_lies():
    for level, sign in ((0, 0), (87, -1), (153, 1), (249, 0), (248, -1)):
        field = nss.normalised(np.full((21, 33), float(level)), border="replicate")
        assert set(np.sign(field).ravel()) == {sign} and np.abs(field).max() <= 1e-10


def test_doubling_a_level_keeps_its_sign_as_binary_rounding_must():
    levels = np.arange(128)
    np.testing.assert_array_equal(nss.flat_sign(levels), nss.flat_sign(2 * levels))

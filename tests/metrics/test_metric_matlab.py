"""MATLAB's gray and imresize: exact and hand arithmetic, OpenCV, Pillow and scikit-image as independent routes."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr
from support.live import halved

from bench.metrics.primitives.matlab import gray_levels, imresize


def colours(count: int) -> np.ndarray:
    """8-bit RGB [count,1,3]: random ones, and the grays, whose weighted sum must come out whole."""
    grays = np.repeat(np.arange(256)[:, None], 3, axis=1)
    return np.concatenate([np.random.default_rng(3).integers(0, 256, (count, 3)), grays])[:, None].astype(np.uint8)


def planes(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1) / 255.0


def test_matlab_gray_is_the_rounded_weighted_sum_in_exact_arithmetic():
    image = colours(2000)
    weights = [Fraction(w) for w in ("0.298936021293776", "0.587043074451121", "0.114020904255103")]
    half = Fraction(1, 2)
    expected = [int(sum(w * int(level) for w, level in zip(weights, pixel[0], strict=True)) + half) for pixel in image]
    np.testing.assert_array_equal(gray_levels(planes(image), "matlab")[:, 0], expected)


def test_opencvs_gray_is_what_opencv_gives():
    image = colours(200_000)
    np.testing.assert_array_equal(gray_levels(planes(image), "cv2"), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def test_a_tie_of_opencvs_fixed_point_rounds_up_in_spite_of_floats():
    weights = np.array([9798, 19235, 3735])
    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 3)] * 3), axis=-1).reshape(-1, 1, 3).astype(np.uint8)
    ties = cube[(cube[:, 0] @ weights) % 32768 == 16384]
    assert len(ties) > 10
    np.testing.assert_array_equal(gray_levels(planes(ties), "cv2"), cv2.cvtColor(ties, cv2.COLOR_RGB2GRAY))


@pytest.mark.parametrize("kind", ["matlab", "cv2"])
def test_grays_are_within_a_level_of_pillows(kind):
    image = colours(50_000)
    pillow = np.asarray(Image.fromarray(image).convert("L")).astype(float)
    assert np.abs(gray_levels(planes(image), kind) - pillow).max() <= 1


def test_luma_is_scikit_images_rounded():
    image = colours(50_000)
    exact = rgb2ycbcr(image)[..., 0]
    clear = np.abs(exact % 1 - 0.5) > 1e-4  # float32 decides the ties
    np.testing.assert_array_equal(gray_levels(planes(image), "y")[clear], np.rint(exact)[clear])


def test_halving_uses_the_eight_dyadic_taps_of_the_stretched_cubic():
    row = np.zeros((1, 40))
    row[0, 20] = 256
    # Output k stands at sample 2k + 0.5, so an impulse meets every second tap.
    assert imresize(np.repeat(row, 2, axis=0), 0.5)[0, 7:14].tolist() == [0, -3, 29, 111, -9, 0, 0]


@pytest.mark.parametrize("height, width", [(8, 8), (9, 14), (37, 5), (1, 3)])
def test_halving_odd_sizes_rounds_up_and_mirrors_the_border(height, width):
    image = np.random.default_rng(height).uniform(0, 255, (height, width))
    found = imresize(image, 0.5)
    assert found.shape == (-(-height // 2), -(-width // 2))
    np.testing.assert_allclose(found, halved(image), atol=1e-11)


def test_a_whole_product_that_floats_put_above_itself_gains_no_pixel():
    assert imresize(np.ones((100, 50)), 1.1).shape == (110, 55)  # 1.1 · 100 is 110.00000000000001


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 3, 4])
def test_away_from_borders_it_is_pillows_bicubic(scale):
    image = np.random.default_rng(1).uniform(0, 255, (72, 84))
    size = (round(84 * scale), round(72 * scale))
    pillow = np.asarray(Image.fromarray(image.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    inner = (slice(8, -8), slice(8, -8)) if scale > 1 else (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(imresize(image, scale)[inner], pillow[inner], atol=1e-3)


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.7, 2.5])
def test_a_flat_image_stays_flat(scale):
    np.testing.assert_allclose(imresize(np.full((31, 22), 137.0), scale), 137, atol=1e-10)

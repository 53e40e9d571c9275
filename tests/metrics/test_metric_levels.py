"""8-bit images by the short ways: the same bits as floats have, against whole numbers and against chains by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from bench.metrics import levels
from bench.metrics.psnr import Psnr
from bench.metrics.scorer import Scorer, as_floats
from bench.metrics.view import SPACES, View


def images(*shape, seed=0):
    drawn = np.random.default_rng(seed)
    return [drawn.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]


def test_psnr_of_8_bit_images_is_that_of_whole_numbers():
    ours, theirs = images(37, 53, 3)
    squares = sum((int(a) - int(b)) ** 2 for a, b in zip(ours.flat, theirs.flat, strict=True))
    (outcome,) = Scorer([Psnr()], "cpu").score(ours, theirs)
    assert outcome.value == pytest.approx(-10 * math.log10(Fraction(squares, 255**2 * ours.size)), abs=1e-13)


@pytest.mark.parametrize("view", [View(), View(crop=3), View(space="bgr"), View(space="yiq"), View(space="gray-u8")])
def test_psnr_has_one_value_by_levels_by_floats_and_of_tensors(view):
    ours, theirs = images(40, 31, 3)
    metric = Psnr(view)
    by_levels = Scorer([metric], "cpu").score(ours, theirs)[0].value
    by_floats = Scorer([metric], "cpu").score(ours / 255.0, theirs / 255.0)[0].value
    assert by_levels == by_floats == float(metric.score(*view.apply(as_floats(ours), as_floats(theirs))))


def test_psnr_of_floats_between_the_levels_is_theirs():
    ours, theirs = (image / 255.0 for image in images(16, 16, 3))
    ours[0, 0, 0] += 1e-3 if ours[0, 0, 0] < 0.5 else -1e-3
    expected = -10 * math.log10(np.mean((ours - theirs) ** 2))
    assert Scorer([Psnr(View(rounding="none"))], "cpu").score(ours, theirs)[0].value == pytest.approx(
        expected, abs=1e-12
    )


def test_the_error_of_an_image_of_extremes_is_exact():
    black, white = np.zeros((3, 700, 900), dtype=np.uint8), np.full((3, 700, 900), 255, dtype=np.uint8)
    assert levels.squared_error(black, white) == 3 * 700 * 900 * 255**2


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("crop", [0, 5])
def test_a_view_of_levels_is_the_view_of_floats_bit_for_bit(space, crop):
    view, (ours, theirs) = View(space=space, crop=crop), images(45, 38, 3)
    expected = view.apply(as_floats(ours), as_floats(theirs), eight_bit=True)
    found = view.levels(ours, theirs)
    if found is None:
        assert space in ("y", "gray")
        return
    meaning = levels.values(single=found.single)
    for each, other in zip((found.restored, found.reference), expected, strict=True):
        assert torch.equal(levels.floats(each, meaning), other)


def test_colours_exactly_between_two_lumas_fall_where_the_fused_chain_puts_them():
    red, green, blue = np.meshgrid(*3 * [np.arange(256)], indexing="ij")
    ties = (299 * red + 587 * green + 114 * blue) % 1000 == 500
    colours = np.stack([channel[ties] for channel in (red, green, blue)], axis=1).astype(np.uint8)
    assert len(colours) > 16_000
    weights = [Fraction(float(np.float32(weight))) for weight in (0.299, 0.587, 0.114)]
    found = levels.yiq_luma(colours[:, None])[:, 0]
    for colour, level in zip(colours[::97].tolist(), found[::97].tolist(), strict=True):
        pixels = [Fraction(float(np.float32(value / 255))) for value in colour]
        total = np.float32(float(pixels[0] * weights[0]))
        for pixel, weight in zip(pixels[1:], weights[1:], strict=True):  # one rounding per multiply-add
            total = np.float32(float(pixel * weight + Fraction(float(total))))
        assert level == np.rint(total * np.float32(255))


def test_other_colours_have_the_nearest_luma():
    image = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    thousandths = image.astype(int) @ [299, 587, 114]
    clear = thousandths % 1000 != 500
    assert np.array_equal(levels.yiq_luma(image)[clear], ((thousandths + 500) // 1000)[clear])


def test_images_that_a_view_of_levels_cannot_take_are_left_to_the_view_of_floats():
    ours, theirs = images(20, 20, 3)
    assert View().levels(ours, theirs[:10]) is None
    assert View(crop=10).levels(ours, theirs) is None
    assert View(gtmean="gray").levels(ours, theirs) is None
    assert View(fit="pil-bicubic@8x8").levels(ours, theirs) is None


def test_weighted_sums_have_the_bits_of_the_chain():
    (image, _) = images(33, 21, 3)
    red, green, blue = image.transpose(2, 0, 1) / 255.0
    assert np.array_equal(
        levels.weighted(image.transpose(2, 0, 1), (0.299, 0.587, 0.114)), 0.299 * red + 0.587 * green + 0.114 * blue
    )

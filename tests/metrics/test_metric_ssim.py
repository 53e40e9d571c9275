"""SSIM: scikit-image as the independent implementation, hand calculations, and what must not change a bit."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from bench.errors import BenchError, ItemError
from bench.metrics.ssim import Ssim
from bench.metrics.view import View

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


def value(metric: Ssim, restored: np.ndarray, reference: np.ndarray) -> float:
    return float(metric.score(as_tensor(restored), as_tensor(reference)))


def test_the_gaussian_window_equals_scikit_image(pair):
    expected = structural_similarity(*pair, channel_axis=2, **GAUSSIAN)
    assert value(Ssim(), *pair) == pytest.approx(expected, abs=1e-10)


def test_the_uniform_window_with_sample_covariance_equals_scikit_images_default(pair):
    metric = Ssim(window="uniform7", covariance="sample")
    assert value(metric, *pair) == pytest.approx(structural_similarity(*pair, channel_axis=2), abs=1e-10)


@pytest.mark.parametrize("window, options", [("gauss11s1.5", GAUSSIAN), ("uniform7", {"use_sample_covariance": False})])
def test_the_reflected_border_equals_the_mean_of_scikit_images_full_map(pair, window, options):
    _, full = structural_similarity(*pair, channel_axis=2, full=True, **options)
    assert value(Ssim(window=window, border="reflect"), *pair) == pytest.approx(full.mean(), abs=1e-10)


@pytest.mark.parametrize("level", [0, 3, 250, 255])
def test_nearly_flat_dark_and_bright_images_equal_scikit_image(level):
    # Where a variance is the difference of two large squares, single precision would lose it.
    random = np.random.default_rng(level)
    restored, reference = (
        np.clip(level + random.integers(-1, 2, (40, 50, 3)), 0, 255).astype(np.uint8) for _ in range(2)
    )
    expected = structural_similarity(restored, reference, channel_axis=2, **GAUSSIAN)
    assert value(Ssim(), restored, reference) == pytest.approx(expected, abs=1e-9)


def test_flat_images_give_the_luminance_term_alone():
    # (2xy + c1) / (x² + y² + c1), c1 = 1e-4, with 51/255 = 0.2 and 102/255 = 0.4
    restored, reference = (np.full((16, 16, 3), level, np.uint8) for level in (51, 102))
    assert value(Ssim(), restored, reference) == pytest.approx(0.1601 / 0.2001, abs=1e-12)


def test_identical_images_are_1(pair):
    assert value(Ssim(), pair.reference, pair.reference) == pytest.approx(1, abs=1e-12)


def test_it_is_symmetric(pair):
    assert value(Ssim(), *pair) == pytest.approx(value(Ssim(), *reversed(pair)), abs=1e-12)


def test_more_noise_gives_less(pair):
    noise = np.random.default_rng(0).normal(0, 1, pair.reference.shape)
    values = [
        value(Ssim(), np.clip(pair.reference + sigma * noise, 0, 255).astype(np.uint8), pair.reference)
        for sigma in (2, 8, 32)
    ]
    assert values == sorted(values, reverse=True)


def test_clamped_structure_makes_a_negative_image_zero_at_most(pair):
    negative = 255 - pair.reference
    assert value(Ssim(), negative, pair.reference) < 0
    assert value(Ssim(clamp=True), negative, pair.reference) >= 0


def test_the_range_of_the_restored_image_is_scikit_images_data_range(pair):
    metric = Ssim(window="uniform7", covariance="sample", data_range="restored")
    gray = [np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2) for image in pair]
    span = float(gray[0].max()) - float(gray[0].min())
    expected = structural_similarity(gray[0][:, :, 0], gray[1][:, :, 0], data_range=span)
    assert value(metric, *gray) == pytest.approx(expected, abs=1e-10)


def test_a_flat_image_has_no_range_of_its_own():
    gray = np.full((16, 16, 3), 9, np.uint8)
    with pytest.raises(ItemError, match="flat"):
        value(Ssim(data_range="restored"), gray, gray)


def test_k1_and_k2_are_scikit_images(pair):
    expected = structural_similarity(*pair, channel_axis=2, K1=0.02, K2=0.05, **GAUSSIAN)
    assert value(Ssim(k1=0.02, k2=0.05), *pair) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("height, width", [(11, 11), (11, 75), (74, 12), (75, 31), (138, 139)])
def test_every_size_from_the_window_up_equals_scikit_image(height, width):
    random = np.random.default_rng(0)
    restored, reference = (random.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    expected = structural_similarity(restored, reference, channel_axis=2, **GAUSSIAN)
    assert value(Ssim(), restored, reference) == pytest.approx(expected, abs=1e-10)


def test_an_image_below_the_window_is_an_item_error():
    small = np.zeros((10, 30, 3), np.uint8)
    with pytest.raises(ItemError, match="11×11 pixels or more, the view is 30×10"):
        value(Ssim(), small, small)


def test_a_value_has_the_same_bits_in_every_batch_and_with_every_number_of_threads(pair):
    restored, reference = pair.tensors()
    before = cv2.getNumThreads(), torch.get_num_threads()
    values = set()
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            torch.set_num_threads(threads)
            values.add(float(Ssim().score(restored, reference)))
            batch = torch.cat([reference, restored]), torch.cat([reference, reference])
            values.add(float(Ssim().score(*batch)[1]))
            values.add(float(Ssim().score(restored.transpose(2, 3).contiguous().transpose(2, 3), reference)))
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
    assert len(values) == 1


def test_options_that_change_the_value_change_the_signature():
    changed = {
        "window": "uniform7", "border": "reflect", "covariance": "sample", "clamp": True, "data_range": "restored",
        "k1": 0.02, "k2": 0.02,
    }  # fmt: skip
    own = {field.name for field in dataclasses.fields(Ssim)} - {"view"}
    assert set(changed) == own
    signatures = {str(Ssim(**{name: value}).signature()) for name, value in changed.items()}
    assert len(signatures | {str(Ssim().signature())}) == len(changed) + 1


def test_the_signature_reads_as_the_design_has_it():
    assert str(Ssim(View(space="y", crop=4)).signature()) == (
        "ssim|space:y|range:u8|crop:4|gtmean:no|win:gauss11s1.5|border:valid|v:1"
    )


def test_an_unknown_window_names_the_nearest():
    with pytest.raises(BenchError, match="did you mean 'uniform7'"):
        Ssim(window="uniform")

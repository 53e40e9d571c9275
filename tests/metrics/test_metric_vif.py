"""VIF: the release block by block in plain SciPy, pyiqa, and where there is no value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import classical_loops
from support.classical_loops import as_tensor

from bench.catalog.registry import registry
from bench.errors import ItemError
from bench.metrics.build import build_metric
from bench.metrics.primitives.steerable import kernels
from bench.metrics.view import View
from bench.metrics.vif import Vif, _covariance


def value(restored: np.ndarray, reference: np.ndarray) -> float:
    metric = Vif()
    return float(metric.score(*metric.view.apply(as_tensor(restored), as_tensor(reference))))


def gray(image: np.ndarray) -> np.ndarray:
    return View(space="yiq").apply(as_tensor(image), None)[0][0, 0].numpy() * 255


@pytest.mark.parametrize("size", [(41, 41), (64, 83), (101, 96)])
def test_it_is_the_release_block_by_block(pair, size):
    images = [np.ascontiguousarray(image[: size[0], : size[1]]) for image in pair]
    assert value(*images) == pytest.approx(classical_loops.vif(*map(gray, images)), rel=1e-9)


def test_it_is_pyiqas_value_on_a_photograph(pair):
    from pyiqa.archs.vif_arch import VIF

    with torch.no_grad():
        expected = float(VIF()(*(tensor.float()[..., :128, :150] for tensor in pair.tensors())))
    # pyiqa's is float32, which costs 3e-6 on one processor and 7e-5 on another; the release is followed to 1e-7.
    assert value(*(image[:128, :150] for image in pair)) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("level", [2, 128, 253])
def test_nearly_flat_dark_and_bright_images_are_the_release(level):
    random = np.random.default_rng(level)
    images = [(level + random.integers(-1, 2, (48, 50, 3))).astype(np.uint8) for _ in range(2)]
    assert value(*images) == pytest.approx(classical_loops.vif(*map(gray, images)), rel=1e-7)


def test_the_filters_are_the_published_ones():
    from pyiqa.archs.vif_arch import sp5_filters

    known, ours = sp5_filters(), kernels()
    assert np.array_equal(ours.first, known["lo0filt"]) and np.array_equal(ours.low, known["lofilt"])
    assert np.array_equal(ours.across, known["bfilts"][:, 0].reshape(7, 7).T)
    assert np.array_equal(-ours.down, known["bfilts"][:, 3].reshape(7, 7).T)


def test_the_covariance_of_blocks_is_numpys():
    band = np.random.default_rng(0).normal(size=(21, 33))
    blocks = np.lib.stride_tricks.sliding_window_view(band, (3, 3)).reshape(-1, 9)
    assert np.allclose(_covariance(band), np.cov(blocks.T, bias=True), rtol=0, atol=1e-14)


def test_equal_images_are_1(pair):
    assert value(pair.reference, pair.reference) == pytest.approx(1, abs=1e-12)


def test_more_contrast_is_above_1_and_less_below(pair):
    half = (pair.reference.astype(float) - 128) / 2 + 128
    reference, less = np.rint(half).astype(np.uint8), np.rint((half - 128) / 2 + 128).astype(np.uint8)
    more = np.rint((half - 128) * 1.5 + 128).astype(np.uint8)
    assert value(more, reference) > 1 > value(less, reference)


def test_a_flat_reference_has_no_value_and_a_flat_restoration_keeps_nothing(pair):
    flat = np.full_like(pair.reference, 77)
    with pytest.raises(ItemError, match="the reference is flat"):
        value(pair.reference, flat)
    assert value(flat, pair.reference) == pytest.approx(0, abs=1e-9)


def test_a_reference_that_varies_in_one_direction_only_has_a_finite_value(pair):
    stripes = np.repeat(pair.reference[:1], len(pair.reference), axis=0)
    assert 0 < value(pair.restored, stripes) < 1
    assert value(stripes, stripes) == pytest.approx(1, abs=1e-9)


def test_too_small_an_image_is_an_item_error():
    small = np.zeros((40, 90, 3), np.uint8)
    with pytest.raises(ItemError, match="41×41 pixels or more, the view is 90×40"):
        value(small, small)


def test_the_signature_tells_the_pyramid_and_the_noise():
    built = build_metric(registry("metric").get("vif"), {}, {"view": {"space": "y"}})
    assert str(built.signature()) == "vif|space:yiq|range:u8|crop:0|gtmean:no|pyramid:sp5-4|block:3|noise:0.4|v:1"

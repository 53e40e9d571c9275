"""PSNR per image and pooled: hand calculations, and scikit-image as the independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from bench.errors import BenchError
from bench.metrics.psnr import Psnr
from bench.metrics.psnr_pooled import PsnrPooled
from bench.metrics.view import View


def flat(value: float, size: int = 8) -> torch.Tensor:
    return torch.full((1, 3, size, size), value, dtype=torch.float64)


def test_a_difference_of_a_tenth_is_20_db():
    assert float(Psnr().score(flat(0.5), flat(0.6))) == pytest.approx(20, abs=1e-9)


def test_one_level_of_255_is_48_13_db():
    assert float(Psnr().score(flat(0), flat(1 / 255))) == pytest.approx(20 * math.log10(255), abs=1e-9)


def test_it_equals_scikit_image(pair):
    ours = float(Psnr().score(*pair.tensors()))
    assert ours == pytest.approx(peak_signal_noise_ratio(pair.reference, pair.restored), abs=1e-10)


def test_identical_images_are_infinite():
    assert float(Psnr().score(flat(0.3), flat(0.3))) == math.inf


def test_eps_caps_identical_images_at_80_db():
    assert float(Psnr(eps=1e-8).score(flat(0.3), flat(0.3))) == pytest.approx(80, abs=1e-9)


def test_eps_must_be_small_and_not_negative():
    with pytest.raises(BenchError, match="eps"):
        Psnr(eps=-1e-8)


def test_the_signature_names_view_and_eps():
    assert str(Psnr().signature()) == "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1"
    assert str(Psnr(View(space="y", crop=4), eps=1e-8).signature()) == (
        "psnr|space:y|range:u8|crop:4|gtmean:no|eps:1e-08|v:1"
    )


def test_a_value_has_the_same_bits_in_every_batch_and_with_every_number_of_threads(pair):
    restored, reference = pair.tensors()
    before = torch.get_num_threads()
    values = set()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            values.add(float(Psnr().score(restored, reference)))
            values.add(float(Psnr().score(torch.cat([reference, restored]), torch.cat([restored, reference]))[1]))
    finally:
        torch.set_num_threads(before)
    assert len(values) == 1


def test_pooled_psnr_is_that_of_the_mean_error_not_the_mean_of_psnr():
    metric = PsnrPooled()
    features = np.concatenate([metric.extract(flat(0.5), flat(0.6)), metric.extract(flat(0.5, 16), flat(0.5, 16))])
    # 192 values with error 0.01 among 960 values: mean 0.002.
    assert metric.aggregate(features) == pytest.approx(-10 * math.log10(0.002), abs=1e-9)


def test_pooled_psnr_equals_scikit_image_on_the_images_side_by_side(pair):
    metric = PsnrPooled()
    restored, reference = pair.tensors()
    features = np.concatenate([metric.extract(restored, reference), metric.extract(reference.flip(-1), reference)])
    both = [
        np.concatenate(images)
        for images in ((pair.restored, pair.reference[:, ::-1]), (pair.reference, pair.reference))
    ]
    assert metric.aggregate(features) == pytest.approx(peak_signal_noise_ratio(both[1], both[0]), abs=1e-10)


def test_pooled_psnr_of_identical_sets_is_infinite_and_of_none_is_nan():
    metric = PsnrPooled()
    assert metric.aggregate(metric.extract(flat(0.5), flat(0.5))) == math.inf
    assert math.isnan(metric.aggregate(np.zeros((0, 2))))

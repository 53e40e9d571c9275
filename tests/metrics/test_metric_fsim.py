"""FSIM and FSIMc: the authors' definition with NumPy's FFT, pyiqa, and where there is no value."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from support import classical_loops
from support.classical_loops import as_tensor

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.fsim import Fsim
from bench.metrics.primitives.phase_congruency import phase_congruency


def value(metric: Fsim, restored: np.ndarray, reference: np.ndarray) -> float:
    return float(metric.score(as_tensor(restored), as_tensor(reference)))


def enlarged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("chroma", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (64, 97), (201, 223), (385, 391), (641, 700)])
def test_it_is_the_authors_definition_at_every_downsampling(pair, size, chroma):
    # Sides of 385 and 641 pixels are halved and, as MATLAB rounds 2.5 up, divided by 3; neither goes without remainder.
    images = [enlarged(image, *size) for image in pair]
    expected = classical_loops.fsim(*(image.astype(float) for image in images), chroma)
    assert value(Fsim(chroma=chroma), *images) == pytest.approx(expected, rel=1e-9)


def test_opposite_colours_have_the_real_part_of_a_complex_power():
    reference = np.full((64, 64, 3), 100, np.uint8)
    reference[16:48, 16:48] = (255, 20, 20)
    restored = reference.copy()
    restored[16:48, 16:48] = (20, 255, 255)
    expected = classical_loops.fsim(restored.astype(float), reference.astype(float), True)
    assert value(Fsim(), restored, reference) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("level", [1, 128, 254])
def test_nearly_flat_dark_and_bright_images_are_the_authors_definition(level):
    random = np.random.default_rng(level)
    images = [(level + random.integers(-1, 2, (70, 81, 3))).astype(np.uint8) for _ in range(2)]
    expected = classical_loops.fsim(*(image.astype(float) for image in images), True)
    assert value(Fsim(), *images) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("size", [(64, 97), (200, 223), (640, 644)])
def test_the_pyiqa_variant_gives_pyiqas_value(pair, size):
    from pyiqa.archs.fsim_arch import FSIM

    images = [enlarged(image, *size) for image in pair]
    with torch.no_grad():
        expected = float(FSIM()(*(as_tensor(image).float() for image in images)))
    assert value(Fsim(variant="pyiqa"), *images) == pytest.approx(expected, rel=2e-6)


def test_equal_images_are_1(pair):
    for metric in (Fsim(), Fsim(chroma=False), Fsim(variant="pyiqa")):
        assert value(metric, pair.reference, pair.reference) == pytest.approx(1, abs=1e-12)


def test_phase_congruency_does_not_know_brightness_and_hardly_contrast(pair):
    plane = pair.reference[:, :, 1].astype(float)
    options = {"epsilon": 1e-4, "lower_median": False}
    plain = phase_congruency(plane, **options)
    assert np.abs(phase_congruency(plane + 1000, **options) - plain).max() < 1e-9
    assert np.abs(phase_congruency(plane * 10, **options) - plain).max() < 1e-4
    assert plain.min() >= 0 and plain.max() <= 1


def test_two_flat_images_have_no_value():
    gray, other = (np.full((64, 64, 3), level, np.uint8) for level in (90, 200))
    with pytest.raises(ItemError, match="both are flat"):
        value(Fsim(), gray, other)


def test_too_small_an_image_is_an_item_error():
    small = np.zeros((7, 20, 3), np.uint8)
    with pytest.raises(ItemError, match="8×8 pixels or more, the view is 20×7"):
        value(Fsim(), small, small)


def test_signatures_tell_fsim_from_fsimc_and_the_variants():
    entry = registry("metric").get("fsim")
    assert str(build_metric(entry, {}, {"view": {"space": "y"}}).signature()) == (
        "fsim|space:rgb|range:u8|crop:0|gtmean:no|chroma:yes|variant:matlab|v:1"
    )
    assert "|chroma:no|variant:pyiqa|" in str(
        build_metric(entry, {"chroma": False, "variant": "pyiqa"}, {}).signature()
    )
    with pytest.raises(BenchError, match="matlab, pyiqa"):
        Fsim(variant="kovesi")

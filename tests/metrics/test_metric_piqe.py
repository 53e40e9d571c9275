"""PIQE: MATLAB's definition block by block in plain SciPy, pyiqa, and uniform images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import classical_loops
from support.classical_loops import as_tensor

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.piqe import Piqe


def value(metric: Piqe, image: np.ndarray) -> float:
    return float(metric.score(metric.view.apply(as_tensor(image), None)[0], None))


def gray(image: np.ndarray) -> np.ndarray:
    """MATLAB's rgb2gray of 8-bit images: its published weights, rounded half up."""
    return np.floor(image @ [0.298936021293776, 0.587043074451121, 0.114020904255103] + 0.5)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (160, 176), (201, 223)])
def test_it_is_matlabs_definition_block_by_block(pair, size):
    for image in pair:
        image = np.ascontiguousarray(image[: size[0], : size[1]])
        assert value(Piqe(), image) == pytest.approx(classical_loops.piqe(gray(image)), rel=1e-9)


@pytest.mark.parametrize("quality", [5, 30, 90])
def test_it_is_matlabs_definition_on_jpegs(pair, quality):
    import cv2

    image = cv2.imdecode(cv2.imencode(".jpg", pair.reference, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert value(Piqe(), image) == pytest.approx(classical_loops.piqe(gray(image)), rel=1e-9)


@pytest.mark.parametrize("size", [(160, 176), (167, 170), (201, 223)])
def test_the_pyiqa_variant_gives_pyiqas_value(pair, size):
    from pyiqa.archs.piqe_arch import piqe

    # Gray and in float64: no luma lies between two levels, and no rounding decides what a block is. What is left is
    # pyiqa's window, which stays float32.
    image = np.ascontiguousarray(pair.restored[: size[0], : size[1], 1:2].repeat(3, axis=2))
    with torch.no_grad():
        expected = float(piqe(as_tensor(image))[0])
    assert value(Piqe(variant="pyiqa"), image) == pytest.approx(expected, rel=1e-5)
    assert value(Piqe(), image) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_uniform_image_is_100(level):
    assert value(Piqe(), np.full((40, 50, 3), level, np.uint8)) == 100


def test_a_black_image_has_no_brightest_pixel_to_scale_by():
    with pytest.raises(ItemError, match="the image is black"):
        value(Piqe(variant="pyiqa"), np.zeros((32, 32, 3), np.uint8))


def test_blocks_of_a_strong_jpeg_raise_it(pair):
    import cv2

    coded = cv2.imdecode(cv2.imencode(".jpg", pair.reference, [cv2.IMWRITE_JPEG_QUALITY, 5])[1], cv2.IMREAD_COLOR)
    assert value(Piqe(), coded) > value(Piqe(), pair.reference) + 10


def test_too_small_an_image_is_an_item_error():
    with pytest.raises(ItemError, match="16×16 pixels or more, the view is 40×15"):
        value(Piqe(), np.zeros((15, 40, 3), np.uint8))


def test_the_luma_is_the_variants_whatever_the_protocol():
    entry, rules = registry("metric").get("piqe"), {"view": {"space": "y", "gtmean": "gray"}}
    text = str(build_metric(entry, {}, rules).signature())
    assert text == "piqe|space:rgb|range:u8|crop:0|block:16|variant:matlab|v:1"
    with pytest.raises(BenchError, match="space 'y' does not apply"):
        build_metric(entry, {"space": "y"}, {})


def test_an_unknown_variant_names_the_legal_ones():
    with pytest.raises(BenchError, match="matlab, pyiqa"):
        Piqe(variant="paper")

"""GMSD: the authors' definition in plain SciPy, pyiqa, hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import classical_loops
from support.classical_loops import as_tensor

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.gmsd import Gmsd
from bench.metrics.view import View


def value(metric: Gmsd, restored: np.ndarray, reference: np.ndarray) -> float:
    return float(metric.score(*metric.view.apply(as_tensor(restored), as_tensor(reference))))


def gray(image: np.ndarray) -> np.ndarray:
    return View(space="yiq").apply(as_tensor(image), None)[0][0, 0].numpy() * 255


@pytest.mark.parametrize("size", [(4, 4), (5, 8), (200, 200), (201, 223)])
def test_it_is_the_authors_definition(pair, size):
    images = [image[: size[0], : size[1]] for image in pair]
    assert value(Gmsd(), *images) == pytest.approx(classical_loops.gmsd(*map(gray, images)), rel=1e-9)


def test_an_odd_row_left_out_gives_pyiqas_value(pair):
    from pyiqa.archs.gmsd_arch import GMSD

    with torch.no_grad():
        expected = float(GMSD()(*(tensor.float() for tensor in pair.tensors())))
    assert value(Gmsd(halving="drop"), *pair) == pytest.approx(expected, rel=1e-6)
    assert value(Gmsd(), *pair) != pytest.approx(expected, rel=1e-6)


def test_flat_images_differ_only_at_the_border_of_zeros():
    # 8×8 of level v → 4×4 of v. Prewitt with zeros outside: along an edge 3·v/3, at a corner 2·v/3 both ways.
    restored, reference = (np.full((8, 8, 3), level, np.uint8) for level in (100, 200))
    similarity = np.ones((4, 4))
    edge = (2 * 100 * 200 + 170) / (100**2 + 200**2 + 170)
    corner = (2 * 100 * 200 * 8 / 9 + 170) / ((100**2 + 200**2) * 8 / 9 + 170)
    similarity[[0, -1], :] = similarity[:, [0, -1]] = edge
    similarity[[0, 0, -1, -1], [0, -1, 0, -1]] = corner
    assert value(Gmsd(), restored, reference) == pytest.approx(similarity.std(ddof=1), rel=1e-9)


def test_equal_images_are_0(pair):
    assert value(Gmsd(), pair.reference, pair.reference) == pytest.approx(0, abs=1e-12)


def test_too_small_an_image_is_an_item_error():
    small = np.zeros((3, 9, 3), np.uint8)
    with pytest.raises(ItemError, match="4×4 pixels or more, the view is 9×3"):
        value(Gmsd(), small, small)


def test_the_catalogue_and_every_protocol_give_the_8_bit_luma():
    built = build_metric(registry("metric").get("gmsd"), {}, {"view": {"space": "y"}})
    assert str(built.signature()) == "gmsd|space:yiq|range:u8|crop:0|gtmean:no|halving:zero-last|t:170|v:1"


def test_colour_is_refused():
    with pytest.raises(BenchError, match="space 'rgb' does not apply"):
        build_metric(registry("metric").get("gmsd"), {"space": "rgb"}, {})


def test_an_unknown_halving_names_the_legal_ones():
    with pytest.raises(BenchError, match="zero-last, drop"):
        Gmsd(halving="keep")

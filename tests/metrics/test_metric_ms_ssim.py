"""MS-SSIM: the authors' definition in plain SciPy, pyiqa, and what its options mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import classical_loops
from support.classical_loops import as_tensor

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.ms_ssim import MsSsim
from bench.metrics.view import View


def value(metric: MsSsim, restored: np.ndarray, reference: np.ndarray) -> float:
    return float(metric.score(*metric.view.apply(as_tensor(restored), as_tensor(reference))))


@pytest.mark.parametrize("size", [(161, 161), (201, 223), (192, 176)])
def test_each_channel_is_the_authors_definition(pair, size):
    restored, reference = (image[: size[0], : size[1]] for image in pair)
    channels = [
        classical_loops.ms_ssim(*(one[:, :, c].astype(float) for one in (restored, reference))) for c in range(3)
    ]
    assert value(MsSsim(), restored, reference) == pytest.approx(np.mean(channels), abs=1e-10)


def test_luma_is_the_views(pair):
    y = [image @ [65.481, 128.553, 24.966] / 255 + 16 for image in pair]
    assert value(MsSsim(View(space="y")), *pair) == pytest.approx(classical_loops.ms_ssim(*y), abs=1e-10)


@pytest.mark.parametrize("level", [1, 128, 250])
def test_nearly_flat_dark_and_bright_images_are_the_authors_definition(level):
    random = np.random.default_rng(level)
    images = [(level + random.integers(-1, 2, (170, 180, 1))).repeat(3, axis=2).astype(np.uint8) for _ in range(2)]
    expected = classical_loops.ms_ssim(*(one[:, :, 0].astype(float) for one in images))
    assert value(MsSsim(), *images) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("luma", [True, False])
def test_pyiqas_options_give_pyiqas_value_on_odd_sizes(pair, luma):
    from pyiqa.archs.ssim_arch import MS_SSIM

    view = View(space="yiq" if luma else "rgb")
    metric = MsSsim(view, clamp="map", halving="zero-first", channels="pooled")
    with torch.no_grad():
        expected = float(MS_SSIM(test_y_channel=luma)(*(tensor.float() for tensor in pair.tensors())))
    assert value(metric, *pair) == pytest.approx(expected, rel=1e-6)


def test_equal_images_are_1(pair):
    assert value(MsSsim(), pair.reference, pair.reference) == pytest.approx(1, abs=1e-12)


def test_a_scale_with_negative_structure_makes_the_channel_0(pair):
    assert value(MsSsim(), 255 - pair.reference, pair.reference) == 0


def test_an_image_that_runs_out_at_the_coarsest_scale_is_an_item_error():
    small = np.zeros((160, 300, 3), np.uint8)
    with pytest.raises(ItemError, match="161×161 pixels or more, the view is 300×160"):
        value(MsSsim(), small, small)


def test_the_default_protocol_gives_rgb_and_a_suite_may_ask_for_luma():
    entry = registry("metric").get("ms-ssim")
    assert str(build_metric(entry, {}, {}).signature()) == (
        "ms-ssim|space:rgb|range:u8|crop:0|gtmean:no|scales:5-wang2003|win:gauss11s1.5|halving:symmetric|v:1"
    )
    assert build_metric(entry, {"space": "y"}, {}).view.space == "y"


def test_an_unknown_halving_names_the_legal_ones():
    with pytest.raises(BenchError, match="symmetric, zero-first; did you mean 'symmetric'"):
        MsSsim(halving="symetric")


@pytest.mark.parametrize("swapped", [False, True])
def test_beside_ssim_the_finest_scale_is_filtered_once_and_the_values_are_as_alone(pair, monkeypatch, swapped):
    from bench.metrics.primitives import ssim_maps
    from bench.metrics.scorer import Scorer
    from bench.metrics.ssim import Ssim

    metrics = [MsSsim(clamp="map"), Ssim(clamp=True)]
    if swapped:
        metrics.reverse()
    alone = [Scorer([metric], "cpu").score(*pair)[0].value for metric in metrics]
    assert alone == [float(metric.score(*metric.view.apply(*pair.tensors()))) for metric in metrics]
    sizes, means = [], ssim_maps.means
    monkeypatch.setattr(ssim_maps, "means", lambda x, *rest, **more: sizes.append(x.shape) or means(x, *rest, **more))
    together = Scorer(metrics, "cpu").score(*pair)
    assert [outcome.value for outcome in together] == alone
    assert sizes.count(pair[0].shape[:2]) == 3  # once per channel


def test_options_of_their_own_are_not_shared(pair):
    from bench.metrics.scorer import Scorer
    from bench.metrics.ssim import Ssim

    metrics = [MsSsim(), Ssim(clamp=True), Ssim(k1=0.02), Ssim(border="reflect"), Ssim(window="uniform7"), Ssim()]
    together = [outcome.value for outcome in Scorer(metrics, "cpu").score(*pair)]
    assert together == [Scorer([metric], "cpu").score(*pair)[0].value for metric in metrics]

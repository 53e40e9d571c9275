"""Whole batches in torch, as a GPU has them, against the metrics of one image at a time on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import ItemError
from bench.metrics import batched, brisque, niqe
from bench.metrics.fsim import Fsim
from bench.metrics.gmsd import Gmsd
from bench.metrics.ms_ssim import MsSsim
from bench.metrics.piqe import Piqe, _matlab_gray, _pyiqa_gray
from bench.metrics.ssim import Ssim
from bench.metrics.view import View
from bench.metrics.vif import Vif
from bench.testing.generated import distorted, photograph


def batch(height, width, channels=3):
    """Three photographs with noise, blur and nothing done to them: float64 [3,C,H,W] on the levels."""
    side = max(height, width)
    clean = [photograph(side, seed)[:height, :width] for seed in range(3)]
    worse = [distorted(clean[0], "noise", 12), distorted(clean[1], "blur", 2), clean[2]]
    pairs = [torch.from_numpy(np.stack(each).transpose(0, 3, 1, 2)[:, :channels] / 255.0) for each in (worse, clean)]
    return tuple(each.contiguous() for each in pairs)


@pytest.mark.parametrize("size", [(180, 163), (513, 402)])
@pytest.mark.parametrize(
    ("metric", "channels"),
    [
        (Ssim(), 3),
        (Ssim(window="uniform7", border="reflect", covariance="sample", data_range="restored"), 3),
        (Ssim(clamp=True), 1),
        (MsSsim(), 3),
        (MsSsim(clamp="map", halving="zero-first", channels="pooled"), 3),
        (Gmsd(), 1),
        (Gmsd(halving="drop"), 1),
        (Fsim(), 3),
        (Fsim(variant="pyiqa"), 3),
        (Fsim(chroma=False), 3),
        (Vif(), 1),
    ],
    ids=lambda each: str(each.signature()) if hasattr(each, "signature") else str(each),
)
def test_a_batch_has_the_values_of_its_images(metric, channels, size):
    ours, theirs = batch(*size, channels)
    torch.testing.assert_close(metric.score_batch(ours, theirs), metric.score(ours, theirs), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("variant", "gray"), [("matlab", _matlab_gray), ("pyiqa", _pyiqa_gray)])
def test_a_batch_has_piqes_values(variant, gray):
    ours, _ = batch(180, 163)
    metric = Piqe(variant=variant)
    grays = torch.from_numpy(np.stack([gray(image) for image in ours.numpy()]))
    torch.testing.assert_close(metric.score_batch(grays), metric.score(ours, None), rtol=1e-9, atol=1e-10)


def gray_levels(height, width):
    ours, _ = batch(height, width)
    levels = (ours[:, 1] * 255).round()
    levels[1, 40:90, 30:80] = 77.0  # flat, so that the table of signs is asked
    return levels


def test_a_batch_has_the_features_of_niqe():
    levels = gray_levels(200, 310)
    for found, plane in zip(niqe.block_features_on_device(levels), levels.numpy(), strict=True):
        np.testing.assert_allclose(found, niqe.block_features(plane), rtol=1e-9, atol=1e-10)


def test_a_batch_has_the_features_of_brisque():
    levels = gray_levels(131, 96)
    for found, plane in zip(brisque.image_features_on_device(levels), levels.numpy(), strict=True):
        np.testing.assert_allclose(found, brisque.image_features(plane), rtol=1e-9, atol=1e-10)


def test_flat_images_are_refused_in_a_batch_too():
    ours, theirs = batch(180, 163, 1)
    theirs[1] = 0.5
    with pytest.raises(ItemError, match="the reference is flat"):
        Vif().score_batch(ours, theirs)
    flat = torch.full((2, 3, 64, 64), 0.25, dtype=torch.float64)
    with pytest.raises(ItemError, match="both are flat"):
        Fsim().score_batch(flat, flat)


def test_a_value_does_not_depend_on_the_batch():
    ours, theirs = batch(180, 163, 1)
    together = Vif().score_batch(ours, theirs)
    for place in range(3):
        alone = Vif().score_batch(ours[[place]], theirs[[place]])
        torch.testing.assert_close(together[[place]], alone, rtol=1e-12, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("metric", [Ssim(), MsSsim(), Fsim(), Gmsd(View()), Vif(View())], ids=lambda each: each.name)
def test_a_gpu_has_the_values_of_the_cpu(metric):
    ours, theirs = batch(180, 163, 1 if metric.name in ("gmsd", "vif") else 3)
    found = metric.score(ours.cuda(), theirs.cuda())
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), metric.score(ours, theirs), rtol=1e-9, atol=1e-10)


def test_prewitt_of_a_ramp_is_its_slope():
    ramp = torch.arange(16, dtype=torch.float64).expand(1, 1, 16, 16)
    energy = batched._prewitt_energy(ramp, drop_odd=False)
    assert torch.allclose(energy[0, 0, 1:-1, 1:-1], torch.tensor(16.0, dtype=torch.float64))  # 2 · 2 per halved pixel

"""Kernels of PSNR, SSIM and the views on decoded 512² RGB pairs; `pytest --benchmark-enable tests/benchmarks`.

The ratios against scikit-image and pyiqa are asserted with room for a busy machine; `compare_pyiqa.py` measures
the whole command.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from bench.metrics.psnr import Psnr
from bench.metrics.scorer import Scorer
from bench.metrics.ssim import Ssim
from bench.metrics.view import View

SIZE = 512


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    from skimage import data

    reference = np.ascontiguousarray(data.astronaut()[:SIZE, :SIZE])
    noise = np.random.default_rng(0).normal(0, 10, reference.shape)
    return np.clip(reference + noise, 0, 255).astype(np.uint8), reference


@pytest.fixture(scope="module")
def tensors(images):
    return tuple(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None] for image in images)


@pytest.mark.parametrize("metric", [Psnr(), Ssim(), Ssim(window="uniform7")], ids=lambda m: str(m.signature()))
def test_kernel(benchmark, tensors, metric):
    benchmark(metric.score, *tensors)


@pytest.mark.parametrize("space", ["rgb", "y", "yiq", "gray-u8-swapped"])
def test_view(benchmark, tensors, space):
    benchmark(View(space=space).apply, *tensors)


def test_psnr_and_ssim_of_a_decoded_pair(benchmark, images):
    benchmark(Scorer([Psnr(), Ssim()], "cpu").score, *images)


def ratio(slow: Callable[[], object], fast: Callable[[], object], turns: int) -> float:
    """Fastest of `slow` over fastest of `fast`, in alternating turns, so that other load falls on both."""
    best = [float("inf"), float("inf")]
    for _ in range(turns):
        for place, function in enumerate((slow, fast)):
            start = time.perf_counter()
            function()
            best[place] = min(best[place], time.perf_counter() - start)
    return best[0] / best[1]


@pytest.mark.speed
def test_rgb_ssim_is_faster_than_scikit_image(images, tensors):
    from skimage.metrics import structural_similarity

    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = ratio(lambda: structural_similarity(*images, **options), lambda: Ssim().score(*tensors), 3)
    assert found > 2.5, f"{found:.1f}×"


@pytest.mark.speed
@pytest.mark.parametrize("name, space, least", [("ssimc", "rgb", 40), ("ssim", "yiq", 25)])
def test_ssim_is_faster_than_pyiqas(tensors, name, space, least):
    import pyiqa

    theirs = pyiqa.create_metric(name, device="cpu").net
    floats = [tensor.float() for tensor in tensors]
    view, ours = View(space=space, rounding="none"), Ssim(clamp=True)
    seen = view.apply(*tensors)
    with torch.no_grad():
        assert float(ours.score(*seen)) == pytest.approx(float(theirs(*floats)), abs=1e-6)
        found = ratio(lambda: theirs(*floats), lambda: ours.score(*seen), 2)
    assert found > least / 2, f"{found:.1f}×, {least}× on an idle machine"

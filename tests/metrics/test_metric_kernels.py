"""Compiled loops against the same thing said by NumPy, SciPy and torch, on sizes around the edges of their tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from bench.metrics.kernels.blocks import variances
from bench.metrics.kernels.moments import moments
from bench.metrics.primitives import nss
from bench.metrics.primitives.ssim_maps import Constants, batch_means, means
from iqpir.compiled import compiled

SIZES = [(11, 11), (26, 74), (27, 75), (42, 138), (43, 139), (200, 73)]
"""The window alone; one strip and one tile of whole windows; one more of each; two of each."""


def planes(height: int, width: int, count: int) -> np.ndarray:
    return np.random.default_rng(height * width).random((count, height, width))


@pytest.mark.parametrize("window", ["gauss11s1.5", "uniform7"])
@pytest.mark.parametrize("height, width", SIZES)
def test_sums_of_ssim_are_those_of_whole_maps(height, width, window):
    x, y = planes(height, width, 2)
    for constants in (Constants(), Constants(scale=49 / 48, clamp=True)):
        found = means(x, y, window, constants)
        pair = (torch.from_numpy(plane)[None, None] for plane in (x, y))
        expected = batch_means(*pair, window, constants, constants.c1, constants.c2, reflect=False)
        assert found == pytest.approx((float(expected.structure), float(expected.ssim)), abs=1e-12)


@pytest.mark.parametrize("window", ["gauss11s1.5", "gauss13s1.5", "uniform7"])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_levels_have_the_bits_of_their_floats(window, kind):
    x, y = np.random.default_rng(1).integers(0, 256, (2, 90, 150), dtype=np.uint8)
    x[:30, :40], y[:30, :40] = 255, 255  # sums of the largest squares
    meaning = (np.arange(256).astype(kind) / kind(255)).astype(np.float64)
    levels = means(x, y, window, Constants(), meaning=meaning)
    assert levels == means(meaning[x], meaning[y], window, Constants())


@pytest.mark.parametrize("height, width", [(7, 7), (16, 64), (17, 65), (40, 128), (70, 129), (31, 200)])
@pytest.mark.parametrize("border, mode", [("replicate", "nearest"), ("zero", "constant")])
def test_coefficients_are_those_of_whole_maps(height, width, border, mode):
    image = np.floor(planes(height, width, 1)[0] * 256)

    def smoothed(plane: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(plane, nss.window(), 0, mode=mode), nss.window(), 1, mode=mode)

    mean = smoothed(image)
    expected = (image - mean) / (np.sqrt(np.abs(smoothed(image * image) - mean * mean)) + 1)
    np.testing.assert_allclose(nss.contrast(image, border=border), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("height, width", [(1, 1), (3, 63), (5, 64), (4, 65), (2, 130)])
def test_moments_are_those_of_rolled_blocks(height, width):
    blocks = planes(height, width, 3) - 0.4
    found = moments(blocks)
    shifts = [(0, 1), (1, 0), (1, 1), (1, -1)]
    fields = np.stack([blocks, *(blocks * np.roll(blocks, shift, (1, 2)) for shift in shifts)]).reshape(5, 3, -1)
    more, less = fields.clip(min=0), fields.clip(max=0)
    expected = [more.sum(2), less.sum(2), (more**2).sum(2), (less**2).sum(2), (fields > 0).sum(2), (fields < 0).sum(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_variances_of_blocks_are_numpys():
    plane = planes(53, 40, 1)[0]  # two columns of three blocks, and a remainder both ways
    found = variances(plane)
    blocks = [plane[top : top + 16, left : left + 16] for top in (0, 16, 32) for left in (0, 16)]
    surround = [*range(7), 8, *range(10, 16)]
    for block, got in zip(blocks, found.T, strict=True):
        edges = [block[0], block[-1], block[:, 0], block[:, -1]]
        least = min(edge[start : start + 6].var(ddof=1) for edge in edges for start in range(11))
        parts = (block, block[:, 7:9], block[:, surround])
        np.testing.assert_allclose(got, [*(part.var(ddof=1) for part in parts), least], rtol=1e-12)


def test_a_kernel_is_compiled_where_nothing_can_be_kept():
    space: dict[str, object] = {}
    exec("def half(value):\n    return value / 2", space)  # a function of no file has no place on disk
    assert compiled()(space["half"])(3.0) == 1.5  # type: ignore[arg-type]

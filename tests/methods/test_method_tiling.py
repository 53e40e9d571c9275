"""Tiles and padding: the image comes back whole."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from bench.methods.padding import pad_to_multiple
from bench.methods.tiling import ramp, starts, tiled


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(("tile", "overlap"), [(8, 0), (8, 3), (8, 7), (5, 2)])
def test_tiles_cover_every_pixel_and_share_the_overlap(length, tile, overlap):
    begin = starts(length, tile, overlap)
    assert set(range(length)) == {i for s in begin for i in range(s, min(s + tile, length))}
    assert begin == sorted(set(begin))
    assert all(b - a <= tile - overlap for a, b in pairwise(begin))
    assert begin[-1] == max(0, length - tile)


def test_an_overlap_as_large_as_the_tile_is_refused():
    with pytest.raises(ValueError, match="overlap"):
        starts(100, 8, 8)


def test_ramps_rise_linearly_and_never_reach_zero():
    assert ramp(6, 2, first=False, last=True) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])
    assert ramp(4, 1, first=True, last=False) == pytest.approx([1, 1, 1, 0.5])


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16), (17, 40), (64, 48)])
def test_tiling_a_pixelwise_function_changes_nothing(size):
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tiled(lambda x: x * 0.5 + 0.1, image, 16, 5), image * 0.5 + 0.1)


def test_tiling_scales_up():
    image = torch.rand(1, 3, 21, 13, generator=torch.Generator().manual_seed(0))
    nearest = lambda x: F.interpolate(x, scale_factor=3, mode="nearest")  # noqa: E731
    torch.testing.assert_close(tiled(nearest, image, 8, 2, scale=3), nearest(image))


def test_inside_the_overlap_the_output_moves_from_one_tile_to_the_other():
    calls = iter([0.0, 1.0])
    output = tiled(lambda x: torch.full_like(x, next(calls)), torch.zeros(1, 3, 1, 6), 4, 2)
    assert output[0, 0, 0].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])


def test_padding_reflects_on_the_right_and_bottom():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pad_to_multiple(image, 4)[0, 0, 0].tolist() == [0, 1, 2, 1]
    padded = pad_to_multiple(torch.arange(3.0).reshape(1, 1, 3, 1), 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0, :, 0].tolist() == [0, 1, 2, 1]


def test_an_axis_too_short_to_reflect_repeats_its_edge():
    assert pad_to_multiple(torch.tensor([[[[1.0, 2.0]]]]), 8)[0, 0, 0].tolist() == [1, 2, 2, 2, 2, 2, 2, 2]


def test_an_image_that_already_fits_is_untouched():
    image = torch.rand(1, 3, 8, 16)
    assert pad_to_multiple(image, 8) is image

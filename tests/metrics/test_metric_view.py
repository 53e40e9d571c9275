"""The view: legal options, and pixels as the named codes see them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import BenchError, ItemError
from bench.metrics.view import View


def apply(pair, **options):
    restored, reference = View(**options).apply(*pair.tensors())
    return restored.numpy()[0], reference.numpy()[0]


def test_an_illegal_value_names_the_nearest_legal_one():
    with pytest.raises(BenchError, match=r"space 'rbg' is not one of .*did you mean 'rgb'"):
        View(space="rbg")


@pytest.mark.parametrize("crop", [-1, 1.5, True, "4"])
def test_a_crop_is_a_number_of_pixels(crop):
    with pytest.raises(BenchError, match="crop"):
        View(crop=crop)


def test_images_of_different_sizes_are_an_item_error_that_names_both():
    with pytest.raises(ItemError, match="restored is 6×5, reference is 8×7"):
        View().apply(torch.zeros(1, 3, 5, 6, dtype=torch.float64), torch.zeros(1, 3, 7, 8, dtype=torch.float64))


def test_studio_luma_of_white_black_and_primaries_is_that_of_bt_601():
    # MATLAB's rgb2ycbcr: black 16, white 235, and 16 plus each weight for a primary.
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    luma, _ = View(space="y").apply(colours.T.reshape(1, 3, 1, 5), None)
    assert luma.numpy().ravel() * 255 == pytest.approx([16, 235, 81.481, 144.553, 40.966], abs=1e-9)


def test_gray_is_opencvs_on_floats(pair):
    restored, _ = apply(pair, space="gray", rounding="none")
    expected = cv2.cvtColor((pair.restored / 255.0).astype(np.float32), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(restored[0], expected, atol=3e-7)


def test_swapped_gray_is_opencvs_on_8_bit_bgr_read_as_rgb(pair):
    restored, reference = apply(pair, space="gray-u8-swapped")
    for seen, image in ((restored, pair.restored), (reference, pair.reference)):
        expected = cv2.cvtColor(np.ascontiguousarray(image[:, :, ::-1]), cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(seen[0] * 255, expected)


def test_bgr_exchanges_red_and_blue_and_nothing_else(pair):
    restored, reference = apply(pair, space="bgr")
    np.testing.assert_array_equal(restored.transpose(1, 2, 0) * 255, pair.restored[:, :, ::-1])
    np.testing.assert_array_equal(reference.transpose(1, 2, 0) * 255, pair.reference[:, :, ::-1])


def test_8_bit_gray_is_pillows():
    axes = [np.arange(0, 256, step, dtype=np.uint8) for step in (5, 1, 3)]
    colours = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(len(axes[0]), -1, 3)
    seen, _ = View(space="gray-u8").apply(torch.from_numpy(colours.transpose(2, 0, 1) / 255.0)[None], None)
    np.testing.assert_array_equal(np.rint(seen[0, 0].numpy() * 255), np.asarray(Image.fromarray(colours).convert("L")))


def test_yiq_is_the_luma_of_pyiqas_ssim_but_for_the_side_on_which_a_tie_falls():
    from pyiqa.archs.func_util import preprocess_rgb

    red, green, blue = np.meshgrid(np.arange(0, 256, 5), np.arange(256), np.arange(0, 256, 2), indexing="ij")
    colours = np.stack([red, green, blue])[None].reshape(1, 3, len(red), -1)
    between = (299 * red + 587 * green + 114 * blue) % 1000 == 500
    assert between.sum() > 500
    expected = preprocess_rgb(torch.from_numpy(colours).float() / 255, True, 255).double()
    luma, _ = View(space="yiq", rounding="none").apply(torch.from_numpy(colours / 255.0), None)
    ours, theirs = np.rint(luma.numpy() * 255)[0, 0], expected.numpy()[0, 0]
    tied = between.reshape(ours.shape)
    np.testing.assert_array_equal(ours[~tied], theirs[~tied])
    # There the last bit of pyiqa's float32 product decides, which no two processors need to share.
    assert np.abs(ours - theirs)[tied].max() <= 1


def test_rounding_goes_to_the_nearest_level_and_truncation_down():
    levels = torch.tensor([10.4, 10.6, 11.0], dtype=torch.float64).reshape(1, 1, 1, 3).expand(1, 3, 1, 3) / 255
    for rounding, expected in {"u8": [10, 11, 11], "truncate": [10, 10, 11], "none": [10.4, 10.6, 11]}.items():
        seen, _ = View(rounding=rounding).apply(levels, None)
        assert seen[0, 0, 0].numpy() * 255 == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rounding", ["u8", "truncate"])
def test_every_8_bit_level_survives_rounding_bit_for_bit(rounding):
    levels = torch.from_numpy(np.arange(256) / 255.0).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    seen, _ = View(rounding=rounding).apply(levels, None)
    assert torch.equal(seen, levels)
    assert torch.equal(View(rounding=rounding).apply(levels, None, eight_bit=True)[0], levels)


def test_gt_mean_scales_by_opencvs_8_bit_gray_means_and_clips(pair):
    restored, reference = apply(pair, gtmean="gray", rounding="none")
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() for image in (pair.restored, pair.reference)]
    expected = np.clip(pair.restored * (gray[1] / gray[0]), 0, 255) / 255
    np.testing.assert_allclose(restored.transpose(1, 2, 0), expected, atol=1e-12)
    np.testing.assert_array_equal(reference, pair.tensors()[1][0])


def test_float_gt_mean_is_that_of_opencv_on_a_float_bgr_array(pair):
    restored, _ = apply(pair, gtmean="gray-float", rounding="none")
    floats = [(image[:, :, ::-1] / 255.0).astype(np.float32) for image in (pair.restored, pair.reference)]
    gray = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2GRAY).mean() for image in floats]
    expected = np.clip(pair.restored / 255.0 * (gray[1] / gray[0]), 0, 1)
    np.testing.assert_allclose(restored.transpose(1, 2, 0), expected, atol=2e-6)


def test_swapped_gt_mean_weighs_red_as_blue(pair):
    restored, _ = apply(pair, gtmean="gray-swapped", rounding="none")
    floats = [(image / 255.0).astype(np.float32) for image in (pair.restored, pair.reference)]
    gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean() for image in floats]
    expected = np.clip(floats[0] * (gray[1] / gray[0]), 0, 1)
    np.testing.assert_allclose(restored.transpose(1, 2, 0), expected, atol=2e-6)


def test_rounding_comes_after_gt_mean(pair):
    restored, _ = apply(pair, gtmean="gray", rounding="u8")
    np.testing.assert_allclose(restored * 255, np.rint(restored * 255), atol=1e-9)


def test_gt_mean_of_a_black_image_is_an_item_error():
    black, gray = torch.zeros(1, 3, 8, 8, dtype=torch.float64), torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    with pytest.raises(ItemError, match="black"):
        View(gtmean="gray").apply(black, gray)


def test_the_crop_is_cut_last_from_every_border(pair):
    whole, _ = apply(pair, space="y", gtmean="gray")
    cut, _ = apply(pair, space="y", gtmean="gray", crop=4)
    np.testing.assert_array_equal(cut, whole[:, 4:-4, 4:-4])


def test_a_crop_that_leaves_nothing_is_an_item_error():
    with pytest.raises(ItemError, match="crop of 4 leaves nothing of 8×8"):
        View(crop=4).apply(torch.zeros(1, 3, 8, 8, dtype=torch.float64), None)


def test_the_resize_rule_is_pillows_bicubic_on_8_bit_pixels(pair):
    small = np.ascontiguousarray(pair.restored[:100, :90])
    tensor = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)) / 255.0)[None]
    restored, _ = View(resize="pil-bicubic").apply(tensor, pair.tensors()[1])
    height, width = pair.reference.shape[:2]
    expected = np.asarray(Image.fromarray(small).resize((width, height)))  # Pillow's default filter is bicubic
    np.testing.assert_array_equal(np.rint(restored[0].numpy().transpose(1, 2, 0) * 255), expected)


def smaller(pair) -> tuple[np.ndarray, torch.Tensor]:
    """A part of the restored image, as pixels and as a tensor."""
    image = np.ascontiguousarray(pair.restored[:100, :90])
    return image, torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]


def test_cv2_linear_is_opencvs_default_on_8_bit_pixels(pair):
    image, tensor = smaller(pair)
    restored, _ = View(resize="cv2-linear").apply(tensor, pair.tensors()[1])
    expected = cv2.resize(image, pair.reference.shape[1::-1])
    np.testing.assert_array_equal(np.rint(restored[0].numpy().transpose(1, 2, 0) * 255), expected)


def test_torch_corners_keeps_the_corners_and_floats(pair):
    image, tensor = smaller(pair)
    restored, reference = View(resize="torch-corners", rounding="none").apply(tensor, pair.tensors()[1])
    rows, columns = (np.linspace(0, size - 1, to) for size, to in zip((100, 90), reference.shape[-2:], strict=True))
    maps = np.meshgrid(columns, rows)
    expected = cv2.remap(image / 255.0, *(each.astype(np.float32) for each in maps), cv2.INTER_LINEAR)
    # OpenCV's remap knows 1/32 of a pixel; the corners are exact.
    np.testing.assert_allclose(restored[0].numpy().transpose(1, 2, 0), expected, atol=0.03)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_allclose(restored[0, :, row, column] * 255, image[row, column], atol=1e-9)


def test_torch_corners_by_hand():
    row = torch.tensor([0.0, 0.6], dtype=torch.float64).reshape(1, 1, 1, 2).expand(1, 3, 2, 2)
    seen, _ = View(resize="torch-corners", rounding="none").apply(row, torch.zeros(1, 3, 2, 4, dtype=torch.float64))
    assert seen[0, 0, 0].numpy() == pytest.approx([0, 0.2, 0.4, 0.6])


def test_matlab_x4_is_the_cubic_that_pillow_has_between_the_borders(pair):
    image = pair.reference[: pair.reference.shape[0] // 4 * 4, : pair.reference.shape[1] // 4 * 4]
    small = image[::4, ::4]
    height, width = image.shape[:2]
    quarter, whole = (
        torch.from_numpy(np.ascontiguousarray(each.transpose(2, 0, 1)[None] / 255.0)) for each in (small, image)
    )
    seen, reference = View(resize="matlab-x4").apply(quarter, whole, eight_bit=True)
    planes = [Image.fromarray(small[:, :, one].astype(np.float32)) for one in range(3)]
    cubic = np.stack([np.asarray(each.resize((width, height), Image.Resampling.BICUBIC)) for each in planes], axis=2)
    inner = (slice(12, -12), slice(12, -12))  # Pillow leaves out what is beyond a border, MATLAB mirrors it
    levels = seen[0].numpy().transpose(1, 2, 0)[inner] * 255
    assert np.abs(levels - np.rint(cubic.clip(0, 255))[inner]).max() <= 1e-3
    assert torch.equal(reference, whole)


@pytest.mark.parametrize("size", [(5, 8), (4, 9), (8, 8)])
def test_matlab_x4_takes_a_quarter_and_nothing_else(size):
    whole = torch.zeros(1, 3, 16, 32, dtype=torch.float64)
    with pytest.raises(ItemError, match=f"restored is {size[1]}×{size[0]}, reference is 32×16"):
        View(resize="matlab-x4").apply(torch.zeros(1, 3, *size, dtype=torch.float64), whole)


def test_floats_of_a_resize_are_rounded_again_even_when_both_files_held_8_bits():
    row = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2).expand(1, 3, 2, 2)
    third = torch.zeros(1, 3, 2, 5, dtype=torch.float64)
    seen, _ = View(resize="torch-corners").apply(row, third, eight_bit=True)
    assert seen[0, 0, 0].numpy() * 255 == pytest.approx([0, 64, 128, 191, 255])  # 63.75, 127.5 (to even), 191.25


@pytest.mark.parametrize("rule", ["pil-bicubic", "pil-bilinear", "cv2-linear"])
def test_fit_brings_both_images_to_one_size_by_the_named_library(pair, rule):
    seen = View(fit=f"{rule}@96x80").apply(*pair.tensors())
    for image, ours in zip(pair, seen, strict=True):
        kind = {"pil-bicubic": Image.Resampling.BICUBIC, "pil-bilinear": Image.Resampling.BILINEAR}.get(rule)
        expected = (
            cv2.resize(image, (96, 80)) if kind is None else np.asarray(Image.fromarray(image).resize((96, 80), kind))
        )
        np.testing.assert_array_equal(np.rint(ours[0].numpy().transpose(1, 2, 0) * 255), expected)


def test_fit_leaves_an_image_of_that_size_alone_and_applies_to_one_without_a_reference(pair):
    height, width = pair.restored.shape[:2]
    tensor = pair.tensors()[0]
    assert torch.equal(View(fit=f"cv2-linear@{width}x{height}").apply(tensor, None)[0], tensor)
    assert View(fit="pil-bicubic@32x16").apply(tensor, None)[0].shape == (1, 3, 16, 32)


@pytest.mark.parametrize(
    "fit", ["pil-bicubic", "256x256", "pil-bicubic@256", "pil-bicubic@0x9", "cv2-linar@9x9", "no@9x9"]
)
def test_an_illegal_fit_is_one_line(fit):
    with pytest.raises(BenchError, match=r"fit .* is not 'no' or RULE@WIDTHxHEIGHT with a rule of pil-bicubic"):
        View(fit=fit)


def test_fit_is_said_in_the_signature_of_pairs_and_of_single_images():
    for mode in ("FR", "NR"):
        assert ("fit", "cv2-linear@608x400") in View(fit="cv2-linear@608x400").signature(mode)
        assert "fit" not in dict(View().signature(mode))


def test_a_view_changes_neither_of_its_inputs(pair):
    tensors = pair.tensors()
    copies = [tensor.clone() for tensor in tensors]
    for options in ({}, {"space": "yiq"}, {"gtmean": "gray"}, {"rounding": "truncate", "crop": 2}):
        View(**options).apply(*tensors)
    assert all(torch.equal(*both) for both in zip(tensors, copies, strict=True))


def test_each_image_of_a_batch_is_seen_as_it_is_alone(pair):
    restored, reference = pair.tensors()
    batch = torch.cat([restored, reference.flip(-1)]), torch.cat([reference, reference])
    view = View(space="yiq", gtmean="gray", rounding="none", crop=1)
    together = view.apply(*batch)[0]
    alone = torch.cat([view.apply(batch[0][i : i + 1], batch[1][i : i + 1])[0] for i in range(2)])
    assert torch.equal(together, alone)

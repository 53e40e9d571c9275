"""Classical methods against hand calculation, SciPy, scikit-image and the models they invert."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, ItemError
from bench.methods.algorithms import colour, exposure, filters, fusion, haze, primitives, retinex, tone
from bench.methods.build import build_method
from bench.testing.method_contract import selftest

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
ENTRIES = [entry for entry in registry("method") if entry.fields["kind"] == "classical"]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def scene(height=48, width=64):
    """Edges, ramps and colour; float32 [H,W,3]."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    blocks = ((x * 6).astype(int) + (y * 5).astype(int)) % 2
    return np.stack([0.2 + 0.5 * blocks, 0.1 + 0.6 * x, 0.8 - 0.6 * y], axis=-1).astype(np.float32)


def psnr(a, b):
    return -10 * np.log10(np.mean((a - b) ** 2, dtype=np.float64))


def gray(*values):
    """One row of gray pixels from 8-bit levels."""
    return np.repeat(np.array(values, dtype=np.float32)[None, :, None] / 255, 3, axis=2)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_classical_method_passes_the_selftest(entry):
    """Shape, range, determinism, batches, threads, flat images and sizes down to 1×1."""
    checks = selftest(build_method(entry, {}, None))
    assert [check for check in checks if check.status == "failed"] == []
    assert {check.check for check in checks if check.status == "skipped"} == {"seeds"}


def method(name, **options):
    built = build_method(registry("method").get(name), options, None)
    built.load("cpu", "float32")
    return built


def test_identity_returns_the_input():
    images = torch.rand(2, 3, 5, 7)
    assert torch.equal(method("identity").restore(images), images)


def test_channels_stay_red_green_blue():
    images = torch.zeros(1, 3, 2, 2)
    images[:, 0] = 0.25
    assert method("gamma", gamma=0.5).restore(images)[0, :, 0, 0].tolist() == [0.5, 0, 0]


def test_a_function_that_changes_the_size_is_refused_per_item(monkeypatch):
    entry = Entry("half", "method", {"kind": "classical"}, "here", lambda image: image[::2])
    half = build_method(entry, {}, None)
    half.load("cpu", "float32")
    with pytest.raises(ItemError, match=r"half made \(2, 4, 3\) of \(4, 4, 3\)"):
        half.restore(torch.rand(1, 3, 4, 4))


def test_using_a_method_before_load_is_said():
    with pytest.raises(BenchError, match="before load"):
        build_method(registry("method").get("gamma"), {}, None).restore(torch.rand(1, 3, 4, 4))


def test_options_and_package_versions_are_in_the_identity():
    identity = method("clahe", clip=3).identity()
    assert identity["options"] == {"clip": 3.0, "tiles": 8}
    assert set(identity["packages"]) == {"numpy", "opencv-python-headless", "opencv-python"}
    assert set(identity["sources"]) == {
        "bench.methods.algorithms.tone", "bench.methods.algorithms.parts", "bench.methods.classical"
    }  # fmt: skip


# parts


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0])
def test_gaussian_equals_scipys(sigma):
    plane = noise(33, 47).astype(np.float64)
    expected = ndimage.gaussian_filter(plane, sigma, mode="reflect", truncate=8)
    np.testing.assert_allclose(primitives.gaussian(plane, sigma), expected, atol=1e-6)


def test_box_mean_is_the_mean_of_the_window_inside_the_image():
    plane = noise(7, 5)
    naive = [[plane[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].mean() for x in range(5)] for y in range(7)]
    np.testing.assert_allclose(primitives.box_mean(plane, 2), naive, atol=1e-6)


def test_guided_filter_keeps_an_edge_that_the_guide_has():
    step = np.repeat([[0.0] * 8 + [1.0] * 8], 16, axis=0)
    kept = primitives.guided_filter(step, step, 3, 1e-6)
    np.testing.assert_allclose(kept, step, atol=1e-3)
    blurred = primitives.guided_filter(np.zeros_like(step), step, 3, 1e-6)  # a flat guide leaves two box means
    np.testing.assert_allclose(blurred, primitives.box_mean(primitives.box_mean(step, 3), 3), atol=1e-9)


# tone


def test_auto_gamma_sends_a_flat_image_to_its_target():
    np.testing.assert_allclose(tone.auto_gamma(np.full((4, 4, 3), 0.1, np.float32), 0.5), 0.5, atol=1e-5)


def test_agcwd_by_hand():
    """Two equal halves at 51 and 204: weights ½ and ½, exponents 1 − ½ and 1 − 1."""
    output = tone.agcwd(gray(51, 204), alpha=0.5)
    np.testing.assert_allclose(output[0, :, 0], [0.2**0.5, 1.0], atol=1e-5)


def test_agcwd_keeps_the_ratios_of_the_channels():
    image = scene()
    output = tone.agcwd(image, alpha=0.5)
    np.testing.assert_allclose(output[..., 0] * image[..., 1], output[..., 1] * image[..., 0], atol=1e-5)


def test_hist_eq_by_hand():
    """Gonzalez and Woods as OpenCV computes it: the lowest level goes to 0, then (cdf − cdf₀) / (n − cdf₀)."""
    output = tone.hist_eq(gray(50, 50, 60, 60, 60, 70))[0, :, 0] * 255
    assert np.rint(output).tolist() == [0, 0, 191, 191, 191, 255]


def test_clahe_with_one_tile_and_no_limit_equalises_the_lightness():
    """Half the pixels at each of two levels: L becomes 50 and 100, which are the grays 119 and 255."""
    output = tone.clahe(np.repeat(gray(50, 100), 8, axis=0).repeat(8, axis=1), clip=1000, tiles=1)
    assert np.rint(output[0, [0, -1], 0] * 255) == pytest.approx([119, 255], abs=1.5)


# exposure


def test_auto_exposure_by_hand():
    """A flat image goes to the mean; of two halves at 0.1 and 0.9 one goes to white, the other to 0.3 for 0.65."""
    np.testing.assert_allclose(exposure.auto_exposure(np.full((4, 4, 3), 0.1, np.float32), 0.44), 0.44, atol=1e-6)
    halves = np.array([[[0.1] * 3, [0.9] * 3]], np.float32)
    np.testing.assert_allclose(exposure.auto_exposure(halves, 0.65)[0, :, 0], [0.3, 1.0], atol=1e-6)


@pytest.mark.parametrize("mean", [0.2, 0.44, 0.7])
@pytest.mark.parametrize("dark", [0.02, 0.3, 1.0])
def test_auto_exposure_reaches_its_mean_after_clipping_with_one_gain_for_all_channels(mean, dark):
    image = np.clip(dark * np.random.default_rng(0).lognormal(-1, 1, (40, 50, 3)), 0, 1).astype(np.float32)
    output = exposure.auto_exposure(image, mean)
    assert output.dtype == np.float32 and output.max() <= 1
    assert output.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-5)
    inside = output < 0.999
    before, after = (
        np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        for code in (each[inside].astype(np.float64) for each in (image, output))
    )
    np.testing.assert_allclose(after / before, np.median(after / before), rtol=1e-4)


def test_auto_exposure_keeps_black_black_and_its_gain_within_ten_stops():
    assert exposure.auto_exposure(np.zeros((3, 3, 3), np.float32), 0.44).max() == 0
    dim = exposure.auto_exposure(np.full((2, 2, 3), 1e-5, np.float32), 0.44)  # would need 17.7 stops
    np.testing.assert_allclose(dim, 1024e-5, rtol=1e-5)  # on the straight part of the curve
    mostly_black = np.zeros((2, 2, 3), np.float32)
    mostly_black[0, 0] = 0.5  # a quarter of the image at white cannot have a mean of 0.44
    assert exposure.auto_exposure(mostly_black, 0.44).tolist() == (mostly_black * 2).tolist()


def test_a_shoulder_of_nothing_clips_and_a_whole_one_bends_by_hand():
    """Equation 3 of Reinhard et al.: an image of one level goes to the mean, whatever the curve; of two levels a stop
    apart with γ = 1, lin^-1(L/(1 + L)) and lin^-1(2L/(1 + 2L)) have the mean that is asked."""
    image = noise(20, 30, 3) * 0.2
    np.testing.assert_array_equal(
        exposure.auto_exposure_shoulder(image, 0.44, 0.0, 1.0), exposure.auto_exposure(image, 0.44)
    )
    levels = np.float32([0.02, 0.04])  # on the straight part of the curve: twice the value is a stop
    pair = np.repeat(levels[:, None, None], 3, axis=2)
    bent = exposure.auto_exposure_shoulder(pair, 0.44, 1.0, 1.0)[:, 0, 0].astype(np.float64)
    light = ((bent + 0.055) / 1.055) ** 2.4
    assert bent.mean() == pytest.approx(0.44, abs=1e-6)
    assert np.divide(*(light / (1 - light))[::-1]) == pytest.approx(2.0, rel=1e-3)


def test_the_exponent_comes_after_the_shoulder():
    flat = exposure.auto_exposure_shoulder(np.full((4, 4, 3), 0.1, np.float32), 0.44, 0.85, 1.1)
    np.testing.assert_allclose(flat, 0.44, atol=1e-6)
    bright = exposure.auto_exposure_shoulder(np.float32([[[0.001] * 3, [1.0] * 3]]), 0.4, 1.0, 2.0)
    assert bright.max() < 1  # nothing is white


def test_auto_exposure_of_an_already_good_image_changes_nothing():
    image = (0.44 + 0.2 * (noise(32, 32, 3) - 0.5)).astype(np.float32)
    image -= np.float32(image.mean() - 0.44)
    np.testing.assert_allclose(exposure.auto_exposure(image, 0.44), image, atol=1e-5)


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of photographs")
def test_auto_exposure_on_41_dark_photographs_of_sice():
    """21.71 dB was measured with another program on the pairs of SICE's mirror whose names have a 1."""
    values = []
    for dark in sorted((Path(MIRROR) / "data/sice/low").glob("*1*")):
        gt, lq = (np.asarray(Image.open(dark.parent.parent / kind / dark.name)) for kind in ("high", "low"))
        output = np.rint(exposure.auto_exposure(lq.astype(np.float32) / 255, 0.44).astype(np.float64) * 255)
        values.append(psnr(output / 255, gt / 255))
    assert len(values) == 41 and np.mean(values) == pytest.approx(21.71, abs=0.005)


# retinex


def test_msr_equals_its_equation():
    image, scales = scene(), [2.0, 5.0, 9.0]
    level = image[..., 1].astype(np.float64) * 255 + 1
    blurs = [ndimage.gaussian_filter(level, s, mode="reflect", truncate=8) for s in scales]
    expected = sum(np.log(level) - np.log(blur) for blur in blurs) / 3
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(retinex.msr(image, scales, 0.0)[..., 1], expected, atol=1e-5)


def test_msrcr_goes_through_the_steps_of_the_published_program():
    """IPOL 2014-107, MSR_original.cpp: levels plus one, log(125·x) − log(3·gray), then 1 % saturated at each end."""
    image, scales = scene(), [2.0, 5.0, 9.0]
    levels = image.astype(np.float64) * 255 + 1
    for channel in range(3):
        level = levels[..., channel]
        blurs = [ndimage.gaussian_filter(level, s, mode="reflect", truncate=8) for s in scales]
        value = sum((np.log(level) - np.log(blur)) / 3 for blur in blurs)
        value *= np.log(125 * level) - np.log(3 * levels.mean(axis=2))
        ordered, cut = np.sort(value, axis=None), int(value.size / 100)
        low, high = ordered[cut], ordered[-1 - cut]
        expected = np.clip((value - low) / (high - low), 0, 1)
        np.testing.assert_allclose(retinex.msrcr(image, scales, 0.01)[..., channel], expected, atol=1e-5)


@pytest.mark.parametrize(("beta", "gain", "offset"), [(46.0, 192.0, -30.0), (1.0, 30.0, 6.0)])
def test_the_stretch_undoes_the_constants_of_the_display(beta, gain, offset):
    """Jobson's β, gain and offset, and those of IPOL's program, are why msrcr needs none of them."""
    value = noise(16, 16, 1)[..., 0].astype(np.float64) - 0.5
    expected = primitives.stretch(value, 0.01, 0.01)
    np.testing.assert_allclose(primitives.stretch(gain * (beta * value + offset), 0.01, 0.01), expected, atol=1e-12)


def test_msrcp_keeps_the_ratios_of_the_channels():
    image = scene()
    output = retinex.msrcp(image, [15.0], 0.01)
    np.testing.assert_allclose(output[..., 0] * image[..., 1], output[..., 1] * image[..., 0], atol=1e-5)


@pytest.mark.parametrize("name", ["msr", "msrcr", "msrcp"])
def test_retinex_lifts_a_shaded_half_to_the_lit_one(name):
    texture = 0.3 + 0.4 * noise(32, 64, 1).repeat(3, axis=2)
    shaded = texture * np.where(np.arange(64) < 32, 0.1, 1.0)[None, :, None].astype(np.float32)
    output = getattr(retinex, name)(shaded, [5.0], 0.01)
    left, right = (output[:, part].mean() for part in (slice(0, 24), slice(40, 64)))
    assert left / right > 3 * shaded[:, :24].mean() / shaded[:, 40:].mean()


def test_lime_solves_its_linear_system():
    """The same system as a dense matrix, written pixel by pixel from equations 17–19."""
    image, alpha, gamma, sigma = 0.1 + 0.5 * noise(4, 5, 3), 0.15, 0.8, 2.0
    bright = image.max(axis=2).astype(np.float64)
    matrix = np.eye(20)
    for axis in (0, 1):
        gradient = np.diff(bright, axis=axis)
        smooth = np.abs(ndimage.gaussian_filter(gradient, sigma, mode="reflect", truncate=12))
        weight = alpha / ((smooth + 1e-3) * (np.abs(gradient) + 1e-3))
        for (y, x), w in np.ndenumerate(weight):
            p, q = y * 5 + x, (y + 1) * 5 + x if axis == 0 else y * 5 + x + 1
            matrix[p, p] += w
            matrix[q, q] += w
            matrix[p, q] -= w
            matrix[q, p] -= w
    light = np.linalg.solve(matrix, bright.ravel()).reshape(4, 5)
    expected = np.clip(image / light[..., None] ** gamma, 0, 1)
    np.testing.assert_allclose(retinex.lime(image, alpha, gamma, sigma, 1000), expected, atol=1e-5)


def test_lime_refuses_more_unknowns_than_its_limit():
    with pytest.raises(ItemError, match=r"100 unknowns and takes at most 99.*max_pixels"):
        retinex.lime(noise(10, 10, 3), 0.15, 0.8, 2.0, 99)


# colour


def test_gray_world_makes_the_means_equal():
    image = 0.2 + 0.3 * noise(8, 8, 3) * np.array([1, 0.5, 0.25], np.float32)
    means = colour.gray_world(image).mean(axis=(0, 1))
    np.testing.assert_allclose(means, image.mean(), rtol=1e-5)


def test_max_rgb_makes_the_maxima_equal():
    image = noise(8, 8, 3) * np.array([0.4, 0.8, 0.2], np.float32)
    np.testing.assert_allclose(colour.max_rgb(image, 100.0).max(axis=(0, 1)), image.max(), rtol=1e-5)


def test_shades_of_gray_with_norm_1_is_gray_world_and_with_a_large_norm_max_rgb():
    image = 0.2 + 0.3 * noise(8, 8, 3) * np.array([1, 0.8, 0.6], np.float32)
    np.testing.assert_allclose(colour.shades_of_gray(image, 1.0), colour.gray_world(image), atol=1e-6)
    maxima = colour.shades_of_gray(image, 100.0).max(axis=(0, 1))
    np.testing.assert_allclose(maxima, maxima.mean(), rtol=0.05)


def test_a_coloured_light_is_taken_out():
    image = scene()
    light = np.array([0.9, 0.7, 0.5], np.float32)
    tinted = colour.gray_world(image * light)
    ratio = tinted / np.maximum(colour.gray_world(image), 1e-6)
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)


def test_simplest_color_balance_by_hand():
    """Of 100 levels the lowest and highest 10 are saturated; 10…89 spread over [0,1]."""
    image = np.repeat((np.arange(100, dtype=np.float32) / 200).reshape(10, 10, 1), 3, axis=2)
    expected = np.clip((np.arange(100) - 10) / 79, 0, 1).reshape(10, 10)
    np.testing.assert_allclose(colour.simplest_color_balance(image, 0.1)[..., 2], expected, atol=1e-5)


# haze


def hazy(channels):
    """A scene whose dark channel over `channels` is zero in every patch, half veiled by white, beside a white sky."""
    clear = 0.2 + 0.7 * noise(60, 60, 3)
    clear[::3, ::3, channels] = 0
    clear[:25] = 1
    return clear, clear * 0.5 + 0.5


def test_the_dark_channel_prior_inverts_uniform_haze():
    clear, veiled = hazy([0, 1, 2])
    output = haze.dark_channel(veiled, patch=5, omega=1.0, floor=0.1, radius=0, epsilon=1e-8)
    np.testing.assert_allclose(output[35:], clear[35:], atol=1e-3)


def test_udcp_looks_at_green_and_blue_alone():
    """With no red at all, as under water, the dark channel of three sees no veil and that of two does."""
    _, veiled = hazy([1, 2])
    veiled[25:, :, 0] = 0
    arguments = {"patch": 5, "omega": 1.0, "floor": 0.1, "radius": 0, "epsilon": 1e-8}
    np.testing.assert_allclose(haze.dark_channel(veiled, **arguments)[35:], veiled[35:], atol=1e-5)
    clear = np.clip((veiled - 1) / 0.5 + 1, 0, 1)
    np.testing.assert_allclose(haze.udcp(veiled, **arguments)[35:, :, 1:], clear[35:, :, 1:], atol=1e-3)


# fusion


@pytest.mark.parametrize("size", [(48, 64), (33, 47), (9, 8)])
def test_fusing_an_image_with_itself_gives_the_image(size):
    image, share = noise(*size, 3).astype(np.float64), noise(*size, seed=1).astype(np.float64)
    np.testing.assert_allclose(fusion._fuse([image, image], [share, 1 - share]), image, atol=1e-9)


def test_underwater_fusion_of_a_flat_image_by_hand():
    """Equation 4: 0.1 + (0.5 − 0.1)·(1 − 0.1)·0.5 = 0.28 of red; gray-world then makes all three their mean."""
    flat = np.broadcast_to(np.array([0.1, 0.5, 0.4], np.float32), (16, 16, 3))
    output = fusion.underwater_fusion(flat, red=1.0, gamma=1.0, sigma=3.0)
    np.testing.assert_allclose(output, (0.28 + 0.5 + 0.4) / 3, atol=1e-6)


def test_the_sharpening_is_half_the_image_and_half_its_detail_stretched_by_one_factor():
    image = scene().astype(np.float64)
    detail = image - ndimage.gaussian_filter(image, (2.0, 2.0, 0), mode="reflect", truncate=8)
    expected = (image + (detail - detail.min()) / np.ptp(detail)) / 2
    np.testing.assert_allclose(fusion._sharpened(image, 2.0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("msrcr", {"scales": [15.0, 80.0, 250.0], "clip": 0.01}),  # MSR_original.cpp's -L -M -H and -l -R
        ("udcp", {"patch": 15, "floor": 0.1}),  # the demo of the authors' MATLAB code
        ("dark-channel", {"patch": 15, "omega": 0.95, "floor": 0.1}),  # He et al., sections 3 and 4
        ("underwater-fusion", {"red": 1.0}),  # α of equation 4
    ],
)
def test_published_constants_are_the_defaults(name, published):
    options = registry("method").get(name).fields["options"]
    assert {key: options[key]["default"] for key in published} == published


def test_underwater_fusion_brings_red_back():
    under = scene() * np.array([0.2, 0.9, 0.8], np.float32)
    output = fusion.underwater_fusion(under, red=1.0, gamma=1.2, sigma=3.0)
    share = lambda image: image[..., 0].mean() / image.mean()  # noqa: E731
    assert share(output) > 2 * share(under)


# filters


def test_unsharp_equals_its_equation_on_every_row():
    """scikit-image 0.26 filters three rows only when the channel axis is given as −1."""
    image = 0.3 + 0.3 * scene()
    blurred = ndimage.gaussian_filter(image.astype(np.float64), (1.5, 1.5, 0), mode="reflect", truncate=4)
    expected = np.clip(image + 0.7 * (image - blurred), 0, 1)
    np.testing.assert_allclose(filters.unsharp(image, 1.5, 0.7), expected, atol=1e-5)


def test_median_by_hand():
    image = np.zeros((5, 5, 3), np.float32)
    image[2, 2] = 1
    assert filters.median(image, 3).max() == 0
    image[2, 1:4] = image[1, 2] = image[3, 2] = 1
    assert filters.median(image, 3)[2, 2].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("name", "gain"), [("nlm", 2.0), ("bilateral", 2.0), ("tv", 2.0), ("median", 0.5)])
def test_denoisers_remove_noise(name, gain):
    clean = scene()
    noisy = np.clip(clean + 0.04 * np.random.default_rng(0).standard_normal(clean.shape), 0, 1).astype(np.float32)
    options = {"strength": 8.0} if name == "nlm" else {"sigma_color": 0.2} if name == "bilateral" else {}
    output = method(name, **options).restore(torch.from_numpy(noisy).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert psnr(output, clean) > psnr(noisy, clean) + gain


@pytest.mark.parametrize(("name", "options"), [("wiener", {"balance": 1e-4}), ("richardson-lucy", {"iterations": 30})])
def test_deconvolution_undoes_part_of_a_known_blur(name, options):
    sharp = scene(64, 64)
    blurred = ndimage.gaussian_filter(sharp, (1.5, 1.5, 0), mode="reflect", truncate=3).astype(np.float32)
    images = torch.from_numpy(blurred).permute(2, 0, 1)[None]
    output = method(name, sigma=1.5, **options).restore(images)[0].permute(1, 2, 0).numpy()
    assert psnr(output, sharp) > psnr(blurred, sharp) + 2

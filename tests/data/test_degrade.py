"""Each degradation against its formula and its stated ranges; its parts against other libraries."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from bench.data import degrade as d

SCENE = d.Scene(0.5, 0.5, 0.3, 0.3)


def draws(kind: type, count: int = 400) -> list:
    return [kind.draw(d.generator(kind.__name__, str(number))) for number in range(count)]  # type: ignore[attr-defined]


def spread(values: list[float], limits: tuple[float, float]) -> None:
    """All inside, and reaching close to both ends."""
    low, high = limits
    assert low <= min(values) and max(values) <= high
    assert min(values) < low + 0.1 * (high - low) and max(values) > high - 0.1 * (high - low)


@pytest.mark.parametrize("kind", [d.LowLight, d.Backlit])
def test_parameters_cover_their_stated_ranges(kind: type) -> None:
    found = draws(kind)
    for name, limits in kind.RANGES.items():  # type: ignore[attr-defined]
        spread([getattr(params, name) for params in found], limits)


def test_real_world_parameters_cover_their_stated_ranges() -> None:
    found = draws(d.RealWorld)
    for name in ("angle", "ratio", "noise", "quality"):
        spread([getattr(params, name) for params in found], d.RealWorld.RANGES[name])
    spread([params.sigma_x for params in found] + [params.sigma_y for params in found], d.RealWorld.RANGES["sigma"])
    isotropic = np.mean([params.sigma_x == params.sigma_y for params in found])
    assert 0.4 < isotropic < 0.6
    assert {type(params.quality) for params in found} == {int}


def test_underwater_parameters_stay_in_their_ranges_and_shrink_in_murky_water() -> None:
    found = draws(d.Underwater)
    assert {params.water for params in found} == set(d.Underwater.WATERS)
    clear = [params for params in found if d.JERLOV[params.water][1] >= 0.9]
    for name, limits in d.Underwater.RANGES.items():
        spread([getattr(params, name) for params in clear], limits)
    murky = [params for params in found if params.water == "5"]
    assert max(params.far for params in murky) < 0.5 * max(params.far for params in clear)
    assert all(params.near < params.far for params in found)


def test_seeds_depend_on_the_words_alone() -> None:
    assert d.generator("a", "b").random() == d.generator("a", "b").random()
    assert d.generator("a", "b").random() != d.generator("b", "a").random()


def test_srgb_curve_is_that_of_the_standard() -> None:
    # IEC 61966-2-1: 0.5 of the code range is 0.21404 of the light; the curve's two pieces meet at 0.04045.
    assert d.to_linear(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.2140411, 1.0], abs=1e-6)
    assert d.to_linear(np.array([0.04045])) == pytest.approx([0.04045 / 12.92])
    codes = np.arange(256) / 255
    assert d.to_srgb(d.to_linear(codes)) == pytest.approx(codes, abs=1e-12)


def test_low_light_scales_linear_light_by_the_exposure() -> None:
    image = np.full((32, 32, 3), 0.8)
    dark = d.low_light(image, d.generator("x"), d.LowLight(exposure=0.1, shot=0.0, read=0.0, gamma=1.0))
    assert d.to_linear(dark) == pytest.approx(0.1 * d.to_linear(image))


def test_low_light_noise_has_the_variance_of_the_poisson_gaussian_model() -> None:
    image = np.full((300, 300, 3), 0.9)
    params = d.LowLight(exposure=0.15, shot=4e-4, read=1e-3, gamma=1.0)
    light = d.to_linear(d.low_light(image, d.generator("x"), params))
    mean = 0.15 * d.to_linear(np.array([0.9]))[0]
    assert light.mean() == pytest.approx(mean, rel=1e-3)
    assert light.var() == pytest.approx(4e-4 * mean + 1e-6, rel=0.02)


def test_real_world_noise_and_blur_act_before_jpeg_at_the_small_size() -> None:
    flat = np.full((240, 240, 3), 0.5)
    params = d.RealWorld(1.0, 1.0, 0.0, ratio=1.0, noise=8.0, quality=100)
    out = d.real_world(flat, d.generator("x"), params)
    # JPEG halves the resolution of chroma, so the noise is told from luma: Var = σ²·Σ wᵢ² for independent channels.
    weights = np.array([0.299, 0.587, 0.114])
    assert (out @ weights).std() * 255 == pytest.approx(8 * np.sqrt((weights**2).sum()), rel=0.05)


def test_real_world_blur_removes_detail_and_keeps_the_mean() -> None:
    checks = np.kron(np.indices((60, 60)).sum(0) % 2, np.ones((4, 4)))[:, :, None].repeat(3, 2) * 0.6 + 0.2
    params = d.RealWorld(2.5, 2.5, 0.0, ratio=2.0, noise=0.0, quality=90)
    out = d.real_world(checks, d.generator("x"), params)
    assert out.shape == checks.shape
    assert out.mean() == pytest.approx(checks.mean(), abs=0.01)
    assert out.std() < 0.4 * checks.std()


def test_jpeg_quality_matters() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    errors = [np.abs(d.jpeg(pixels, quality).astype(int) - pixels).mean() for quality in (40, 70, 95)]
    assert errors[0] > errors[1] > errors[2]


def test_under_water_a_white_card_fades_to_the_veiling_light() -> None:
    white = np.ones((40, 40, 3))
    near = d.Underwater("II", near=0.0, far=0.0, depth=0.0, veil=0.4)
    assert d.underwater(white, d.generator("x"), near) == pytest.approx(1.0)
    away = d.Underwater("II", near=1e3, far=1e3, depth=2.0, veil=0.4)
    beta = -np.log([0.800, 0.925, 0.940])
    veil = 0.4 * np.array([0.800, 0.925, 0.940]) ** 2 * beta.min() / beta
    out = d.underwater(white, d.generator("x"), away)
    assert d.to_linear(out[0, 0]) == pytest.approx(veil)
    assert veil[0] < veil[1] < veil[2]  # blue water


def test_under_water_the_direct_part_follows_beer_and_lambert() -> None:
    params = d.Underwater("III", near=3.0, far=3.0, depth=0.0, veil=0.0)
    out = d.to_linear(d.underwater(np.full((40, 40, 3), 1.0), d.generator("x"), params))
    assert out[20, 20] == pytest.approx(np.array([0.75, 0.885, 0.89]) ** 3)


def test_under_water_the_far_top_is_hazier_than_the_near_bottom() -> None:
    params = d.Underwater("II", near=1.0, far=9.0, depth=2.0, veil=0.4)
    stripes = np.tile((np.arange(120) // 6 % 2)[None, :, None], (120, 1, 3)) * 1.0
    out = d.underwater(stripes, d.generator("x"), params)
    red = d.to_linear(out)[:, :, 0]
    assert red[:20].std() < 0.5 * red[-20:].std()


def test_backlit_darkens_the_subject_and_not_the_background() -> None:
    image = np.full((200, 200, 3), 0.5)
    params = d.Backlit(shade=0.1, glare=1.2, noise=0.0)
    light = d.to_linear(d.backlit(image, d.generator("x"), params, SCENE)) / d.to_linear(image)
    assert light[100, 100, 0] == pytest.approx(0.1, rel=0.2)
    assert light[[2, 2, -3, -3], [2, -3, 2, -3], 0] == pytest.approx([1.2] * 4, rel=0.05)


def test_the_subjects_mask_follows_an_edge_of_the_photograph() -> None:
    image = np.full((200, 200, 3), 0.9)
    image[45:155, 45:155] = 0.2  # a square inside and around the ellipse
    mask = d.subject_mask(image, d.generator("x"), SCENE)
    plain = d.subject_mask(np.full_like(image, 0.5), d.generator("x"), SCENE)

    def step(mask: np.ndarray) -> float:
        return float(np.abs(mask[80:120, 43] - mask[80:120, 47]).mean())

    assert mask.min() >= 0 and mask.max() <= 1
    assert step(mask) > 3 * step(plain)


@pytest.mark.parametrize("sigma", [1.5, 5.0])
def test_blur_is_a_gaussian_filter_mirrored_at_the_borders(sigma: float) -> None:
    image = np.random.default_rng(0).random((50, 61, 3))
    other = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="reflect", truncate=8)
    assert np.abs(d.blur(image, sigma, sigma, 0.3) - other).max() < 1e-4


def test_narrow_blur_is_the_gaussian_of_the_frequency_domain() -> None:
    # Below one pixel a sampled Gaussian is another filter; the continuous one is SciPy's fourier_gaussian.
    image = np.random.default_rng(0).random((50, 61))
    mirrored = np.block([[image, image[:, ::-1]], [image[::-1], image[::-1, ::-1]]])
    other = np.fft.ifft2(ndimage.fourier_gaussian(np.fft.fft2(mirrored), 0.6)).real[:50, :61]
    found = d.blur(image[:, :, None], 0.6, 0.6, 0.0)[:, :, 0]
    # Its tail rings beyond the four sigmas that are mirrored here, so only the inside can agree closely.
    assert np.abs(found - other)[8:-8, 8:-8].max() < 2e-3


def test_blur_turns_with_its_angle() -> None:
    point = np.zeros((41, 41, 1))
    point[20, 20] = 1
    wide, tall = d.blur(point, 4, 1, 0.0)[:, :, 0], d.blur(point, 4, 1, np.pi / 2)[:, :, 0]
    rows, columns = np.indices((41, 41)) - 20
    assert (wide * columns**2).sum() == pytest.approx(16, rel=0.02) and (wide * rows**2).sum() == pytest.approx(
        1, rel=0.02
    )
    assert tall == pytest.approx(wide.T, abs=1e-12)
    slanted = d.blur(point, 4, 1, np.pi / 4)[:, :, 0]
    assert (slanted * rows * columns).sum() == pytest.approx(7.5, rel=0.02)  # (16 − 1) / 2


@pytest.mark.parametrize("size", [(17, 23), (80, 31), (40, 40), (1, 1)])
def test_resize_is_opencvs_bilinear(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((40, 53, 3))
    other = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    assert d.resize(image, *size) == pytest.approx(other, abs=1e-6)


def test_smooth_noise_spans_and_varies_slowly() -> None:
    noise = d.smooth_noise(d.generator("x"), 90, 120, cells=3)
    assert noise.shape == (90, 120) and 0 <= noise.min() < noise.max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 0.1


def test_quantise_rounds_and_clips() -> None:
    values = np.array([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0, 1.7])
    assert d.quantise(values).tolist() == [0, 0, 0, 1, 128, 255, 255]


@pytest.mark.parametrize("kind", d.KINDS)
@pytest.mark.parametrize("shape", [(16, 16, 3), (17, 31, 3), (64, 40, 3)])
def test_every_kind_keeps_shape_and_is_finite_and_repeatable(kind: str, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(1).random(shape)
    before = image.copy()
    first = d.degrade(kind, image, d.generator("a"), SCENE)
    assert first.shape == shape and np.isfinite(first).all()
    np.testing.assert_array_equal(first, d.degrade(kind, image, d.generator("a"), SCENE))
    np.testing.assert_array_equal(image, before)

"""The face degradation: what it draws lies in the stated ranges, and what it draws is what the image suffers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.training.degrade import Chain, Face, FaceParams, degradation
from iqpir.training.degrade.base import jpeg
from iqpir.training.degrade.face import gaussian_kernel

CLEAN = FaceParams(sigma_x=0.05, sigma_y=0.05, angle=0.0, ratio=1.0, noise=0.0, quality=100.0)
"""Draws nothing worth speaking of."""


def draws(face: Face, side: int = 512, count: int = 4000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    records = [face.draw(rng, side) for _ in range(count)]
    return {name: np.array([getattr(record, name) for record in records]) for name in FaceParams._fields}


def uniform_within(values: np.ndarray, low: float, high: float) -> bool:
    """Within the range, and near it at the ends and in the mean (five standard errors)."""
    margin = 5 * (high - low) / np.sqrt(12 * len(values))
    near = (high - low) * 8 / len(values)
    return bool(
        low <= values.min() < low + near
        and high - near < values.max() <= high
        and abs(values.mean() - (low + high) / 2) < margin
    )


@pytest.mark.parametrize(
    ("name", "sigma", "ratio", "noise", "quality"),
    [
        ("face", (1, 15), (4, 30), (0, 20), (30, 80)),
        ("face-paper", (1, 15), (1, 30), (0, 20), (30, 90)),
        ("face-small", (0.1, 10), (1, 12), (0, 15), (60, 100)),
    ],
)
def test_numbers_are_uniform_in_the_ranges_of_their_source(name, sigma, ratio, noise, quality):
    face = degradation(name)
    drawn = draws(face)
    assert uniform_within(drawn["sigma_x"], *sigma)
    assert uniform_within(drawn["sigma_y"], *sigma)
    assert uniform_within(drawn["ratio"], *ratio)
    assert uniform_within(drawn["noise"], *noise)
    turned = drawn["sigma_x"] != drawn["sigma_y"]
    assert abs(turned.mean() - 0.5) < 0.04  # five standard errors
    assert uniform_within(drawn["angle"][turned], -np.pi, np.pi)
    assert not drawn["angle"][~turned].any()
    if name == "face":
        whole = drawn["quality"]
        assert set(whole) == set(range(30, 80))  # the upper end is left out, as randint leaves it
        counts = np.bincount(whole.astype(int))[30:80]
        assert np.square(counts - 80).sum() / 80 < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
    else:
        assert uniform_within(drawn["quality"], *quality)


def test_smaller_images_keep_the_share_of_detail_and_larger_factors_than_one():
    drawn = draws(Face(), side=64)
    assert uniform_within(drawn["sigma_x"], 1 / 8, 15 / 8)
    assert drawn["ratio"].min() == 1
    assert 3.7 < drawn["ratio"].max() <= 30 / 8
    plain = draws(Face(native=None), side=64)
    assert uniform_within(plain["ratio"], 4, 30)


def test_the_noise_measured_on_a_flat_image_is_the_noise_drawn():
    flat = np.full((256, 256, 3), 0.5, dtype=np.float32)
    for noise in (6.0, 12.0, 20.0):
        # Quality 100 keeps luminance; 4:2:0 averages four pixels of the colours, so luminance is what is measured.
        noisy = Face(native=None).apply(flat, CLEAN._replace(noise=noise), np.random.default_rng(1))
        luma = noisy @ np.array([0.299, 0.587, 0.114])
        expected = noise * np.sqrt(0.299**2 + 0.587**2 + 0.114**2)
        assert luma.std() * 255 == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("ratio", [2.0, 4.0, 7.3, 30.0])
def test_detail_beyond_the_downsampling_factor_is_gone(ratio):
    rng = np.random.default_rng(2)
    image = rng.random((512, 512, 3), dtype=np.float32)
    out = Face().apply(image, CLEAN._replace(ratio=ratio), rng)
    # Bilinear enlargement is piecewise linear: second differences are zero but for the knots, and rounding of 8 bits
    # has gone into the small image. So the knots can be counted: one each 512/int(512/ratio) pixels.
    bends = np.abs(np.diff(out[:, :, 1].mean(axis=0), n=2)) > 1e-5
    knots = int(512 // ratio)
    starts = np.flatnonzero(bends[1:] & ~bends[:-1])
    if ratio >= 4:
        assert len(starts) == pytest.approx(knots, abs=2)
    else:
        assert bends.mean() > 0.9


def test_an_isotropic_blur_has_the_variance_drawn_and_an_anisotropic_one_its_direction():
    dot = np.zeros((101, 101, 3), dtype=np.float32)
    dot[50, 50] = 1
    at = np.arange(101) - 50
    # JPEG would swamp the tail of a dot, so it is the kernel itself that is measured here.
    kernel = gaussian_kernel(101, 3.0, 3.0, 0.0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert (kernel.sum(axis=0) * at**2).sum() == pytest.approx(9, rel=0.01)
    turned = gaussian_kernel(101, 6.0, 2.0, np.pi / 6)
    rows, columns = np.mgrid[-50:51, -50:51]
    moments = np.array([[(turned * columns**2).sum(), (turned * columns * rows).sum()], [0, (turned * rows**2).sum()]])
    moments[1, 0] = moments[0, 1]
    values, axes = np.linalg.eigh(moments)
    assert np.sqrt(values) == pytest.approx([2, 6], rel=0.01)
    assert np.arctan2(axes[1, 1], axes[0, 1]) % np.pi == pytest.approx(np.pi / 6, abs=0.01)


def test_the_authors_kernel_is_41_pixels_wide_at_512():
    step = np.zeros((512, 512, 3), dtype=np.float32)
    step[:, 256:] = 1
    out = Face().apply(step, CLEAN._replace(sigma_x=15.0, sigma_y=15.0), np.random.default_rng(0))[256, :, 1]
    # Columns 256 − 20 … 255 + 20 see both sides; the others are as they were.
    assert out[:236].max() < 0.005
    assert out[276:].min() > 0.995
    assert 0.005 < out[238] < 0.1


def test_jpeg_is_that_of_the_quality_drawn():
    from PIL import Image

    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.random((64, 64, 3), dtype=np.float32), (0, 0), 1.5)
    import io

    errors = []
    for quality in (30, 60, 90):
        buffer = io.BytesIO()
        Image.fromarray((image * 255 + 0.5).astype(np.uint8)).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        other = np.asarray(Image.open(buffer)).astype(np.float32) / 255
        ours = jpeg(image, quality + 0.9)  # the whole part counts
        assert np.abs(ours - other).mean() < 0.004, "another encoder of the same quality"
        errors.append(float(np.abs(ours - image).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_the_result_is_eight_bits_and_depends_on_seed_alone():
    image = torch.rand(3, 96, 80, generator=torch.Generator().manual_seed(0))
    face = degradation("photo")
    first = face(image, np.random.default_rng([7, 1]))
    again = face(image, np.random.default_rng([7, 1]))
    other = face(image, np.random.default_rng([7, 2]))
    assert first.image.shape == image.shape
    assert first.image.dtype == torch.float32
    assert torch.equal(first.image * 255, (first.image * 255).round())
    assert torch.equal(first.image, again.image)
    assert first.params == again.params
    assert first.params != other.params
    assert not torch.equal(first.image, other.image)


def test_settings_name_ranges_and_say_what_is_wrong():
    face = degradation({"kind": "face", "downsample": [2, 3], "native": None})
    assert face == Face(downsample=(2, 3), native=None)
    both = degradation(["face-colour", {"kind": "face"}])
    assert isinstance(both, Chain)
    record = both(torch.rand(3, 32, 32), np.random.default_rng(0)).params
    assert len(record) == 2
    with pytest.raises(IQPIRError, match="did you mean 'face'"):
        degradation("fase")
    with pytest.raises(IQPIRError, match="did you mean 'downsample'"):
        degradation({"kind": "face", "downsampel": [1, 2]})
    with pytest.raises(IQPIRError, match="noise is"):
        degradation({"kind": "face", "noise": [20, 0]})
    with pytest.raises(IQPIRError, match="quality is"):
        degradation({"kind": "photo", "quality": [0, 200]})
    with pytest.raises(IQPIRError, match="sigma is"):
        degradation({"kind": "photo", "sigma": "big"})

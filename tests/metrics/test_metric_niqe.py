"""NIQE: MATLAB's and BasicSR's published values, LIVE's definition written as loops, and what has no value.

The signs of flat areas are calibrated on the images of TID2013 (see `nss`), so those images prove the rest of NIQE;
I04, which has no flat area, and the baboon were not part of that.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.io import savemat
from scipy.special import gamma
from support.live import (
    MIRROR,
    as_tensor,
    asymmetric,
    golden,
    gray,
    halved,
    needs_mirror,
    normalised,
    photograph,
    released,
    shifted,
    value,
)

from bench.errors import BenchError, ItemError, MissingFile
from bench.fetch.assets import Asset
from bench.metrics.niqe import Niqe, block_features
from bench.metrics.primitives import basicsr
from bench.metrics.scorer import Scorer
from bench.metrics.view import View


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "live"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BENCH_HOME", str(folder))
    return folder


@pytest.fixture
def made(home):
    """NIQE with parameters of one's own."""

    def make(mean: np.ndarray, covariance: np.ndarray, **options: str) -> Niqe:
        path = home / "weights" / "modelparameters.mat"
        path.parent.mkdir(exist_ok=True)
        savemat(path, {"mu_prisparam": mean.reshape(1, -1), "cov_prisparam": covariance})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Niqe(files=(Asset("niqe", "weights/modelparameters.mat", None, digest),), **options)

    return make


def loops(image: np.ndarray) -> np.ndarray:
    """Features of each 96×96 block, rows of blocks first, straight from the paper and the release."""
    rows, columns = (size // 96 for size in image.shape)
    image = image[: rows * 96, : columns * 96]
    scales = []
    for block in (96, 48):
        field = normalised(image, "nearest")
        scale = []
        for row in range(rows):
            for column in range(columns):
                part = field[row * block : (row + 1) * block, column * block : (column + 1) * block]
                features = []
                for shift in (None, (0, 1), (1, 0), (1, 1), (1, -1)):
                    alpha, left, right = asymmetric(part if shift is None else shifted(part, shift))
                    wide = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
                    left, right = left * wide, right * wide
                    if shift is None:
                        features += [alpha, (left + right) / 2]
                    else:
                        features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
                scale.append(features)
        scales.append(scale)
        image = halved(image)
    return np.concatenate(scales, axis=1)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width)).astype(float)


@needs_mirror
@pytest.mark.parametrize("options, image, expected", golden("niqe"))
def test_it_gives_matlabs_value_of_lives_release(options, image, expected):
    flat = image in ("tid2013/I03.bmp", "tid2013/I19.bmp")  # thousands of pixels where x − μ is rounding, not all flat
    found = value(released("niqe", **options), photograph(image))
    assert found == pytest.approx(expected, rel=3e-4 if flat else 1e-9 if image.startswith("tid2013") else 2e-7)


@needs_mirror
@pytest.mark.parametrize("options, image, expected", golden("niqe-basicsr"))
def test_it_gives_basicsrs_value(options, image, expected):
    # The published value of the baboon is older: other libraries add in another order.
    found = value(released("niqe-basicsr", **options), photograph(image))
    assert found == pytest.approx(expected, rel=1e-6 if "baboon" in image else 2e-8)


def dark_scene(brightest: int) -> np.ndarray:
    """Levels [192,288] of smooth light with a grain of one level."""
    y, x = np.mgrid[:192, :288]
    light = 2 + np.sin(x * x / 900 + y / 7) + np.cos(y * y / 700 - x / 11)
    grain = np.random.RandomState(brightest).standard_normal((192, 288))
    return np.clip(np.rint(light * brightest / 4 + grain), 0, 255)


@pytest.mark.parametrize(
    "brightest, expected",
    # niqe(levels, zeros, identity, window) of BasicSR 1.4.2's niqe.py on PyTorch 2.15 and NumPy 2.4.
    [(6, 6.234208934309664), (16, 4.598235689088642), (40, 3.7418981236616182)],
)
def test_it_gives_basicsrs_value_of_a_dark_scene(made, brightest, expected):
    metric = made(np.zeros(36), np.eye(36), variant="basicsr")
    assert value(metric, gray(dark_scene(brightest))) == pytest.approx(expected, rel=1e-9)


def test_an_image_is_halved_as_basicsr_halves_it_to_the_last_bit():
    halved_by_basicsr = "cbd8f4ad3e08e982b137fc38b57c46bd53574be35cd790d405cdfa0bb10df61b"
    found = basicsr.halved(dark_scene(16).astype(np.float32))
    assert hashlib.sha256(found.tobytes()).hexdigest() == halved_by_basicsr


@needs_mirror
def test_basicsrs_parameter_file_holds_lives_numbers():
    from pathlib import Path

    with np.load(Path(str(MIRROR)) / "weights/niqe/niqe_pris_params.npz") as theirs:
        model = released("niqe").model()
        np.testing.assert_array_equal(theirs["mu_pris_param"].ravel(), model.mean)
        np.testing.assert_array_equal(theirs["cov_pris_param"], model.covariance)


@pytest.mark.parametrize("height, width", [(96, 192), (201, 300)])
def test_features_of_blocks_are_the_definition_written_as_loops(height, width):
    image = noise(height, width)
    image[: height // 2] //= 5
    np.testing.assert_allclose(block_features(image), loops(image), rtol=1e-9, atol=1e-9)


def test_features_in_float32_are_the_same_but_for_its_rounding():
    image = noise(200, 210)
    np.testing.assert_allclose(block_features(image, single=True), block_features(image), atol=2e-3)


def test_the_value_is_the_distance_of_two_gaussians(made, pair):
    features = loops(np.rint(pair.reference[..., 1].astype(float)))
    mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
    image = gray(pair.reference[..., 1])
    assert value(made(mean, np.eye(36)), image) == pytest.approx(0, abs=1e-6)
    away = np.random.default_rng(0).normal(size=36)
    expected = np.sqrt(away @ np.linalg.solve((np.eye(36) + covariance) / 2, away))
    assert value(made(mean + away, np.eye(36)), image) == pytest.approx(expected, rel=1e-8)


def test_a_block_without_texture_counts_for_defined_means_only(made):
    image = np.hstack([noise(96, 192), np.full((96, 192), 140.0)])  # the last block sees no noise
    features = block_features(image)
    assert np.isnan(features).any(axis=1).tolist() == [False, False, False, True] and features[3, 0] == 0.2
    metric = made(np.nanmean(features, axis=0), np.eye(36))
    assert value(metric, gray(image)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_image_is_refused_with_the_reason(made, level):
    with pytest.raises(ItemError, match="fewer than two of the image's 96×96 blocks have any texture"):
        value(made(np.zeros(36), np.eye(36)), gray(np.full((200, 200), level)))


@pytest.mark.parametrize("height, width", [(95, 500), (191, 191), (1, 1)])
def test_a_smaller_image_is_refused_with_the_smallest_size(made, height, width):
    with pytest.raises(ItemError, match=f"two blocks of 96×96 .192×96 pixels., the view is {width}×{height}"):
        value(made(np.zeros(36), np.eye(36)), gray(noise(height, width)))


def test_sixteen_bits_are_rounded_to_eight(made, pair):
    metric = made(np.zeros(36), np.eye(36))
    scorer = Scorer([metric], "cpu")
    deep = pair.restored.astype(np.uint16) * 257 + 50
    assert scorer.score(deep, None)[0].value == scorer.score(pair.restored, None)[0].value


def test_gray_and_variant_change_value_and_signature_and_crop_is_the_views(made, pair):
    mean = np.zeros(36)
    plain = made(mean, np.eye(36))
    for options in ({"gray": "y"}, {"gray": "cv2"}, {"variant": "basicsr"}):
        other = made(mean, np.eye(36), **options)
        assert value(other, pair.restored) != value(plain, pair.restored)
        assert str(other.signature()) != str(plain.signature())
    cropped = made(mean, np.eye(36), view=View(crop=3))
    inner = value(plain, np.ascontiguousarray(pair.restored[3:-3, 3:-3]))
    assert Scorer([cropped], "cpu").score(pair.restored, None)[0].value == inner
    assert str(plain.signature()).startswith("niqe|space:rgb|range:u8|crop:0|gray:matlab|block:96|resize:matlab|")


def test_threads_and_batches_do_not_change_a_bit(made, pair):
    import cv2
    import torch

    metric = made(np.zeros(36), np.eye(36))
    threads, others = torch.get_num_threads(), cv2.getNumThreads()
    image = as_tensor(pair.reference)
    values = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            cv2.setNumThreads(count)
            values += metric.score(torch.cat([image, image]), None).tolist()
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(others)
    assert len(set(values)) == 1


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(BenchError, match="variant 'basicsrr' is not one of live, basicsr; did you mean 'basicsr'"):
        Niqe(variant="basicsrr")
    with pytest.raises(BenchError, match="gray 'matlb'"):
        Niqe(gray="matlb")


def test_a_file_of_other_contents_is_refused(home, made):
    metric = made(np.zeros(36), np.eye(36))
    path = home / "weights" / "modelparameters.mat"
    path.write_bytes(b"MATLAB 5.0 but not really")
    with pytest.raises(BenchError, match="not the pinned"):
        metric.load("cpu")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BenchError, match="does not hold NIQE's parameters"):
        Niqe(files=(Asset("niqe", "weights/modelparameters.mat", None, digest),)).load("cpu")
    savemat(path, {"mu_prisparam": np.zeros(35), "cov_prisparam": np.eye(36)})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(BenchError, match="does not hold NIQE's parameters"):
        Niqe(files=(Asset("niqe", "weights/modelparameters.mat", None, digest),)).load("cpu")
    path.unlink()
    with pytest.raises(MissingFile, match="bench fetch niqe"):
        metric.load("cpu")

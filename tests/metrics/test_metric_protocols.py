"""Protocols: what each promises, and the values that the papers' own code gave."""

from __future__ import annotations

import csv
import functools
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol
from bench.registry import registry

GOLDEN = Path(__file__).parents[1] / "golden" / "psnr_ssim.csv"
MIRROR = os.environ.get("BENCH_TEST_MIRROR")

PROTOCOLS = {
    ("basicsr", "rgb_crop0"): "basicsr/rgb",
    ("basicsr", "rgb_crop4"): "basicsr/rgb-crop4",
    ("basicsr", "y_crop0"): "basicsr/y",
    ("basicsr", "y_crop4"): "basicsr/y-crop4",
    ("hvi-cidnet", "gtmean"): "hvi-cidnet/lol-v1",
    ("hvi-cidnet", "no_gtmean"): "hvi-cidnet/lol-v2",
    ("retinexformer", "no_gtmean"): "retinexformer/lol",
    ("retinexformer", "gtmean"): "retinexformer/lol-gtmean",
    ("rave", "gray_swapped"): "rave/baid",
    ("rave", "gray_swapped_range_of_enhanced"): "rave/baid",
    ("skimage", "rgb_uint8"): "skimage/rgb",
    ("skimage", "default_uniform7_channel_axis"): "skimage/rgb",
    ("skimage", "gaussian_sigma1.5_channel_axis"): "recommended/rgb",
}
# HVI-CIDNet's script computes PSNR in float32, whose steps at 16 dB are 2e-6.
TOLERANCE = {("psnr", "hvi-cidnet"): 4e-6}
ROWS = [row for row in csv.DictReader(GOLDEN.open()) if row["metric"] in ("psnr", "ssim")]


def metric(name: str, rules: str):
    return build_metric(registry("metric").get(name), {}, protocol(rules))


def value(name: str, rules: str, restored: np.ndarray, reference: np.ndarray) -> float:
    built = metric(name, rules)
    tensors = (
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / 255.0)[None]
        for image in (restored, reference)
    )
    return float(built.score(*built.view.apply(*tensors)))


@functools.cache
def euvp(name: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(Path(MIRROR or "") / "data" / "euvp" / name).convert("RGB"))


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:4]).replace("/", ":"))
def test_a_verified_protocol_gives_the_values_of_the_papers_own_code(row):
    rules = PROTOCOLS[row["protocol"], row["variant"]]
    assert protocol(rules).verified
    tolerance = TOLERANCE.get((row["metric"], row["protocol"]), 1e-6)
    ours = value(row["metric"], rules, euvp(row["restored"]), euvp(row["reference"]))
    assert ours == pytest.approx(float(row["value"]), abs=tolerance)


def test_every_verified_protocol_is_proved_by_a_value_or_by_the_library_it_names():
    proved = {*PROTOCOLS.values(), "recommended/y", "pyiqa/default"}  # y: the pixels and fields of basicsr/y
    assert {entry.name for entry in registry("protocol") if entry.fields.get("verified")} == proved


def test_recommended_y_is_basicsrs_y():
    for name in ("psnr", "ssim"):
        assert metric(name, "recommended/y").signature() == metric(name, "basicsr/y").signature()


def test_rave_is_its_script_line_by_line(pair):
    gray = [cv2.cvtColor(np.ascontiguousarray(image[:, :, ::-1]), cv2.COLOR_RGB2GRAY) for image in pair]
    assert value("psnr", "rave/baid", *pair) == pytest.approx(peak_signal_noise_ratio(gray[1], gray[0]), abs=1e-9)
    span = float(gray[0].max()) - float(gray[0].min())
    expected = structural_similarity(gray[1], gray[0], data_range=span)
    assert value("ssim", "rave/baid", *pair) == pytest.approx(expected, abs=1e-9)


def test_hvi_cidnet_on_lol_v1_scales_to_the_mean_gray_and_stays_float(pair):
    gray = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() for image in pair]
    scaled = np.clip(pair.restored * (gray[1] / gray[0]), 0, 255)
    expected = 10 * np.log10(255**2 / np.mean((scaled - pair.reference) ** 2))
    assert value("psnr", "hvi-cidnet/lol-v1", *pair) == pytest.approx(expected, abs=1e-9)


# pyiqa computes most in float32: seven digits for PSNR; VIF divides by small differences; and for PIQE the thousandth
# of all colours whose luma lies between two levels.
@pytest.mark.parametrize("name, tolerance", [
    ("psnr", 3e-7), ("ssim", 1e-6), ("ms-ssim", 1e-6), ("gmsd", 1e-6), ("fsim", 1e-6), ("vif", 2e-4), ("piqe", 1e-4),
])  # fmt: skip
def test_pyiqa_default_is_what_pyiqa_gives(pair, name, tolerance):
    import pyiqa

    tensors = [torch.from_numpy(image.transpose(2, 0, 1).copy()).float().div(255)[None] for image in pair]
    theirs = pyiqa.create_metric(name.replace("-", "_"), device="cpu")
    expected = float(theirs(*tensors[: 2 if theirs.metric_mode == "FR" else 1]))
    assert value(name, "pyiqa/default", *pair) == pytest.approx(expected, rel=tolerance)


def test_no_protocol_is_the_recommended_rgb():
    assert protocol().name == "recommended/rgb"


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(BenchError, match="did you mean 'basicsr/y-crop4'"):
        protocol("basicsr/y-crop")


def test_every_protocol_has_a_source_and_builds_psnr_and_ssim():
    for entry in registry("protocol"):
        assert protocol(entry.name).source
        for name in ("psnr", "ssim"):
            metric(name, entry.name)


def test_an_unverified_protocol_says_so_in_every_signature():
    rules = {"view": {"space": "rgb", "unverified": True}, "metrics": {}}
    for name in ("psnr", "ssim", "piqe"):
        assert "proto:unverified" in str(build_metric(registry("metric").get(name), {}, rules).signature())


def test_a_protocol_without_a_proof_is_unverified(monkeypatch):
    from bench.metrics import protocols
    from bench.registry import Entry

    class Known:
        def get(self, name):
            return Entry(name, "protocol", {"view": {"crop": 2}, "source": "somebody's script"}, "here:1")

    monkeypatch.setattr(protocols, "registry", lambda kind: Known())
    assert protocols.protocol("x").view == {"crop": 2, "unverified": True}


def test_a_float_protocol_asks_for_unrounded_outputs():
    assert protocol("retinexformer/lol").quantise == "none"
    assert protocol("hvi-cidnet/lol-v1").quantise == "round"

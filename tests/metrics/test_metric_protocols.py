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
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol

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
    return np.asarray(Image.open(Path(MIRROR or "") / "data" / "euvp" / name).convert("RGB"))


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(list(row.values())[:4]).replace("/", ":"))
def test_a_verified_protocol_gives_the_values_of_the_papers_own_code(row):
    rules = PROTOCOLS[row["protocol"], row["variant"]]
    assert protocol(rules).verified
    tolerance = TOLERANCE.get((row["metric"], row["protocol"]), 1e-6)
    ours = value(row["metric"], rules, euvp(row["restored"]), euvp(row["reference"]))
    assert ours == pytest.approx(float(row["value"]), abs=tolerance)


LINE_BY_LINE = {"gsad/lol", "mirnet/lol", "snr/lol", "nu2net/uieb", "puie/uieb", "funie/euvp", "agenticir/mio100"}
"""Proved by tests below that go through the script with other libraries."""

SAME = {
    "recommended/y": "basicsr/y",
    "onerestore/cdd11": "skimage/rgb",
    **dict.fromkeys(["cue/lol", "faces/basicsr", "restoreformer/faces", "daefr/faces"], "basicsr/rgb"),
    **{f"recommended/{task}": "basicsr/rgb" for task in ("faces", "low-light", "underwater", "backlit", "detection")},
}
"""Proved because their PSNR and SSIM are, field by field, those of a proved one."""


def test_every_verified_protocol_is_proved_by_a_value_or_line_by_line():
    proved = {*PROTOCOLS.values(), "pyiqa/default", *LINE_BY_LINE, *SAME}
    assert {entry.name for entry in registry("protocol") if entry.fields.get("verified")} == proved


@pytest.mark.parametrize("rules, proved", SAME.items())
def test_these_protocols_have_the_signatures_of_a_proved_one(rules, proved):
    for name in ("psnr", "ssim"):
        assert metric(name, rules).signature() == metric(name, proved).signature()


def test_agenticirs_protocol_is_pyiqas_and_enlarges_a_quarter(pair):
    """Pillow's cubic is MATLAB's where nothing is beyond a border: so of an image that is mirrored there already."""
    assert value("psnr", "agenticir/mio100", *pair) == value("psnr", "pyiqa/default", *pair)
    assert value("ssim", "agenticir/mio100", *pair) == value("ssim", "pyiqa/default", *pair)
    height, width = (size // 4 for size in pair[1].shape[:2])
    whole = np.ascontiguousarray(pair[1][: 4 * height, : 4 * width])
    small = np.ascontiguousarray(pair[0][:height, :width])
    mirrored = np.pad(small, ((8, 8), (8, 8), (0, 0)), mode="symmetric").astype(np.float32)
    planes = [Image.fromarray(np.ascontiguousarray(mirrored[:, :, each])) for each in range(3)]
    cubic = [np.asarray(each.resize((4 * width + 64, 4 * height + 64), Image.Resampling.BICUBIC)) for each in planes]
    shown = np.stack(cubic, axis=2)[32:-32, 32:-32].clip(0, 255) / 255
    expected = 10 * np.log10(1 / (np.mean((shown - whole / 255) ** 2) + 1e-8))
    assert value("psnr", "agenticir/mio100", small, whole) == pytest.approx(expected, abs=1e-5)


def test_rars_protocol_is_pyiqas_on_squeezed_images(pair):
    """Both sides through Pillow's bilinear to 256×256, which torchvision's Resize is, then pyiqa's PSNR of floats."""
    shown = [np.asarray(Image.fromarray(image).resize((256, 256), Image.Resampling.BILINEAR)) / 255 for image in pair]
    expected = 10 * np.log10(1 / (np.mean((shown[0] - shown[1]) ** 2) + 1e-8))
    assert value("psnr", "rar/256", *pair) == pytest.approx(expected, abs=1e-9)
    assert "fit:pil-bilinear@256x256" in str(metric("ssim", "rar/256").signature())


def floats(name: str, rules: str, restored: torch.Tensor, reference: torch.Tensor) -> float:
    built = metric(name, rules)
    return float(built.score(*built.view.apply(restored, reference)))


def test_gsad_is_its_script_line_by_line(pair):
    restored, reference = (image[:, :, ::-1] / 255.0 for image in pair)  # OpenCV's order
    gray = [cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2GRAY).mean() for image in (restored, reference)]
    assert gray[0] < 0.9 * gray[1]
    shown = (np.clip(restored * (gray[1] / gray[0]), 0, 1) * 255).astype(np.uint8)
    truth = (reference * 255).astype(np.uint8)
    # Float32 means move the ratio by 1e-7, and with it the few pixels that lie on a level.
    expected = 20 * np.log10(255 / np.sqrt(np.mean((shown.astype(float) - truth) ** 2)))
    assert value("psnr", "gsad/lol", *pair) == pytest.approx(expected, abs=1e-4)
    rounded = np.rint(np.clip(restored * (gray[1] / gray[0]), 0, 1) * 255)
    assert abs(20 * np.log10(255 / np.sqrt(np.mean((rounded - truth) ** 2))) - expected) > 1e-3
    expected = structural_similarity(shown, truth, channel_axis=-1)
    assert value("ssim", "gsad/lol", *pair) == pytest.approx(expected, abs=1e-5)


def test_gsads_lpips_sees_red_and_blue_exchanged_and_says_that_nothing_proves_it(pair):
    signature = str(metric("lpips", "gsad/lol").signature())
    assert "|space:bgr|range:truncate|" in signature and "|proto:unverified|" in signature
    assert "proto" not in str(metric("psnr", "gsad/lol").signature())


def test_mirnet_is_its_script_line_by_line(pair):
    restored, reference = (tensor.clone() for tensor in pair.tensors())
    restored = (restored * 0.97 + 0.011).clamp(0, 1)  # between levels
    arrays = [image[0].numpy().astype(np.float32) for image in (reference, restored)]
    expected = peak_signal_noise_ratio(*arrays, data_range=1.0)
    assert floats("psnr", "mirnet/lol", restored, reference) == pytest.approx(expected, abs=1e-5)
    assert "|proto:unverified|" in str(metric("ssim", "mirnet/lol").signature())


def test_snr_is_its_script_line_by_line(pair):
    restored, reference = pair.tensors()
    restored = (restored * 0.97 + 0.011).clamp(0, 1)
    shown = (restored[0].numpy() * 255).round().astype(np.uint8).astype(np.float64)
    mse = np.mean((shown - np.rint(reference[0].numpy() * 255)) ** 2)
    assert floats("psnr", "snr/lol", restored, reference) == pytest.approx(20 * np.log10(255 / np.sqrt(mse)), abs=1e-9)


def test_snrs_training_loader_brings_both_images_to_608_by_400(pair):
    shown, truth = (cv2.resize(image, (608, 400)) for image in pair)
    expected = peak_signal_noise_ratio(truth, shown)
    assert value("psnr", "snr/lol-v2-real-608x400", *pair) == pytest.approx(expected, abs=1e-9)


def test_nu2net_is_its_script_line_by_line(pair):
    restored, reference = pair.tensors()
    small = restored[..., :192, :208] * 0.97 + 0.011  # multiples of 16, between levels
    upsampled = torch.nn.UpsamplingBilinear2d(reference.shape[-2:])(small)
    ours, theirs = (image[0].permute(1, 2, 0).numpy() for image in (upsampled, reference))
    expected = peak_signal_noise_ratio(theirs, ours, data_range=1)  # what it took for floats of no negative value
    assert floats("psnr", "nu2net/uieb", small, reference) == pytest.approx(expected, abs=1e-9)
    inflated, right = (structural_similarity(theirs, ours, channel_axis=-1, data_range=span) for span in (2, 1))
    assert floats("ssim", "nu2net/uieb", small, reference) == pytest.approx(inflated, abs=1e-9)
    assert inflated > right + 0.01


def test_puie_is_its_script_line_by_line(pair):
    small = np.ascontiguousarray(pair.restored[:192, :208])
    resized = cv2.resize(small, pair.reference.shape[1::-1])
    for name, theirs in (
        ("psnr", peak_signal_noise_ratio(resized, pair.reference)),
        ("ssim", structural_similarity(resized, pair.reference, channel_axis=-1)),
    ):
        assert value(name, "puie/uieb", small, pair.reference) == pytest.approx(theirs, abs=1e-9)


def test_funie_is_its_script_line_by_line(pair):
    images = [Image.fromarray(image).resize((256, 256), Image.Resampling.BICUBIC) for image in pair]
    gray = [np.asarray(ImageOps.grayscale(image), dtype=np.float64) for image in images]
    expected = 20 * np.log10(255 / np.sqrt(np.mean((gray[0] - gray[1]) ** 2)))
    assert value("psnr", "funie/euvp", *pair) == pytest.approx(expected, abs=1e-9)
    channels = []
    for channel in range(3):
        x, y = (np.asarray(image)[..., channel].astype(np.float64) for image in images)
        mean_x, mean_y, xx, yy, xy = (gaussian_filter(plane, 1.5) for plane in (x, y, x * x, y * y, x * y))
        spread = 25 / 24 * (xx - mean_x**2 + yy - mean_y**2)
        shared = 25 / 24 * (xy - mean_x * mean_y)
        top = (2 * mean_x * mean_y + 2.55**2) * (2 * shared + 7.65**2)
        channels.append((top / ((mean_x**2 + mean_y**2 + 2.55**2) * (spread + 7.65**2))).mean())
    assert value("ssim", "funie/euvp", *pair) == pytest.approx(np.mean(channels), abs=1e-9)


def test_the_scripts_of_faces_hand_bgr_to_lpips_and_read_niqe_on_luma():
    for rules in ("restoreformer/faces", "daefr/faces"):
        signature = str(metric("lpips-vgg", rules).signature())
        assert "|space:bgr|" in signature and "|proto:unverified|" in signature
    assert metric("niqe", "daefr/faces").signature() == metric("niqe-basicsr", "recommended/rgb").signature()
    assert "|ref:ffhq-70k@" in str(metric("fid", "vqfr/faces").signature())


def test_every_protocol_has_a_title_a_description_and_a_task_of_its_own():
    described: dict[str, str] = {}
    for entry in registry("protocol"):
        found = protocol(entry.name)
        assert found.description and "\n" not in found.description.strip(), entry.name
        assert entry.fields["title"] and found.source
        assert described.setdefault(found.description, entry.name) == entry.name
    for task in ("faces", "low-light", "underwater", "backlit", "detection"):
        assert protocol(f"recommended/{task}").verified
        assert registry("protocol").get(f"recommended/{task}").fields["task"] == task


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
        for name in ("psnr", "ssim", *(entry.fields.get("metrics") or {})):
            metric(name, entry.name)


def test_an_unverified_protocol_says_so_in_every_signature():
    rules = {"view": {"space": "rgb", "unverified": True}, "metrics": {}}
    for name in ("psnr", "ssim", "piqe"):
        assert "proto:unverified" in str(build_metric(registry("metric").get(name), {}, rules).signature())


def test_a_protocol_without_a_proof_is_unverified(monkeypatch):
    from bench.catalog.registry import Entry
    from bench.metrics import protocols

    class Known:
        def get(self, name):
            return Entry(name, "protocol", {"view": {"crop": 2}, "source": "somebody's script"}, "here:1")

    monkeypatch.setattr(protocols, "registry", lambda kind: Known())
    assert protocols.protocol("x").view == {"crop": 2, "unverified": True}


def test_a_float_protocol_asks_for_unrounded_outputs():
    assert protocol("retinexformer/lol").quantise == "none"
    assert protocol("hvi-cidnet/lol-v1").quantise == "round"
    assert protocol("kind/lol").quantise == "truncate"

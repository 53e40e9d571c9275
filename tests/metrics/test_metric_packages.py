"""CIEDE2000, LOE, and metrics that packages bring: against published tables, the authors' loops, and the packages."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.catalog.registry import registry
from bench.errors import ItemError
from bench.metrics.build import build_metric
from bench.metrics.loe import Loe

# L, a, b of two colours and ΔE00, of Sharma, Wu and Dalal (2005), table 1: rows 1, 4, 7, 10, 14, 17, 20, 25, 29 and 34.
SHARMA = [
    ((50.0000, 2.6772, -79.7751), (50.0000, 0.0000, -82.7485), 2.0425),
    ((50.0000, -1.3802, -84.2814), (50.0000, 0.0000, -82.7485), 1.0000),
    ((50.0000, 0.0000, 0.0000), (50.0000, -1.0000, 2.0000), 2.3669),
    ((50.0000, 2.4900, -0.0010), (50.0000, -2.4900, 0.0010), 7.1792),
    ((50.0000, -0.0010, 2.4900), (50.0000, 0.0010, -2.4900), 4.8045),
    ((50.0000, 2.5000, 0.0000), (73.0000, 25.0000, -18.0000), 27.1492),
    ((50.0000, 2.5000, 0.0000), (58.0000, 24.0000, 15.0000), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def value(name: str, restored: np.ndarray, reference: np.ndarray) -> float:
    metric = build_metric(registry("metric").get(name), {}, {})
    metric.load("cpu")
    tensors = (torch.from_numpy(image.transpose(2, 0, 1)[None] / 255.0) for image in (restored, reference))
    return float(metric.score(*metric.view.apply(*tensors, eight_bit=True)))


def delta_e(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """ΔE00 written down from CIE 142-2001, for one pair of colours."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    bar = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    grow = 0.5 * (1 - math.sqrt(bar**7 / (bar**7 + 25**7)))
    a1, a2 = (1 + grow) * a1, (1 + grow) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if c1 * c2 == 0 else (h2 - h1 + 180) % 360 - 180
    if c1 * c2 and abs(abs(h2 - h1) - 180) < 1e-9:
        turn = h2 - h1
    lightness, chroma, hue = l2 - l1, c2 - c1, 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    middle_l, middle_c = (l1 + l2) / 2, (c1 + c2) / 2
    middle_h = h1 + h2 if c1 * c2 == 0 else (h1 + h2) / 2
    if c1 * c2 and abs(h1 - h2) > 180:
        middle_h += 180 if h1 + h2 < 360 else -180
    parts = ((0.17, 1, -30), (-0.24, 2, 0), (-0.32, 3, 6), (0.20, 4, -63))
    t = 1 - sum(weight * math.cos(math.radians(times * middle_h + shift)) for weight, times, shift in parts)
    sl = 1 + 0.015 * (middle_l - 50) ** 2 / math.sqrt(20 + (middle_l - 50) ** 2)
    sc, sh = 1 + 0.045 * middle_c, 1 + 0.015 * middle_c * t
    rotate = -2 * math.sqrt(middle_c**7 / (middle_c**7 + 25**7))
    rotate *= math.sin(math.radians(60 * math.exp(-(((middle_h - 275) / 25) ** 2))))
    terms = lightness / sl, chroma / sc, hue / sh
    return math.sqrt(sum(term**2 for term in terms) + rotate * terms[1] * terms[2])


def lab(level: np.ndarray) -> tuple[float, ...]:
    """An 8-bit sRGB colour in CIELAB under D65, from IEC 61966-2-1."""
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in level / 255]
    matrix = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
    white = (0.95047, 1.0, 1.08883)
    xyz = [sum(a * b for a, b in zip(row, linear, strict=True)) / w for row, w in zip(matrix, white, strict=True)]
    x, y, z = (each ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_the_formula_gives_the_published_pairs(first, second, expected):
    from skimage.color import deltaE_ciede2000

    assert delta_e(first, second) == pytest.approx(expected, abs=5e-5)
    assert float(deltaE_ciede2000(np.array(first), np.array(second))) == pytest.approx(expected, abs=5e-5)


def test_ciede2000_is_the_mean_over_pixels_of_the_formula():
    draw = np.random.default_rng(4)
    ours, theirs = (draw.integers(0, 256, (5, 6, 3), dtype=np.uint8) for _ in range(2))
    pairs = zip(ours.reshape(-1, 3), theirs.reshape(-1, 3), strict=True)
    expected = np.mean([delta_e(lab(first), lab(second)) for first, second in pairs])
    assert value("ciede2000", ours, theirs) == pytest.approx(expected, rel=1e-4)
    assert value("ciede2000", ours, ours) == 0


def authors_loe(enhanced: np.ndarray, original: np.ndarray) -> float:
    """The loops of the authors' LOE.m, word for word in Python: two uint8 [H,W,3]."""
    height, width = original.shape[:2]
    reach, sampled = 7, []
    step = min(height, width) // 50
    for image in (original, enhanced):
        lightness = np.pad(image.astype(float).max(axis=2), reach, mode="reflect")
        brightest = np.empty((height, width))
        for i in range(height):
            for j in range(width):
                brightest[i, j] = lightness[i : i + 2 * reach + 1, j : j + 2 * reach + 1].max()
        rows, columns = height // step, width // step
        sampled.append(
            [[brightest[(i + 1) * step - 1, (j + 1) * step - 1] for j in range(columns)] for i in range(rows)]
        )
    first, second = map(np.array, sampled)
    counts = [np.sum((first >= a) != (second >= b)) for a, b in zip(first.ravel(), second.ravel(), strict=True)]
    return float(np.mean(counts))


@pytest.mark.parametrize("size", [(50, 61), (103, 100), (101, 157)])
def test_loe_is_the_authors_loops(pair, size):
    restored, reference = (np.ascontiguousarray(image[: size[0], : size[1]]) for image in pair)
    assert value("loe", restored, reference) == pytest.approx(authors_loe(restored, reference), rel=1e-12)


def test_an_order_that_is_kept_has_no_error_and_small_images_are_refused(pair):
    reference = np.ascontiguousarray(pair[1])
    assert value("loe", reference // 2 * 2, reference // 2 * 2) == 0
    assert value("loe", 255 - reference, reference) > 1000
    small = torch.zeros(1, 3, 49, 80, dtype=torch.float64)
    with pytest.raises(ItemError, match="50×50"):
        Loe().score(small, small)


@pytest.fixture
def files(pair, tmp_path: Path) -> tuple[str, str]:
    """(restored, reference) as PNG files."""
    for name, image in zip(("restored.png", "reference.png"), pair, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    return str(tmp_path / "restored.png"), str(tmp_path / "reference.png")


def test_flip_is_what_its_authors_code_says_of_the_files(pair, files):
    import flip_evaluator

    _, expected, _ = flip_evaluator.evaluate(files[1], files[0], "LDR")
    assert 0.05 < expected < 1 and value("flip", *pair) == pytest.approx(float(expected), rel=1e-6)
    assert value("flip", pair[1], pair[1]) == pytest.approx(0, abs=1e-9)


def test_ssimulacra2_is_what_its_package_says_of_the_files(pair, files):
    from ssimulacra2 import compute_ssimulacra2

    expected = compute_ssimulacra2(files[1], files[0])
    assert expected < 50 and value("ssimulacra2", *pair) == pytest.approx(expected, rel=1e-9)
    assert value("ssimulacra2", pair[1], pair[1]) == pytest.approx(100, abs=1e-6)


def ffmpeg(files: tuple[str, str], graph: str, folder: Path) -> str:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", files[0], "-i", files[1], "-lavfi", graph]
    done = subprocess.run([*command, "-f", "null", "-"], cwd=folder, capture_output=True, text=True, check=True)
    return done.stderr


@pytest.mark.parametrize(("name", "model"), [("vmaf", "vmaf_v0.6.1"), ("vmaf-neg", "vmaf_v0.6.1neg")])
def test_vmaf_is_what_libvmaf_says_of_the_files(pair, files, tmp_path: Path, name: str, model: str):
    both = "[0:v]format=yuv444p[a];[1:v]format=yuv444p[b];[a][b]"
    said = ffmpeg(files, f"{both}libvmaf=model=version={model}:log_fmt=json:log_path=out.json", tmp_path)
    expected = json.loads((tmp_path / "out.json").read_text())["frames"][0]["metrics"]["vmaf"]
    assert f"VMAF score: {expected:.4f}"[:14] in said
    assert value(name, *pair) == pytest.approx(expected, abs=1e-4)
    assert value(name, pair[1], pair[1]) > 90 > expected


def test_xpsnr_is_what_ffmpeg_says_of_the_files(pair, files, tmp_path: Path):
    said = ffmpeg(files, "[0:v]format=yuv444p[a];[1:v]format=yuv444p[b];[a][b]xpsnr", tmp_path)
    expected = float(said.split("XPSNR  y: ")[1].split()[0])
    assert value("xpsnr", *pair) == pytest.approx(expected, abs=1e-3)
    assert value("xpsnr", pair[1], pair[1]) == math.inf

"""UCIQE: the values of the scripts it follows, loops over pixels, hand calculations, and what must not change a bit."""

from __future__ import annotations

import csv
import functools
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import color
from support.underwater_loops import PAPER, fastest, peers, weighted

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics.build import build_metric
from bench.metrics.primitives import uciqe_terms
from bench.metrics.protocols import protocol
from bench.metrics.scorer import Scorer
from bench.metrics.uciqe import VARIANTS, Uciqe
from bench.metrics.view import View

GOLDEN = Path(__file__).parents[1] / "golden" / "underwater.csv"
MIRROR = os.environ.get("BENCH_TEST_MIRROR")
ROWS = [row for row in csv.DictReader(GOLDEN.open()) if row["metric"].startswith("uciqe")]
NAMES = [f"uciqe-{variant}" for variant in VARIANTS]
# ADPCC's script averages in float32, whose last digit depends on the order of the sum.
TOLERANCE = {"uciqe-adpcc": 3e-7, "uciqe-adpcc-unit": 3e-7}


def built(name: str, **options: object) -> Uciqe:
    metric = build_metric(registry("metric").get(name), options, protocol())
    assert isinstance(metric, Uciqe)
    return metric


def as_tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]) / 255.0)


def value(name: str, image: np.ndarray) -> float:
    return float(built(name).score(as_tensor(image), None))


@functools.cache
def euvp(name: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(Path(MIRROR or "") / "data" / "euvp" / name).convert("RGB"))


@pytest.fixture(scope="module")
def coloured() -> np.ndarray:
    """A photograph without gray pixels, of odd size."""
    from skimage import data

    image = data.chelsea()[40:151, 80:203].astype(int)
    return np.ascontiguousarray(np.clip(image * [0.5, 0.7, 0.8] + [9, 55, 47], 0, 255).astype(np.uint8))


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}-{row['image'].replace('/', ':')}")
def test_it_gives_the_values_and_terms_of_the_script_it_follows(row):
    metric, image = built(row["metric"]), euvp(row["image"])
    tolerance = TOLERANCE.get(row["metric"], 1e-12)
    terms = [float(row[f"term{number}"] or "nan") for number in (1, 2, 3)]
    if row["term1"]:
        assert metric.parts(image) == pytest.approx(terms, rel=tolerance, nan_ok=True)
    if math.isfinite(float(row["value"])):
        assert float(metric.score(as_tensor(image), None)) == pytest.approx(float(row["value"]), rel=tolerance)
    else:
        with pytest.raises(ItemError, match="divides by chroma, which is 0 at a gray or black pixel: terms inf"):
            metric.score(as_tensor(image), None)


def test_every_variant_but_adpccs_is_proved_by_finite_values():
    proved = {row["metric"] for row in ROWS if math.isfinite(float(row["value"]))}
    assert proved == set(NAMES) - {"uciqe-adpcc"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "uciqe-adpcc"])
def test_it_equals_loops_over_pixels(coloured, name):
    tolerance = TOLERANCE.get(name, 1e-12)
    assert value(name, coloured) == pytest.approx(peers(coloured)[name](), rel=tolerance)


def test_raw_lab_is_scikit_images_lab(coloured):
    expected = np.moveaxis(color.rgb2lab(coloured), 2, 0)
    assert np.abs(np.array(uciqe_terms._cielab(coloured)) - expected).max() < 1e-12


def test_a_gray_image_by_hand():
    # 8-bit Lab of gray 128 is L = 53.585 % of 255 = 137, a = b = 128; one colour has no contrast and no spread,
    # but for the root of a rounding error.
    gray = np.full((20, 20, 3), 128, np.uint8)
    assert value("uciqe", gray) == pytest.approx(0.2576 * math.hypot(128, 128) / math.hypot(128, 128, 137), abs=1e-7)
    assert value("uciqe-hsv-fky", gray) == 0
    assert value("uciqe-raw-lab", gray) == pytest.approx(0, abs=0.01)


def test_black_beside_white_has_the_whole_contrast_and_no_colour():
    half = np.zeros((20, 20, 3), np.uint8)
    half[:10] = 255
    assert built("uciqe-hsv-fky").parts(half) == (0, 1, 0)
    assert value("uciqe-hsv-fky", half) == pytest.approx(0.6, abs=1e-12)
    assert built("uciqe-raw-lab").parts(half).contrast == pytest.approx(100, abs=1e-3)


def test_hue_spread_by_hand():
    # Half red (hue 0), half green (120°, stored as 60): standard deviation 30 of 180. Taken for BGR, red is blue (120).
    image = np.zeros((20, 20, 3), np.uint8)
    image[:10, :, 0] = 255
    image[10:, :, 1] = 255
    assert built("uciqe-hsv-szu-rgb").parts(image) == pytest.approx((30 / 180, 0, 1))
    assert value("uciqe-hsv-szu-rgb", image) == pytest.approx(0.468 / 6 + 0.2575)


def test_the_hsv_scripts_exchange_red_and_blue(coloured):
    exchanged = np.ascontiguousarray(coloured[:, :, ::-1])
    for name in ("uciqe-hsv-fky", "uciqe-hsv-szu"):
        assert value(name, coloured) == value(f"{name}-rgb", exchanged) != value(f"{name}-rgb", coloured)


@pytest.mark.parametrize("name", ["uciqe-jou-uip", "uciqe-adpcc-unit", "uciqe-raw-lab"])
def test_the_order_of_channels_matters_and_the_place_of_pixels_does_not(coloured, name):
    assert value(name, np.ascontiguousarray(coloured[:, :, [1, 2, 0]])) != pytest.approx(
        value(name, coloured), rel=1e-3
    )
    mirrored = np.ascontiguousarray(coloured[:, ::-1].transpose(1, 0, 2))
    assert value(name, mirrored) == pytest.approx(value(name, coloured), rel=TOLERANCE.get(name, 1e-12))


@pytest.mark.parametrize("name", ["uciqe-jou-uip", "uciqe-hsv-szu-rgb", "uciqe-raw-lab"])
def test_fading_to_gray_gives_less(coloured, name):
    faded = [np.rint(128 + (coloured - 128.0) * keep).astype(np.uint8) for keep in (1, 0.7, 0.4, 0.1)]
    values = [value(name, image) for image in faded]
    assert values == sorted(values, reverse=True)


def test_one_black_pixel_makes_adpccs_undefined_and_the_reason_says_so(coloured):
    spoilt = coloured.copy()
    spoilt[3, 4] = 0
    assert math.isfinite(value("uciqe-adpcc-unit", coloured))
    parts = built("uciqe-adpcc-unit").parts(spoilt)
    assert parts.chroma == math.inf and math.isfinite(parts.contrast) and math.isnan(parts.saturation)
    [outcome] = Scorer([built("uciqe-adpcc-unit")], "cpu").score(spoilt, None)
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "divides by chroma, which is 0 at a gray or black pixel" in outcome.reason


@pytest.mark.parametrize(
    "name, too_small, enough", [("uciqe-hsv-fky", (9, 11), (10, 10)), ("uciqe-raw-lab", (5, 10), (3, 17))]
)
def test_an_image_without_a_percent_of_pixels_is_an_item_error(coloured, name, too_small, enough):
    with pytest.raises(ItemError, match=f"pixels or more, the view is {too_small[1]}×{too_small[0]}"):
        value(name, coloured[: too_small[0], : too_small[1]])
    assert math.isfinite(value(name, coloured[: enough[0], : enough[1]]))


def test_the_percent_points_are_those_of_the_histogram_of_all_pixels():
    random = np.random.default_rng(0)
    for size in (1, 2, 50, 99, 100, 101, 1000, 3333):
        for plane in (random.integers(0, 256, (1, size), dtype=np.uint8), random.random((1, size), dtype=np.float32)):
            counts = np.histogram(plane / 255, 65536)[0]
            share = counts.cumsum() / size
            expected = (np.argmax(share >= 0.99) - np.argmax(share > 0.01)) / 65535
            assert uciqe_terms._binned_contrast(plane) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "adpcc"])
def test_a_value_has_the_same_bits_in_every_batch_and_with_every_number_of_threads(coloured, variant):
    metric, single = Uciqe(variant=variant), as_tensor(coloured)
    other = np.ascontiguousarray(coloured[::-1, ::-1, [0, 2, 1]])
    before = cv2.getNumThreads(), torch.get_num_threads()
    values = set()
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            torch.set_num_threads(threads)
            values.add(float(metric.score(single, None)))
            values.add(float(metric.score(as_tensor(other, coloured), None)[1]))
            values.add(float(metric.score(single.transpose(2, 3).contiguous().transpose(2, 3), None)))
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
    assert len(values) == 1


def test_floats_are_scored_as_the_8_bit_levels_they_round_to(coloured):
    metric = built("uciqe")
    floats = coloured / 255.0 + 0.4 / 255 * (coloured < 255)
    outcomes = [Scorer([metric], "cpu").score(image, None)[0].value for image in (coloured, floats)]
    assert outcomes[0] == outcomes[1]


def test_a_protocol_of_floats_gives_way_to_levels_and_the_signature_says_so():
    metric = build_metric(registry("metric").get("uciqe"), {}, protocol("retinexformer/lol"))
    assert str(metric.signature()) == "uciqe|variant:jou-uip|space:rgb|range:u8|crop:0|v:1"
    with pytest.raises(BenchError, match="8-bit levels"):
        Uciqe(View(rounding="none"))


def test_uciqe_means_the_jou_uip_variant_and_every_rival_has_its_own_name_and_signature():
    assert built("uciqe").signature() == built("uciqe-jou-uip").signature() == Uciqe().signature()
    assert len({str(built(name).signature()) for name in NAMES}) == len(VARIANTS)
    for name in [*NAMES, "uciqe"]:
        entry = registry("metric").get(name)
        assert (entry.fields["mode"], entry.fields["better"], entry.fields["licence"]) == ("NR", "higher", "Apache-2.0")
        assert entry.fields["source"] and entry.fields["description"]


def test_a_view_that_is_no_rgb_does_not_reach_it():
    assert "space:rgb" in str(build_metric(registry("metric").get("uciqe"), {}, protocol("basicsr/y")).signature())
    with pytest.raises(ItemError, match="3 channels"):
        Uciqe().score(torch.zeros(1, 1, 20, 20, dtype=torch.float64), None)


def test_an_unknown_variant_names_the_nearest():
    with pytest.raises(BenchError, match="did you mean 'jou-uip'"):
        Uciqe(variant="jou_uip")


def test_weights_are_the_papers_to_four_digits():
    assert VARIANTS["jou-uip"].weights == PAPER
    assert weighted(PAPER, (1, 1, 1)) == pytest.approx(1.0001)


@pytest.mark.speed
def test_hsv_is_far_faster_than_a_search_for_each_extreme_pixel():
    from skimage import data

    image = np.ascontiguousarray(data.chelsea()[:256, :256])
    metric, tensor = Uciqe(variant="hsv-fky"), as_tensor(image)
    slow, fast = fastest([peers(image)["uciqe-hsv-fky"], lambda: metric.score(tensor, None)], 2)
    assert slow / fast > 50, f"{slow / fast:.0f}×"

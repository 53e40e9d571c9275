"""UIQM: the values of the scripts it follows, loops over pixels and blocks, hand calculations, and undefined images."""

from __future__ import annotations

import csv
import dataclasses
import functools
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import color, filters
from support.underwater_loops import fastest, peers, uiqm_funie

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.metrics import uiqm_xueleichen
from bench.metrics.build import build_metric
from bench.metrics.primitives import uiqm_terms
from bench.metrics.protocols import protocol
from bench.metrics.scorer import Scorer
from bench.metrics.uiqm import VARIANTS, Uiqm
from bench.metrics.view import View

GOLDEN = Path(__file__).parents[1] / "golden" / "underwater.csv"
MIRROR = os.environ.get("BENCH_TEST_MIRROR")
ROWS = [row for row in csv.DictReader(GOLDEN.open()) if row["metric"].startswith("uiqm")]
NAMES = ["uiqm-funie", "uiqm-funie-256", "uiqm-xueleichen", "uiqm-xueleichen-nowrap"]


def built(name: str, **options: object) -> Uiqm:
    metric = build_metric(registry("metric").get(name), options, protocol())
    assert isinstance(metric, Uiqm)
    return metric


def as_tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]) / 255.0)


def value(metric: Uiqm, image: np.ndarray) -> float:
    return float(metric.score(as_tensor(image), None))


@functools.cache
def euvp(name: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(Path(MIRROR or "") / "data" / "euvp" / name).convert("RGB"))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """8-bit RGB, of a size that neither block divides."""
    from skimage import data

    return np.ascontiguousarray(data.chelsea()[40:147, 80:195])


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['metric']}{row['sums']}-{row['image'].replace('/', ':')}")
def test_it_gives_the_values_and_terms_of_the_script_it_follows(row):
    metric, image = built(row["metric"], sums=row["sums"] or "float64"), euvp(row["image"])
    # The oldest digits of the float32 sums: a loop of 65536 additions against pairwise ones.
    assert value(metric, image) == pytest.approx(float(row["value"]), rel=1e-11)
    for ours, number in zip(metric.parts(image), (1, 2, 3), strict=True):
        if row[f"term{number}"]:
            assert ours == pytest.approx(float(row[f"term{number}"]), rel=1e-11)


def test_every_variant_is_proved():
    assert {row["metric"] for row in ROWS} == set(NAMES)


@pytest.mark.parametrize("name", ["uiqm-funie", "uiqm-xueleichen", "uiqm-xueleichen-nowrap"])
def test_it_equals_loops_over_pixels_and_blocks(photo, name):
    assert value(built(name), photo) == pytest.approx(peers(photo)[name](), rel=1e-11)


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="NumPy 1 sums float32 scalars in float64")
def test_float32_sums_are_what_numpy_2_makes_of_the_loops(photo):
    expected = uiqm_funie(photo, single=True)
    assert value(Uiqm(sums="float32"), photo) == pytest.approx(expected, rel=1e-11)
    assert expected != pytest.approx(value(Uiqm(), photo), rel=1e-11)


def test_size_is_pillows_bicubic_before_everything(photo):
    from PIL import Image

    resized = np.asarray(Image.fromarray(photo).resize((256, 256)))
    assert value(built("uiqm-funie-256"), photo) == value(built("uiqm-funie"), resized)


@pytest.mark.parametrize("seed, levels", [(0, 256), (1, 6), (2, 2), (3, 4)])
def test_edges_round_as_scikit_images_do_even_between_two_levels(seed, levels):
    # Few levels make ties common: 5 × 51 wide steps, say.
    plane = (np.random.default_rng(seed).integers(0, levels, (83, 101)) * (255 // (levels - 1))).astype(np.uint8)
    edges = np.round(plane * filters.sobel(plane))
    low, high = uiqm_xueleichen._rounded_extremes(plane)
    for row, column in np.ndindex(low.shape):
        block = edges[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        assert max(low[row, column], 1) == max(block.min(), 1)
        assert max(high[row, column], 1) == max(block.max(), 1)


def test_the_exact_path_alone_is_scikit_images_sobel():
    plane = np.random.default_rng(5).integers(0, 256, (40, 33), dtype=np.uint8)
    assert (uiqm_xueleichen._sobel(np.pad(plane, 1, mode="symmetric") * (1 / 255)) == filters.sobel(plane)).all()


def test_one_colour_by_hand():
    # R − G = −10 and (R + G) / 2 − B = 10; as uint8 R − G is 246. Nothing has an edge or a contrast.
    image = np.full((24, 24, 3), (10, 20, 5), np.uint8)
    assert value(Uiqm(variant="xueleichen-nowrap"), image) == pytest.approx(0.0282 * -0.0268 * math.hypot(10, 10))
    assert value(Uiqm(variant="xueleichen"), image) == pytest.approx(0.0282 * -0.0268 * math.hypot(246, 10))


def test_the_sum_of_red_and_green_wraps_too():
    # 200 + 100 = 300 wraps to 44: (R + G) / 2 − B is 12 instead of 140.
    image = np.full((24, 24, 3), (200, 100, 10), np.uint8)
    assert value(Uiqm(variant="xueleichen"), image) == pytest.approx(0.0282 * -0.0268 * math.hypot(100, 12))


def test_trimmed_colour_by_hand():
    # 100 pixels: 80 with R − G = 0, 20 with 50, and B such that yellow − blue is 0 everywhere.
    image = np.full((10, 10, 3), 100, np.uint8)
    image[:2] = (150, 100, 125)
    # funie: of the sorted places 11..89, 10 have 50, divided by 80; the spread is of all pixels around that mean.
    mean = 500 / 80
    spread = 0.8 * mean**2 + 0.2 * (50 - mean) ** 2
    expected = -0.0268 * mean + 0.1586 * math.sqrt(spread)
    assert Uiqm().parts(with_edges(image)).colourfulness == pytest.approx(expected)
    # xueleichen: of the places 10..89 the same 10, and the spread is of those 80.
    spread = (70 * mean**2 + 10 * (50 - mean) ** 2) / 80
    expected = -0.0268 * mean + 0.1586 * math.sqrt(spread)
    assert Uiqm(variant="xueleichen-nowrap").parts(image).colourfulness == pytest.approx(expected)


def with_edges(image: np.ndarray) -> np.ndarray:
    """The rows of an image in another order do not change its colours; this one leaves every channel an edge."""
    assert all(len(np.unique(image[..., channel])) > 1 or channel != 0 for channel in range(3))
    shaken = image.copy()
    shaken[0, 0] += 1
    shaken[-1, -1] += 1
    return shaken


def test_michelson_contrast_by_hand():
    # Four blocks; one spans 50..150 over all channels: c = 100 / 200, and −c·log c is shared by four.
    image = np.full((20, 20, 3), 77, np.uint8)
    image[2, 3, 0], image[5, 5, 2], image[15, 15, 1] = 50, 150, 78
    c = 1 / 155
    expected = -(0.5 * math.log(0.5) + c * math.log(c)) / 4
    assert Uiqm().parts(image).contrast == pytest.approx(expected, rel=1e-6)  # float32 divisions, as there


def test_blocks_are_cut_in_one_and_kept_in_the_other(photo):
    # 107 × 115 holds 10 × 11 whole blocks of 10; of 8, the fourteenth row has 3 lines.
    assert Uiqm().parts(photo).contrast == Uiqm().parts(photo[:100, :110]).contrast
    assert Uiqm(variant="xueleichen").parts(photo).contrast != Uiqm(variant="xueleichen").parts(photo[:104]).contrast


def test_plip_contrast_equals_scikit_images_gray_in_the_formula():
    random = np.random.default_rng(3)
    image = random.integers(1, 256, (8, 8, 3), dtype=np.uint8)
    gray = color.rgb2gray(image)
    low, high = gray.min(), gray.max()
    ratio = 1026 * (high - low) / (1026 - low) / (high + low - high * low / 1026)
    # One block: 1026 − 1026 (1 − s / 1026) is s itself.
    assert Uiqm(variant="xueleichen").parts(image).contrast == pytest.approx(ratio * math.log(ratio), rel=1e-9)


def test_a_flat_channel_has_no_strongest_edge():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image[..., 1] = 9
    with pytest.raises(ItemError, match="the green channel is flat"):
        value(Uiqm(), image)


def test_a_black_block_is_an_item_error_in_xueleichens_and_none_in_funies(photo):
    image = photo.copy()
    image[8:16, 16:24] = 0
    [failed, scored] = Scorer([built("uiqm-xueleichen"), built("uiqm-funie")], "cpu").score(image, None)
    assert failed.status == "failed" and "1 of 210 are black" in failed.reason
    assert scored.status == "ok"


@pytest.mark.parametrize("metric, side", [(Uiqm(), 10), (Uiqm(variant="xueleichen"), 4)])
def test_an_image_below_the_smallest_size_is_an_item_error(metric, side):
    image = np.random.default_rng(0).integers(1, 256, (side, side, 3), dtype=np.uint8)
    assert math.isfinite(value(metric, image))
    with pytest.raises(ItemError, match="pixels or more, the view is"):
        value(metric, image[: side - 1, :2])


def test_an_image_of_any_size_can_be_resized_first():
    assert math.isfinite(value(Uiqm(size=256), np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)))


def test_blur_takes_sharpness_and_the_size_of_the_plip_contrast_away(photo):
    blurred = [cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in (0.5, 1, 2, 4)]
    parts = [Uiqm(variant="xueleichen").parts(image) for image in blurred]
    sharpness = [part.sharpness for part in parts]
    assert sharpness == sorted(sharpness, reverse=True)
    contrast = [part.contrast for part in parts]
    assert contrast == sorted(contrast) and contrast[-1] < 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_gray_has_no_colour_and_the_order_of_channels_matters(photo, variant):
    gray = np.repeat(photo.max(axis=2)[:, :, None], 3, axis=2)
    if variant != "xueleichen":  # whose R + G wraps
        assert Uiqm(variant=variant).parts(gray).colourfulness == 0
    permuted = np.ascontiguousarray(photo[:, :, [1, 2, 0]])
    assert value(Uiqm(variant=variant), permuted) != pytest.approx(value(Uiqm(variant=variant), photo), rel=1e-3)


@pytest.mark.parametrize("metric", [Uiqm(size=64), *(Uiqm(variant=variant) for variant in VARIANTS)])
def test_a_value_has_the_same_bits_in_every_batch_and_with_every_number_of_threads(photo, metric):
    single, other = as_tensor(photo), np.ascontiguousarray(photo[::-1, ::-1, [0, 2, 1]])
    before = cv2.getNumThreads(), torch.get_num_threads()
    values = set()
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            torch.set_num_threads(threads)
            values.add(float(metric.score(single, None)))
            values.add(float(metric.score(as_tensor(other, photo), None)[1]))
            values.add(float(metric.score(single.transpose(2, 3).contiguous().transpose(2, 3), None)))
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
    assert len(values) == 1


def test_extremes_of_blocks_are_those_of_slices():
    plane = np.random.default_rng(1).random((30, 40))
    low, high = uiqm_terms.extremes(plane, 10)
    assert low[2, 1] == plane[20:30, 10:20].min() and high[0, 3] == plane[:10, 30:].max()


def test_options_that_change_the_value_change_the_signature():
    changed = {"variant": "xueleichen", "size": 256, "sums": "float32"}
    assert set(changed) == {field.name for field in dataclasses.fields(Uiqm)} - {"view"}
    signatures = {str(Uiqm(**{name: value}).signature()) for name, value in changed.items()}
    assert len(signatures | {str(Uiqm().signature())}) == 4


def test_uiqm_means_funies_script_at_256_and_every_rival_has_its_own_name_and_signature():
    assert built("uiqm").signature() == built("uiqm-funie-256").signature()
    assert str(built("uiqm").signature()) == "uiqm|variant:funie|size:256|space:rgb|range:u8|crop:0|v:1"
    assert len({str(built(name).signature()) for name in NAMES}) == len(NAMES)
    for name in [*NAMES, "uiqm"]:
        entry = registry("metric").get(name)
        assert (entry.fields["mode"], entry.fields["better"], entry.fields["licence"]) == ("NR", "higher", "Apache-2.0")
        assert entry.fields["source"] and entry.fields["description"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "funnie"}, "did you mean 'funie'"),
        ({"sums": "float16"}, "sums 'float16' is not one of"),
        ({"sums": "float32", "variant": "xueleichen"}, "belongs to variant 'funie'"),
        ({"size": 9}, "number of pixels from 10 up"),
        ({"view": View(rounding="none")}, "8-bit levels"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(BenchError, match=message):
        Uiqm(**options)


@pytest.mark.speed
@pytest.mark.parametrize("name", ["uiqm-funie", "uiqm-xueleichen"])
def test_it_is_faster_than_loops(name):
    from skimage import data

    image = np.ascontiguousarray(cv2.resize(np.ascontiguousarray(data.chelsea()), (512, 512)))
    metric, tensor = built(name), as_tensor(image)
    slow, fast = fastest([peers(image)[name], lambda: metric.score(tensor, None)], 5)
    assert slow / fast > 15 / 2, f"{slow / fast:.1f}×, 15× on an idle machine"

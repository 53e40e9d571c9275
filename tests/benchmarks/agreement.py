"""The agreement table: our values beside those of other implementations, on the same images, with what is allowed.

    BENCH_TEST_MIRROR=… python tests/benchmarks/agreement.py -o docs/agreement.md \
        [--golden metrics.csv --images DIR] [--known matlab.csv --known-images DIR]

Three sources: values that BasicSR publishes (Set14 of the mirror), values that other code gave and a file records
(`--golden`, `--known`), and libraries that run here beside us (pyiqa, scikit-image). What cannot be computed is listed
with its reason and never left out.
"""

from __future__ import annotations

import argparse
import csv
import functools
import importlib.metadata
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import paths
from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError, one_line
from bench.fetch.fetch import fetch
from bench.metrics.base import ImageMetric, Metric
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol
from bench.metrics.scorer import Scorer

REMEDY = "BENCH_TEST_MIRROR=DIR python tests/benchmarks/agreement.py -o docs/agreement.md --golden FILE --images DIR"


@dataclass(frozen=True)
class Ours:
    """One of our metrics as a row of another implementation wants it."""

    metric: str
    rules: str = "recommended/rgb"
    options: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def built(self) -> Metric:
        return build_metric(registry("metric").get(self.metric), self.options, protocol(self.rules))


class Value(NamedTuple):
    """Both values of one image."""

    ours: float
    theirs: float


class Row(NamedTuple):
    metric: str
    whose: str
    """The other implementation."""
    ours: Ours
    values: Mapping[str, Value]
    """By image."""
    tolerance: float
    relative: bool
    """Whether the tolerance is relative to their value."""


class Gap(NamedTuple):
    """What could not be computed, and why."""

    metric: str
    whose: str
    reason: str


Result = Row | Gap


class Allowed(NamedTuple):
    tolerance: float
    relative: bool = False


EQUAL = Allowed(1e-6)
FLOAT32 = Allowed(1e-5)
"""The other side computes in float32."""
FLOAT32_INVERSE = Allowed(1e-4)
"""The other side inverts covariances in float32: from one processor to the next its value moves by 6e-5."""
FLOAT32_LUMA = Allowed(3e-5)
"""The other side computes luma and error in float32, whose steps at 25 dB are 2e-6."""
PRINTED = Allowed(2e-6)
"""Six decimals are published, the last of them cut and not rounded."""
MATLAB = Allowed(5e-3, relative=True)


def score(ours: Ours, restored: np.ndarray, reference: np.ndarray | None) -> float:
    """Raises `BenchError` for what we do not have, `ItemError` for an image without a value."""
    metric = ours.built
    if not isinstance(metric, ImageMetric):
        raise BenchError(f"{ours.metric} is no metric of single images")
    scorer = Scorer([metric], "cpu")
    scorer.load()
    (outcome,) = scorer.score(restored, reference if metric.mode == "FR" else None)
    if outcome.value is None:
        raise ItemError(outcome.reason or outcome.status)
    return outcome.value


def compare(
    metric: str,
    whose: str,
    ours: Ours,
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    theirs: Callable[[str], float],
    allowed: Allowed,
) -> Result:
    """Score every image on both sides; what fails makes the whole row a gap."""
    values: dict[str, Value] = {}
    for name, (restored, reference) in pairs.items():
        try:
            found = score(ours, restored, reference)
        except (BenchError, ItemError) as error:
            return Gap(metric, whose, f"ours, {name}: {_reason(error)}")
        try:
            values[name] = Value(found, theirs(name))
        except Exception as error:  # noqa: BLE001 – whatever stops the other side is the reason that is printed
            return Gap(metric, whose, f"theirs, {name}: {type(error).__name__}: {_reason(error)}")
    return Row(metric, whose, ours, values, *allowed)


def _reason(error: Exception) -> str:
    """One line, without the place of this run's cache."""
    return one_line(re.sub(r", not at \S+?(?=: bench fetch|$)", "", one_line(error, 1000)), 240)


# Images


@functools.cache
def read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def quarter_and_back(gt: np.ndarray) -> np.ndarray:
    """MATLAB's bicubic ×1/4 and ×4, rounded to 8 bit after each: BasicSR's test images."""
    from bench.metrics.primitives.matlab import imresize

    def scaled(image: np.ndarray, scale: float) -> np.ndarray:
        planes = [imresize(np.ascontiguousarray(image[..., channel], dtype=np.float64), scale) for channel in range(3)]
        return np.clip(np.floor(np.stack(planes, axis=-1) + 0.5), 0, 255).astype(np.uint8)

    return scaled(scaled(gt, 0.25), 4)


def set14(mirror: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Degraded and original baboon and comic, cropped to multiples of 12."""
    pairs = {}
    for name in ("baboon", "comic"):
        image = read(mirror / "data" / "set14" / f"{name}.bmp")
        gt = image[: image.shape[0] // 12 * 12, : image.shape[1] // 12 * 12]
        pairs[name] = (quarter_and_back(gt), gt)
    return pairs


_NIQE_BASICSR = Ours("niqe", options={"gray": "y", "variant": "basicsr"})

# Published by BasicSR (docs/Metrics.md), ×4 bicubic of Set14, crop border 4

BASICSR = [
    ("psnr, RGB", Ours("psnr", "basicsr/rgb-crop4"), {"baboon": 20.419710, "comic": 20.239912}),
    ("ssim, RGB", Ours("ssim", "basicsr/rgb-crop4"), {"baboon": 0.391853, "comic": 0.567738}),
    ("psnr, Y", Ours("psnr", "basicsr/y-crop4"), {"baboon": 22.441898, "comic": 21.720398}),
    ("ssim, Y", Ours("ssim", "basicsr/y-crop4"), {"baboon": 0.453097, "comic": 0.585511}),
]


def published(mirror: Path) -> Iterator[Result]:
    whose = "BasicSR, published"
    try:
        pairs = set14(mirror)
    except (ImportError, OSError, BenchError) as error:
        yield from (Gap(metric, whose, one_line(error, 200)) for metric, _, _ in BASICSR)
        return
    for metric, ours, values in BASICSR:
        yield compare(metric, whose, ours, {name: pairs[name] for name in values}, values.__getitem__, PRINTED)
    original = {"baboon": (read(mirror / "data" / "set14" / "baboon.bmp"), None)}
    yield compare("niqe", whose, _NIQE_BASICSR, original, {"baboon": 5.729573}.__getitem__, MATLAB)
    luma = Ours("niqe", options={"gray": "y"})  # LIVE's code on the luma that the published value was taken of
    yield compare("niqe, as LIVE's MATLAB", whose, luma, original, {"baboon": 5.729573}.__getitem__, MATLAB)


# Recorded values of other implementations: metric, protocol, variant → ours

_SKIMAGE_GAUSS = Ours("ssim", "recommended/rgb")
RECORDED: dict[tuple[str, str, str], tuple[Ours, Allowed]] = {
    **{
        (metric, "basicsr", f"{space}_crop{crop}{kind}"): (
            Ours(metric, f"basicsr/{space}" + ("-crop4" if crop else "")),
            (FLOAT32_LUMA if space == "y" else FLOAT32) if kind else EQUAL,
        )
        for metric in ("psnr", "ssim")
        for space in ("rgb", "y")
        for crop in (0, 4)
        for kind in ("", "_pt")
    },
    **{
        (metric, house, variant): (Ours(metric, rules), allowed)
        for metric in ("psnr", "ssim")
        for house, variant, rules, allowed in (
            ("hvi-cidnet", "gtmean", "hvi-cidnet/lol-v1", Allowed(4e-6)),
            ("hvi-cidnet", "no_gtmean", "hvi-cidnet/lol-v2", Allowed(4e-6)),
            ("retinexformer", "gtmean", "retinexformer/lol-gtmean", EQUAL),
            ("retinexformer", "no_gtmean", "retinexformer/lol", EQUAL),
        )
    },
    ("psnr", "rave", "gray_swapped"): (Ours("psnr", "rave/baid"), EQUAL),
    ("ssim", "rave", "gray_swapped_range_of_enhanced"): (Ours("ssim", "rave/baid"), EQUAL),
    ("psnr", "skimage", "rgb_uint8"): (Ours("psnr", "skimage/rgb"), EQUAL),
    ("ssim", "skimage", "default_uniform7_channel_axis"): (Ours("ssim", "skimage/rgb"), EQUAL),
    ("ssim", "skimage", "gaussian_sigma1.5_channel_axis"): (_SKIMAGE_GAUSS, EQUAL),
    **{
        ("uciqe", house, variant): (Ours(ours), EQUAL)
        for house, variant, ours in (
            ("hsv", "fky_0.25_0.6_0.15", "uciqe-hsv-fky"),
            ("hsv", "fky_0.25_0.6_0.15_rgb_order_fixed", "uciqe-hsv-fky-rgb"),
            ("hsv", "szu_0.468_0.2745_0.2575", "uciqe-hsv-szu"),
            ("hsv", "szu_0.468_0.2745_0.2575_rgb_order_fixed", "uciqe-hsv-szu-rgb"),
            ("lab255", "jou-uip_uint8", "uciqe-jou-uip"),
            ("lab255", "adpcc_float32", "uciqe-adpcc"),
            ("lab255", "adpcc_float32_unit", "uciqe-adpcc-unit"),
            ("raw_lab", "xueleichen", "uciqe-raw-lab"),
        )
    },
    ("uiqm", "funie-gan", "native"): (Ours("uiqm-funie"), EQUAL),
    ("uiqm", "funie-gan", "native_numpy2"): (Ours("uiqm-funie", options={"sums": "float32"}), EQUAL),
    ("uiqm", "funie-gan", "resize256_bicubic"): (Ours("uiqm-funie-256"), EQUAL),
    ("uiqm", "funie-gan", "resize256_bicubic_numpy2"): (Ours("uiqm-funie-256", options={"sums": "float32"}), EQUAL),
    ("uiqm", "xueleichen", "uint8_verbatim"): (Ours("uiqm-xueleichen"), EQUAL),
    ("uiqm", "xueleichen", "uicm_nowrap"): (Ours("uiqm-xueleichen-nowrap"), EQUAL),
    ("niqe", "basicsr", "y_crop0_block96"): (_NIQE_BASICSR, Allowed(1e-4, relative=True)),
    **{
        ("biqi", features, variant): (Ours("biqi", options={"features": features, "gray": gray}), EQUAL)
        for features in ("float", "text")
        for variant, gray in (("matlab_rgb2gray", "matlab"), ("cv2_gray", "cv2"))
    },
}
TERMS = ("uciqe_", "uicm", "uism", "uiconm", "biqi_", "gtmean_ratio")
"""Intermediate terms, not metrics: the tests of the metrics compare them."""


def recorded(file: Path, images: Path | None, mirror: Path) -> Iterator[Result]:
    """Rows of a file with the columns metric, protocol, variant, image, reference, value, source."""
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    with open(file, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if not row["metric"].startswith(TERMS) and not row["variant"].endswith("_timed_alone"):
                rows.setdefault((row["metric"], row["protocol"], row["variant"]), []).append(row)
    for key, found in rows.items():
        metric, house, variant = key
        whose = f"{house} {variant}"
        if key not in RECORDED:
            yield Gap(metric, whose, "no metric of ours claims this variant")
            continue
        finite = [row for row in found if math.isfinite(float(row["value"] or "nan"))]
        if not finite:
            yield Gap(metric, whose, "the original gives inf or nan on all images; ours is an ItemError")
            continue
        places = {name: image_at(name, images, mirror) for row in finite for name in (row["image"], row["reference"])}
        absent = {name for name, path in places.items() if name and path is None}
        finite = [row for row in finite if not {row["image"], row["reference"]} & absent]
        if not finite:  # of other rows the images that are at hand are compared
            yield Gap(metric, whose, f"image {min(absent)} is in no folder that was given (--images)")
            continue

        def image(name: str, places: Mapping[str, Path | None] = places) -> np.ndarray | None:
            path = places.get(name)
            return None if path is None else read(path)

        pairs = {row["image"]: (image(row["image"]), image(row["reference"])) for row in finite}
        values = {row["image"]: float(row["value"]) for row in finite}
        ours, allowed = RECORDED[key]
        yield compare(metric, whose, ours, pairs, values.__getitem__, allowed)  # type: ignore[arg-type]


def image_at(name: str, images: Path | None, mirror: Path) -> Path | None:
    """`input/1.jpg` of a recorded row as a file: in the mirror's EUVP, or as `input/1.jpg` or `1_input.jpg` below
    `images`, or None."""
    folder, _, file = name.rpartition("/")
    flat = f"{Path(file).stem}_{folder}{Path(file).suffix}"
    places = [mirror / "data" / "euvp" / name]
    places += [] if images is None else [images / name, images / flat]
    return next((path for path in places if name and path.is_file()), None)


def known(file: Path, images: Path) -> Iterator[Result]:
    """Rows of a file with the columns metric, image, reference, value, source: MATLAB's, say. One metric per name."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    with open(file, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            rows.setdefault((row["metric"], row["source"]), []).append(row)
    for (metric, source), found in rows.items():
        pairs = {
            row["image"]: (read(images / row["image"]), read(images / row["reference"]) if row["reference"] else None)
            for row in found
        }
        values = {row["image"]: float(row["value"]) for row in found}
        yield compare(metric, source, Ours(metric), pairs, values.__getitem__, MATLAB)


# Libraries that run beside us

PYIQA = [
    ("psnr", Ours("psnr", "pyiqa/default"), "psnr", FLOAT32),
    ("ssim", Ours("ssim", "pyiqa/default"), "ssim", FLOAT32),
    ("ms-ssim", Ours("ms-ssim", options={"space": "yiq", "clamp": "map", "halving": "zero-first"}), "ms_ssim", FLOAT32),
    ("gmsd", Ours("gmsd"), "gmsd", FLOAT32),
    ("fsim", Ours("fsim", options={"variant": "pyiqa"}), "fsim", FLOAT32),
    ("vif", Ours("vif"), "vif", FLOAT32_INVERSE),
    ("piqe", Ours("piqe", options={"variant": "pyiqa"}), "piqe", Allowed(1e-4, relative=True)),
    ("niqe", Ours("niqe"), "niqe", Allowed(5e-2, relative=True)),
    ("brisque", Ours("brisque"), "brisque", Allowed(7.5e-2, relative=True)),
]
"""Where pyiqa departs from the release that both follow, the tolerance is as wide as that is known to be."""


def with_pyiqa(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[Result]:
    whose = f"pyiqa {importlib.metadata.version('pyiqa')}"

    for metric, ours, name, allowed in PYIQA:
        found = next((each for each in (f"pyiqa-{name}", name) if _is_pyiqas(each)), None)
        if found is None:
            yield Gap(metric, whose, f"the catalogue has no pyiqa entry {name}")
            continue

        def theirs(image: str, found: str = found) -> float:
            return score(Ours(found), *pairs[image])

        yield compare(metric, whose, ours, pairs, theirs, allowed)


def _is_pyiqas(name: str) -> bool:
    entries = registry("metric")
    return name in entries.names() and entries.get(name).fields.get("library") == "pyiqa"


def with_skimage(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[Result]:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    whose = f"scikit-image {importlib.metadata.version('scikit-image')}"
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}

    def psnr(name: str) -> float:
        return float(peak_signal_noise_ratio(pairs[name][1], pairs[name][0], data_range=255))

    def ssim(name: str, **options: Any) -> float:
        return float(structural_similarity(*pairs[name], channel_axis=-1, **options))

    yield compare("psnr, RGB", whose, Ours("psnr"), pairs, psnr, EQUAL)
    yield compare("ssim, RGB, Gauss", whose, _SKIMAGE_GAUSS, pairs, lambda name: ssim(name, **gauss), EQUAL)
    yield compare("ssim, RGB, 7×7", whose, Ours("ssim", "skimage/rgb"), pairs, ssim, EQUAL)


# The document


RANGE = (
    "A tolerance holds on the images of its row, PSNR's at 8 to 25 dB. Where the other side computes in float32, "
    "its own rounding grows as images come closer: at 57 dB it exceeds these tolerances, and nothing is said of "
    "that range."
)
FLAT = (
    "NIQE and BRISQUE are as in MATLAB where no area is exactly flat. In a flat area the sign of MATLAB's "
    "rounding decides, and a table stands in for it that was fitted to the five images of TID2013 whose values "
    "pyiqa publishes: NIQE of three agrees to 1e-9, of two to 3e-4. On crops of SICE the choice moves NIQE by up "
    "to 0.7 % and BRISQUE by up to 2 %. An image of a single level has no value. `niqe-basicsr` is BasicSR's to "
    "1e-8 on 97 photographs, 75 of them of LOL, SICE and UIEB, dark as they are or darkened to a mean of 2 to 50 "
    "levels of 255. BasicSR halves the image in float32, and adds eight products in the order that its matrix "
    "library has on the machine at hand; on dark images other orders move its value by up to 6e-4. Ours is the "
    "order of PyTorch's wheels (MKL 2024.2, general code) on x86-64, written out, so that the value is the same on "
    "every machine."
)


def document(results: list[Result]) -> str:
    rows = sorted((one for one in results if isinstance(one, Row)), key=lambda row: (row.metric, row.whose))
    gaps = sorted(one for one in results if isinstance(one, Gap))
    bad = [row for row in rows if not _worst(row)[3]]
    head = [
        "# Agreement with other implementations",
        "",
        f"Written by a script; do not edit. To write it again: `{REMEDY}`.",
        "",
        "Each row is the image on which the two differ most. A tolerance in % is relative to their value.",
        f"{len(rows) - len(bad)} of {len(rows)} comparisons agree; {len(gaps)} could not be made.",
        "",
        RANGE,
        "",
        FLAT,
        "",
        "| metric | whose | images | worst image | ours | theirs | difference | tolerance | agrees |",
        "|---|---|--:|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        name, value, difference, agrees = _worst(row)
        tolerance = f"{row.tolerance:.2%}".replace(".00%", "%") if row.relative else f"{row.tolerance:.0e}"
        shown = f"{difference:.3%}" if row.relative else f"{difference:.1e}"
        head.append(
            f"| {row.metric} | {row.whose} | {len(row.values)} | {name} | {value.ours:.6f} | {value.theirs:.6f} "
            f"| {shown} | {tolerance} | {'yes' if agrees else '**no**'} |"
        )
    signed = sorted({(row.metric, row.whose, str(row.ours.built.signature())) for row in rows})
    tail = ["", "## Our signatures", "", "| metric | whose | signature |", "|---|---|---|"]
    tail += [f"| {metric} | {whose} | `{_escaped(text)}` |" for metric, whose, text in signed]
    if gaps:
        tail += ["", "## Not compared", "", "| metric | whose | why |", "|---|---|---|"]
        tail += [f"| {gap.metric} | {gap.whose} | {_escaped(gap.reason)} |" for gap in gaps]
    return "\n".join([*head, *tail]) + "\n"


def _escaped(text: str) -> str:
    """Signatures hold the sign that parts a table's cells."""
    return text.replace("|", "\\|")


def _worst(row: Row) -> tuple[str, Value, float, bool]:
    def off(value: Value) -> float:
        difference = abs(value.ours - value.theirs)
        return difference / max(abs(value.theirs), 1e-12) if row.relative else difference

    name, value = max(row.values.items(), key=lambda one: off(one[1]))
    return name, value, off(value), off(value) <= row.tolerance


def bring_weights(mirror: Path) -> None:
    """What the mirror has of the weights, into the cache that `BENCH_HOME` names."""
    for entry in registry("metric"):
        try:
            assets = build_metric(entry, {}, {}).assets()
        except BenchError:  # its row, if it has one, will say why
            continue
        wanted = [asset for asset in assets if asset.sha256 and not asset.path.exists()]
        fetch(wanted, mirror=mirror, progress=False, say=lambda _: None)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("-o", "--output", type=Path, help="the document; standard output without")
    parser.add_argument("--golden", type=Path, help="recorded values: metric,protocol,variant,image,reference,value")
    parser.add_argument("--images", type=Path, help="folder of images that the recorded values name")
    parser.add_argument("--known", type=Path, help="values of other programs: metric,image,reference,value,source")
    parser.add_argument("--known-images", type=Path, help="folder of their images")
    given = parser.parse_args()
    if not os.environ.get("BENCH_TEST_MIRROR"):
        parser.error("BENCH_TEST_MIRROR names no folder of official files")
    if given.known and not given.known_images:
        parser.error("--known needs --known-images")
    mirror, home = Path(os.environ["BENCH_TEST_MIRROR"]), paths.home()
    with tempfile.TemporaryDirectory() as cache:
        # A cache of its own: the user's is linked, not written to.
        if (home / "weights").is_dir():
            for folder in (home / "weights").iterdir():
                (Path(cache) / "weights" / folder.name).mkdir(parents=True)
                for file in folder.iterdir():
                    (Path(cache) / "weights" / folder.name / file.name).symlink_to(file)
        os.environ["BENCH_HOME"] = cache
        bring_weights(mirror)
        results = list(published(mirror))
        euvp = mirror / "data" / "euvp"
        pairs = {
            f"euvp {name}": (read(euvp / "input" / f"{name}.jpg"), read(euvp / "target" / f"{name}.jpg"))
            for name in ("1", "10")
        }
        results += [*with_skimage(pairs), *with_pyiqa(pairs)]
        if given.golden:
            results += recorded(given.golden, given.images, mirror)
        if given.known:
            results += known(given.known, given.known_images)
    text = document(results)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0 if all(not isinstance(one, Row) or _worst(one)[3] for one in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())

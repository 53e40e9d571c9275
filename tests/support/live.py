"""What the tests of NIQE, BRISQUE and BIQI share: golden rows, their images, and definitions written as loops."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.special import gamma

from bench.catalog.registry import registry
from bench.fetch.fetch import fetch
from bench.metrics.base import ImageMetric
from bench.metrics.build import build_metric

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder with the parameters")
ROWS = list(csv.DictReader((Path(__file__).parents[1] / "golden" / "live.csv").open()))

GRID = np.arange(200, 10001) / 1000
RISING = gamma(2 / GRID) ** 2 / (gamma(1 / GRID) * gamma(3 / GRID))


def as_tensor(image: np.ndarray) -> torch.Tensor:
    """[H,W,3], uint8 or uint16 → float64 [1,3,H,W] in [0,1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)) / np.float64(np.iinfo(image.dtype).max))[
        None
    ]


def gray(levels: np.ndarray) -> np.ndarray:
    """Gray levels [H,W] as an RGB image."""
    return np.repeat(np.asarray(levels, dtype=np.uint8)[..., None], 3, axis=2)


def photograph(path: str) -> np.ndarray:
    """An image of the golden rows as RGB; skips the test where it is not at hand."""
    import cv2

    folder, name = path.split("/", 1)
    if folder == "tid2013":  # pyiqa's wheel brings them
        files = importlib.metadata.files("pyiqa") or []
        found = [Path(str(one.locate())) for one in files if str(one).endswith(f"ResultsCalibra/dist_dir/{name}")]
        file = found[0] if found else None
    else:
        file = Path(str(MIRROR)) / "data" / folder / name
    if file is None or not file.is_file():
        pytest.skip(f"{path} is not here")
    return cv2.imread(str(file), cv2.IMREAD_COLOR)[..., ::-1]


def golden(metric: str) -> list:
    """The rows of one metric as test parameters (options, image, value)."""
    rows = [row for row in ROWS if row["metric"] == metric]
    return [
        pytest.param(
            dict(pair.split("=") for pair in row["options"].split()),
            row["image"],
            float(row["value"]),
            id=f"{row['image']}-{row['options']}".replace(" ", ","),
        )
        for row in rows
    ]


@functools.cache
def _parameters(home: str, name: str) -> None:
    assets = build_metric(registry("metric").get(name), {}, {}).assets()
    done = fetch(assets, mirror=Path(str(MIRROR)), progress=False, say=lambda _: None)
    assert all(one.here for one in done), [one.detail for one in done]


def released(name: str, **options: object) -> ImageMetric:
    """A metric of the catalogue with LIVE's own parameters, out of the mirror."""
    _parameters(os.environ["BENCH_HOME"], name)
    metric = build_metric(registry("metric").get(name), options, {})
    assert isinstance(metric, ImageMetric)
    return metric


def value(metric: ImageMetric, image: np.ndarray) -> float:
    return float(metric.score(as_tensor(image), None))


def normalised(image: np.ndarray, mode: str) -> np.ndarray:
    """(x − μ) / (σ + 1) with the whole 7×7 window at once; `mode` is scipy's name of the border."""
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x * x + y * y) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = correlate(image, window, mode=mode)
    return (image - mean) / (np.sqrt(np.abs(correlate(image * image, window, mode=mode) - mean**2)) + 1)


def asymmetric(values: np.ndarray) -> tuple[float, float, float]:
    """Shape and both root mean squares of an asymmetric generalised Gaussian, the whole grid scanned."""
    values = values.ravel()
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    ratio = left / right
    target = np.abs(values).mean() ** 2 / np.mean(values**2) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    return float(GRID[np.argmin((RISING - target) ** 2)]), float(left), float(right)


def halved(image: np.ndarray) -> np.ndarray:
    """MATLAB's imresize(image, 0.5): eight taps of the stretched cubic, borders mirrored; odd sizes round up."""
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    for axis in (0, 1):
        moved = np.moveaxis(image, axis, 0)
        count = -(-len(moved) // 2)
        padded = np.pad(moved, ((3, 5), (0, 0)), mode="symmetric")
        image = np.moveaxis(sum(tap * padded[k : k + 2 * count : 2] for k, tap in enumerate(taps)), 0, axis)
    return image


def shifted(field: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    return field * np.roll(field, shift, axis=(0, 1))

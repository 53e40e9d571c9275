"""Which metrics the contract is tried on, and what each claims: the catalogue beside `precision.yaml`.

The checks themselves are `bench.testing`, where the authors of other metrics find them too.
"""

from __future__ import annotations

import csv
import functools
import os
from pathlib import Path
from typing import Any

import yaml

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.fetch.fetch import fetch
from bench.metrics.build import build_metric
from bench.testing import Claims, Subject

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
PRECISION = Path(__file__).with_name("precision.yaml")

QUICK = frozenset({"entropy", "pyiqa-psnr"})
"""pyiqa's metrics that stand for all of them; the others are tried with `-m slow`."""


@functools.cache
def precision() -> dict[str, dict[str, dict[str, Any]]]:
    return yaml.safe_load(PRECISION.read_text(encoding="utf-8"))


def claims(entry: Entry) -> Claims:
    """What `precision.yaml` says of a metric: of its library first, then of itself."""
    said = precision()
    library = said["libraries"].get(entry.fields.get("library", ""), {})
    return Claims(**{**library, **said["metrics"].get(entry.name, {})})


def entries() -> list[Entry]:
    """Every catalogue metric that can be had at all."""
    return [entry for entry in registry("metric") if not entry.fields.get("unavailable")]


@functools.cache
def _mirrored() -> frozenset[str]:
    """SHA-256 of every file in the mirror."""
    if not MIRROR:
        return frozenset()
    with open(Path(MIRROR) / "MANIFEST.csv", newline="", encoding="utf-8-sig") as file:
        return frozenset(row["sha256"].lower() for row in csv.DictReader(file))


def builds(entry: Entry) -> bool:
    """False for an entry that is itself wrong; `bench info`, which every metric is tried with, says how."""
    try:
        build_metric(entry, {}, {})
    except BenchError:
        return False
    return True


@functools.cache
def has_weights(name: str) -> bool:
    """Whether all that a metric needs lies in the cache or in the mirror. A metric that does not build has nothing."""
    try:
        metric = build_metric(registry("metric").get(name), {}, {})
        assets = metric.assets()
    except BenchError:
        return False
    if getattr(metric, "annotated", False):
        return False  # of boxes: a suite gives them their detector and annotation, see tests/detection
    return all(
        asset.path.is_file() or (asset.sha256 is not None and asset.sha256.lower() in _mirrored()) for asset in assets
    )


def slow(entry: Entry) -> bool:
    return entry.fields.get("library") == "pyiqa" and entry.name not in QUICK


def fill_cache(home: Path, before: Path) -> None:
    """Lay all weights of metrics into a cache of the tests' own: linked from the user's, else from the mirror.

    `BENCH_HOME` names `home` already.
    """
    for entry in entries():
        if not has_weights(entry.name):
            continue
        assets = build_metric(entry, {}, {}).assets()
        for asset in assets:
            there = before / asset.file
            if there.is_file() and not asset.path.exists():
                asset.path.parent.mkdir(parents=True, exist_ok=True)
                asset.path.symlink_to(there.resolve())
        missing = [asset for asset in assets if not asset.path.exists()]
        if missing and MIRROR:
            fetch(missing, mirror=Path(MIRROR), progress=False, say=lambda _: None)


@functools.cache
def subject(name: str) -> Subject:
    """The metric with its claims, its weights loaded; one for all checks."""
    entry = registry("metric").get(name)
    made = Subject.of(name, claims(entry))
    made.metric.load("cpu")
    return made

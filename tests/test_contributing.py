"""The worked examples of CONTRIBUTING.md do what the page says, as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bench.catalog.registry import Entry, read_catalogue, registry
from bench.data.build import build_dataset
from bench.data.images import encode_png
from bench.methods import versions
from bench.methods.build import build_method
from bench.metrics import protocols
from bench.metrics.build import build_metric
from bench.planning.bind import resolve
from bench.suite import definition
from bench.testing import check_metric

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
BLOCKS = {
    match[2]: match[0].split("\n", 1)[1].removesuffix("```")
    for match in re.finditer(r"```(\w+)\n# (\S+)\n.*?```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
}


def entry_of(place: str, kind: str, folder: Path) -> Entry:
    """The one entry of a block of the catalogue."""
    file = folder / Path(place).name
    file.write_text(BLOCKS[place], encoding="utf-8")
    [entry] = read_catalogue(file, kind)
    return entry


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's modules, importable under the names that it gives them."""
    for place, text in BLOCKS.items():
        if place.endswith(".py"):
            package, _, name = place.removesuffix(".py").replace("/", ".").rpartition(".")
            module = type(sys)(f"{package}.{name}")
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(compile(text, place, "exec"), vars(module))
    return tmp_path


def test_the_metric_is_what_it_says(modules: Path):
    metric = build_metric(entry_of("bench/catalog/metrics/native.yaml", "metric", modules), {}, {})
    ours, theirs = torch.full((1, 3, 16, 16), 100 / 255).double(), torch.full((1, 3, 16, 16), 90 / 255).double()
    assert metric.score(ours, theirs).tolist() == pytest.approx([10.0])  # type: ignore[attr-defined]
    check_metric(metric, only=("batch", "order"))


def test_the_method_stretches(modules: Path, monkeypatch: pytest.MonkeyPatch):
    known = {**versions.versions()}
    name = "bench.methods.algorithms.stretch"
    monkeypatch.setattr(versions, "versions", lambda: {**known, name: versions.Version(name, "1", "1", {})})
    method = build_method(entry_of("bench/catalog/methods/classical.yaml", "method", modules), {"floor": 0.5}, None)
    assert dict(method.identity())["sources"][name] == "1"
    method.load("cpu", "float32")  # type: ignore[union-attr]
    image = torch.tensor([0.2, 0.4, 0.6]).expand(1, 3, 1, 3)
    assert method.restore(image)[0, 0, 0].tolist() == pytest.approx([0.5, 0.75, 1.0])  # type: ignore[union-attr]


def test_the_dataset_is_found_where_its_publishers_put_it(modules: Path, monkeypatch: pytest.MonkeyPatch):
    for part in ("low", "high"):
        for number in (1, 2):
            file = modules / "data" / "dim-rooms" / part / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(np.full((8, 8, 3), number, np.uint8)))
    monkeypatch.setenv("BENCH_DATA", str(modules / "data"))
    dataset = build_dataset(entry_of("bench/catalog/datasets/low-light.yaml", "dataset", modules), {}, None)
    assert [item.id for item in dataset.items] == ["1", "2"] and dataset.paired


def test_the_protocol_fixes_the_view_and_says_that_nothing_proves_it(modules: Path, monkeypatch: pytest.MonkeyPatch):
    entry = entry_of("bench/catalog/protocols/low-light.yaml", "protocol", modules)
    monkeypatch.setattr(protocols, "registry", lambda kind: {entry.name: entry})
    settings = protocols.protocol("nobody/dim-rooms").settings
    signature = str(build_metric(registry("metric").get("psnr"), {}, settings).signature())
    assert "space:y" in signature and "crop:4" in signature and "unverified" in signature


def test_the_suite_is_valid_and_short(tmp_path: Path):
    text = BLOCKS["suites/dim-rooms.yaml"]
    file = tmp_path / "dim-rooms.yaml"
    file.write_text(text, encoding="utf-8")
    resolved = resolve(definition.load(file))
    assert [method.label for method in resolved.methods] == ["identity", "Gamma 0.45", "Gamma 0.67"]
    assert not resolved.missing and len(text.splitlines()) <= 40 and yaml.safe_load(text)["schema"] == 1

"""A network whose features a test can compute, folders of small images, and the commands in this process."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.catalog.registry import registry
from bench.cli import main
from bench.folder_scores import score
from bench.identity import file_hash
from bench.metrics import extractors
from bench.metrics.build import build_metric
from bench.metrics.primitives.frechet import Gaussian, frechet_distance

NONE = {"view": {}, "metrics": {}}
WEIGHTS = "weights/inception/pt_inception-2015-12-05-6726825d.pth"


def built(name: str, **options):
    return build_metric(registry("metric").get(name), options, NONE)


def pin(monkeypatch, file: Path) -> None:
    for one in extractors.catalogue()["extractors"].values():
        monkeypatch.setitem(one["weights"], "sha256", file_hash(file))


class Toy(torch.nn.Module):
    """Stands in for the network where only the way of its features matters: 48 pixels on a grid."""

    seen = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        Toy.seen += 1
        return image[:, :, 30::70, 30::70].flatten(1)


DIMENSIONS = 48


def photographs(folder: str, count: int, seed: int = 0, dark: float = 1.0) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(1000 * seed + index).normal(128, 40, (5, 6, 3))
        small = Image.fromarray((np.clip(noise, 0, 255) * dark).astype(np.uint8))
        small.resize((48, 40), Image.Resampling.BICUBIC).save(f"{folder}/{index:02d}.png")
    return folder


def vectors(folder: str) -> np.ndarray:
    """What the toy makes of a folder, computed here."""
    found = []
    for file in sorted(Path(folder).glob("*.png")):
        image = torch.from_numpy(np.asarray(Image.open(file)).transpose(2, 0, 1).copy())[None].float() / 255 * 2 - 1
        large = torch.nn.functional.interpolate(image, (299, 299), mode="bilinear", align_corners=False)
        found.append(large[:, :, 30::70, 30::70].flatten().double().numpy())
    return np.stack(found)


def fid_of(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(Gaussian.of_samples(first), Gaussian.of_samples(second))


def value(restored: str, reference: str | None, spec) -> float:
    (row,) = score(restored, reference, metrics=[spec])
    assert row["status"] == "ok", row
    assert row["value"] is not None
    return row["value"]


def suite(name: str, metrics: str, methods: str = "[identity]", data: str = "{lq: a/*.png, gt: b/*.png}") -> str:
    text = f"schema: 1\ndatasets: [{{dataset: folder, options: {data}, label: mine}}]\n"
    Path(f"{name}.yaml").write_text(f"{text}methods: {methods}\nmetrics: {metrics}\n")
    return f"{name}.yaml"


def command(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    said = capsys.readouterr()
    return int(caught.value.code or 0), said.out, said.err


def table(capsys, results: str = "results") -> dict[tuple[str, str], dict]:
    code, out, err = command(capsys, "table", "--format", "json", "--results", results)
    assert code == 0, err
    return {(row["method"], row["metric"]): row for row in json.loads(out)}


def run(capsys, *arguments: str) -> str:
    code, _, err = command(capsys, "run", *arguments)
    assert code == 0, err
    return err


def rows(sql: str) -> list[tuple]:
    with sqlite3.connect("results/bench.db") as store:
        return store.execute(sql).fetchall()

"""Datasets that are a list of fetched files: the list is all of them, and nothing is silently left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.catalog.registry import Entry, registry
from bench.cli.fetch import assets_of_entry
from bench.data.build import build_dataset
from bench.data.images import encode_png
from bench.errors import BenchError, MissingFile

PNG = encode_png(np.zeros((4, 6, 3), np.uint8))
FILES = ["data/toy/low/2.jpg", "data/toy/low/10.png", "data/toy/high/2.png", "data/toy/high/10.png"]
LISTED = [entry for entry in registry("dataset") if entry.fields.get("kind") == "fetched"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    return tmp_path


def entry(files: list[str] = FILES, **options: object) -> Entry:
    fields = {
        "target": "bench.data.fetched:fetched",
        "kind": "fetched",
        "options": {"lq": "data/toy/low", "gt": "data/toy/high", **options},
        "files": [{"file": file} for file in files],
    }
    return Entry("toy", "dataset", fields, "toy.yaml:1")


def write(home: Path, *files: str) -> None:
    for file in files:
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_bytes(PNG)


def test_listed_files_are_paired_by_name_and_others_beside_them_are_not_taken(home: Path) -> None:
    write(home, *FILES, "data/toy/low/3.png", "data/toy/high/3.png")
    dataset = build_dataset(entry(), {}, None)
    assert [item.id for item in dataset.items] == ["10", "2"] and dataset.paired and not dataset.notes
    assert all(item.lq is not None and item.gt is not None and item.problem is None for item in dataset.items)
    first = dataset.items[0].gt
    assert first is not None and first.where.endswith("data/toy/high/10.png")


def test_without_gt_it_is_lq_only(home: Path) -> None:
    write(home, *FILES)
    dataset = build_dataset(entry(gt=None), {}, None)
    assert not dataset.paired and all(item.gt is None for item in dataset.items)


def test_one_missing_file_makes_the_whole_dataset_missing(home: Path) -> None:
    write(home, *FILES[:-1])
    with pytest.raises(MissingFile, match=r"dataset 'toy' needs data/toy/high/10\.png, not in .*: bench fetch toy"):
        build_dataset(entry(), {}, None)
    with pytest.raises(MissingFile, match=r"needs data/other/1.png and 3 more files"):
        build_dataset(entry(["data/other/1.png", *(f"data/other/{n}.png" for n in "234")]), {}, None)


def test_an_input_without_reference_is_an_item_with_a_problem(home: Path) -> None:
    write(home, *FILES)
    dataset = build_dataset(entry(FILES[:-1]), {}, None)
    assert [item.problem is not None for item in dataset.items] == [True, False]


def test_a_folder_that_is_not_in_the_list_and_a_list_from_a_suite_are_refused(home: Path) -> None:
    write(home, *FILES)
    with pytest.raises(BenchError, match="none of its files is below 'data/toy/hihg'"):
        build_dataset(entry(gt="data/toy/hihg"), {}, None)
    with pytest.raises(BenchError, match="list of files of its own, which a suite cannot change"):
        build_dataset(entry(), {"files": ["a.png"]}, None)


@pytest.mark.parametrize("listed", LISTED, ids=lambda one: one.name)
def test_a_catalogued_list_has_every_input_and_its_reference_pinned(listed: Entry, home: Path) -> None:
    assets = assets_of_entry(listed)
    assert len({asset.file for asset in assets}) == len({asset.sha256 for asset in assets}) == len(assets)
    for asset in assets:
        assert asset.sha256 and asset.bytes and re.fullmatch(r"https://github\.com/[^/]+/[^/]+/raw/.+", asset.url or "")
    assert any((asset.url or "").startswith(listed.fields["home"] + "/raw/") for asset in assets)
    boxes = listed.fields.get("annotations", {}).get("file")
    assets = [asset for asset in assets if asset.file != boxes]
    without = {key: value for key, value in listed.fields.items() if key != "annotations"}
    files = [file for file in listed.fields["files"] if file["file"] != boxes]
    listed = Entry(listed.name, "dataset", {**without, "files": files}, listed.origin)
    write(home, *(asset.file for asset in assets))
    dataset = build_dataset(listed, {}, None)
    assert len(dataset.items) == listed.fields["count"] and dataset.paired == listed.fields["paired"]
    assert len(assets) == len(dataset.items) * (2 if dataset.paired else 1)
    assert not dataset.notes

"""A detector of its own for each method, trained on what it makes of the train part, through the whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.shapes import suite_text, write_shapes

from bench.errors import BenchError
from bench.results.store import Store
from bench.results.view import read_cells
from bench.runner import steps
from bench.runner.request import Request


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, text: str, notes: list[str] | None = None) -> steps.Summary:
    suite = folder / "shapes.yaml"
    suite.write_text(text)
    return steps.run(Request(str(suite)), note=(notes if notes is not None else []).append)


def cells(folder: Path, number: int):
    with Store(folder / "results", writable=False) as store:
        return {(cell.method, cell.column.label): cell for cell in read_cells(store, number).cells}


@pytest.mark.slow
def test_a_small_yolo_learns_shapes_from_scratch_and_finds_them_in_restored_images(place: Path):
    write_shapes(place / "train", 64, seed=1)
    write_shapes(place / "test", 24, seed=2)
    summary = run(place, suite_text(place, 36, "[identity]"))
    assert (summary.failed, summary.worked) == (0, 24)
    found = cells(place, summary.run)
    assert found["identity", "ap50/square"].value > 50
    assert found["identity", "ap50/disc"].value > 50
    mean = (found["identity", "ap50/square"].value + found["identity", "ap50/disc"].value) / 2
    assert found["identity", "ap50/mean"].value == pytest.approx(mean)
    assert 10 < found["identity", "ap50-95"].value < found["identity", "ap50/mean"].value


def test_each_method_has_its_own_detector_trained_once_and_named_in_the_signature(place: Path):
    write_shapes(place / "train", 4, seed=1)
    write_shapes(place / "test", 2, seed=2)
    text, notes = suite_text(place, 1, "[identity, gamma]", size=32), []
    first = run(place, text, notes)
    assert [line for line in notes if "training ultralytics on 4 images" in line and line.startswith("identity:")]
    assert len([line for line in notes if "training" in line]) == 2
    kept = sorted((place / "home" / "detectors").glob("*.pt"))
    assert len(kept) == 2 and len({file.read_bytes() for file in kept}) == 2
    note = json.loads(kept[0].with_suffix(".json").read_text())
    assert note["recipe"] == {"epochs": 1, "size": 32, "batch": 16, "seed": 0} and note["classes"] == ["square", "disc"]
    column = cells(place, first.run)["gamma", "ap50-95"].column
    assert "|tuned:each-method,epochs=1,size=32,batch=16,seed=0|" in column.signature
    assert first.failed == 0

    again: list[str] = []
    second = run(place, text, again)
    assert (second.run, second.worked) == (first.run, 0)
    assert not [line for line in again if "training" in line]

    kept[0].write_bytes(b"another file")
    third = run(place, text)
    assert third.unavailable > 0  # that method's, with the reason; the other one is as it was
    lost = [cell for cell in cells(place, third.run).values() if cell.status == "unavailable"]
    assert lost and all("has changed since it was trained" in (cell.reason or "") for cell in lost)
    assert len({cell.method for cell in lost}) == 1


def test_nothing_is_written_into_the_users_home_and_nothing_is_asked_of_servers(place: Path):
    from bench.detection.yolo import library

    ultralytics = library()
    from ultralytics import utils
    from ultralytics.utils.events import events

    assert ultralytics.__version__ and not utils.ONLINE and not events.enabled and not utils.SETTINGS["sync"]
    assert Path(utils.USER_CONFIG_DIR).parent.parent.name == "home"  # a BENCH_HOME of these tests, not the user's
    assert len(ultralytics.YOLO("yolo11n.yaml", task="detect").names) == 80  # a name that recipes start from


def test_without_boxes_to_train_on_nothing_is_scored_by_an_untrained_detector(place: Path):
    write_shapes(place / "train", 4, seed=1)
    write_shapes(place / "test", 2, seed=2)
    for label in (place / "train" / "labels").glob("*.txt"):
        label.unlink()
    (place / "train" / "labels").rmdir()
    suite = place / "shapes.yaml"
    suite.write_text(suite_text(place, 1, "[identity]", size=32))
    with pytest.raises(BenchError, match="needs its annotations"):
        steps.run(Request(str(suite), available=True))

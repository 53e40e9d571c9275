"""A run with a detector from end to end: table, files for pycocotools, pictures, and what goes wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.shapes import CLASSES, write_shapes
from support.toy_features import command

from bench.catalog import published
from bench.catalog.registry import registry
from bench.cli.export import command as export
from bench.detection.detector import Detector
from bench.errors import BenchError
from bench.folder_scores import ask
from bench.metrics.build import build_metric
from bench.planning.bind import resolve
from bench.results.store import Store
from bench.results.view import read_cells
from bench.runner import steps
from bench.runner.request import Request
from bench.suite import definition
from bench.tables.layout import lay_out

MIRROR = os.environ.get("BENCH_TEST_MIRROR")


class Bright(Detector):
    """Finds the box about everything that is brighter than 50 in red or green, and a wrong one beside it."""

    def load(self, device: str) -> None:
        pass

    def detect(self, image: np.ndarray) -> np.ndarray:
        found = []
        for kind in (0, 1):
            down, across = np.nonzero(image[:, :, kind] > 150)
            if len(down):
                score = 0.5 + float(image.mean()) / 1000
                found.append([across.min(), down.min(), across.max() + 1, down.max() + 1, score, kind])
                found.append([0, 0, 5, 5, score - 0.1, kind])
        return np.array(found, np.float32).reshape(-1, 6)


@pytest.fixture(scope="module", autouse=True)
def bright():
    detectors = registry("detector")
    file = str(Path(__file__))
    options = {"size": 64, "conf": 0.1, "nms": 0.5, "keep": 10, "weights": file}
    detectors.register("bright", Bright, "a test", options=options)
    yield
    del detectors._entries["bright"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path, 12, seed=3)
    return tmp_path


def write(folder: Path, metrics: str = "[{ap50: {per-class: true}}, ap50-95]", more: str = "", classes=CLASSES) -> str:
    options = f"{{lq: images, annotations: {{format: yolo, path: labels, classes: [{', '.join(classes)}]}}}}"
    (folder / "boxes.yaml").write_text(
        f"schema: 1\ndatasets: [{{dataset: folder, label: shapes, options: {options}}}]\n"
        f"methods: [identity, {{method: gamma, label: Gamma}}]\nmetrics: {metrics}\n"
        f"{more or 'detection: {detector: bright}'}\n"
    )
    return "boxes.yaml"


def run(folder: Path, **changes: str):
    summary = steps.run(Request(write(folder, **changes)))
    with Store(folder / "results", writable=False) as store:
        return summary, read_cells(store, summary.run)


def test_a_run_gives_the_values_that_pycocotools_gives_on_its_files(place: Path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    summary, data = run(place)
    assert summary.failed == 0
    done = CliRunner().invoke(export, ["--detections", "found"], standalone_mode=False)
    assert done.exit_code == 0, done.exception
    values = {(cell.method, cell.column.label): cell.value for cell in data.cells}
    for method in ("identity", "Gamma"):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO("found/shapes/ground-truth.json")
            judge = COCOeval(truth, truth.loadRes(f"found/shapes/{method}.json"), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
            each = judge.eval["precision"][0, :, :, 0, -1].mean(axis=0)
        assert values[method, "ap50/mean"] == pytest.approx(100 * judge.stats[1], abs=1e-9)
        assert values[method, "ap50-95"] == pytest.approx(100 * judge.stats[0], abs=1e-9)
        assert [values[method, f"ap50/{name}"] for name in CLASSES] == pytest.approx(list(100 * each), abs=1e-9)
    assert 0 < values["identity", "ap50/square"] < 100
    known = json.loads(Path("found/shapes/ground-truth.json").read_text())
    assert [one["file_name"] for one in known["images"]] == [f"{number:03d}" for number in range(12)]
    assert known["images"][0]["width"] == 64 and known["categories"][1] == {"id": 2, "name": "disc"}


def test_parts_in_any_order_give_the_ap_of_the_whole_run(place: Path, capsys: pytest.CaptureFixture[str]):
    """A broken annotation is its image's in any part; every digit of the values is the same."""
    (place / "labels" / "004.txt").write_text("0 what is this\n")
    job = write(place)
    assert command(capsys, "run", job)[0] == 1
    for number in range(1, 5):
        assert command(capsys, "run", job, "--shard", f"{number}/4", "--results", f"part{number}")[0] in (0, 1)
    expected = command(capsys, "table", "--format", "json")
    values = [row["value"] for row in json.loads(expected[1])]
    assert len(values) == 8 and None not in values and len(set(values)) >= 4
    for order in ("1234", "4321", "3142"):
        code, _, err = command(capsys, "merge", *(f"part{number}" for number in order), "-o", order)
        assert code == 0 and "makes the values of whole sets" not in err, err
        assert command(capsys, "table", "--format", "json", "--results", order) == expected


def test_a_second_run_repeats_nothing_and_a_changed_box_is_another_number(place: Path):
    first, _ = run(place)
    again, _ = run(place)
    assert (again.run, again.worked) == (first.run, 0)
    before = lay_out(read(place, first.run)).footer
    label = place / "labels" / "000.txt"
    label.write_text("0 0.5 0.5 0.9 0.9\n")
    other, data = run(place)
    assert other.run != first.run and other.worked == 0  # nothing is restored or detected again
    assert lay_out(data).footer != before


def read(folder: Path, number: int):
    with Store(folder / "results", writable=False) as store:
        return read_cells(store, number)


def test_pictures_show_input_and_outputs_side_by_side(place: Path):
    run(place)
    done = CliRunner().invoke(export, ["--draw", "pictures"], standalone_mode=False)
    assert done.exit_code == 0, done.exception
    files = sorted(Path("pictures/shapes").iterdir())
    assert len(files) == 12
    pixels = np.asarray(Image.open(files[0]))
    assert pixels.shape[1] > 3 * 350 and pixels.shape[0] > 360


def test_a_broken_annotation_is_a_failure_and_the_rest_is_counted(place: Path):
    (place / "labels" / "003.txt").write_text("0 0.5 0.5\n")
    summary, data = run(place)
    assert summary.failed == 2  # one item of each of two methods
    cell = next(cell for cell in data.cells if cell.column.label == "ap50/mean")
    assert (cell.n, cell.expected, cell.complete) == (11, 12, False) and cell.value is not None
    footer = "\n".join(lay_out(data).footer)
    assert "labels/003.txt:1: 3 columns, needs 5: the class and four numbers" in footer


def test_a_class_without_objects_is_not_applicable_and_the_mean_says_so(place: Path):
    for file in (place / "labels").iterdir():
        kept = [line for line in file.read_text().splitlines() if line.startswith("0")]
        file.write_text("\n".join(kept) or "0 0.1 0.1 0.1 0.1\n")
    summary, data = run(place)
    cells = {(cell.method, cell.column.label): cell for cell in data.cells}
    assert summary.failed == 0
    assert (cells["identity", "ap50/disc"].status, cells["identity", "ap50/disc"].value) == ("n/a", None)
    assert cells["identity", "ap50/mean"].value == cells["identity", "ap50/square"].value
    footer = "\n".join(lay_out(data).footer)
    assert "shapes: mean of 1 of 2 classes" in footer and "disc" in footer
    assert "n/a: shapes: no object of the class is annotated" in footer


def test_images_without_annotations_have_no_ap(place: Path):
    (place / "boxes.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, label: bare, options: {lq: images}}]\nmethods: [identity]\n"
        "metrics: [ap50]\ndetection: {detector: bright}\n"
    )
    summary = steps.run(Request("boxes.yaml"))
    assert summary.failed == 0
    [cell] = read(place, summary.run).cells
    assert (cell.status, cell.reason) == ("n/a", "no boxes are annotated")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"metrics": "[ap50]", "more": "title: none"},
            r"boxes.yaml:4: metric 'ap50' needs a detector: write detection:",
        ),
        ({"more": "detection: {detector: brigth}"}, "unknown detector 'brigth'; did you mean 'bright'"),
        ({"more": "detection: {detector: bright, protocol: exdark/oficial}"}, "did you mean 'exdark/official'"),
        ({"more": "detection: {detector: bright, protocol: basicsr/rgb}"}, "says nothing of detection"),
        ({"more": "detection: {detector: bright, finetun: 1}"}, "unknown key 'finetun'; did you mean 'finetune'"),
        ({"metrics": "[{ap50: {class: squere}}]"}, "has no class 'squere'; did you mean 'square'"),
        ({"metrics": "[{ap50: {maxdets: 0}}]"}, "maxdets 0 is not a positive number"),
        ({"classes": ["square", "lantern"], "more": "detection: {detector: yolox-nano}"}, "has no class for square"),
        ({"more": "detection: {detector: bright, finetune: {epochs: 1}}"}, "finetune needs one dataset to train on"),
        (
            {"more": "detection: {detector: ultralytics, options: {weights: yolo11n.yaml}}"},
            "has no weights: add finetune",
        ),
    ],
)
def test_a_wrong_request_is_one_line_with_its_place(place: Path, changes, said):
    with pytest.raises(BenchError, match=said) as caught:
        run(place, **changes)
    assert "\n" not in str(caught.value)


def test_a_fault_of_the_detectors_file_is_said_before_anything_is_restored(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    from bench.methods.classical import ClassicalMethod

    def wrong(self: Detector, device: str) -> None:
        raise BenchError("bright: knows 2 classes (cat, dog, …), expected 2 (square, disc, …)")

    restored: list[object] = []
    monkeypatch.setattr(Bright, "load", wrong)
    monkeypatch.setattr(ClassicalMethod, "restore", lambda self, images, seeds=None: restored.append(1) or images)
    with pytest.raises(BenchError, match="knows 2 classes"):
        run(place)
    assert not restored


def test_a_detector_that_is_not_free_for_commercial_use_is_refused_where_that_is_asked(place: Path):
    write(place, more="detection: {detector: yolo11n}")
    with pytest.raises(BenchError, match=r"detector 'yolo11n' has the licence AGPL-3.0, refused by --commercial-safe"):
        steps.run(Request("boxes.yaml", commercial_safe=True))


def test_without_a_suite_boxes_cannot_be_scored():
    with pytest.raises(BenchError, match="ap50: holds boxes against a dataset's annotation"):
        ask(["ap50"])


def test_the_view_of_a_protocol_moves_no_box():
    metric = build_metric(registry("metric").get("ap50"), {"crop": 4}, {})
    assert metric.view.crop == 0


def test_a_protocol_chooses_the_part_and_the_signature_names_it(place: Path):
    text = (
        "schema: 1\ndatasets: [{dataset: exdark, options: {root: set}}]\nmethods: [identity]\n"
        "metrics: [{ap50: {per-class: true}}]\ndetection: {detector: yolox-nano, protocol: exdark/official}\n"
        "published: iqpir/table10\n"
    )
    for name, part in (("2015_00001", 1), ("2015_00002", 2), ("2015_00003", 3)):
        target = place / "set" / "ExDark" / "Bicycle" / f"{name}.JPEG"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(target)
        with (place / "set" / "imageclasslist.txt").open("a") as stream:
            stream.write(f"{name}.JPG 1 1 1 {part}\n")
        label = place / "home" / "annotations" / "ExDark_Annno.zip" / f"{name}.jpg.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("% bbGt version=3\nBicycle 1 1 4 4 0 0 0 0 0 0 0\n")
    resolved = resolve(definition.parse(text))
    [dataset] = resolved.datasets
    assert [item.id.rpartition("/")[2] for item in dataset.dataset.items] == ["2015_00003"]
    assert dataset.annotations is not None and len(dataset.annotations.boxes) == 1
    assert all("|split:exdark/official|" in metric.signature for metric in dataset.metrics)
    # Twelve classes and their mean are the columns of table 10.
    columns = {published.canonical(metric.label) for metric in dataset.metrics}
    table = published.load("iqpir/table10")
    assert {published.canonical(metric) for metric in table.metrics} == columns and len(columns) == 13
    own = resolve(definition.parse(text.replace("{root: set}", "{root: set, part: val}")))
    assert "|split:own|" in own.datasets[0].metrics[0].signature


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
def test_the_shipped_suite_runs_on_real_photographs(place: Path):
    from bench.fetch.fetch import fetch
    from bench.planning.bind import assets_of

    fetch(assets_of("exdark-lite"), mirror=Path(str(MIRROR)), progress=False, say=lambda _: None)
    summary = steps.run(Request("exdark-lite", methods=("identity", "clahe")))
    assert summary.failed == 0
    values = {(cell.method, cell.column.label): cell.value for cell in read(place, summary.run).cells}
    assert values["Input", "ap50/cat"] is None
    assert values["clahe", "ap50/people"] > values["Input", "ap50/people"] > 30

"""Detectors: options, hashes before anything is unpickled, and YOLOX held to its authors' steps by other libraries."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.boxes import scale_to, translation
from bench.detection.detector import build_detector, letterbox, suppress
from bench.detection.yolox import decoded
from bench.errors import BenchError, MissingFile
from bench.fetch.fetch import fetch

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")


def boxes(draw: np.random.Generator, count: int) -> np.ndarray:
    corners = draw.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + draw.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)


def test_suppression_is_torchvisions_batched_nms():
    import torchvision

    draw = np.random.default_rng(0)
    for overlap in (0.3, 0.65):
        found, scores, classes = boxes(draw, 200), draw.uniform(size=200).astype(np.float32), draw.integers(0, 3, 200)
        tensors = (torch.from_numpy(each) for each in (found, scores, classes))
        expected = torchvision.ops.batched_nms(*tensors, overlap).numpy()
        assert suppress(found, scores, classes, overlap).tolist() == expected.tolist()


def test_the_output_is_decoded_cell_by_cell():
    size, output = 64, np.zeros((64 + 16 + 4, 7), np.float32)
    output[:, 4] = 0.0
    output[64 + 6] = [0.5, 0.25, np.log(2), np.log(1.5), 0.9, 0.2, 0.8]  # stride 16, second row, third column
    [row] = decoded(output, size, conf=0.5, nms=0.65, keep=10, ratio=0.5)
    x, y, width, height = (2 + 0.5) * 16, (1 + 0.25) * 16, 32, 24
    corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) / 0.5
    assert row == pytest.approx([*corners, 0.72, 1], rel=1e-6)
    assert decoded(output, size, conf=0.73, nms=0.65, keep=10, ratio=0.5).shape == (0, 6)


def test_an_image_is_fitted_into_the_top_left():
    image = np.full((100, 50, 3), 7, np.uint8)
    square, ratio = letterbox(image, 64)
    assert ratio == 0.64 and square.shape == (64, 64, 3)
    assert (square[:, :32] == 7).all() and (square[:, 32:] == 114).all()


@needs_mirror
def test_yolox_sees_bgr_and_finds_what_its_authors_steps_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    detector = build_detector("yolox-nano", {}, [], None)
    with pytest.raises(MissingFile, match="bench fetch yolox-nano"):
        detector.load("cpu")
    fetch(detector.assets(), mirror=Path(str(MIRROR)), progress=False, say=lambda _: None)
    detector.load("cpu")
    image = np.asarray(Image.open(Path(str(MIRROR)) / "data/exdark/images/2015_02243.jpg").convert("RGB"))
    found = detector.detect(image)
    assert found.dtype == np.float32 and (np.diff(found[:, 4]) <= 0).all()
    best = {detector.classes[int(row[5])]: row for row in found[found[:, 4] > 0.3]}
    assert {"bus", "car"} <= set(best)
    # The annotation: Bus 204 62 561 348, Car 84 223 58 86.
    assert best["bus"][:4] == pytest.approx([204, 62, 765, 410], abs=20)
    assert best["car"][:4] == pytest.approx([84, 223, 142, 309], abs=20)

    import onnxruntime

    session = onnxruntime.InferenceSession(str(detector.assets()[0].path), providers=["CPUExecutionProvider"])
    ratio = 416 / image.shape[1]
    shape = (416, int(image.shape[0] * ratio))
    padded = np.full((416, 416, 3), 114, np.float32)
    padded[: shape[1]] = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), shape, interpolation=cv2.INTER_LINEAR)
    [raw] = session.run(None, {"images": padded.transpose(2, 0, 1)[None]})[0]
    places = [(x, y, step) for step in (8, 16, 32) for y in range(416 // step) for x in range(416 // step)]
    place = int((raw[:, 4] * raw[:, 5:].max(axis=1)).argmax())
    x, y, step = places[place]
    middle, side = (raw[place, :2] + [x, y]) * step, np.exp(raw[place, 2:4]) * step
    assert found[0, :4] == pytest.approx(np.concatenate([middle - side / 2, middle + side / 2]) / ratio, abs=0.01)
    assert detector.classes[int(found[0, 5])] == "bus"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("yolox-nono", {}, "unknown detector 'yolox-nono'; did you mean 'yolox-nano'"),
        ("yolox-nano", {"sise": 1}, "has no option 'sise'; did you mean 'size'"),
        ("yolox-nano", {"conf": 2}, "conf 2 is not between 0 and 1"),
        ("yolox-nano", {"size": 416.0}, "size 416.0 is not a whole number"),
        ("yolox-nano", {"classes": "coco"}, "classes are a list of names, or the word dataset"),
        ("ultralytics", {}, "needs the option weights"),
    ],
)
def test_a_wrong_request_is_one_line(name, options, said):
    with pytest.raises(BenchError, match=said) as caught:
        build_detector(name, options, [], None)
    assert "\n" not in str(caught.value)


def test_nothing_is_unpickled_without_its_hash(tmp_path: Path):
    file = tmp_path / "mine.pt"
    file.write_bytes(b"a pickle that must not be opened")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(BenchError, match=f"state its hash beside it: sha256: {sha256}"):
        build_detector("ultralytics", {"weights": str(file)}, ["a"], None).load("cpu")
    with pytest.raises(BenchError, match=f"has sha256 {sha256}, not the stated 0000"):
        build_detector("ultralytics", {"weights": str(file), "sha256": "0" * 64}, ["a"], None).load("cpu")


def test_everything_that_decides_a_box_is_in_the_signature(tmp_path: Path):
    file = tmp_path / "mine.pt"
    file.write_bytes(b"weights")

    def fields(**options: object) -> list[tuple[str, object]]:
        return build_detector("ultralytics", {"weights": str(file), **options}, ["a", "b"], None).fields()

    usual = fields()
    assert dict(usual)["det"] == f"ultralytics@{hashlib.sha256(b'weights').hexdigest()[:8]}"
    for option in ({"size": 320}, {"conf": 0.3}, {"nms": 0.5}, {"keep": 5}, {"classes": ["b", "a"]}):
        assert fields(**option) != usual, option
    file.write_bytes(b"other weights")
    assert fields() != usual


def test_classes_meet_by_name_and_synonym_and_a_missing_one_is_named():
    coco = build_detector("yolox-nano", {}, [], None).classes
    exdark = ("Bicycle", "Boat", "Bottle", "Bus", "Car", "Cat", "Chair", "Cup", "Dog", "Motorbike", "People", "Table")
    # COCO's numbers of ExDark's classes, counted from 0.
    numbers = [1, 8, 39, 5, 2, 15, 56, 41, 16, 3, 0, 60]
    ours = translation(exdark, coco, "it")
    assert [int(ours[number]) for number in numbers] == list(range(12)) and (ours >= 0).sum() == 12
    with pytest.raises(BenchError, match="it has no class for Lantern of the annotation"):
        translation(("Car", "Lantern"), coco, "it")


def test_boxes_of_an_enlarged_or_resized_output_come_back_to_the_inputs_pixels():
    found = np.array([[20.0, 40, 60, 80, 0.5, 1]])
    assert scale_to(found, (200, 400), (100, 200), 2)[0].tolist() == [10, 20, 30, 40, 0.5, 1]
    assert scale_to(found, (196, 396), (100, 200), 2)[0].tolist() == [10, 20, 30, 40, 0.5, 1]  # cropped, not resized
    assert scale_to(found, (50, 400), (100, 200), None)[0].tolist() == [10, 80, 30, 160, 0.5, 1]


def test_ultralytics_is_imported_only_when_it_is_named():
    program = (
        "import sys\nfrom bench.detection.detector import build_detector\n"
        "build_detector('yolox-nano', {}, [], None).fields(); build_detector('yolo11n', {}, [], None).fields()\n"
        "assert not {'ultralytics', 'torch', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

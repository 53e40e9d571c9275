"""Training a detector of ultralytics on given images: from published weights, or an architecture from scratch.

Plain on purpose: the library's own defaults for everything that a `Recipe` does not name, the last epoch's weights
(nothing is chosen by looking at other images), and one file per key, so that a detector is trained once.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.boxes import Boxes
from bench.detection.detector import Detector
from bench.detection.yolo import Yolo, folder, library, numerics
from bench.errors import BenchError, one_line
from bench.identity import digest, file_hash


@dataclass(frozen=True)
class Recipe:
    """What decides a training beside its images and the weights it starts from."""

    epochs: int
    size: int
    batch: int
    seed: int

    def text(self) -> str:
        """As signatures write it."""
        return f"each-method,epochs={self.epochs},size={self.size},batch={self.batch},seed={self.seed}"


class Trained(NamedTuple):
    """A trained detector's file."""

    path: Path
    sha256: str


class Example(NamedTuple):
    """One image to learn from."""

    name: str
    pixels: np.ndarray
    """uint8 [H,W,3] RGB."""
    boxes: Boxes
    """In its pixels."""


def key_of(detector: Detector, recipe: Recipe, members: Iterable[bytes], truth: str, device: str) -> str:
    """Names a training: the weights it starts from, the recipe, the images with their annotation, the library."""
    import importlib.metadata

    versions = {name: importlib.metadata.version(name) for name in ("ultralytics", "torch")}
    images = sorted(member.hex() for member in members)
    start = [detector.weights.tag(), list(detector.classes)]
    return digest(["detector", 1, start, asdict(recipe), images, truth, versions, device.split(":")[0]]).hex()


def find(key: str) -> Trained | None:
    """The detector that was trained under a key; None where there is none. Raises `BenchError` for a changed file."""
    path, note = folder() / f"{key}.pt", folder() / f"{key}.json"
    if not path.is_file() or not note.is_file():
        return None
    sha256 = str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    if file_hash(path) != sha256:
        raise BenchError(f"{path} has changed since it was trained: delete it, and it is trained again")
    return Trained(path, sha256)


def train(
    detector: Detector, recipe: Recipe, examples: Iterable[Example], key: str, device: str, told: Mapping[str, Any]
) -> Trained:
    """Train, and keep the weights under their key; `told` is written beside them. Raises `BenchError`."""
    if not isinstance(detector, Yolo):
        raise BenchError(f"detector {detector.name!r} cannot be trained here: finetune needs one of ultralytics")
    start = detector.weights.architecture or str(detector.weights.trusted())
    with tempfile.TemporaryDirectory() as place, numerics():
        root = Path(place)
        _lay_out(root, examples, detector.classes)
        try:
            model = library().YOLO(start, task="detect")
            model.train(
                data=str(root / "data.yaml"), epochs=recipe.epochs, imgsz=recipe.size, batch=recipe.batch,
                seed=recipe.seed, deterministic=True, device=device, workers=0, amp=False, val=False, plots=False,
                verbose=False, save=True, exist_ok=True, project=str(root), name="run",
            )  # fmt: skip
        except Exception as error:
            raise BenchError(f"detector {detector.name!r} cannot be trained: {one_line(error)}") from error
        folder().mkdir(parents=True, exist_ok=True)
        part = folder() / f".{key}.part"
        shutil.copyfile(root / "run" / "weights" / "last.pt", part)
    made = Trained(folder() / f"{key}.pt", file_hash(part))
    note = {"sha256": made.sha256, "start": start, "recipe": asdict(recipe), **told}
    (folder() / f"{key}.json").write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(made.path)
    return made


def _lay_out(root: Path, examples: Iterable[Example], classes: Sequence[str]) -> None:
    """The images as PNG and their labels, as ultralytics reads them."""
    import yaml
    from PIL import Image

    images, labels = root / "images", root / "labels"
    images.mkdir()
    labels.mkdir()
    count = 0
    for count, one in enumerate(examples, start=1):
        name = f"{count:06d}"
        Image.fromarray(one.pixels).save(images / f"{name}.png", compress_level=1)
        height, width = one.pixels.shape[:2]
        lines = []
        for corners, kind, ignored in zip(one.boxes.corners, one.boxes.classes, one.boxes.ignored, strict=True):
            left, top, right, bottom = np.clip(corners / [width, height, width, height], 0, 1)
            if not ignored and right > left and bottom > top:
                middle = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
                lines.append(" ".join([str(int(kind)), *(f"{value:.9f}" for value in middle)]))
        (labels / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not count:
        raise BenchError("no image to train on")
    names = dict(enumerate(classes))
    told = {"path": str(root), "train": "images", "val": "images", "names": names}
    (root / "data.yaml").write_text(yaml.safe_dump(told, allow_unicode=True), encoding="utf-8")

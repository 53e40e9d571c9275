"""Any detector that ultralytics runs: YOLOv3 to YOLO11 and later, RT-DETR.

ultralytics is AGPL-3.0, unpickles its weights, writes settings into the user's home, asks its servers for updates and
sends usage events. It is imported only when such a detector is named; then the file's hash must be stated, and the
rest is switched off before the import.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import paths
from bench.data.boxes import plain
from bench.detection.detector import Detector
from bench.errors import BenchError, MissingFile, one_line

_QUIET = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}


def library() -> Any:
    """The module `ultralytics`: offline, silent, its settings below the cache folder."""
    import sys

    if "ultralytics" not in sys.modules:
        settings = paths.home() / "ultralytics"
        settings.mkdir(parents=True, exist_ok=True)
        os.environ.update({**_QUIET, "YOLO_CONFIG_DIR": str(settings)})
    try:
        import ultralytics
    except ImportError as error:
        raise MissingFile(f"this detector needs the package ultralytics (AGPL-3.0): {one_line(error)}") from error
    from ultralytics import utils

    utils.ONLINE = False
    utils.AUTOINSTALL = False
    utils.LOGGER.setLevel("ERROR")
    if utils.SETTINGS.get("sync"):
        utils.SETTINGS.update({"sync": False})
    from ultralytics.utils.events import events

    events.enabled = False
    return ultralytics


class Yolo(Detector):
    """A network of ultralytics, called through its `predict` on BGR arrays, as it expects them."""

    _model: Any = None
    _device: str = "cpu"

    def load(self, device: str) -> None:
        if self.weights.architecture is not None:
            raise BenchError(f"{self.name}: {self.weights.architecture} is a network without weights: add finetune:")
        path = self.weights.trusted()
        with numerics():
            try:
                model = library().YOLO(str(path), task="detect")
            except BenchError:
                raise
            except Exception as error:  # whatever a foreign file makes of the library
                raise BenchError(f"{self.name}: {path} cannot be loaded: {one_line(error)}") from error
        names = tuple(model.names[place] for place in sorted(model.names))
        if [plain(name) for name in names] != [plain(name) for name in self.classes]:
            raise BenchError(
                f"{self.name}: {path} knows {len(names)} classes ({', '.join(names[:4])}, …), expected "
                f"{len(self.classes)} ({', '.join(self.classes[:4])}, …): state them with the option classes"
            )
        self._model, self._device = model, device

    def detect(self, image: np.ndarray) -> np.ndarray:
        chosen = self.settings
        with numerics():
            [result] = self._model.predict(
                np.ascontiguousarray(image[:, :, ::-1]), imgsz=chosen.size, conf=chosen.conf, iou=chosen.nms,
                max_det=chosen.keep, device=self._device, verbose=False, save=False, half=False,
            )  # fmt: skip
        found = result.boxes.data.detach().cpu().numpy().astype(np.float32)[:, :6]
        return found[np.argsort(-found[:, 4], kind="stable")]


@contextlib.contextmanager
def numerics() -> Iterator[None]:
    """ultralytics changes torch's number of threads and its determinism; the rest of a run must not notice."""
    import torch

    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def folder() -> Path:
    """Where trained detectors lie."""
    return paths.home() / "detectors"

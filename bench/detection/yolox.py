"""YOLOX exported to ONNX, run by onnxruntime on one thread of the CPU.

Input: BGR, 0 to 255, not normalised, top left in a square of 114. Output: boxes as offsets within the cells of three
grids, one class per box. As YOLOX's own evaluation has it (Megvii-BaseDetection/YOLOX, yolox/utils/boxes.py).
"""

from __future__ import annotations

import numpy as np

from bench.detection.detector import Detector, letterbox, suppress
from bench.errors import BenchError, one_line

STRIDES = (8, 16, 32)


class Yolox(Detector):
    """Any YOLOX network whose file has one input [1,3,S,S] and one undecoded output [1,N,5+classes]."""

    _session: object = None

    def load(self, device: str) -> None:
        import onnxruntime

        path, size = self.weights.here(), self.settings.size
        if self.weights.asset is not None and self.weights.asset.verify().status == "wrong":
            raise BenchError(f"{self.name}: {path} is not the pinned file: bench fetch {self.name} brings it")
        chosen = onnxruntime.SessionOptions()
        chosen.intra_op_num_threads = chosen.inter_op_num_threads = 1  # a value may not depend on the machine's cores
        chosen.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no public base
            raise BenchError(f"{self.name}: {path} cannot be loaded: {one_line(error)}") from error
        shapes = [one.shape for one in (*session.get_inputs(), *session.get_outputs())]
        cells = sum((size // stride) ** 2 for stride in STRIDES)
        wanted = [[1, 3, size, size], [1, cells, 5 + len(self.classes)]]
        if len(shapes) != 2 or any(
            isinstance(side, int) and side != there
            for shape, want in zip(shapes, wanted, strict=True)
            for side, there in zip(shape, want, strict=len(shape) == len(want))
        ):
            raise BenchError(
                f"{self.name}: {path} takes and gives {shapes}, not {wanted} (size {size}, {len(self.classes)} classes)"
            )
        self._session = session

    def detect(self, image: np.ndarray) -> np.ndarray:
        square, ratio = letterbox(image[:, :, ::-1], self.settings.size)
        planes = np.ascontiguousarray(square.transpose(2, 0, 1), np.float32)[None]
        session = self._session
        [output] = session.run(None, {session.get_inputs()[0].name: planes})  # type: ignore[attr-defined]
        return decoded(output[0], self.settings.size, self.settings.conf, self.settings.nms, self.settings.keep, ratio)


def decoded(output: np.ndarray, size: int, conf: float, nms: float, keep: int, ratio: float) -> np.ndarray:
    """The network's output [N,5+C] as detections [K,6] in the pixels of an image that was scaled by `ratio`."""
    steps = np.concatenate([np.full((size // stride) ** 2, stride, np.float32) for stride in STRIDES])
    cells = np.concatenate([_cells(size // stride) for stride in STRIDES])
    centres = (output[:, :2] + cells) * steps[:, None]
    sides = np.exp(output[:, 2:4]) * steps[:, None]
    best = output[:, 5:].argmax(axis=1)
    scores = output[:, 4] * output[np.arange(len(output)), 5 + best]
    likely = np.flatnonzero(scores >= conf)
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)[likely] / np.float32(ratio)
    kept = suppress(boxes, scores[likely], best[likely], nms)[:keep]
    parts = (boxes[kept], scores[likely][kept, None], best[likely][kept, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def _cells(side: int) -> np.ndarray:
    """(column, row) of every cell of a square grid, row by row: float32 [side²,2]."""
    rows, columns = np.mgrid[0:side, 0:side]
    return np.stack([columns, rows], axis=2).reshape(-1, 2).astype(np.float32)

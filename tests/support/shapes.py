"""Generated photographs for detectors: dark noise with squares and discs, and their boxes as YOLO labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ["square", "disc"]
NETWORK = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [64, 3, 1]]
head:
  - [[3], 1, Detect, [nc]]
"""
"""The least of ultralytics' networks that learns these shapes: yolo11n takes ten times as long for it."""
_COLOURS = ((200, 60, 60), (60, 200, 60))


def shape_image(draw: np.random.Generator, side: int = 64) -> tuple[np.ndarray, list[list[float]]]:
    """uint8 [side,side,3] with one or two shapes, and (class, left, top, right, bottom) of each."""
    image = draw.integers(0, 40, (side, side, 3)).astype(np.uint8)
    down, across = np.mgrid[0:side, 0:side] + 0.5
    rows: list[list[float]] = []
    for _ in range(draw.integers(1, 3)):
        kind, size = int(draw.integers(2)), int(draw.integers(20, 32))
        left, top = (int(value) for value in draw.integers(0, side - size, 2))
        x, y = across - left - size / 2, down - top - size / 2
        inside = np.maximum(abs(x), abs(y)) <= size / 2 if kind == 0 else x**2 + y**2 <= (size / 2) ** 2
        image[inside] = _COLOURS[kind]
        rows.append([kind, left, top, left + size, top + size])
    return image, rows


def write_shapes(folder: Path, count: int, seed: int, side: int = 64) -> None:
    """`images/*.png` and `labels/*.txt` below a folder."""
    draw = np.random.default_rng(seed)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(count):
        image, rows = shape_image(draw, side)
        Image.fromarray(image).save(folder / "images" / f"{index:03d}.png")
        parts = (
            (kind, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            for kind, left, top, right, bottom in rows
        )
        lines = [" ".join([str(kind), *(str(value / side) for value in box)]) for kind, *box in parts]
        (folder / "labels" / f"{index:03d}.txt").write_text("\n".join(lines) + "\n")


def suite_text(folder: Path, epochs: int, methods: str, size: int = 64) -> str:
    """A suite that trains `NETWORK` from scratch on `folder/train` and tests it on `folder/test`."""
    network = folder / "small.yaml"
    network.write_text(NETWORK)

    def options(part: str) -> str:
        annotations = f"{{format: yolo, path: {folder / part / 'labels'}, classes: [{', '.join(CLASSES)}]}}"
        return f"{{lq: {folder / part / 'images'}, annotations: {annotations}}}"

    return f"""
schema: 1
datasets: [{{dataset: folder, label: shapes, options: {options("test")}}}]
methods: {methods}
metrics: [{{ap50: {{per-class: true}}}}, ap50-95]
detection:
  detector: ultralytics
  options: {{weights: {network}, size: {size}}}
  finetune: {{epochs: {epochs}, size: {size}, batch: 16, seed: 0, train: {options("train")}}}
"""

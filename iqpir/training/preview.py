"""`python -m iqpir.training.preview OUT.png [FOLDER]`: what a network would be trained on, as one picture.

Upper rows: images, generated or of a folder. Lower rows: one column per degradation, images above their versions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from iqpir.errors import ImageFailure, IQPIRError
from iqpir.training.batch_loading import PairedTraining
from iqpir.training.crop_dataset import GENERATED, TrainingImages
from iqpir.training.degrade import KINDS, degradation

SIDE = 128
COLUMNS = 12
"""Images a row; pairs need two."""


def preview(images: TrainingImages, rows: int = 4) -> np.ndarray:
    """uint8 RGB [H,W,3]: `rows` rows of images, then a row per degradation, with 6 images beside their versions."""
    grid = [[_pixels(images[row * COLUMNS + column]["gt"]) for column in range(COLUMNS)] for row in range(rows)]
    for place, kind in enumerate(KINDS):
        data = PairedTraining(images, degradation(kind))
        first = (rows + place) * COLUMNS
        found = [data[first + column] for column in range(COLUMNS // 2)]
        row = [_pixels(pair[side]) for pair in found for side in ("gt", "lq")]
        cv2.putText(row[0], kind, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(row[0], kind, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        grid.append(row)
    return np.concatenate([np.concatenate(row, axis=1) for row in grid], axis=0)


def _pixels(image: Tensor) -> np.ndarray:
    pixels: np.ndarray = (image.numpy().transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.pad(pixels[1:-1, 1:-1], ((1, 1), (1, 1), (0, 0)), constant_values=255))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (1, 2) or not arguments[0].lower().endswith(".png"):
        sys.stderr.write("usage: python -m iqpir.training.preview OUT.png [FOLDER OF IMAGES]\n")
        return 2
    source = Path(arguments[1]) if len(arguments) == 2 else GENERATED
    try:
        grid = preview(TrainingImages(source, crop=SIDE))
        if not cv2.imwrite(arguments[0], grid[:, :, ::-1]):
            raise IQPIRError(f"{arguments[0]}: cannot be written")
    except (IQPIRError, ImageFailure) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

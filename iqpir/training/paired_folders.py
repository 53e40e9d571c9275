"""Paired folders for training: the same crop of both images, mirrored or not, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iqpir.errors import ImageFailure, IQPIRError, few
from iqpir.image_files import decode, find_images, read_bytes, to_tensor
from iqpir.training.common import Data
from iqpir.training.crop_dataset import refuse_test_photographs
from iqpir.training.stage_data import paired


class Batch(NamedTuple):
    lq: Tensor
    """float32 [B,3,h,w] in [0,1]."""
    gt: Tensor
    scores: Tensor
    """[B], of the GT images, in [0,1]."""


class Pairs:
    """The pairs of two folders, by path without suffix, in memory as 8 or 16 bits."""

    def __init__(self, lq: Path, gt: Path, scores: dict[str, float]) -> None:
        """`scores`: of the GT images, by their path below `gt` without suffix.

        Raises `IQPIRError` with a few names where a partner or a score is missing, or sizes differ.
        """
        paths = [find_images(folder) for folder in (lq, gt)]
        for each in paths:
            refuse_test_photographs(each)
        found = [_by_key(each, folder) for each, folder in zip(paths, (lq, gt), strict=True)]
        for name, without in (("GT", found[0].keys() - found[1].keys()), ("LQ", found[1].keys() - found[0].keys())):
            if without:
                raise IQPIRError(f"{lq} and {gt}: no {name} image for {few(sorted(without))}")
        self.names = sorted(found[0])
        unscored = [name for name in self.names if name not in scores]
        if unscored:
            raise IQPIRError(f"no score for {few(unscored)}: iqpir assess {gt} gives every GT image one")
        used = [scores[name] for name in self.names]
        if min(used) < 0 or max(used) > 1:
            raise IQPIRError(
                f"scores from {min(used):g} to {max(used):g}, and training takes [0,1]: iqpir assess {gt} makes such"
            )
        self.scores = torch.tensor(used)
        self._images = [tuple(self._read(one[name]) for one in found) for name in self.names]
        for name, (low, high) in zip(self.names, self._images, strict=True):
            if low.shape != high.shape:
                raise IQPIRError(f"{name}: LQ is {low.shape[1]}×{low.shape[0]}, GT {high.shape[1]}×{high.shape[0]}")

    @staticmethod
    def _read(path: Path) -> np.ndarray:
        try:
            return decode(read_bytes(path))
        except ImageFailure as error:
            raise IQPIRError(f"{path}: {error}") from error

    def __len__(self) -> int:
        return len(self.names)

    def check(self, crop: int) -> None:
        """Raise `IQPIRError` where an image is smaller than a crop."""
        sides = {name: min(low.shape[:2]) for name, (low, _) in zip(self.names, self._images, strict=True)}
        small = [name for name, side in sides.items() if side < crop]
        if small:
            most = min(sides.values())
            raise IQPIRError(f"a crop of {crop} does not fit into {few(small)}: take them out, or set crop to {most}")

    def batches(self, count: int, batch: int, crop: int, seed: int) -> Iterator[Batch]:
        """`count` batches of crops; every image once before any twice. The same seed gives the same batches."""
        self.check(crop)
        draw = np.random.default_rng(seed)
        order: list[int] = []
        for _ in range(count):
            while len(order) < batch:
                order += draw.permutation(len(self)).tolist()
            places, order = order[:batch], order[batch:]
            crops = [self._crop(place, crop, draw) for place in places]
            yield Batch(
                torch.stack([low for low, _ in crops]), torch.stack([high for _, high in crops]), self.scores[places]
            )

    def _crop(self, place: int, crop: int, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
        images = self._images[place]
        height, width = images[0].shape[:2]
        top, left = int(draw.integers(height - crop + 1)), int(draw.integers(width - crop + 1))
        mirrored = bool(draw.integers(2))
        low, high = (to_tensor(image[top : top + crop, left : left + crop]) for image in images)
        return (low.flip(2), high.flip(2)) if mirrored else (low, high)


class GeneratedPairs:
    """Pairs that a degradation makes of generated images, each with the score of its target."""

    def __init__(self, data: Data, crop: int) -> None:
        self._crop = crop
        self._pairs = paired(data, crop, degraded=True)

    def check(self, crop: int) -> None:
        assert crop == self._crop

    def batches(self, count: int, batch: int, crop: int, seed: int) -> Iterator[Batch]:
        """As those of `Pairs`; another seed begins elsewhere among the samples."""
        self.check(crop)
        size = len(self._pairs)
        first = seed * 7919
        for step in range(count):
            found = [self._pairs[(first + step * batch + place) % size] for place in range(batch)]
            lq, gt = (torch.stack([each[side] for each in found]) for side in ("lq", "gt"))
            yield Batch(lq, gt, torch.tensor([each["score"] for each in found], dtype=torch.float32))


AnyPairs = Pairs | GeneratedPairs


def _by_key(paths: list[Path], folder: Path) -> dict[str, Path]:
    """Images by their paths below the folder without suffix. Raises `IQPIRError` where two have one."""
    found: dict[str, Path] = {}
    for path in paths:
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise IQPIRError(f"{found[key]} and {path.name}: two images of one name (but for the suffix): keep one")
        found[key] = path
    return found

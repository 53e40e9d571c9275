"""From a stage's settings to the batches it is given: which samples, with which scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from iqpir.errors import IQPIRError, few
from iqpir.quality.files import read_scores
from iqpir.quality.prior import normalise
from iqpir.training.batch_loading import PairedTraining
from iqpir.training.common import WORDS, Data
from iqpir.training.crop_dataset import BLUR, NOISE, QUALITY, Flaw, TrainingImage, TrainingImages
from iqpir.training.degrade import degradation
from iqpir.training.degrade.scene import SceneParams

UNIT = (-0.5, 1.5)
"""Scores beyond this are not in [0,1]. A score outside the range that a prior was fitted to may lie a little beyond."""


def paired(data: Data, crop: int, *, degraded: bool, seed_offset: int = 0, above: float | None = None) -> Dataset[Any]:
    """The samples of a stage; with `degraded` false there is no LQ image.

    `above`: only samples whose score is strictly greater. Raises `IQPIRError` where images have no score, and where
    none is good enough.
    """
    images: TrainingImages | Scored = TrainingImages(
        data.source, crop=crop, count=data.count, seed=data.seed + seed_offset, flawed=data.flawed,
        shorter=data.shorter, cache=Path(data.cache) if data.cache else None, lq=data.lq if degraded else None,
        flaw_scale=data.flaw_scale, saturation=data.saturation, contrast=data.contrast, gamma=data.gamma,
        tint=data.tint, window=data.window, window_share=data.window_share,
    )  # fmt: skip
    if data.scores not in WORDS or above is not None:
        images = Scored(images, _by_file(data, images), above)
    return (
        PairedTraining(images, degradation(data.degradation))
        if degraded or (data.scene and data.lq is None)
        else images
    )


def _by_file(data: Data, images: TrainingImages) -> np.ndarray | None:
    """float32 scores of the folder's images, in their order; None where flaws are the scores."""
    if data.scores in WORDS:
        return None
    assert images.names is not None  # `Data` refuses a file for generated images
    file = read_scores(data.scores)
    if data.normalise:
        file = replace(file, scores=normalise(file.scores))
    found = file.of(images.names)
    if lacking := [name for name, score in zip(images.names, found, strict=True) if not np.isfinite(score)]:
        raise IQPIRError(
            f"data.scores: {data.scores} has no score for {len(lacking)} of {len(found)} images: {few(lacking)}; "
            f"iqpir assess {data.source} gives every image one, or take them out"
        )
    low, high = float(found.min()), float(found.max())
    if low < UNIT[0] or high > UNIT[1]:
        raise IQPIRError(
            f"data.scores: {data.scores} has scores from {low:g} to {high:g}, and training takes [0,1]: iqpir assess "
            "makes such a file, and data.normalise: true brings a higher-is-better column there"
        )
    return found.astype(np.float32)  # as a stage compares them with its threshold


class Scored(Dataset[TrainingImage]):
    """Images with the scores of a file, or those of them that are good enough; each keeps its own index."""

    def __init__(self, images: TrainingImages, by_file: np.ndarray | None, above: float | None) -> None:
        """`by_file`: scores of the folder's images; None: a sample's flaw is its score."""
        self.images, self.seed = images, images.seed
        self._scores = None if by_file is None else by_file[images.files()]
        self._places: np.ndarray | None = None
        if above is not None:
            scores = _flaw_scores(images) if self._scores is None else self._scores
            self._places = np.flatnonzero(scores > above)
            if not len(self._places):
                raise IQPIRError(
                    f"data.hq_only: none of {len(scores)} samples has a score greater than the threshold {above:g}, "
                    f"the best has {scores.max():.4g}: lower the network's threshold"
                )

    def __len__(self) -> int:
        return len(self.images) if self._places is None else len(self._places)

    def __getitem__(self, index: int) -> TrainingImage:
        place = index if self._places is None else int(self._places[index])
        sample = self.images[place]
        if self._scores is not None:
            sample["score"] = float(self._scores[place])
        return sample


def _flaw_scores(images: TrainingImages) -> np.ndarray:
    """The scores of all samples by their flaws, which are drawn without the images: 24 s for a million."""
    flaws = np.array([images.flaw(index) for index in range(len(images))])
    return quality_of(Flaw(*flaws.T), images.flaw_scale).numpy()


def collate(raw: Mapping[str, Any], data: Data, device: torch.device) -> dict[str, Any]:
    """A loader's batch as a stage takes it: gt, lq and clean in [-1,1], scores [B] or None, index [B]; of composite
    degradations steps [B,K,3,H,W] in [-1,1] and severity [B,K,kinds]; of scenes kind [B], places in `KINDS`."""
    batch: dict[str, Any] = {"index": torch.as_tensor(raw["index"]), "score": None}
    for key in ("gt", "lq", "clean", "steps", "behind"):
        if key in raw:
            batch[key] = raw[key].to(device) * 2 - 1
    if "severity" in raw:
        batch["severity"] = raw["severity"].to(device)
    if isinstance(raw.get("params"), SceneParams):
        batch["kind"] = raw["params"].kind.long().to(device)
    if data.scores == "flaw":
        batch["score"] = quality_of(raw["flaw"], data.flaw_scale).to(device)
    elif data.scores != "none":
        batch["score"] = torch.as_tensor(raw["score"], dtype=torch.float32).to(device)
    return batch


def quality_of(flaw: Flaw, scale: float = 1.0) -> Tensor:
    """A score in [0,1] for what was done to a crop, given as tensors [B]: 1 for nothing, 0 for the worst of all three.

    Each flaw takes up to a third away, in proportion to where it lies in its range, which is `scale` times the usual.
    It says nothing of content: it is the score of generated images, which no quality prior has judged.
    """
    blur, noise, quality = (torch.as_tensor(np.asarray(each), dtype=torch.float32) for each in flaw)
    shares = (blur / BLUR[1], noise / NOISE[1], (100 - quality) / (100 - QUALITY[0]))
    return 1 - torch.stack([(share / scale).clamp(0, 1) for share in shares]).mean(dim=0)

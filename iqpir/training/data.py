"""From a stage's settings to the batches it is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from iqpir.errors import IQPIRError
from iqpir.training.degrade import degradation
from iqpir.training.images import BLUR, NOISE, QUALITY, Flaw, TrainingImages
from iqpir.training.loading import PairedTraining
from iqpir.training.settings import Data


def paired(data: Data, crop: int, *, degraded: bool, seed_offset: int = 0) -> Dataset[Any]:
    """The samples of a stage; with `degraded` false there is no LQ image."""
    images = TrainingImages(
        data.source, crop=crop, count=data.count, seed=data.seed + seed_offset, flawed=data.flawed,
        shorter=data.shorter, cache=Path(data.cache) if data.cache else None,
    )  # fmt: skip
    return PairedTraining(images, degradation(data.degradation)) if degraded else images


def collate(raw: Mapping[str, Any], data: Data, device: torch.device) -> dict[str, Any]:
    """A loader's batch as a stage takes it: gt and lq in [-1,1], scores [B] or None, index [B]."""
    batch: dict[str, Any] = {"index": torch.as_tensor(raw["index"]), "score": None}
    for key in ("gt", "lq"):
        if key in raw:
            batch[key] = raw[key].to(device) * 2 - 1
    if data.scores == "flaw":
        batch["score"] = quality_of(raw["flaw"]).to(device)
    elif data.scores != "none":
        raise IQPIRError("data.scores: a CSV of scores is not read yet; use flaw or none")
    return batch


def quality_of(flaw: Flaw) -> Tensor:
    """A score in [0,1] for what was done to a crop, given as tensors [B]: 1 for nothing, 0 for the worst of all three.

    Each flaw takes up to a third away, in proportion to where it lies in its range. It says nothing of content: it is
    the score of generated images, which no quality prior has judged.
    """
    blur, noise, quality = (torch.as_tensor(np.asarray(each), dtype=torch.float32) for each in flaw)
    shares = (blur / BLUR[1], noise / NOISE[1], (100 - quality) / (100 - QUALITY[0]))
    return 1 - torch.stack([share.clamp(0, 1) for share in shares]).mean(dim=0)

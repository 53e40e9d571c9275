"""Training a quality network on people's ratings of images that the user has, in the form of the papers' MUSIQ-GFIQA.

Its authors published neither weights nor recipe. What comes out has their network and is another metric: its file is
signed by its hash, and its values stand beside theirs in no column.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from iqpir.errors import ImageFailure, IQPIRError, one_line
from iqpir.image_files import decode, find_images, read_bytes
from iqpir.quality.files import read_scores
from iqpir.quality.musiq_gfiqa import SIDE, MusiqGfiqa, parts
from iqpir.training.crop_dataset import refuse_test_photographs
from iqpir.training.strict import Strict, need
from iqpir.training.yaml_file import read_yaml

LIKE = ("musiq-gfiqa",)
"""Networks that can be trained so."""
_LEAST = 8
"""Rated images, of which an eighth is held out."""


@dataclass(frozen=True)
class RatedSettings(Strict):
    """What `iqpir train quality SETTINGS --like NAME` reads from its YAML file."""

    images: str
    """A folder of images, such as GFIQA-20k's."""
    ratings: str
    """A CSV of their names and scores. Scores are brought to 0 to 1 by the lowest and the highest."""
    column: str | None = None
    """Which column, where the file has several."""
    backbone: str | None = None
    """torchvision's ResNet-50 file to start from; without, from nothing, which takes far more images."""
    steps: int = 20000
    batch: int = 8
    rate: float = 1e-4
    """Learning rate of Adam, a tenth of it for a backbone that is given, falling to nothing along a cosine."""
    held_out: int = 8
    """Every so manieth image, by name, is not trained on."""
    seed: int = 0

    def __post_init__(self) -> None:
        need(self.steps > 0 and self.batch > 0, "steps and batch: at least 1")
        need(0 < self.rate < 1, "rate: a number in (0,1)")
        need(self.held_out >= 2, "held_out: at least 2, every second image")

    @classmethod
    def load(cls, path: Path) -> RatedSettings:
        """From YAML, read as data; paths are relative to the file. Raises `IQPIRError`."""
        try:
            found = cls.from_dict(read_yaml(path) or {})
        except IQPIRError as error:
            raise IQPIRError(f"{path}: {error}") from error
        placed: dict[str, Any] = {
            name: str(path.parent / value)
            for name in ("images", "ratings", "backbone")
            if (value := getattr(found, name)) is not None
        }
        return replace(found, **placed)


class RatedImages:
    """Images with a rating each, of which some are held out."""

    def __init__(self, settings: RatedSettings) -> None:
        folder, ratings = Path(settings.images), Path(settings.ratings)
        if not folder.is_dir():
            raise IQPIRError(f"{folder}: there is no such folder of images")
        file = read_scores(ratings, settings.column)
        paths = sorted(find_images(folder))
        refuse_test_photographs(paths)
        scores = file.of([path.relative_to(folder).as_posix() for path in paths])
        rated = [(path, float(score)) for path, score in zip(paths, scores, strict=True) if np.isfinite(score)]
        self.without = len(paths) - len(rated)
        """Images that have no rating, and are left out."""
        if len(rated) < _LEAST:
            raise IQPIRError(f"{ratings}: rates {len(rated)} of the images of {folder}; {_LEAST} are the least")
        lowest, highest = (pick(score for _, score in rated) for pick in (min, max))
        if lowest == highest:
            raise IQPIRError(f"{ratings}: all {len(rated)} images are rated {lowest:g}: there is nothing to learn")
        plain = [(path, (score - lowest) / (highest - lowest)) for path, score in rated]
        self.held_out = plain[:: settings.held_out]
        self.train = [one for number, one in enumerate(plain) if number % settings.held_out]


class TrainedRater(NamedTuple):
    network: MusiqGfiqa
    errors: list[float]
    """Mean absolute error of each step's batch, before the step."""
    agreement: float
    """Spearman's correlation with the ratings of the held-out images."""
    held_out: int
    without: int
    """Images that have no rating, and were left out."""

    def save(self, path: Path, settings: RatedSettings) -> None:
        """In the form of the authors' checkpoint, which `{musiq-g: {weights: FILE}}` takes."""
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {"epoch": settings.steps, **parts(copy.deepcopy(self.network).cpu()), "settings": settings.as_dict()}
        part = path.with_name(f".{path.name}.part")
        torch.save(held, part)
        part.replace(path)


def train_rater(
    settings: RatedSettings, *, device: str = "cpu", progress: Callable[[int, float], None] | None = None
) -> TrainedRater:
    """A network trained on the ratings; the same settings give the same weights on the same machine."""
    from scipy.stats import spearmanr

    rated = RatedImages(settings)
    network = _network(settings).to(device)
    groups = [
        {"params": network.regression.parameters(), "lr": settings.rate},
        {"params": network.backbone.parameters(), "lr": settings.rate * (0.1 if settings.backbone else 1)},
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    rng = np.random.default_rng(settings.seed)
    errors: list[float] = []
    for step in range(1, settings.steps + 1):
        chosen = [rated.train[place] for place in rng.integers(len(rated.train), size=settings.batch)]
        images = torch.cat([_image(path, flip=bool(rng.random() < 0.5)) for path, _ in chosen]).to(device)
        target = torch.tensor([score for _, score in chosen], dtype=torch.float32, device=device)
        network.train()
        if settings.backbone:
            network.backbone.eval()  # batches are too small for statistics of their own
        loss = nn.functional.l1_loss(network(images), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        errors.append(float(loss.detach()))
        if progress:
            progress(step, errors[-1])
    network.eval()
    with torch.no_grad():
        found = [float(network(_image(path).to(device))[0]) for path, _ in rated.held_out]
    order = float(spearmanr(found, [score for _, score in rated.held_out]).statistic)
    return TrainedRater(network, errors, order, len(rated.held_out), rated.without)


def _network(settings: RatedSettings) -> MusiqGfiqa:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        network = MusiqGfiqa()
        encoder = network.regression.transformer.encoder
        for tensor in (
            encoder.pos_embedding,
            encoder.cls_token,
            encoder.scale_org_embedding,
            encoder.scale_1_embedding,
        ):
            nn.init.trunc_normal_(tensor, std=0.02)
    if settings.backbone:
        try:
            state = torch.load(settings.backbone, map_location="cpu", weights_only=True)
            state = {name: value for name, value in state.items() if not name.startswith("fc.")}
            network.backbone.load_state_dict(state)
        except Exception as error:  # the unpickler raises whatever a broken file makes it raise
            raise IQPIRError(f"{settings.backbone}: is no ResNet-50 of torchvision: {one_line(error, 160)}") from error
    return network


def _image(path: Path, *, flip: bool = False) -> Tensor:
    """float32 [1,3,512,512] in [0,1], brought to that size as the metric brings it."""
    try:
        pixels = decode(read_bytes(path))
    except ImageFailure as error:
        raise IQPIRError(f"{path}: {error}") from error
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if pixels.shape[:2] != (SIDE, SIDE):
        pixels = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    pixels = pixels[:, ::-1] if flip else pixels
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255)[None]

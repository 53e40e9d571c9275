"""Training of the small no-reference quality network, on generated distortions of generated images.

The target is full-reference: structural similarity of the distorted image to the one it came from. How far the network
agrees with full-reference metrics on photographs it has never seen is measured apart, by `agreement`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from iqpir.errors import IQPIRError, suggest
from iqpir.quality.tiny import LEAST, TinyQuality
from iqpir.training.batch_loading import training_loader
from iqpir.training.crop_dataset import Flaw, TrainingImages, add_flaw
from iqpir.training.degrade.base import log_uniform, uniform
from iqpir.training.settings import recipe
from iqpir.training.yaml_file import read_yaml

_DISTORT = 5
DISTORTIONS = ("blur", "noise", "jpeg", "resize")


@dataclass(frozen=True)
class QualitySettings:
    """What `iqpir train quality` reads from its YAML file; every key may be left out."""

    source: str = "generated"
    """Or a folder of good images."""
    steps: int = 1200
    batch: int = 24
    crop: int = 96
    rate: float = 1e-3
    """Learning rate of Adam, falling to nothing along a cosine."""
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.source, str):
            raise IQPIRError(f"source is {self.source!r}; it is generated, or a folder")
        for name, low in (("steps", 1), ("batch", 2), ("crop", LEAST), ("seed", 0), ("workers", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise IQPIRError(f"{name} is {value!r}; it must be a whole number, {low} or more")
        if not isinstance(self.rate, float) or not 0 < self.rate < 1:
            raise IQPIRError(f"rate is {self.rate!r}; it must be a number in (0,1)")

    @classmethod
    def load(cls, path: Path) -> QualitySettings:
        """From YAML, read as data, or from a recipe's section `quality`.

        Raises `IQPIRError` with the nearest key for one that does not exist.
        """
        sections = recipe(path)
        content = (read_yaml(path) or {}) if sections is None else sections.get("quality", {})
        known = [field.name for field in fields(cls)]
        if not isinstance(content, Mapping):
            raise IQPIRError(f"{path}: settings are a mapping with the keys {', '.join(known)}")
        if unknown := [key for key in content if key not in known]:
            raise IQPIRError(f"{path}: no key {unknown[0]!r}{suggest(str(unknown[0]), known)}")
        try:
            settings = cls(**content)
        except IQPIRError as error:
            raise IQPIRError(f"{path}: {error}") from error
        return settings.placed(path.parent)

    def placed(self, base: Path) -> QualitySettings:
        """With a folder that begins where the settings' file lies."""
        return self if self.source == "generated" else replace(self, source=str(base / self.source))


class Distortion(NamedTuple):
    """How an image was spoiled: resized first, then the flaw."""

    ratio: float
    """Factor by which it was made smaller, and then large again; 1 for none."""
    flaw: Flaw


def draw_distortion(rng: np.random.Generator, kinds: Sequence[str] | None = None) -> Distortion:
    """Of the kinds named, else of none in a tenth of the draws, one in about half, and two in the rest."""
    if kinds is None:
        count = int(rng.choice(3, p=(0.1, 0.55, 0.35)))
        kinds = rng.choice(DISTORTIONS, size=count, replace=False).tolist()
    return Distortion(
        log_uniform(rng, (1.2, 6.0)) if "resize" in kinds else 1.0,
        Flaw(
            log_uniform(rng, (0.4, 4.0)) if "blur" in kinds else 0.0,
            log_uniform(rng, (1.0, 40.0)) if "noise" in kinds else 0.0,
            round(uniform(rng, (5, 95))) if "jpeg" in kinds else 100.0,
        ),
    )


def distort(image: Tensor, distortion: Distortion, rng: np.random.Generator) -> Tensor:
    """float32 [3,H,W] in [0,1] → the same, spoiled and rounded to 8 bits."""
    if distortion.ratio > 1:
        pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
        height, width = pixels.shape[:2]
        smaller = (max(4, round(width / distortion.ratio)), max(4, round(height / distortion.ratio)))
        small = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
        way = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
        image = torch.from_numpy(cv2.resize(small, (width, height), interpolation=way).transpose(2, 0, 1).copy())
    return add_flaw(image, distortion.flaw, rng)


class Distorted(TypedDict):
    image: Tensor
    target: Tensor
    """Quality of the image, in [0,1]."""


class DistortedImages(Dataset[Distorted]):
    """Distorted images and their similarity to what they were; a function of the index."""

    def __init__(self, images: TrainingImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Distorted:
        rng = np.random.default_rng((self._images.seed, _DISTORT, index))
        image = self._images[index]["gt"]
        distorted = distort(image, draw_distortion(rng), rng)
        return {"image": distorted, "target": quality(distorted[None], image[None])[0]}


def quality(images: Tensor, references: Tensor) -> Tensor:
    """1 − √(1 − similarity), [B] in [0,1]: most similarities of mild distortions lie above 0.95, and this tells them
    apart without changing their order."""
    return 1 - (1 - similarity(images, references)).sqrt()


def similarity(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity of luminance (Wang et al., TIP 2004), the mean of three scales, clipped to [0,1].

    Both float32 [B,3,H,W] in [0,1], at least 44 pixels a side → [B]. Each scale has half the size of the one before;
    windows are Gaussian, σ = 1.5, 11 pixels wide.
    """
    at = torch.arange(11) - 5.0
    line = torch.exp(-0.5 * (at / 1.5) ** 2)
    line = line / line.sum()
    weights = torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]
    x, y = ((each * weights).sum(dim=1, keepdim=True) for each in (images, references))
    scales = []
    for scale in range(3):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        planes = torch.cat([x, y, x * x, y * y, x * y], dim=1)
        kernel = line.expand(5, 1, 1, 11)
        means = F.conv2d(F.conv2d(planes, kernel, groups=5), kernel.transpose(2, 3), groups=5)
        mx, my, mxx, myy, mxy = means.unbind(1)
        structure = (2 * (mxy - mx * my) + 9e-4) / (mxx - mx * mx + myy - my * my + 9e-4)
        scales.append((structure * (2 * mx * my + 1e-4) / (mx * mx + my * my + 1e-4)).mean(dim=(1, 2)))
    return torch.stack(scales).mean(dim=0).clamp(0, 1)


class TrainedQuality(NamedTuple):
    network: TinyQuality
    errors: list[float]
    """Mean absolute error of each step's batch, before the step."""


def train_quality(
    settings: QualitySettings, *, device: str = "cpu", progress: Callable[[int, float], None] | None = None
) -> TrainedQuality:
    """A network trained from nothing; the same settings give the same weights on the same machine."""
    source = settings.source if settings.source == "generated" else Path(settings.source)
    count = settings.steps * settings.batch
    images = TrainingImages(source, crop=settings.crop, count=count, seed=settings.seed, flawed=0.0)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(settings.seed)
        network = TinyQuality().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    errors: list[float] = []
    loader = training_loader(DistortedImages(images), settings.batch, settings.steps, workers=settings.workers)
    for step, batch in enumerate(loader, 1):
        target = batch["target"].to(device)
        # Cross-entropy, whose slope does not vanish where the sigmoid is flat.
        logits = network.logits(batch["image"].to(device))
        loss = F.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        errors.append(float((logits.detach().sigmoid() - target).abs().mean()))
        if progress:
            progress(step, errors[-1])
    return TrainedQuality(network.eval(), errors)


def agreement(
    score: Callable[[Tensor], Tensor],
    photographs: Mapping[str, Tensor],
    metrics: Mapping[str, Callable[[Tensor, Tensor], float]],
    *,
    levels: int = 12,
    seed: int = 1,
) -> dict[str, dict[str, Any]]:
    """Spearman's rank correlation of no-reference scores with full-reference metrics, on distorted photographs.

    `score`: [1,3,H,W] → [1], higher the better. `photographs`: [3,H,W] in [0,1] by name. `metrics`: (distorted,
    photograph) → a number, higher the better. For each metric: `each`, the correlation over `levels` draws of one
    distortion of one photograph, by its name and "mixed" for draws of any two; `mean` over all of them; and `pooled`,
    over all images of all photographs at once, which asks for scores that mean the same on any content.
    """
    from scipy.stats import spearmanr

    kinds: dict[str, tuple[str, ...] | None] = {**{kind: (kind,) for kind in DISTORTIONS}, "mixed": None}
    found: dict[str, dict[str, Any]] = {name: {"each": {kind: [] for kind in kinds}} for name in metrics}
    everything: list[list[float]] = []
    for place, photograph in enumerate(photographs.values()):
        for number, (kind, chosen) in enumerate(kinds.items()):
            rng = np.random.default_rng((seed, place, number))
            rows = []
            for _ in range(levels):
                image = distort(photograph, draw_distortion(rng, chosen), rng)
                rows.append([float(score(image[None])[0]), *(each(image, photograph) for each in metrics.values())])
            columns = np.array(rows).T
            for name, column in zip(metrics, columns[1:], strict=True):
                found[name]["each"][kind].append(float(spearmanr(columns[0], column).statistic))
            everything += rows
    columns = np.array(everything).T
    for name, column in zip(metrics, columns[1:], strict=True):
        each = found[name]["each"]
        found[name]["mean"] = float(np.mean([value for values in each.values() for value in values]))
        found[name]["pooled"] = float(spearmanr(columns[0], column).statistic)
        found[name]["each"] = {kind: float(np.mean(values)) for kind, values in each.items()}
    return found

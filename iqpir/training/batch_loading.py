"""Batches for training: pairs made on the fly, in worker processes, from any step on.

Which samples a step gets depends on the number of the step alone, so the whole state of the data is that number, and a
run that is taken up again sees what it would have seen.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Generic, NamedTuple, NotRequired, Protocol, TypedDict, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from iqpir.errors import IQPIRError
from iqpir.training.crop_dataset import Flaw, TrainingImage
from iqpir.training.degrade import Degradation

_DEGRADE = 4
"""What the random generator is for; `crop_dataset` has the other uses."""

Batch = TypeVar("Batch")


class TrainingPair(TypedDict):
    """One sample; a batch has the same keys, with a dimension in front, and records of tensors [B]."""

    lq: Tensor
    """float32 RGB [3,crop,crop] in [0,1]."""
    gt: Tensor
    """float32 RGB [3,crop,crop] in [0,1]."""
    clean: NotRequired[Tensor]
    """float32 RGB [3,crop,crop] in [0,1]: the LQ image without noise, blocks and blur, where it is known."""
    steps: NotRequired[Tensor]
    """float32 [K,3,crop,crop] in [0,1] of a composite degradation: the GT, and what it is after each of them."""
    severity: NotRequired[Tensor]
    """float32 [K,kinds] in [0,1]: how much each of these suffers from each kind, see `iqpir.rar.kinds`."""
    behind: NotRequired[Tensor]
    """float32 RGB [3,crop,crop] in [0,1]: the LQ image without its rain and snow, where a composite is asked for it."""
    index: int
    params: Any
    """What the degradation drew, such as `FaceParams`."""
    flaw: Flaw
    """What the GT itself suffers from."""
    score: NotRequired[float]
    """Of the GT, where a file has scores or the degradation has made it."""


class Images(Protocol):
    """What `TrainingImages` and a choice of them have in common."""

    seed: int

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> TrainingImage: ...


class PairedTraining(Dataset[TrainingPair]):
    """Images and their degraded versions; a function of the images' own index, as they are."""

    def __init__(self, images: Images, degradation: Degradation) -> None:
        self.images, self.degradation = images, degradation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> TrainingPair:
        image = self.images[index]
        if "lq" in image:  # a pair as it was taken
            return {"params": (), **image}  # type: ignore[typeddict-item]
        rng = np.random.default_rng((self.images.seed, _DEGRADE, image["index"]))
        made = self.degradation(image["gt"], rng)
        pair: TrainingPair = {"lq": made.image, "params": made.params, **image}
        if made.steps is not None:
            pair["steps"], pair["severity"] = made.steps, torch.from_numpy(made.params.severity)
        if made.behind is not None:
            pair["behind"] = made.behind
        if made.target is not None and made.score is not None:
            pair["gt"] = made.target
            if made.clean is not None:
                pair["clean"] = made.clean
            pair.setdefault("score", made.score)  # a file's scores are the images' own
        return pair


class StepBatches(Sampler[list[int]]):
    """The indices of each step's batch: step s has those from s·batch on, over again when the samples are used up."""

    def __init__(self, samples: int, batch: int, steps: int, start: int = 0, rank: int = 0, world: int = 1) -> None:
        """`start`: the first step that is wanted, 0 for a new run. `rank` of `world` processes gets its own part."""
        if batch < 1 or samples < 1 or not 0 <= start <= steps or not 0 <= rank < world:
            raise IQPIRError(f"no batches of {batch} of {samples} samples for steps {start} to {steps}")
        self._samples, self._batch, self._steps, self._start = samples, batch, steps, start
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return self._steps - self._start

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._start, self._steps):
            first = (step * self._world + self._rank) * self._batch
            yield [index % self._samples for index in range(first, first + self._batch)]


def training_loader(
    dataset: Dataset[Any],
    batch: int,
    steps: int,
    *,
    start: int = 0,
    workers: int = 1,
    prefetch: int = 8,
    rank: int = 0,
    world: int = 1,
    pin: bool = False,
) -> DataLoader[Any]:
    """The batches of steps `start` … `steps` − 1, made ahead in `workers` processes (0: in this one).

    The dataset is read in the order of its indices and must be shuffled by itself, as `TrainingImages` is. Neither the
    number of workers nor `start` changes what a step gets, and torch's global random state is left alone.
    """
    if not isinstance(dataset, Sized):
        raise IQPIRError(f"{type(dataset).__name__} has no length: a loader needs a map-style dataset")
    return DataLoader(
        dataset,
        batch_sampler=StepBatches(len(dataset), batch, steps, start, rank, world),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        worker_init_fn=_one_thread,
        generator=torch.Generator(),
        pin_memory=pin,
    )


def _one_thread(worker: int) -> None:
    """Workers run beside the training step; their own threads would only take its cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


class Wait(NamedTuple):
    first: float
    """Seconds until the first batch: starting workers and filling them."""
    waited: float
    """Seconds spent waiting for the later ones."""
    total: float
    """Seconds from the first batch on."""

    @property
    def share(self) -> float:
        return self.waited / self.total if self.total else 0.0


class Timed(Generic[Batch]):
    """The same batches, and how long their reader had to wait for them."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = batches
        self.wait = Wait(0.0, 0.0, 0.0)

    def __iter__(self) -> Iterator[Batch]:
        asked = time.perf_counter()
        batches = iter(self._batches)
        begun: float | None = None
        waited = first = 0.0
        for batch in batches:
            now = time.perf_counter()
            if begun is None:
                begun, first = now, now - asked
            else:
                waited += now - asked
            self.wait = Wait(first, waited, now - begun)
            yield batch
            asked = time.perf_counter()
            self.wait = Wait(first, waited, asked - begun)

"""Methods and metrics that do to their process what code must not, brought in with `--plugin`; `what` chooses."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

import bench
from bench.catalog.registry import registry
from bench.methods.base import Method
from bench.metrics.base import ImageMetric, SetMetric, Signature
from bench.metrics.view import View


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)

    __repr__ = __str__


class Bare(BaseException):
    pass


def _raise(error: BaseException) -> None:
    raise error


def _disturb() -> None:
    """Everything at once that a guard looks after."""
    os.chdir(Path(__file__).parent)
    os.environ["STRANGE"] = "1"
    os.environ.pop("HOME", None)
    random.random()
    np.random.rand()
    torch.rand(1)
    torch.set_default_dtype(torch.float16)
    torch.set_num_threads(3)
    cv2.setNumThreads(3)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(True)
    torch.set_default_device("meta")
    np.seterr(all="raise")
    warnings.simplefilter("error")
    sys.setrecursionlimit(5000)


ENDS: Mapping[str, Callable[[], Any]] = {
    "system-exit": lambda: sys.exit(0),
    "generator-exit": lambda: _raise(GeneratorExit()),
    "bare": lambda: _raise(Bare("raw")),
    "unprintable": lambda: _raise(Unprintable()),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "exit": lambda: os._exit(7),
    "segfault": lambda: ctypes.string_at(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(600),
    "disturb": _disturb,
}
KINDS: Mapping[str, Callable[[Tensor], Any]] = {
    "uint8": lambda images: (images * 255).to(torch.uint8),
    "int64": lambda images: (images * 255).long(),
    "bool": lambda images: images > 0.5,
    "complex": lambda images: images.to(torch.complex64),
    "bytes-as-floats": lambda images: images * 255,
    "minus-one-to-one": lambda images: images * 2 - 1,
    "none": lambda images: None,
    "list": lambda images: [images],
    "without-batch": lambda images: images[0],
    "nan": lambda images: images * torch.nan,
    "overshoot": lambda images: images * 1.2 - 0.1,
    "half": lambda images: images.half(),
    "double": lambda images: images.double(),
}


class Strange(Method):
    """Does `what` where it says, to images whose first pixel is pure red or, with `all`, to every one."""

    def __init__(self, what: str, where: str = "restore", all: bool = False) -> None:
        self.name, self.what, self.where, self.all = "strange", what, where, all

    def _strange(self, where: str) -> None:
        if where == self.where and self.what in ENDS:
            ENDS[self.what]()

    def identity(self) -> Mapping[str, Any]:
        self._strange("identity")
        return {"plugin": "strange", "what": self.what, "where": self.where}

    def load(self, device: str, dtype: str) -> None:
        self._strange("load")

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Any:
        if self.all or bool((images[0, :, 0, 0] == torch.tensor([1.0, 0.0, 0.0], device="cpu")).all()):
            self._strange("restore")
            return KINDS.get(self.what, lambda given: given)(images)
        return images


class Drawing(Method):
    """Adds noise from every global generator, without saying that it is stochastic."""

    name = "drawing"

    def identity(self) -> Mapping[str, Any]:
        return {"plugin": "drawing"}

    def load(self, device: str, dtype: str) -> None:
        pass

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        return images * (0.5 + 0.1 * random.random() + 0.1 * np.random.rand() + 0.1 * torch.rand(1))


@dataclass(frozen=True)
class StrangeMetric(ImageMetric):
    view: View = field(default_factory=View)
    what: str = "overwrite"
    where: str = "score"

    name: ClassVar[str] = "strange-metric"  # type: ignore[misc]

    def signature(self) -> Signature:
        return Signature.of("strange-metric", [*self.view.signature("FR"), ("what", self.what), ("where", self.where)])

    def load(self, device: str) -> None:
        if self.where == "load":
            ENDS[self.what]()

    def score(self, restored: Tensor, reference: Tensor | None) -> Any:
        if self.what == "overwrite":
            restored.zero_()
            assert reference is not None
            reference.numpy()[...] = 1
        elif self.what == "count":
            return torch.tensor([3])
        elif self.where == "score":
            ENDS[self.what]()
        return torch.zeros(1, dtype=torch.float64, device="cpu")


@dataclass(frozen=True)
class StrangeSet(SetMetric):
    view: View = field(default_factory=View)
    what: str = "none"
    where: str = "aggregate"

    name: ClassVar[str] = "strange-set"  # type: ignore[misc]

    def signature(self) -> Signature:
        return Signature.of("strange-set", [*self.view.signature("FR"), ("what", self.what), ("where", self.where)])

    def extractor(self) -> Signature:
        return self.signature()

    def extract(self, restored: Tensor, reference: Tensor | None) -> Any:
        if self.where == "extract":
            ENDS[self.what]()
        return np.ones((1, 2))

    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        if self.where == "aggregate":
            ENDS[self.what]()
        return float(features.mean())


bench.register_method("strange", Strange)
bench.register_method("drawing", Drawing)
registry("metric").register("strange-metric", StrangeMetric, "tests", mode="FR", better="higher")
registry("metric").register("strange-set", StrangeSet, "tests", mode="FR", better="higher")

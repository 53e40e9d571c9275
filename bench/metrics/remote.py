"""Strangers' metrics as `bench score` asks them: each in a process of its own, behind the interface of a metric.

What ends that process, or hangs in it, is the failure of the image at hand; the caller's process and the other metrics
go on. A metric that only the caller's process has is asked there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.catalog.helper_process import Helper, Lost, patience
from bench.catalog.isolation import Guard, exits_raised
from bench.catalog.plugins import load_plugins, made_elsewhere, plugin_files
from bench.catalog.registry import Entry, registry
from bench.errors import ItemError
from bench.metrics.base import ImageMetric, Metric, SetMetric, Signature
from bench.metrics.build import build_metric

if TYPE_CHECKING:
    from torch import Tensor

_DEATHS = 3
"""After so many images that a metric was lost with, the others are not tried any more."""


class _Order(NamedTuple):
    """What another process has to know to make a metric."""

    name: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    plugins: Sequence[str]
    device: str


def elsewhere(
    entry: Entry, metric: Metric, options: Mapping[str, Any], settings: Mapping[str, Any], device: str,
    timeout: float | None,
) -> Metric:  # fmt: skip
    """The metric itself where it is ours or another process cannot come by it, else one that asks it elsewhere.

    `timeout`: seconds that an image, or the loading, may take.
    """
    if not entry.strange or not made_elsewhere(entry):
        return metric
    order = _Order(entry.name, dict(options), dict(settings), plugin_files(), device if metric.learned else "cpu")
    process = _Process(order, timeout)
    return _RemoteSet(metric, process) if isinstance(metric, SetMetric) else _RemoteImage(metric, process)


class _Process:
    """The process of one metric, for any number of threads."""

    def __init__(self, order: _Order, timeout: float | None) -> None:
        self._long = patience(timeout)
        self._timeout = timeout
        self._helper = Helper(f"metric {order.name}", _made, (order,))
        self._lock = threading.Lock()
        self._lost = 0

    def ask(self, function: Callable[..., Any], *arguments: Any, whole: bool = False) -> Any:
        """`function(metric, *arguments)` there. `whole`: of more than one image. Raises `ItemError` or `BenchError`."""
        with self._lock:
            if self._lost >= _DEATHS:
                raise ItemError(f"not tried: this metric has ended its process, or hung, {_DEATHS} times")
            try:
                self._helper.call(_is_there, timeout=self._long)
                return self._helper.call(function, *arguments, timeout=self._long if whole else self._timeout)
            except Lost as lost:
                self._lost += 1
                raise ItemError(f"{lost.how} while {lost.what} ran") from lost

    def close(self) -> None:
        self._helper.close()


class _Remote:
    """What both kinds share: the declarations of the metric that they stand for."""

    def __init__(self, metric: Metric, process: _Process) -> None:
        self.name, self.mode, self.view, self.serial = metric.name, metric.mode, metric.view, metric.serial
        self._signature, self.process = metric.full_signature(), process

    def signature(self) -> Signature:
        return self._signature

    def load(self, device: str) -> None:
        self.process.ask(_is_there, whole=True)


class _RemoteImage(_Remote, ImageMetric):
    def score(self, restored: Tensor, reference: Tensor | None) -> Any:
        import torch

        return torch.from_numpy(self.process.ask(_score, restored.numpy(), _plain(reference)))


class _RemoteSet(_Remote, SetMetric):
    def __init__(self, metric: SetMetric, process: _Process) -> None:
        super().__init__(metric, process)
        self.two_sets, self._extractor = metric.two_sets, metric.full_extractor()

    def extractor(self) -> Signature:
        return self._extractor

    def extract(self, restored: Tensor, reference: Tensor | None) -> np.ndarray:
        found: np.ndarray = self.process.ask(_extract, restored.numpy(), _plain(reference))
        return found

    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        return float(self.process.ask(_aggregate, features, references, whole=True))

    def remark(self, references: Any) -> str | None:
        told: str | None = self.process.ask(_remark, references, whole=True)
        return told


def close(metrics: Sequence[Metric]) -> None:
    """End the processes of those that have one."""
    for metric in metrics:
        if isinstance(metric, _Remote):
            metric.process.close()


def _plain(image: Tensor | None) -> np.ndarray | None:
    return None if image is None else image.numpy()


# In the other process


class _Made(NamedTuple):
    metric: Metric
    device: str

    def run(self, action: Callable[[Any], Any]) -> Any:
        """`action(metric)`, as the process stood before."""
        with exits_raised(f"metric {self.metric.name}"):
            return Guard().call(type(self.metric), lambda: action(self.metric))

    def given(self, image: np.ndarray | None) -> Any:
        import torch

        return None if image is None else torch.from_numpy(image).to(self.device)


def _made(order: _Order) -> _Made:
    load_plugins(order.plugins)
    made = _Made(build_metric(registry("metric").get(order.name), order.options, order.settings), order.device)
    made.run(lambda metric: metric.load(order.device))
    return made


def _is_there(made: _Made) -> None:
    pass


def _score(made: _Made, restored: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    from bench.metrics.scorer import one_value

    return made.run(lambda metric: one_value(metric.score(made.given(restored), made.given(reference))))


def _extract(made: _Made, restored: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    return made.run(lambda metric: np.asarray(metric.extract(made.given(restored), made.given(reference))))


def _aggregate(made: _Made, features: np.ndarray, references: np.ndarray | None) -> float:
    theirs = () if references is None else (references,)
    return made.run(lambda metric: float(metric.aggregate(features, *theirs)))


def _remark(made: _Made, references: Any) -> str | None:
    return made.run(lambda metric: metric.remark(references))

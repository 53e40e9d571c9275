"""What our own deep metrics share: checked weight files, one network per device, full float32, one image at a time.

The networks are in `bench.metrics.networks`; the metrics of pyiqa have their adapter (`pyiqa_metric`).
"""

from __future__ import annotations

import zipfile
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from bench.errors import BenchError, ItemError, one_line
from bench.fetch import memo
from bench.fetch.assets import Asset
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.loaded import Loaded
from bench.metrics.pyiqa_metric import full_precision
from bench.metrics.view import View
from bench.metrics.weights import Weight, verified

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.catalog.registry import Entry

Net = TypeVar("Net", bound="torch.nn.Module")

_ENTRY: dict[str, Any] = {"entry": True}
"""Marks the fields that come from the catalogue; they are not options."""


@dataclass(frozen=True)
class NetworkMetric(ImageMetric):
    """A metric computed by a network of `bench.metrics.networks`."""

    view: View = field(default_factory=View)
    weights: str = ""
    """Path of a file to use in place of the catalogue's (its last, where there are several). Its hash is signed."""

    name: str = field(default="", metadata=_ENTRY)
    mode: Literal["FR", "NR"] = field(default="NR", metadata=_ENTRY)
    higher_is_better: bool = field(default=True, metadata=_ENTRY)
    min_size: int = field(default=1, metadata=_ENTRY)
    files: tuple[Weight, ...] = field(default=(), metadata=_ENTRY)
    _loaded: Loaded = field(default_factory=Loaded, metadata=_ENTRY, compare=False, repr=False)

    learned = True
    serial = True
    spaces = ("rgb",)
    version = 1

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        given = str(options.get("weights") or "")
        if given:
            cls.check_weights(Path(given).expanduser(), f"metric {entry.name!r}: weights")
        return cls(
            view=view,
            **options,
            name=entry.name,
            mode=entry.fields["mode"],
            higher_is_better=entry.fields["better"] == "higher",
            min_size=entry.fields.get("min_size", 1),
            files=tuple(
                Weight(Asset.from_fields(entry.name, one, entry.fields.get("licence")))
                for one in entry.fields.get("weights") or []
            ),
        )

    @classmethod
    def check_weights(cls, given: Path, where: str) -> None:
        """Raise `BenchError` when what a user names in place of the catalogue's weights is not there."""
        if not given.is_file():
            raise BenchError(f"{where} file {given} does not exist")

    def own_fields(self) -> list[tuple[str, object]]:
        """Signature fields of the metric's own options."""
        return []

    def signature(self) -> Signature:
        tags = [weight.tag for weight in self.files]
        if self.weights:
            tags[-1:] = [memo.digest(Path(self.weights).expanduser())[:8]]
        view = self.view.signature(self.mode)
        own = [*self.own_fields(), ("weights", "+".join(tags)), ("v", self.version)]
        return Signature.of(self.name, [("impl", "bench"), *view, *own])

    def assets(self) -> list[Asset]:
        kept = self.files[:-1] if self.weights else self.files
        return [weight.asset for weight in kept]

    @abstractmethod
    def build(self, files: list[Path]) -> torch.nn.Module:
        """The network on the CPU from its files, whose hashes are right. Raises `BenchError` for odd contents."""

    @abstractmethod
    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        """float32 [1,3,H,W] in [0,1] → the value. Raises `ItemError`."""

    def load(self, device: str) -> None:
        self._net(device)

    def _net(self, device: str) -> torch.nn.Module:
        return self._loaded.net(device, lambda: self.build(self._paths()).requires_grad_(False))

    def _paths(self) -> list[Path]:
        kept = self.files[:-1] if self.weights else self.files
        for weight in kept:
            if weight.asset.url is None:
                weight.asset.require()  # says how a person gets it
        given = [Path(self.weights).expanduser()] if self.weights else []
        return [*(verified(weight) for weight in kept), *given]

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 [B,3,H,W] in [0,1] → float64 [B]. `ItemError` for an image that is too small."""
        import torch

        height, width = restored.shape[-2:]
        if min(height, width) < self.min_size:
            raise ItemError(
                f"{self.name} needs {self.min_size} pixels or more on each side, the view is {width}×{height}"
            )
        net = self._net(str(restored.device))
        images = restored.float().split(1)
        others = [None] * len(images) if reference is None else reference.float().split(1)
        with torch.no_grad(), full_precision(str(restored.device)):
            values = [self.one(net, image, other) for image, other in zip(images, others, strict=True)]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)


def read_state(path: Path, *, where: str, mapped: bool = False) -> dict[str, Any]:
    """A checkpoint's mapping, read as data (`weights_only`). Raises `BenchError` in one line.

    mapped: leave the tensors on the disk until they are copied, for files of gigabytes.
    """
    found = read_data(path, where=where, mapped=mapped)
    if not isinstance(found, dict):
        raise BenchError(f"{where}: {path} holds a {type(found).__name__}, not a checkpoint")
    return found


def read_data(path: Path, *, where: str, mapped: bool = False) -> Any:
    """What `torch.save` or safetensors wrote, on the CPU; nothing in it runs. Raises `BenchError` in one line."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Only the newer of torch's two formats, a ZIP file, can be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except Exception as error:  # the unpickler raises whatever a broken or hostile file makes it raise
        raise BenchError(f"{where}: {path} cannot be read: {type(error).__name__}: {one_line(error, 160)}") from error


def blank(network: Callable[[], Net]) -> Net:
    """A network without the time and memory of random weights: `fill` brings the real ones."""
    import torch

    with torch.device("meta"):
        return network()


def fill(net: torch.nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Give a `blank` network its weights, names and shapes exactly. `module.` of data-parallel training is dropped."""
    try:
        plain = {
            key.removeprefix("module."): value.float() if value.is_floating_point() else value
            for key, value in state.items()
        }
        net.load_state_dict(plain, strict=True, assign=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise BenchError(f"{where}: the checkpoint does not fit the network: {one_line(error, 200)}") from error

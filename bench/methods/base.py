"""The contract between a restorer and everything else.

An adapter turns whatever it wraps into these methods; padding, tiling, colour order and size limits are its business.
Importing an adapter must not import torch: a finished run is answered from the store without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.provenance import installed

if TYPE_CHECKING:
    from torch import Tensor

    from bench.fetch.assets import Asset
    from bench.methods.trace import Traced

Quantise = Literal["round", "truncate", "none"]


class Box(NamedTuple):
    """A crop in pixels."""

    top: int
    left: int
    height: int
    width: int


class Method(ABC):
    """A restorer: `load` once, then `restore` batches.

    Subclasses set the attributes that differ from these defaults, in `__init__` or on the class.
    """

    name: str = ""
    scale: int = 1
    """Output size divided by input size."""
    batch_invariant: bool = False
    """True only where a test shows that an image's output does not depend on the others in its batch."""
    stochastic: bool = False
    """True when the output depends on `seeds`."""
    quantise: Quantise = "round"
    """How the official code turns floats into the 8-bit file it saves."""
    untrained: bool = False
    """True for random weights: such a method is timed, and `unavailable` where something would be scored."""

    @abstractmethod
    def load(self, device: str, dtype: str) -> None:
        """Bring weights to `device` ('cpu', 'cuda', 'cuda:1') in `dtype` ('float32', 'bfloat16', 'float16').

        Raises `BenchError` (a missing weight file is a `MissingFile`).
        """

    @abstractmethod
    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """float32 RGB [B,3,H,W] in [0,1] on the loaded device → float32 [B,3,s·H,s·W], any range; the caller clamps.

        `seeds` is int64 [B] for stochastic methods. Runs under `torch.inference_mode()`.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Everything that can change an output, as JSON-like data, without importing torch.

        Name, options, versions of the adapter's and the network's code and of the packages it calls, SHA-256 of every
        weight file. Never a label, a path or a date.
        """

    def valid_crop(self, height: int, width: int) -> Box | None:
        """The box of an input of that size that the output stands for, in input pixels; None means all of it.

        The reference gets the same crop, times `scale`.
        """
        return None

    def assets(self) -> list[Asset]:
        """Weight files the method needs; `bench fetch` brings them."""
        return []

    def unavailable(self) -> str | None:
        """Why it cannot run on this machine, in one line with the remedy; None where only `assets` can be missing."""
        return None

    def foreign_code(self) -> str | None:
        """What it would run that a suite names, as in "starts a program that the suite names"; None for nothing.

        A suite alone never runs code: --allow-commands is the permission.
        """
        return None

    def untrained_twin(self) -> Method | None:
        """The same network with random weights, to be timed where the weights are missing; None where there is none."""
        return None

    def traces(self) -> Sequence[Traced] | None:
        """How the images of the last `restore` came about, one each and in their order; None where there is nothing to
        tell. Asked at most once per call, and outside its time: pictures may be made now."""
        return None

    def parameters(self) -> int | None:
        """How many learned numbers the loaded network holds; None where that is not known."""
        return None

    def close(self) -> None:  # noqa: B027 – optional hook
        """Free what `load` took."""


class ToldMethod(Method):
    """A restorer that is told what was done to each image, which no user of a photograph can tell: a bound for others,
    never their peer. Its keys hold what it was told. Images of which nobody says it are failures."""

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        from bench.errors import ItemError

        raise ItemError(
            f"{self.name} has to be told what was done to an image, and the dataset does not say it: name the datasets "
            "that do with the method's datasets:"
        )

    @abstractmethod
    def restore_told(self, images: Tensor, done: Sequence[Sequence[str]], seeds: Tensor | None = None) -> Tensor:
        """As `restore`; `done`: per image the names of what was done to it, in the order in which it was done."""


class StoredMethod(ABC):
    """Outputs that already exist on disk, made by anybody: nothing is restored, only read."""

    name: str = ""
    scale: int = 1
    quantise: Quantise = "round"

    @abstractmethod
    def locate(self, dataset: str, item_id: str) -> Path:
        """The file that holds the output for an item. Raises `ItemError` when there is none, or more than one.

        `dataset` is the dataset's label in the suite.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What the output depends on besides the file's own pixels, whose hash joins each item's key."""

    def valid_crop(self, height: int, width: int) -> Box | None:
        return None

    def assets(self) -> list[Asset]:
        return []

    def unavailable(self) -> str | None:
        """As `Method.unavailable`."""
        return None


def package_versions(names: list[str]) -> dict[str, str]:
    """Installed versions of distributions, 'absent' where one is not there."""
    found = installed(names)
    return {name: found.get(name, "absent") for name in names}

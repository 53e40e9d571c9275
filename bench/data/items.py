"""The words of the data room: an image source, an item, a dataset.

A source knows how to decode itself and how to tell cheaply whether it has changed; nothing is decoded before a unit
of work needs it.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from bench.errors import ImageError, one_line

if TYPE_CHECKING:
    from bench.data.boxes import Annotations


_TICK = 20_000_000
"""Nanoseconds within which a file can be written twice and keep its times: file systems stamp by the kernel's tick,
some by the second or by two."""
_SECOND = 1_000_000_000


class Stamp(NamedTuple):
    """Changes whenever the decoded pixels may have; equal stamps are answered from the memo without decoding."""

    locator: str
    """`/absolute/path?decoder`, or `builtin:name/item?version`; unique to the source and to what decodes it."""
    size: int
    """Bytes of the file behind the source."""
    mtime_ns: int
    """Modification time of the file behind the source, nanoseconds."""
    ctime_ns: int = 0
    """Its change time: archives, `cp -p` and `touch -d` set the modification time, but nobody sets this one."""
    inode: int = 0
    """Its number in the file system: another file that takes its place has another."""


def file_stamp(locator: str, status: os.stat_result) -> Stamp:
    """The stamp of a source that is one file."""
    return Stamp(locator, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class ImageSource(ABC):
    """One image that can be decoded."""

    @abstractmethod
    def load(self) -> np.ndarray:
        """Decoded pixels [H,W,3] RGB, uint8 or uint16. Raises `ImageError`."""

    @abstractmethod
    def stamp(self) -> Stamp:
        """Cheap: at most one `stat`. Raises `ImageError` when the file is not there."""

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) as `load` would give them, from the header alone. Raises `ImageError`."""

    @abstractmethod
    def raw(self) -> bytes:
        """The undecoded bytes that identify an unreadable source (a file's bytes, at most the first 64 MiB)."""

    def raw_or_reason(self) -> bytes:
        """`raw`, or why these cannot be had either."""
        try:
            return self.raw()
        except (OSError, ImageError) as error:
            return one_line(error).encode()

    @property
    @abstractmethod
    def where(self) -> str:
        """How to name the source in a message."""


def unchanged(source: ImageSource, stamp: Stamp) -> bool:
    """Whether a source is as it was when it was looked at, and has been for longer than a tick of its clock."""
    try:
        tick = _TICK if stamp.ctime_ns % _SECOND else 2 * _SECOND
        return source.stamp() == stamp and not 0 <= time.time_ns() - stamp.ctime_ns < tick
    except ImageError:
        return False


@dataclass(frozen=True)
class Item:
    """One image of a dataset with its id."""

    id: str
    """Unique in the dataset; a posix-style path without suffix, such as `low/0001`."""
    lq: ImageSource | None
    """The input; None when the pairing failed (`problem` says why)."""
    gt: ImageSource | None = None
    """The reference; None in LQ-only datasets, and for an item whose reference is missing."""
    problem: str | None = None
    """One line: why this item cannot be paired (missing or ambiguous file). It is counted as expected, and failed."""
    several: bool = False
    """Whether the problem is that several files of a side have this id."""
    done: tuple[str, ...] | None = None
    """What was done to the GT to make the input, in that order, by the dataset's own word and the names of
    `bench.data.told`; None where nobody says. Only methods that are meant to be told see it."""


class Annotated(Protocol):
    """Where a dataset's annotations lie. Nothing is read before `read`."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def read(self, items: Sequence[Item]) -> Annotations:
        """The objects of some images. Raises `MissingFile` where the files are not here, `BenchError` for damage."""
        ...


@dataclass(frozen=True)
class Dataset:
    """Items in a stable order, and what the numbers on them depend on."""

    name: str
    items: Sequence[Item]
    paired: bool
    """True when FR metrics apply: at least the dataset is meant to have GT."""
    scale: int = 1
    """GT size divided by LQ size."""
    protocol: str | None = None
    """Name of the protocol its papers use, where one is the custom; the suite may override it."""
    notes: Sequence[str] = field(default_factory=tuple)
    """Lines worth showing before any work: extra files, deviations from the official layout."""
    annotations: Annotated | None = None
    """Where the boxes of its objects are; read only when a metric asks for them."""

    def limited(self, limit: int | None) -> Dataset:
        """The same dataset with at most `limit` items, spread evenly, so that a limited run sees all of it."""
        if limit is None or limit >= len(self.items):
            return self
        step = len(self.items) / limit
        kept = [self.items[int(index * step)] for index in range(limit)]
        return replace(self, items=kept)

"""Restored images on disk: lossless, named by the hash of their pixels, written atomically, checked when read.

A file that was deleted or damaged is as good as absent: its restoration is made again, never scored as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import files
from bench.data import images
from bench.errors import ImageError
from bench.identity import content_hash

FOLDER = "outputs"


def path(results: Path, output: bytes, suffix: str) -> Path:
    """Where the output with that content hash lies."""
    name = output.hex()
    return results / FOLDER / name[:2] / f"{name}.{suffix}"


class Shelf:
    """Which outputs are there, each folder listed once: asking the disk for every single one would take seconds."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._listed: dict[str, frozenset[str]] = {}

    def holds(self, output: bytes, suffix: str) -> bool:
        name = output.hex()
        folder = name[:2]
        if folder not in self._listed:
            try:
                with os.scandir(path(self._results, output, suffix).parent) as entries:
                    self._listed[folder] = frozenset(entry.name for entry in entries)
            except OSError:
                self._listed[folder] = frozenset()
        return f"{name}.{suffix}" in self._listed[folder]


class Held(NamedTuple):
    """What lies in a results folder's outputs."""

    files: int
    bytes: int


def held(results: Path) -> Held:
    """Count the files of outputs, those that are half written included."""
    files = size = 0
    for folder in _entries(results / FOLDER):
        for entry in _entries(Path(folder.path)):
            with suppress(OSError):  # deleted meanwhile
                files, size = files + 1, size + entry.stat().st_size
    return Held(files, size)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from entries


def encode(pixels: np.ndarray) -> tuple[bytes, str]:
    """(file bytes, suffix) of an output: uint8 or uint16 [H,W,3] as PNG, float32 [H,W,3] as NPY."""
    if pixels.dtype == np.float32:
        buffer = io.BytesIO()
        np.save(buffer, pixels, allow_pickle=False)
        return buffer.getvalue(), "npy"
    return images.encode_png(pixels), "png"


def write(results: Path, output: bytes, suffix: str, payload: bytes) -> None:
    """Put an encoded output in place; one that is already there and whole is left alone."""
    target = path(results, output, suffix)
    if target.is_file() and target.read_bytes() == payload:
        return
    files.write(target, payload)


def read(results: Path, output: bytes, suffix: str) -> np.ndarray | None:
    """The pixels of a stored output, or None where the file is gone or no longer holds them."""
    source = path(results, output, suffix)
    try:
        pixels = np.load(source, allow_pickle=False) if suffix == "npy" else images.decode(source)
    except (OSError, ValueError, ImageError):
        return None
    return pixels if content_hash(pixels) == output else None


def decode(payload: bytes, output: bytes, suffix: str) -> np.ndarray | None:
    """The pixels that a stored output's file holds, as `read` gives them."""
    try:
        if suffix == "npy":
            pixels = np.load(io.BytesIO(payload), allow_pickle=False)
        else:
            pixels = images.decode_bytes(payload, output.hex())
    except (OSError, ValueError, ImageError):
        return None
    return pixels if content_hash(pixels) == output else None

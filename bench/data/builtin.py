"""Datasets that need no download: photographs from scikit-image's wheel, degraded at load.

The photograph, cut to a central or chosen window and never resized, is the GT; a degradation of `degrade` is the LQ.
scikit-image is not imported, so that nothing of it can start a download. No benchmark of the literature: made to try
the harness and to keep its tests honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.data import degrade, headroom, mixtures, unknown
from bench.data.images import decode, decoder, header_size
from bench.data.items import Dataset, ImageSource, Item, Stamp, file_stamp
from bench.errors import BenchError, ImageError

VERSION = 1


@dataclass(frozen=True)
class Photo:
    """A colour photograph of scikit-image's data folder, and the window of it that is used."""

    name: str
    file: str
    licence: str
    scene: degrade.Scene
    """Where the subject is in the full window."""
    align: float = 0.5
    """Position of the window along the longer side: 0 left, 1 right."""


MIDDLEBURY = "Middlebury 2014 stereo benchmark (Scharstein et al.), no licence stated"

# Licences as scikit-image's own documentation of the files states them.
PHOTOS: tuple[Photo, ...] = (
    Photo("astronaut", "astronaut.png", "public domain (NASA Great Images)", degrade.Scene(0.55, 0.47, 0.50, 0.36)),
    Photo("cat", "chelsea.png", "CC0 (Stefan van der Walt)", degrade.Scene(0.50, 0.50, 0.46, 0.34)),
    Photo("coffee", "coffee.png", "CC0 (Rachel Michetti, Pikolo Espresso Bar)", degrade.Scene(0.46, 0.52, 0.42, 0.36)),
    Photo("rocket", "rocket.jpg", "public domain (SpaceX)", degrade.Scene(0.62, 0.50, 0.40, 0.12)),
    Photo(
        "motorcycle-left",
        "motorcycle_left.png",
        MIDDLEBURY,
        degrade.Scene(0.55, 0.58, 0.36, 0.42),
        align=0.0,
    ),
    Photo(
        "motorcycle-right",
        "motorcycle_right.png",
        MIDDLEBURY,
        degrade.Scene(0.52, 0.55, 0.40, 0.42),
        align=1.0,
    ),
)


def lowlight(name: str, base: Path | None, *, side: int = 512) -> Dataset:
    """Under-exposed photographs with sensor noise (`degrade.LowLight`); at most `side` pixels a side."""
    return _dataset(name, "lowlight", side)


def lowlight_headroom(name: str, base: Path | None, *, side: int = 512) -> Dataset:
    """Short exposures of scenes brighter than the photograph's white (`headroom`); the GT is a picture of it too."""
    kind = "lowlight-headroom"
    return _dataset(name, f"{kind}/lq", side, reference=f"{kind}/gt")


def realworld(name: str, base: Path | None, *, side: int = 512) -> Dataset:
    """Blur, downsampling, noise and JPEG (`degrade.RealWorld`), brought back to full size."""
    return _dataset(name, "realworld", side)


def underwater(name: str, base: Path | None, *, side: int = 512) -> Dataset:
    """Colour-dependent attenuation and backscatter of eight water types (`degrade.Underwater`)."""
    return _dataset(name, "underwater", side)


def backlit(name: str, base: Path | None, *, side: int = 512) -> Dataset:
    """The subject in the shade, the background bright (`degrade.Backlit`)."""
    return _dataset(name, "backlit", side)


def composite(name: str, base: Path | None, *, side: int = 256) -> Dataset:
    """The eleven mixtures of low light, haze, rain and snow of `mixtures`; ids such as `low_haze/astronaut`."""
    return _folders(name, "composite", mixtures.MIXTURES, side)


def unseen(name: str, base: Path | None, *, side: int = 256) -> Dataset:
    """What no training preset has (`unknown`); ids such as `under-display/astronaut`."""
    return _folders(name, "unknown", {folder: (kind,) for folder, kind in unknown.KINDS.items()}, side)


def _folders(name: str, kind: str, folders: Mapping[str, tuple[str, ...]], side: int) -> Dataset:
    """Every photograph in each of some folders, whose dataset says what was done."""
    _check_side(name, side)
    items = [
        Item(
            f"{folder}/{photo.name}", PhotoSource(photo, side, f"{kind}/{folder}"), PhotoSource(photo, side), done=done
        )
        for folder, done in folders.items()
        for photo in sorted(PHOTOS, key=lambda photo: photo.name)
    ]
    return Dataset(name, tuple(items), paired=True)


def _dataset(name: str, kind: str, side: int, reference: str | None = None) -> Dataset:
    _check_side(name, side)
    items = [
        Item(photo.name, lq=PhotoSource(photo, side, kind), gt=PhotoSource(photo, side, reference))
        for photo in sorted(PHOTOS, key=lambda photo: photo.name)
    ]
    return Dataset(name, tuple(items), paired=True)


def _check_side(name: str, side: int) -> None:
    if side < 16:
        raise BenchError(f"dataset {name!r}: side {side} is too small (16 pixels at least)")


@dataclass(frozen=True)
class PhotoSource(ImageSource):
    """A window of a photograph, as it is or degraded."""

    photo: Photo
    side: int
    """Largest height and width of the window."""
    kind: str | None = None
    """A key of `degrade.KINDS`; `lowlight-headroom/`, `composite/` or `unknown/` and a key of `headroom.PICTURES`,
    `mixtures.MIXTURES` or `unknown.KINDS`; or None: the photograph."""

    def load(self) -> np.ndarray:
        pixels = decode(self._path())
        top, left, height, width = self._window(*pixels.shape[:2])
        window = np.ascontiguousarray(pixels[top : top + height, left : left + width])
        if self.kind is None:
            return window
        kind, _, taken = self.kind.partition("/")
        seed = (f"v{VERSION}", kind, self.photo.name)
        if kind == "composite":
            return degrade.quantise(mixtures.mixture(taken, window / 255.0, seed))
        if kind == "unknown":
            return degrade.quantise(unknown.spoiled(taken, window / 255.0, (*seed, taken)))
        if taken:
            return degrade.quantise(headroom.PICTURES[taken](window / 255.0, seed))
        rng = degrade.generator(*seed)
        return degrade.quantise(degrade.degrade(kind, window / 255.0, rng, self.photo.scene))

    def size(self) -> tuple[int, int]:
        _, _, height, width = self._window(*header_size(self._path()))
        return height, width

    def stamp(self) -> Stamp:
        locator = f"builtin:{self.kind or 'photo'}/{self.photo.name}?side={self.side}&version={_version()}"
        return file_stamp(locator, self._path().stat())

    def raw(self) -> bytes:
        return self._path().read_bytes()

    @property
    def where(self) -> str:
        return f"builtin:{self.kind or 'photo'}/{self.photo.name}"

    def _path(self) -> Path:
        path = photo_folder() / self.photo.file
        if not path.is_file():
            raise ImageError(f"{self.where}: {path} is not there; reinstall scikit-image")
        return path

    def _window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width)."""
        rows, columns = min(height, self.side), min(width, self.side)
        along = self.photo.align
        top = int((height - rows) * (along if height > width else 0.5))
        left = int((width - columns) * (along if width >= height else 0.5))
        return top, left, rows, columns


def photo_folder() -> Path:
    """scikit-image's data folder, found without importing it. Raises `BenchError` when it is not installed."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("the built-in datasets need scikit-image's photographs: pip install scikit-image")
    return Path(spec.submodule_search_locations[0]) / "data"


@cache
def _version() -> str:
    """Changes with the code that makes the pixels and with the libraries that decode and calculate."""
    digest = hashlib.sha256(f"{VERSION}|{decoder()}|numpy{np.__version__}".encode())
    for file in (__file__, degrade.__file__, headroom.__file__, mixtures.__file__, unknown.__file__):
        digest.update(Path(file).read_bytes())
    return f"{VERSION}-{digest.hexdigest()[:12]}"

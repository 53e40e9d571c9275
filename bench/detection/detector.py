"""The contract of a detector, and how one is made from the catalogue.

A detector sees the stored 8-bit artefact and nothing else, so that anybody can repeat what it saw. Making one imports
neither torch nor the library behind it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import paths
from bench.catalog.registry import Entry, registry
from bench.catalog.user_code import code_of
from bench.errors import BenchError, MissingFile, suggest
from bench.fetch import memo
from bench.fetch.assets import Asset
from bench.identity import digest

_LIMITS = {"size": (32, 4096), "conf": (0.0, 1.0), "nms": (0.0, 1.0), "keep": (1, 10_000)}


@dataclass(frozen=True)
class Settings:
    """What decides a detector's boxes beside its weights."""

    size: int
    """Side of the square that an image is fitted into, pixels."""
    conf: float
    """Boxes with a lower score are dropped."""
    nms: float
    """Of two boxes of a class that overlap more than this, the one with the lower score is dropped."""
    keep: int
    """Boxes per image, the best scored first."""


@dataclass(frozen=True)
class WeightFile:
    """A detector's weights: the catalogue's asset, or a file of the user's."""

    owner: str
    asset: Asset | None = None
    path: Path | None = None
    sha256: str | None = None
    """Of the user's file, where he states it: then it may be unpickled."""
    architecture: str | None = None
    """Instead of weights, a network to train from scratch, such as yolo11n.yaml."""

    def here(self) -> Path:
        """Where it lies. Raises `MissingFile` with the remedy."""
        if self.asset is not None:
            return self.asset.require()
        if self.path is None:
            raise MissingFile(f"{self.owner}: {self.architecture} has no weights")
        if not self.path.is_file():
            raise MissingFile(f"{self.owner}: no weights at {self.path}")
        return self.path

    def tag(self) -> str:
        """Eight digits of the file's hash, as signatures name it; what it should be where it is not here yet."""
        if self.asset is not None:
            return (self.asset.sha256 or self.asset.expected() or "unpinned")[:8]
        if self.path is None:
            return str(self.architecture)
        if self.sha256 is not None or not self.path.is_file():
            return (self.sha256 or "missing")[:8].lower()
        return memo.digest(self.path)[:8]

    def trusted(self) -> Path:
        """The path of a file that may be unpickled: its whole hash is stated and right. Raises `BenchError`."""
        if self.asset is not None:
            return self.asset.require_verified()
        path = self.here()
        found = memo.digest(path)
        if self.sha256 is None:
            raise BenchError(
                f"{self.owner}: {path} is a pickle, which can run code: if you trust it, "
                f"state its hash beside it: sha256: {found}"
            )
        if found != self.sha256.lower():
            raise BenchError(f"{self.owner}: {path} has sha256 {found}, not the stated {self.sha256}")
        return path


class Detector(ABC):
    """Finds the objects of one image."""

    def __init__(self, name: str, weights: WeightFile, classes: Sequence[str], settings: Settings) -> None:
        self.name = name
        self.weights = weights
        self.classes = tuple(classes)
        """Names, in the order of the class numbers it returns."""
        self.settings = settings
        self.tuned = ""
        """How it is trained before it looks, as `training.Recipe` writes it; empty for a detector as it is."""

    def fields(self) -> list[tuple[str, object]]:
        """Signature fields: everything that decides its boxes."""
        s = self.settings
        names = digest(list(self.classes)).hex()[:8]
        code = code_of(type(self))
        return [
            ("det", f"{self.name}@{self.weights.tag()}"), *([("tuned", self.tuned)] if self.tuned else []),
            *([] if code is None else [("code", code[:12])]), ("names", names),
            ("in", s.size), ("conf", s.conf), ("nms", s.nms), ("keep", s.keep),
        ]  # fmt: skip

    def assets(self) -> list[Asset]:
        return [self.weights.asset] if self.weights.asset is not None else []

    def missing(self) -> str | None:
        """Why it cannot run here, in one line with the remedy."""
        if self.weights.architecture is not None:
            return None
        try:
            self.weights.here()
        except MissingFile as error:
            return str(error)
        return None

    @abstractmethod
    def load(self, device: str) -> None:
        """Bring the weights to the device, once. Raises `BenchError`."""

    @abstractmethod
    def detect(self, image: np.ndarray) -> np.ndarray:
        """RGB uint8 [H,W,3], any size → float32 [K,6]: left, top, right, bottom in its pixels, score, class.

        K is at most `settings.keep`, the best scored first.
        """


def build_detector(name: str, options: Mapping[str, Any], classes: Sequence[str], base: Path | None) -> Detector:
    """The detector of a catalogue entry with a suite's options.

    `classes` are the annotation's, for detectors trained on it (`classes: dataset`). Options: size, conf, nms, keep,
    and for weights of one's own `weights` (a file), `sha256`, `classes`. Raises `BenchError`.
    """
    entry = registry("detector").get(name)
    where = f"detector {name!r}"
    given = {**(entry.fields.get("options") or {}), **options}
    known = [*_LIMITS, "weights", "sha256", "classes"]
    for option, value in given.items():
        if option not in known:
            raise BenchError(f"{where} has no option {option!r}{suggest(option, known)} (it takes {', '.join(known)})")
        if option in _LIMITS:
            low, high = _LIMITS[option]
            whole = option in ("size", "keep")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise BenchError(f"{where}: {option} {value!r} is not a {'whole ' if whole else ''}number")
            if not low <= value <= high:
                raise BenchError(f"{where}: {option} {value!r} is not between {low:g} and {high:g}")
    settings = Settings(int(given["size"]), float(given["conf"]), float(given["nms"]), int(given["keep"]))
    names = given.get("classes") or entry.fields.get("classes") or "dataset"
    if names != "dataset" and (isinstance(names, str) or not all(isinstance(one, str) for one in names)):
        raise BenchError(f"{where}: classes are a list of names, or the word dataset, not {names!r}")
    made = entry.load()(entry.name, _weights(entry, given, base), classes if names == "dataset" else names, settings)
    if not isinstance(made, Detector):
        raise BenchError(f"{where} ({entry.origin}): {entry.target} is not a Detector class")
    return made


def _weights(entry: Entry, options: Mapping[str, Any], base: Path | None) -> WeightFile:
    given = options.get("weights")
    if given is not None:
        sha256 = options.get("sha256")
        if str(given).endswith((".yaml", ".yml")):
            return WeightFile(entry.name, architecture=str(given))
        return WeightFile(entry.name, None, paths.find(str(given), base), None if sha256 is None else str(sha256))
    fields = entry.fields.get("weights")
    if fields is None:
        raise BenchError(f"detector {entry.name!r} needs the option weights, the file with yours")
    return WeightFile(entry.name, Asset.from_fields(entry.name, fields, entry.fields.get("licence")))


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """An image fitted into the top left of a gray square, and by what it was scaled: uint8 [size,size,3].

    OpenCV's bilinear, no antialiasing; sides are cut down to whole pixels, as YOLOX does.
    """
    import cv2

    height, width = image.shape[:2]
    ratio = min(size / height, size / width)
    inner = (max(1, int(width * ratio)), max(1, int(height * ratio)))
    canvas = np.full((size, size, 3), 114, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    return canvas, ratio


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, overlap: float) -> np.ndarray:
    """Places of the boxes [K,4] that stay, best scored first: none overlaps a better one of its class by more.

    Equal scores stay in their order.
    """
    from bench.detection.ap import overlaps

    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    nothing = np.zeros(1, bool)
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        shared = overlaps(boxes[order].astype(np.float64), boxes[[first]].astype(np.float64), nothing)[:, 0]
        order = order[~((classes[order] == classes[first]) & (shared > overlap))]
    return np.array(kept, np.int64)

"""What the blind metrics of the LIVE laboratory share: gray levels, checked parameter files, one image at a time.

Their features are in `nss`, their machines in `libsvm`. Nothing here is deep: they run in float64 on the CPU.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.errors import BenchError, ItemError, suggest
from bench.fetch.assets import Asset
from bench.identity import digest
from bench.metrics.base import ImageMetric, Shared, Signature, once
from bench.metrics.loaded import Loaded
from bench.metrics.primitives.matlab import GRAYS, gray_levels, gray_of_levels
from bench.metrics.view import Levels, View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bench.catalog.registry import Entry

_ENTRY: dict[str, Any] = {"entry": True}
"""Marks the fields that come from the catalogue; they are not options."""


@dataclass(frozen=True)
class LiveMetric(ImageMetric):
    """A metric of gray levels whose parameters were fitted by LIVE and lie in files with known hashes."""

    view: View = field(default_factory=View)
    gray: str = "matlab"
    """How RGB becomes gray levels, one of `GRAYS`."""

    name: str = field(default="", metadata=_ENTRY)
    files: tuple[Asset, ...] = field(default=(), metadata=_ENTRY)
    _loaded: Loaded = field(default_factory=Loaded, metadata=_ENTRY, compare=False, repr=False)

    mode = "NR"
    higher_is_better = False
    spaces = ("rgb",)
    family = ""
    """Name in the signature, the same for every catalogue entry of a metric."""

    def __post_init__(self) -> None:
        self.check("gray", self.gray, GRAYS)

    def check(self, option: str, value: str, legal: Mapping[str, str]) -> None:
        """Raises `BenchError` with the nearest legal value."""
        if value not in legal:
            raise BenchError(
                f"{self.family}: {option} {value!r} is not one of {', '.join(legal)}{suggest(value, legal)}"
            )

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        licence = entry.fields.get("licence")
        files = tuple(Asset.from_fields(entry.name, one, licence) for one in entry.fields.get("weights") or [])
        return cls(view=view, **options, name=entry.name, files=files)

    @property
    def version(self) -> int:
        """In the signature: it rises where the same pixels get another value."""
        return 1

    @abstractmethod
    def own_fields(self) -> list[tuple[str, object]]:
        """Signature fields of the metric's own options."""

    @abstractmethod
    def read(self, files: Mapping[str, Path]) -> Any:
        """The parameters from the files, by their base names; their hashes are right. Raises `BenchError`."""

    @abstractmethod
    def one(self, model: Any, levels: np.ndarray) -> float:
        """Gray levels of 0..255, float64 [H,W] → the value. Raises `ItemError` where it is undefined."""

    def signature(self) -> Signature:
        own = [("gray", self.gray), *self.own_fields(), ("params", self._tag()), ("v", self.version)]
        return Signature.of(self.family, [*self.view.signature("NR"), *own])

    def _tag(self) -> str:
        """Eight hex digits: of the file's hash, or of the hashes of all files where a release has several."""
        hashes = [asset.sha256 or "unpinned" for asset in self.files]
        return (hashes[0] if len(hashes) == 1 else digest(hashes).hex())[:8]

    def assets(self) -> list[Asset]:
        return list(self.files)

    def load(self, device: str) -> None:
        self.model()

    def model(self) -> Any:
        """The parameters, read once. Raises `MissingFile`, or `BenchError` for a file with another hash."""
        return self._loaded.get("model", self._read)

    def _read(self) -> Any:
        if not self.files:
            raise BenchError(f"{self.family}: no parameter files are given; build it from its catalogue entry")
        paths = [asset.require_verified() for asset in self.files]
        return self.read({path.name: path for path in paths})

    def _one(self, model: Any, levels: np.ndarray) -> float:
        """As `one`, and refused for an image of a single level: its number would be its border's, or rounding's."""
        return self._refused_if_flat(self.one(model, levels), levels)  # `one` has reasons of its own, such as the size

    def _refused_if_flat(self, found: float, levels: np.ndarray) -> float:
        if levels.min() == levels.max():
            level = int(levels.flat[0])
            raise ItemError(f"{self.family} is undefined: the image has no texture, every pixel has gray level {level}")
        return found

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 RGB [B,3,H,W] in [0,1] → float64 [B]. `ItemError` for an image that is too small or flat."""
        import numpy as np
        import torch

        grays = [gray_levels(planes, self.gray) for planes in restored.cpu().numpy()]
        if restored.device.type != "cpu":
            return self.score_batch(torch.from_numpy(np.stack(grays)).to(restored.device))
        return torch.tensor([self._of_gray(gray) for gray in grays], dtype=torch.float64)

    def score_batch(self, gray: Tensor) -> Tensor:
        """Of gray levels [B,H,W], made of images as for `score`; by torch on their device as far as the metric can."""
        import torch

        features = self.features_on_device(gray)
        planes = gray.cpu().numpy()
        if features is None:
            values = [self._of_gray(plane) for plane in planes]
        else:
            model = self.model()
            values = [
                self._checked(self.of_features(model, found), plane)
                for found, plane in zip(features, planes, strict=True)
            ]
        return torch.tensor(values, dtype=torch.float64, device=gray.device)

    def features_on_device(self, gray: Tensor) -> list[np.ndarray] | None:
        """Of gray levels [B,H,W]: what `of_features` takes of each image; None where only `one` can."""
        return None

    def of_features(self, model: Any, found: np.ndarray) -> float:
        """The value of one image's features."""
        raise NotImplementedError

    def score_levels(self, levels: Levels, shared: Shared) -> float:
        return self._of_gray(shared_gray(levels, self.gray, shared))

    def _of_gray(self, gray: np.ndarray) -> float:
        return self._checked(self._one(self.model(), gray), gray)

    def _checked(self, value: float, gray: np.ndarray) -> float:
        self._refused_if_flat(value, gray)
        if not math.isfinite(value):
            raise ItemError(f"{self.family} is undefined for this image: its value is {value}")
        return value


def shared_gray(levels: Levels, kind: str, shared: Shared) -> np.ndarray:
    """`gray_of_levels` of the restored image, made once for all metrics of its view."""

    def make() -> np.ndarray:
        gray = gray_of_levels(levels.restored, kind)
        gray.flags.writeable = False
        return gray

    return once(shared, ("gray", kind), make)

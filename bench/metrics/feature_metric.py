"""What FID and KID share: one extractor, one reference set, and features that both are aggregated from.

The distance itself is in `bench.metrics.primitives.frechet`, the networks behind `bench.metrics.extractors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from bench.fetch.assets import Asset
from bench.metrics.base import SetMetric, Signature
from bench.metrics.extractors import Extractor, extractor
from bench.metrics.references import GT, Holds, Reference, reference
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bench.catalog.registry import Entry

_ENTRY: dict[str, Any] = {"entry": True}
"""Marks the fields that are not options."""


@dataclass(frozen=True)
class FeatureMetric(SetMetric):
    """A distance between the features of a set of images and those of a reference set."""

    view: View = field(default_factory=View)
    ext: str = "basicsr"
    """Extractor, one of `catalog/features.yaml`."""
    ref: str = GT
    """Reference set: `gt` (the references of the images themselves), a name of that file, or a statistics file."""

    owner: str = field(default="", metadata=_ENTRY)
    """The catalogue entry, whose `bench fetch` brings the extractor."""
    mode: Literal["FR", "NR"] = field(default="FR", init=False, metadata=_ENTRY)
    two_sets: bool = field(default=True, init=False, metadata=_ENTRY)

    higher_is_better = False
    learned = True
    spaces = ("rgb",)
    needs: ClassVar[Holds] = "features"
    """What a file with the reference set must hold."""

    def __post_init__(self) -> None:
        own_gt = self.ref == GT
        object.__setattr__(self, "mode", "FR" if own_gt else "NR")
        object.__setattr__(self, "two_sets", own_gt)
        self._extractor()
        if not own_gt:
            self._reference()

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        return cls(view=view, owner=entry.name, **options)

    def own_fields(self) -> list[tuple[str, object]]:
        """Signature fields of the metric's own options."""
        return []

    def signature(self) -> Signature:
        against = GT if self.two_sets else self._reference().tag
        sets = [("ext", self._extractor().tag), ("ref", against)]
        return Signature.of(self.name, [*sets, *self.view.signature("NR"), *self.own_fields(), ("v", 1)])

    def extractor(self) -> Signature:
        """The reference set and the protocol's name are no part of it: all distances share one pass."""
        view = replace(self.view, unverified=False).signature("NR")
        return Signature.of("features", [("ext", self._extractor().tag), *view, ("v", 1)])

    def assets(self) -> list[Asset]:
        return [self._extractor().weight.asset, *([] if self.two_sets else self._reference().assets)]

    def load(self, device: str) -> None:
        if not self.two_sets:
            self._reference().file()
        self._extractor().load(device)

    def extract(self, restored: Tensor, reference: Tensor | None) -> np.ndarray:
        """float64 RGB [B,3,H,W] in [0,1] → float64 [B,D], D as the extractor's network has it."""
        return self._extractor().extract(restored)

    def _extractor(self) -> Extractor:
        return extractor(self.ext, self.owner or self.name)

    def _reference(self) -> Reference:
        return reference(self.ref, self.ext, self.needs)

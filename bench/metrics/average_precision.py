"""Average precision of a detector on restored images: a set metric over boxes.

What is stored per output are the detector's boxes, of all its classes; what they are held against, the dataset's
annotation, enters only where a set is aggregated. So one pass of the detector serves every definition of AP.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from bench.data.boxes import plain, translation
from bench.detection.ap import COCO_THRESHOLDS, Image, Rule, average_precision
from bench.detection.detector import Detector, WeightFile
from bench.errors import BenchError, ItemError, NotApplicable, suggest
from bench.metrics.base import SetMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
    from torch import Tensor

    from bench.catalog.registry import Entry
    from bench.data.boxes import Annotations, Boxes
    from bench.fetch.assets import Asset

_ENTRY: dict[str, Any] = {"entry": True}
_DEFINITIONS: dict[str, tuple[Rule, tuple[float, ...]]] = {
    "coco-50": ("coco", (0.5,)), "coco-50:95": ("coco", COCO_THRESHOLDS), "voc": ("voc", (0.5,)),
    "voc11": ("voc11", (0.5,)),
}  # fmt: skip
"""A catalogue entry's `variant` → how AP is defined, and at which overlaps."""
EDGES = {
    "continuous": "a box of width w ends at left + w",
    "inclusive": "the right and bottom edges are pixels of the box, one wider and higher: VOC's devkit",
}
CHOICES = {"edges": EDGES}


@dataclass(frozen=True)
class AveragePrecision(SetMetric):
    """AP in percent, as papers print it. Agrees with pycocotools to 1e-9 (`coco`); VOC's are `voc` and `voc11`.

    A class without objects in the set has no AP, and is not in the mean.
    """

    view: View
    category: str = ""
    """The AP of one class of the annotation; empty for the mean of all that have objects. A suite writes `class`."""
    maxdets: int = 100
    """Detections per image and class that count, the best scored first."""
    edges: str = "continuous"
    """One of `EDGES`; COCO's definition has the first alone."""

    name: str = field(default="", metadata=_ENTRY)
    rule: Rule = field(default="coco", metadata=_ENTRY)
    thresholds: tuple[float, ...] = field(default=(0.5,), metadata=_ENTRY)
    detector: Detector | None = field(default=None, metadata=_ENTRY, compare=False)
    classes: tuple[str, ...] = field(default=(), metadata=_ENTRY)
    """The annotation's."""
    truth: str = field(default="", metadata=_ENTRY)
    """Digest of the annotation."""
    split: str = field(default="", metadata=_ENTRY)

    mode: ClassVar[Literal["FR", "NR"]] = "NR"  # type: ignore[misc]
    learned = True
    annotated = True
    spaces = ("rgb",)

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        if view.crop or view.fit != "no":
            view = replace(view, crop=0, fit="no")  # would move the boxes
        rule, thresholds = _DEFINITIONS[entry.fields["variant"]]
        made = cls(view=view, name=entry.name, rule=rule, thresholds=thresholds, **options)
        if made.maxdets < 1:
            raise BenchError(f"metric {entry.name!r}: maxdets {made.maxdets} is not a positive number")
        if made.edges not in EDGES:
            known = ", ".join(EDGES)
            raise BenchError(
                f"metric {entry.name!r}: edges {made.edges!r}{suggest(made.edges, EDGES)} is not of {known}"
            )
        if rule == "coco" and made.edges != "continuous":
            raise BenchError(f"metric {entry.name!r}: COCO counts edges as continuous; ap50-voc takes edges: inclusive")
        return made

    def on(self, detector: Detector, annotations: Annotations, split: str) -> Self:
        """The same metric for a detector and an annotation. Raises `BenchError` where they know other classes."""
        translation(annotations.classes, detector.classes, f"detector {detector.name!r}")
        known = {plain(name): name for name in annotations.classes}
        chosen = ""
        if self.category:
            if plain(self.category) not in known:
                raise BenchError(
                    f"metric {self.name!r}: the annotation has no class {self.category!r}"
                    f"{suggest(self.category, annotations.classes)} (it has {', '.join(annotations.classes)})"
                )
            chosen = known[plain(self.category)]
        return replace(
            self, category=chosen, detector=detector, classes=annotations.classes, truth=annotations.digest[:8],
            split=split,
        )  # fmt: skip

    def looking_with(self, weights: WeightFile) -> Self:
        """The same with the detector's weights exchanged, as for one that was trained on a method's outputs."""
        own = copy.copy(self._detector())
        own.weights = weights
        return replace(self, detector=own)

    def signature(self) -> Signature:
        detector = self.detector.fields() if self.detector is not None else [("det", "of-the-suite")]
        iou = "0.5-0.95" if len(self.thresholds) > 1 else f"{self.thresholds[0]:g}"
        recalls = {"coco": "101", "voc": "all", "voc11": "11"}[self.rule]
        own: list[tuple[str, object]] = [
            ("match", "coco" if self.rule == "coco" else "voc"), ("iou", iou), ("recalls", recalls),
            *([] if self.rule == "coco" else [("edges", self.edges)]), ("dets", self.maxdets),
            ("class", self.category or f"mean of {len(self.classes) or 'all'}"),
            ("split", self.split or "none"), ("gt", self.truth or "of-the-suite"),
        ]  # fmt: skip
        return Signature.of(self.name, [*detector, *self.view.signature("NR"), *own, ("v", 1)])

    def extractor(self) -> Signature:
        detector = self.detector.fields() if self.detector is not None else [("det", "of-the-suite")]
        view = replace(self.view, unverified=False).signature("NR")
        return Signature.of("detections", [*detector, *view, ("v", 1)])

    def assets(self) -> list[Asset]:
        return self.detector.assets() if self.detector is not None else []

    def load(self, device: str) -> None:
        if self.detector is not None:  # beside images without an annotation there is nothing to look for
            self.detector.load(device)

    def extract(self, restored: Tensor, reference: Tensor | None) -> np.ndarray:
        """float64 RGB [1,3,H,W] in [0,1] → float64 [1,K,6]: left, top, right, bottom, score, the detector's class."""
        pixels = (restored[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return self._detector().detect(np.ascontiguousarray(pixels))[None].astype(np.float64)

    def aggregate(self, features: Any, references: Any = None) -> float:
        """Detections [K,6] of each member, in the annotation's pixels, and its `Boxes` → AP in percent.

        Raises `NotApplicable` where the set has no object of the class, or none at all.
        """
        values = self.by_class(features, references)
        if self.category:
            value = values[self.category]
            if math.isnan(value):
                raise NotApplicable("no object of the class is annotated in these images, and it is not in the mean")
            return value
        there = [value for value in values.values() if not math.isnan(value)]
        if not there:
            raise NotApplicable("no object is annotated in these images")
        return math.fsum(there) / len(there)

    def by_class(self, features: Sequence[np.ndarray], references: Sequence[Boxes]) -> dict[str, float]:
        """AP of each class that is asked for, in percent; NaN for one without objects."""
        wanted = [self.category] if self.category else list(self.classes)
        ours = translation(self.classes, self._detector().classes, self.name)
        classes = [ours[found[:, 5].astype(np.int64)] for found in features]
        values: dict[str, float] = {}
        for name in wanted:
            place = self.classes.index(name)
            images = [
                Image(found[kind == place, :5], boxes.corners[here], boxes.ignored[here])
                for found, kind, boxes in zip(features, classes, references, strict=True)
                for here in [boxes.classes == place]
            ]
            inclusive = self.edges == "inclusive"
            each = average_precision(images, self.thresholds, rule=self.rule, most=self.maxdets, inclusive=inclusive)
            values[name] = 100 * float(each.mean())
        return values

    def remark(self, references: Sequence[Boxes]) -> str | None:
        """Which classes are not in the mean."""
        if self.category:
            return None
        there = {int(kind) for boxes in references for kind in boxes.classes[~boxes.ignored]}
        absent = [name for place, name in enumerate(self.classes) if place not in there]
        if not absent:
            return None
        return (
            f"mean of {len(there)} of {len(self.classes)} classes: no {', '.join(absent)} is annotated in these images"
        )

    def _detector(self) -> Detector:
        if self.detector is None:
            raise ItemError(f"{self.name} needs a detector and annotated images: a suite names them under detection:")
        return self.detector

"""Boxes: what an annotation says of an image, what a detector finds in one, and both as COCO JSON.

Coordinates are (left, top, right, bottom) in pixels of the image, continuous: a box of width w ends at left + w.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bench.errors import BenchError
from bench.identity import digest

SYNONYMS = {
    "people": "person", "motorbike": "motorcycle", "table": "dining table", "sofa": "couch", "tvmonitor": "tv",
    "aeroplane": "airplane",
}  # fmt: skip
"""Names of ExDark and PASCAL VOC → the same thing as COCO calls it. Blanks and case never matter."""


class Boxes(NamedTuple):
    """The objects of one image."""

    corners: np.ndarray
    """float64 [K,4]: left, top, right, bottom."""
    classes: np.ndarray
    """int64 [K], places in the annotation's list of classes."""
    ignored: np.ndarray
    """bool [K]: crowds and difficult objects, which are neither to be found nor wrong to find."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Boxes:
        """From rows of (class, left, top, right, bottom) or (…, ignored)."""
        table = np.array([[*row, 0.0][:6] for row in rows], np.float64).reshape(-1, 6)
        return cls(table[:, 1:5], table[:, 0].astype(np.int64), table[:, 5].astype(bool))

    def rows(self) -> list[list[float]]:
        """What `of` takes."""
        return [
            [int(kind), *(float(edge) for edge in corners), *([1] if ignored else [])]
            for corners, kind, ignored in zip(self.corners, self.classes, self.ignored, strict=True)
        ]


@dataclass(frozen=True)
class Annotations:
    """What is to be found in the images of a dataset."""

    classes: tuple[str, ...]
    digest: str
    """Hex digest of the whole annotation, whichever of its images a run takes."""
    boxes: Mapping[str, Boxes]
    """By item id."""
    sizes: Mapping[str, tuple[int, int]]
    """(height, width) of the annotated image, by item id."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why an item has no boxes: one line each, by item id. Such an item is expected, and failed."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the record of a run."""
        return {
            "classes": list(self.classes),
            "digest": self.digest,
            "boxes": {item: boxes.rows() for item, boxes in self.boxes.items()},
            "sizes": {item: list(size) for item, size in self.sizes.items()},
            "problems": dict(self.problems),
        }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Annotations:
        """What `as_json` made."""
        boxes = {item: Boxes.of(rows) for item, rows in data["boxes"].items()}
        sizes = {item: (size[0], size[1]) for item, size in data["sizes"].items()}
        return cls(tuple(data["classes"]), data["digest"], boxes, sizes, data["problems"])

    def only(self, items: Sequence[str]) -> Annotations:
        """The same for some of the items."""

        def kept(values: Mapping[str, Any]) -> dict[str, Any]:
            return {item: values[item] for item in items if item in values}

        parts = (kept(self.boxes), kept(self.sizes), kept(self.problems))
        return Annotations(self.classes, self.digest, *parts, self.notes)


def digest_of(classes: Sequence[str], raw: Mapping[str, Any]) -> str:
    """Digest of an annotation: its classes and, by image, what it says."""
    return digest(["annotation", 1, list(classes), dict(raw)]).hex()


@functools.lru_cache(maxsize=4096)
def plain(name: str) -> str:
    """A class's name without case, blanks and punctuation, synonyms as COCO has them."""
    short = re.sub(r"[^a-z0-9]", "", SYNONYMS.get(name.casefold().strip(), name).casefold())
    return re.sub(r"[^a-z0-9]", "", SYNONYMS.get(short, short))


def translation(ours: Sequence[str], theirs: Sequence[str], who: str) -> np.ndarray:
    """int64 [len(theirs)]: the place of each of the detector's classes among the annotation's, −1 for none.

    Raises `BenchError` where the annotation has a class that the detector does not know.
    """
    known = {plain(name): place for place, name in enumerate(ours)}
    found = np.array([known.get(plain(name), -1) for name in theirs], np.int64)
    lacking = [name for place, name in enumerate(ours) if place not in found]
    if lacking:
        raise BenchError(
            f"{who} has no class for {', '.join(lacking[:5])} of the annotation: take a detector trained for it, "
            "or give one its names with the option classes"
        )
    return found


def scale_to(found: np.ndarray, made: tuple[int, int], annotated: tuple[int, int], scale: int | None) -> np.ndarray:
    """Detections [K,6] of an output in the pixels of the annotated image.

    `made`, `annotated`: (height, width). `scale`: the method's, whose outputs may be cropped at the right and the
    bottom; None for outputs that somebody else made, of whatever size.
    """
    height, width = (made[axis] / annotated[axis] if scale is None else float(scale) for axis in (0, 1))
    if (height, width) == (1.0, 1.0):
        return found
    return np.concatenate([found[:, :4] / [width, height, width, height], found[:, 4:]], axis=1)


# COCO JSON


def coco_truth(annotations: Annotations, items: Sequence[str]) -> dict[str, Any]:
    """The annotation of some items as COCO's instances file; ids count from 1, images in the given order."""
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for place, item in enumerate(items, start=1):
        height, width = annotations.sizes[item]
        images.append({"id": place, "file_name": item, "height": height, "width": width})
        for kind, left, top, right, bottom, *ignored in annotations.boxes[item].rows():
            box = [left, top, right - left, bottom - top]
            rows.append(
                {
                    "id": len(rows) + 1, "image_id": place, "category_id": int(kind) + 1, "bbox": box,
                    "area": box[2] * box[3], "iscrowd": int(bool(ignored)),
                }
            )  # fmt: skip
    categories = [{"id": place, "name": name} for place, name in enumerate(annotations.classes, start=1)]
    return {"images": images, "annotations": rows, "categories": categories}


def coco_results(found: Mapping[int, np.ndarray], to_ours: np.ndarray) -> list[dict[str, Any]]:
    """Detections [K,6] by image id as COCO's results file; classes that the annotation has not are left out."""
    return [
        {
            "image_id": image,
            "category_id": int(to_ours[int(row[5])]) + 1,
            "bbox": [float(row[0]), float(row[1]), float(row[2] - row[0]), float(row[3] - row[1])],
            "score": float(row[4]),
        }
        for image, rows in found.items()
        for row in rows
        if to_ours[int(row[5])] >= 0
    ]

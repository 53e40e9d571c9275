"""Average precision of one class over a set of images, as COCO and as PASCAL VOC define it.

A pure function of boxes. Written out rather than taken from a library: the two definitions match boxes differently,
a class without objects has no value here (libraries give −1), and features are aggregated where no library's
bookkeeping of ids is of use. It is held to pycocotools and faster-coco-eval in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

COCO_THRESHOLDS = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
RECALLS = np.linspace(0.0, 1.0, 101)
VOC_RECALLS = np.arange(0.0, 1.1, 0.1)

Rule = Literal["coco", "voc", "voc11"]
"""`coco`: a detection takes the best object that is still free; precision at 101 recalls. `voc`: it is held against
the object it overlaps most, and is wrong where that one is taken; area under the curve. `voc11`: the same, precision
at 11 recalls."""


class Image(NamedTuple):
    """One class in one image."""

    found: np.ndarray
    """float64 [K,5]: left, top, right, bottom, score."""
    truth: np.ndarray
    """float64 [M,4]: left, top, right, bottom."""
    ignored: np.ndarray
    """bool [M]."""


def average_precision(
    images: Sequence[Image],
    thresholds: Sequence[float] = (0.5,),
    *,
    rule: Rule = "coco",
    most: int = 100,
    inclusive: bool = False,
) -> np.ndarray:
    """float64 [len(thresholds)], in [0,1]; NaN where no image has an object of the class that counts.

    `thresholds`: intersection over union from which on a detection is right. `most`: detections per image, the best
    scored first. Equal scores stay in the order of the images and, within one, of its rows. `inclusive`: the right and
    the bottom edge are the last pixel inside, as VOC's devkit counts, so that a box is wider and higher by one.
    """
    objects = sum(int((~image.ignored).sum()) for image in images)
    if not objects:
        return np.full(len(thresholds), np.nan)
    if inclusive:
        images = [_grown(image) for image in images]
    match = _match_coco if rule == "coco" else _match_voc
    scores, right, counted = [], [], []
    for image in images:
        best = image.found[np.argsort(-image.found[:, 4], kind="stable")[:most]]
        hits, skipped = match(best, image.truth, image.ignored, thresholds)
        scores.append(best[:, 4])
        right.append(hits)
        counted.append(~skipped)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit, count = (np.concatenate(parts, axis=1)[:, order] for parts in (right, counted))
    values = [_area(one_hit[one_count], objects, rule) for one_hit, one_count in zip(hit, count, strict=True)]
    return np.array(values, np.float64)


def _grown(image: Image) -> Image:
    """The boxes of an image with the pixel of their right and bottom edges in them."""
    found, truth = image.found.copy(), image.truth.copy()
    found[:, 2:4] += 1
    truth[:, 2:4] += 1
    return image._replace(found=found, truth=truth)


def overlaps(found: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union [K,M]; against a crowd, the part of the detection that lies in it."""
    left, top = (np.maximum(found[:, None, axis], truth[None, :, axis]) for axis in (0, 1))
    right, bottom = (np.minimum(found[:, None, axis], truth[None, :, axis]) for axis in (2, 3))
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    ours, theirs = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (found, truth))
    union = np.where(crowd[None, :], ours[:, None], ours[:, None] + theirs[None, :] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _match_coco(
    found: np.ndarray, truth: np.ndarray, ignored: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """(right, left out) [len(thresholds), K], detections in the order of their scores."""
    order = np.argsort(ignored, kind="stable")  # objects that count go first
    truth, ignored = truth[order], ignored[order]
    shared = overlaps(found, truth, ignored)
    right, skipped = (np.zeros((len(thresholds), len(found)), bool) for _ in range(2))
    for row, threshold in enumerate(thresholds):
        taken = np.zeros(len(truth), bool)
        for index in range(len(found)):
            best, chosen = min(threshold, 1 - 1e-10), -1
            for place in range(len(truth)):
                if taken[place] and not ignored[place]:
                    continue
                if chosen >= 0 and not ignored[chosen] and ignored[place]:
                    break  # what counts goes before what does not, however much it overlaps
                if shared[index, place] >= best:
                    best, chosen = shared[index, place], place
            if chosen >= 0:
                taken[chosen] = True
                right[row, index], skipped[row, index] = not ignored[chosen], ignored[chosen]
    return right, skipped


def _match_voc(
    found: np.ndarray, truth: np.ndarray, ignored: np.ndarray, thresholds: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    right, skipped = (np.zeros((len(thresholds), len(found)), bool) for _ in range(2))
    if not len(truth):
        return right, skipped
    shared = overlaps(found, truth, np.zeros_like(ignored))
    nearest = shared.argmax(axis=1)
    for row, threshold in enumerate(thresholds):
        taken = np.zeros(len(truth), bool)
        for index, place in enumerate(nearest):
            if shared[index, place] < threshold:
                continue
            if ignored[place]:
                skipped[row, index] = True
            elif not taken[place]:
                taken[place] = right[row, index] = True
    return right, skipped


def _area(hits: np.ndarray, objects: int, rule: Rule) -> float:
    """What lies under the precision that is reached at each recall or beyond it."""
    right = np.cumsum(hits, dtype=np.float64)
    recall = right / objects
    precision = right / (np.arange(1, len(hits) + 1) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if rule == "voc":
        steps = np.diff(recall, prepend=0.0)
        return float((steps * envelope).sum())
    at = RECALLS if rule == "coco" else VOC_RECALLS
    places = np.searchsorted(recall, at, side="left")
    reached = places < len(envelope)
    values = np.zeros(len(at))
    values[reached] = envelope[places[reached]]
    return float(values.mean())

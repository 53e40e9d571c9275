"""What every metric promises of its values, one function per promise; the docstring is the promise."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import cast

import numpy as np

from bench.catalog.isolation import changes
from bench.errors import BenchError, ItemError, one_line
from bench.metrics.base import ImageMetric, Metric, SetMetric
from bench.testing.checks import Broken, Skipped, needs
from bench.testing.generated import LEVELS, STRENGTHS, Image, copies, distorted, photograph, uniform
from bench.testing.subject import (
    ROUNDING,
    Subject,
    better,
    measure,
    number,
    references,
    same,
    scored,
    tensor,
)


def batch(subject: Subject) -> None:
    """Three images in one batch get the values that each gets alone."""
    together = measure(subject.metric, subject.restored, subject.reference)
    same(together, np.stack(subject.alone), subject.claims.tolerance, "three at once against one by one")


def order(subject: Subject) -> None:
    """A batch in another order gives the values in that order."""
    turned = measure(subject.metric, subject.restored[::-1], subject.reference[::-1])
    same(turned[::-1], np.stack(subject.alone), subject.claims.tolerance, "batch turned round")


def repeat(subject: Subject) -> None:
    """Nothing is remembered: the first image scored again after the others gives the same bits."""
    again = measure(subject.metric, subject.restored[:1], subject.reference[:1])[0]
    same(again, subject.alone[0], 0, "scored again")


def together(subject: Subject) -> None:
    """One scorer asked from four threads at once gives what it gives alone."""
    from concurrent.futures import ThreadPoolExecutor

    from bench.metrics.scorer import Scorer

    scorer = Scorer([subject.metric], "cpu")
    scorer.load()
    pairs = list(zip(subject.restored, subject.reference, strict=True)) * 2

    def one(pair: tuple[Image, Image]) -> np.ndarray:
        (outcome,) = scorer.score(*pair)
        return np.asarray(outcome.value if outcome.features is None else outcome.features, dtype=np.float64)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, pairs))
    same(np.stack(found), np.stack(subject.alone * 2), subject.claims.tolerance, "four threads at once")


def threads(subject: Subject) -> None:
    """Torch and OpenCV with one thread and with four give the same value."""
    side = max(subject.side, 224)  # large enough for torch to divide the work
    reference = photograph(side, 5)
    pair = [distorted(reference, "noise", 8)], [reference]
    with _threads(1):
        one = measure(subject.metric, *pair)
    with _threads(4):
        four = measure(subject.metric, *pair)
    same(one, four, subject.claims.tolerance, "1 thread against 4")


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def device(subject: Subject) -> None:
    """A GPU gives the CPU's value: the same bits where the metric runs on the CPU anyway."""
    import torch

    needs(torch.cuda.is_available(), "there is no GPU")
    tolerance = subject.claims.device_tolerance if subject.metric.learned else 0
    found = scored(subject.metric, subject.restored[0], subject.reference[0], "cuda")
    subject.metric.load("cpu")
    same(found, subject.alone[0], tolerance, "GPU against CPU")


def inputs(subject: Subject) -> None:
    """The images that are handed in stay as they are."""
    import torch

    given = [tensor(subject.restored), tensor(subject.reference)]
    theirs = given[1] if subject.metric.mode == "FR" else None
    ours, theirs = subject.metric.view.apply(given[0], theirs)
    kept = [each.clone() for each in (*given, ours)] + ([] if theirs is None else [theirs.clone()])
    with torch.inference_mode():
        if isinstance(subject.metric, SetMetric):
            subject.metric.extract(ours, theirs)
        else:
            cast(ImageMetric, subject.metric).score(ours, theirs)
    now = [*given, ours] + ([] if theirs is None else [theirs])
    if not all(torch.equal(one, other) for one, other in zip(kept, now, strict=True)):
        raise Broken("scoring changes its inputs")


def process(subject: Subject) -> None:
    """Scoring leaves the process as it was: generators, default dtype, threads, folder, environment, switches."""

    def score() -> None:
        measure(subject.metric, subject.restored[:1], subject.reference[:1])

    score()  # what is imported on demand may add filters of warnings, once
    changed = changes(score)
    if changed:
        raise Broken(f"scoring changes {', '.join(changed)}")


def dtype(subject: Subject) -> None:
    """The same pixels as 8 bit, 16 bit and floats have the same value."""
    restored, reference = subject.restored[0], subject.reference[0]
    expected = scored(subject.metric, restored, reference)
    same(expected, subject.alone[0], 0, "through Scorer against directly")
    for name, make in _DTYPES.items():
        if name == "float32" and subject.metric.view.rounding != "u8":
            continue  # a float32 of k/255 is another number unless it is rounded to k
        same(scored(subject.metric, make(restored), make(reference)), expected, 0, f"{name} against uint8")


_DTYPES: Mapping[str, Callable[[Image], np.ndarray]] = {
    "uint16": lambda image: image.astype(np.uint16) * 257,
    "float64": lambda image: image / 255.0,
    "float32": lambda image: (image / 255.0).astype(np.float32),
}


def crop(subject: Subject) -> None:
    """The option `crop` is cutting the border by hand, and is said in the signature."""
    cropped = _option(subject, "crop", subject.metric.view.crop + 4)
    width = cropped.view.crop - subject.metric.view.crop
    reference = photograph(subject.side + 2 * width, 6)
    restored = distorted(reference, "noise", 8)
    inner = (slice(width, -width), slice(width, -width))
    by_hand = scored(subject.metric, restored[inner], reference[inner])
    tolerance = max(subject.claims.tolerance, ROUNDING)
    same(scored(cropped, restored, reference), by_hand, tolerance, f"crop {width} against cutting by hand")
    if str(cropped.signature()) == str(subject.metric.signature()):
        raise Broken(f"crop {width} is not in the signature")


def _option(subject: Subject, name: str, value: object) -> Metric:
    try:
        return subject.vary(name, value)
    except BenchError as error:
        raise Skipped(f"refuses {name} {value!r}: {one_line(error, 120)}") from error


def channels(subject: Subject) -> None:
    """A permutation of the channels changes a luma's value, and an RGB value as the metric's claims say."""
    metric, claim = subject.metric, subject.claims.channels
    turn = [image[..., [2, 0, 1]] for image in (subject.restored[0], subject.reference[0])]
    if metric.spaces is None or "y" in metric.spaces:
        luma = _option(subject, "space", "y")
        before = measure(luma, subject.restored[:1], subject.reference[:1])
        if np.array_equal(measure(luma, turn[:1], turn[1:]), before):
            raise Broken("with space 'y' the order of the channels does not matter")
    needs(claim != "unstated", "nothing is claimed about channels")
    found = measure(metric, turn[:1], turn[1:])
    if claim == "same":
        same(found[0], subject.alone[0], max(subject.claims.tolerance, ROUNDING), "channels exchanged")
    elif np.allclose(found[0], subject.alone[0], rtol=1e-6, atol=0):
        raise Broken(f"the order of the channels does not matter: {found[0]!r}")


def identity(subject: Subject) -> None:
    """FR: an image against itself is best, and has the value that is claimed."""
    metric, claims = subject.metric, subject.claims
    needs(metric.mode == "FR", "there is no reference")
    found = number(metric, subject.reference, subject.reference)
    if math.isnan(found):
        raise Broken("an image against itself is NaN")
    if claims.best is not None:
        same(found, claims.best, max(claims.tolerance, ROUNDING), "an image against itself")
    for kind, strengths in STRENGTHS.items():
        worse = number(metric, copies(subject.side, kind, strengths[1]), subject.reference)
        if better(metric, worse, found):
            raise Broken(f"{kind} of {strengths[1]:g} gives {worse!r}, better than the image itself: {found!r}")


def symmetry(subject: Subject) -> None:
    """FR, where claimed: restored and reference can be exchanged."""
    needs(subject.metric.mode == "FR" and subject.claims.symmetric, "no symmetry is claimed")
    turned = measure(subject.metric, subject.reference[:1], subject.restored[:1])[0]
    same(turned, subject.alone[0], max(subject.claims.tolerance, ROUNDING), "images exchanged")


def _monotone(subject: Subject, kind: str) -> None:
    claimed = subject.claims.worse_with
    usual = ("noise", "blur") if subject.metric.mode == "FR" else ()
    needs(kind in (usual if claimed is None else claimed), f"nothing is claimed about {kind}")
    strengths = STRENGTHS[kind]
    values = [number(subject.metric, copies(subject.side, kind, each), subject.reference) for each in strengths]
    rows = list(zip(strengths, values, strict=True))
    for (weak, before), (strong, after) in pairwise(rows):
        if not better(subject.metric, before, after):
            raise Broken(f"{kind} {strong:g} gives {after!r}, no worse than {before!r} of {kind} {weak:g}")


def noise(subject: Subject) -> None:
    """Growing noise worsens the value (FR, or where claimed)."""
    _monotone(subject, "noise")


def blur(subject: Subject) -> None:
    """Growing blur worsens the value (FR, or where claimed)."""
    _monotone(subject, "blur")


def flat(subject: Subject) -> None:
    """Flat images, black to white, have a value or an `ItemError` with a reason; never a silent NaN."""
    metric, photo = subject.metric, subject.reference[0]
    for level in LEVELS:
        plain = uniform(level, photo)
        found = _defined(metric, plain, plain, f"flat {level}")
        if metric.mode == "FR":
            _defined(metric, plain, photo, f"flat {level} against a photograph")
            _defined(metric, photo, plain, f"a photograph against flat {level}")
            if found is not None and subject.claims.best is not None and isinstance(metric, ImageMetric):
                same(found[0], subject.claims.best, 1e-6, f"flat {level} against itself")
    if metric.mode == "FR":
        _defined(metric, uniform(255, photo), uniform(0, photo), "white against black")


def _defined(metric: Metric, restored: Image, reference: Image, what: str) -> np.ndarray | None:
    """The result, None for an `ItemError` of one line."""
    try:
        found = measure(metric, [restored], [reference])
    except ItemError as error:
        if not str(error).strip() or "\n" in str(error):
            raise Broken(f"{what}: the reason is not one line: {str(error)!r}") from error
        return None
    except Broken:
        raise
    except Exception as error:  # whatever else a metric throws is the finding
        raise Broken(f"{what} raises {type(error).__name__}: {one_line(error, 160)}") from error
    if np.isnan(found).any():
        raise Broken(f"{what} is NaN")
    if not np.isfinite(found).all() and not (metric.mode == "FR" and np.array_equal(restored, reference)):
        raise Broken(f"{what} is {found[0]!r}")
    return found


def small(subject: Subject) -> None:
    """An image that is too small is an `ItemError` of one line, and `min_size` of the catalogue tells the truth."""
    sizes = [(1, 1), (2, 2), (5, 7), (8, 8), (16, 16), (1, subject.side), (subject.side, 3)]
    for height, width in sizes:
        photo = photograph(height, 3, width)
        _defined(subject.metric, distorted(photo, "noise", 8), photo, f"{width}×{height}")
    least = int(subject.entry.fields.get("min_size", 0)) if subject.entry is not None else 0
    if least > 1:
        photo = photograph(least - 1, 3, least - 1)
        if _defined(subject.metric, distorted(photo, "noise", 8), photo, f"{least - 1}×{least - 1}") is not None:
            raise Broken(f"min_size is {least}, but {least - 1}×{least - 1} is scored")
        # Some need two blocks side by side, so a square of the smallest side may be too little.
        for width in (least, 2 * least):
            photo = photograph(least, 3, width)
            if _defined(subject.metric, distorted(photo, "noise", 8), photo, f"{width}×{least}") is not None:
                return
        raise Broken(f"min_size is {least}, but neither {least}×{least} nor {2 * least}×{least} is scored")


def gradient(subject: Subject) -> None:
    """Where `differentiable` is claimed: a finite gradient that is not zero reaches the restored image."""
    import torch

    metric = subject.metric
    needs(bool(getattr(metric, "differentiable", False)), "no gradient is claimed")
    ours, theirs = metric.view.apply(
        tensor(subject.restored[:1]), tensor(subject.reference[:1]) if metric.mode == "FR" else None
    )
    ours = ours.clone().requires_grad_(True)
    value = cast(ImageMetric, metric).score(ours, theirs)
    if not value.requires_grad:
        raise Broken("the value has no gradient")
    value.sum().backward()
    if ours.grad is None or not bool(torch.isfinite(ours.grad).all()) or not bool(ours.grad.any()):
        raise Broken("the gradient is missing, zero or not finite")


def aggregate(subject: Subject) -> None:
    """Set metrics: the value of features does not depend on how they were sharded, and they stay as they are."""
    metric = subject.metric
    if not isinstance(metric, SetMetric):
        raise Skipped("one value per image")
    features = np.stack(subject.alone)
    shards = [measure(metric, subject.restored[:2], subject.reference[:2])]
    shards.append(measure(metric, subject.restored[2:], subject.reference[2:]))
    before = features.copy()
    theirs = references(metric, subject.reference)
    value = metric.aggregate(features, *theirs)
    if not np.array_equal(before, features):
        raise Broken("aggregate changes the features")
    sharded = metric.aggregate(np.concatenate(shards), *theirs)
    same(sharded, value, max(subject.claims.tolerance, 1e-6), "sharded against single")
    same(metric.aggregate(features[::-1].copy(), *theirs), value, 1e-6, "members in another order")


PROMISES = (
    batch, order, repeat, together, threads, device, inputs, process, dtype, crop, channels, identity, symmetry, noise,
    blur, flat, small, gradient, aggregate,
)  # fmt: skip
"""In the order in which they are run."""

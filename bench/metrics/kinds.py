"""The kinds of metric, each of which answers for itself: what it applies to, what is stored of an image, and where.

Planning, runs, the store's readers and tables ask a metric's kind and know none by name, so that another kind is
another class, here or beside its metric. Places are pairs as the store keeps them: an output's content, and the content
that it is compared with (0 for none).
"""

from __future__ import annotations

import importlib
from abc import ABC
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bench.errors import BenchError, ItemError
from bench.identity import digest

_PACKAGE = "bench.metrics."
NO_REFERENCE = "no GT"
Place = tuple[int, int]


class SetMember(NamedTuple):
    """One image of a set; duplicates are members of their own."""

    output_hash: bytes
    output: int
    """Content id."""
    reference: int
    """Content id of what it is compared with, 0 for a metric that sees no reference."""
    item: str = ""
    """Whose output it is, where that counts."""


class Placed(NamedTuple):
    """What is annotated in an item, and where an output's pixels lie in its image."""

    item: str
    boxes: Any
    inverse: Callable[[np.ndarray], np.ndarray]
    """Detections in the output's pixels → in the annotated image's."""


class Stored(NamedTuple):
    """How a kind reads what is stored of a set's members."""

    features: Callable[[Place], np.ndarray]
    hashes: Callable[[Iterable[int]], Mapping[int, bytes]]
    """Content ids → content hashes."""
    truth: Callable[[SetMember], Placed]
    """Of a member whose image is annotated."""


@dataclass(frozen=True)
class Kind(ABC):
    """One kind of metric; `fr` where its metric compares with a reference."""

    fr: bool
    computed: ClassVar[bool] = True
    """False where people give the values."""
    of_sets: ClassVar[bool] = False
    """True where features are stored per image, and the value is the set's."""
    boxes: ClassVar[bool] = False
    """True where a detector looks at the images, and what it finds is held against the dataset's annotation."""
    two_sets: ClassVar[bool] = False
    """True where references are a set of their own: what is extracted of one is stored once for all methods."""

    @property
    def pairs(self) -> bool:
        """Whether what is stored of an output depends on its reference."""
        return self.fr and not self.two_sets

    def not_for(self, *, paired: bool, annotated: bool) -> str | None:
        """Why it does not apply to a dataset; None where it does."""
        return NO_REFERENCE if self.fr and not paired else None

    def applies(self, *, paired: bool, annotated: bool) -> bool:
        """Whether there is anything to compute for a dataset."""
        return self.computed and self.not_for(paired=paired, annotated=annotated) is None

    def not_for_item(self, item: str, unboxed: Mapping[str, str]) -> str | None:
        """Why an item is no input for it. `unboxed`: items without an annotation, and why."""
        return None

    def place(self, output: int, reference: int) -> Place:
        """Where what it makes of an output is stored."""
        return output, reference if self.pairs else 0

    def reference_place(self, reference: int) -> Place | None:
        """Where what it makes of a reference by itself is stored; None where it looks at none."""
        return None

    def places(self, output: int, reference: int) -> tuple[Place, ...]:
        """All that a unit needs, the most decisive first; nothing where there is nothing to compute."""
        own = self.reference_place(reference)
        return (self.place(output, reference),) if own is None else (own, self.place(output, reference))

    def member(self, item: str, output_hash: bytes, output: int, reference: int) -> SetMember:
        """An output as a member of its set."""
        return SetMember(output_hash, output, reference if self.fr else 0)

    def complete(self, members: Iterable[SetMember], ready: Collection[Place]) -> list[SetMember]:
        """Those members of which everything is stored, sorted."""
        wanted = ((one, self.places(one.output, one.reference)) for one in members)
        return sorted(one for one, places in wanted if places and all(place in ready for place in places))

    def references(self, members: Iterable[SetMember]) -> list[int]:
        """Content ids of all that members are held against."""
        return [one.reference for one in members if one.reference]

    def gathered(self, members: Sequence[SetMember], stored: Stored) -> tuple[Any, Any]:
        """What `SetMetric.aggregate` gets of complete members: features, and references or None."""
        raise TypeError(f"{type(self).__name__} has no values of sets")


class PerImage(Kind):
    """A value per image; the number in a table is their mean."""


class Votes(Kind):
    """What people say of images: read from a sheet, stored with the run's record, never computed."""

    computed = False

    def places(self, output: int, reference: int) -> tuple[Place, ...]:
        return ()


class OfSets(Kind):
    """A value of a whole set, from features of its images or of its pairs."""

    of_sets = True

    def gathered(self, members: Sequence[SetMember], stored: Stored) -> tuple[Any, Any]:
        return _stacked([self.place(one.output, one.reference) for one in members], stored), None


class TwoSets(OfSets):
    """A value of a set of images and the set of their references."""

    two_sets = True

    def reference_place(self, reference: int) -> Place | None:
        return reference, 0

    def places(self, output: int, reference: int) -> tuple[Place, ...]:
        return super().places(output, reference) if reference else ()

    def member(self, item: str, output_hash: bytes, output: int, reference: int) -> SetMember:
        return SetMember(output_hash, output, reference, item)

    def references(self, members: Iterable[SetMember]) -> list[int]:
        """One per item, however often it was restored: repeats would make of one image several that are alike, which
        KID's estimator takes for a set without spread."""
        return list({one.item: one.reference for one in members}.values())

    def gathered(self, members: Sequence[SetMember], stored: Stored) -> tuple[Any, Any]:
        theirs = self.references(members)
        hashes = stored.hashes(theirs)
        references = sorted(theirs, key=lambda reference: hashes[reference])
        ours = [(one.output, 0) for one in members]
        return _stacked(ours, stored), _stacked([(reference, 0) for reference in references], stored)


class OfBoxes(OfSets):
    """A value of what a detector finds in a set of images, held against what is annotated in them."""

    boxes = True

    def not_for(self, *, paired: bool, annotated: bool) -> str | None:
        return None if annotated else "no boxes are annotated"

    def not_for_item(self, item: str, unboxed: Mapping[str, str]) -> str | None:
        return unboxed.get(item)

    def member(self, item: str, output_hash: bytes, output: int, reference: int) -> SetMember:
        return SetMember(boxed(item, output_hash), output, 0)

    def complete(self, members: Iterable[SetMember], ready: Collection[Place]) -> list[SetMember]:
        return super().complete(dict.fromkeys(members), ready)

    def gathered(self, members: Sequence[SetMember], stored: Stored) -> tuple[Any, Any]:
        """In the order of the items' ids."""
        placed = sorted(((stored.truth(one), one) for one in members), key=lambda pair: (pair[0].item, pair[1]))
        found = [truth.inverse(stored.features((one.output, 0))) for truth, one in placed]
        return found, [truth.boxes for truth, _ in placed]


def boxed(item: str, output: bytes) -> bytes:
    """Stands for an output together with the item whose annotation it is held against, in the hash of a set."""
    return digest(["boxed", item, output.hex()])


def _stacked(places: Sequence[Place], stored: Stored) -> np.ndarray:
    """Features of many images [N,…], each read once however often it occurs. Raises `ItemError`."""
    known = {place: stored.features(place) for place in dict.fromkeys(places)}
    return stacked([known[place] for place in places])


def stacked(features: Sequence[np.ndarray]) -> np.ndarray:
    """Features of the images of a set, each of one shape, as [N,…]. Raises `ItemError` for those of several."""
    shapes = sorted({one.shape for one in features})
    if len(shapes) > 1:
        first, second = list(shapes[0]), list(shapes[1])
        raise ItemError(f"images have features of different shapes, {first} and {second}; those of a set have one")
    return np.stack(features)


def own_name(kind: Kind) -> str | None:
    """By what a run's record tells a kind that has a file of its own; None for those here, and for a plugin's.

    Those here are told by what a record says of their metric, as records of all versions do.
    """
    made = type(kind)
    elsewhere = made.__module__ != __name__ and made.__module__.startswith(_PACKAGE)
    return f"{made.__module__}:{made.__qualname__}" if elsewhere else None


def by_name(name: str, fr: bool) -> Kind:
    """The kind that `own_name` has named. Raises `BenchError` for one that this version has not."""
    module, _, attribute = name.partition(":")
    try:
        if not module.startswith(_PACKAGE):  # a record names no code but ours
            raise ImportError
        made = getattr(importlib.import_module(module), attribute)
        if not (isinstance(made, type) and issubclass(made, Kind)):
            raise ImportError
    except (ImportError, AttributeError):
        raise BenchError(f"the run was recorded with a kind of metric that this bench has not: {name}") from None
    return made(fr)


def set_kind(fr: bool, *, two_sets: bool, boxes: bool) -> Kind:
    """The kind of a metric of sets, by what it declares."""
    return (TwoSets if two_sets else OfBoxes if boxes else OfSets)(fr)

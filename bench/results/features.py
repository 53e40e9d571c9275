"""Which images of a set have their features stored, and those features in the order in which they are aggregated.

The order is that of content hashes, so that neither the order of work nor how many processes shared it reaches a value.
What features add up to is the metric's business.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bench.catalog.isolation import Guard
from bench.catalog.user_code import is_ours
from bench.errors import NotApplicable, described, one_line
from bench.identity import digest
from bench.metrics.base import SetMetric
from bench.results.store import Score, Store


class Member(NamedTuple):
    """One image of a set; duplicates are members of their own."""

    output_hash: bytes
    output: int
    """Content id."""
    reference: int
    """Content id of what it is compared with, 0 for a metric that sees no reference."""


def complete(store: Store, members: Sequence[Member], extractor: int, *, two_sets: bool) -> list[Member]:
    """Members whose features are all stored, sorted. `extractor` is the stored signature of the features."""
    wanted = {member.output for member in members} | ({member.reference for member in members} if two_sets else set())
    held = store.extractions(wanted, extractor)
    ready = {place for place, row in held.items() if row.status == "ok"}
    return sorted(
        member
        for member in members
        if (
            {(member.output, 0), (member.reference, 0)} <= ready
            if two_sets
            else (member.output, member.reference) in ready
        )
    )


def aggregate(store: Store, members: Sequence[Member], extractor: int, metric: SetMetric) -> Score:
    """The value of a set from the stored features of its (complete) members; whatever goes wrong is its reason."""
    if metric.two_sets:
        features = _stacked(store, [(member.output, 0) for member in members], extractor)
        hashes = store.content_hashes(member.reference for member in members)
        ordered = sorted((member.reference for member in members), key=lambda reference: hashes[reference])
        references = _stacked(store, [(reference, 0) for reference in ordered], extractor)
    else:
        features = _stacked(store, [(member.output, member.reference) for member in members], extractor)
        references = None
    return value_of(metric, features, references)


def boxed(item: str, output: bytes) -> bytes:
    """Stands for an output together with the item whose annotation it is held against, in the hash of a set."""
    return digest(["boxed", item, output.hex()])


def aggregate_boxes(store: Store, members: Sequence[tuple[Member, Placed]], extractor: int, metric: SetMetric) -> Score:
    """As `aggregate`, for features that are boxes; in the order of the items' ids."""
    ordered = sorted(members, key=lambda pair: (pair[1].item, pair[0]))
    found = [placed.inverse(unpack(store.features(member.output, 0, extractor))) for member, placed in ordered]
    return value_of(metric, found, [placed.boxes for _, placed in ordered])


class Placed(NamedTuple):
    """What is annotated in an item, and where an output's pixels lie in its image."""

    item: str
    boxes: Any
    inverse: Callable[[np.ndarray], np.ndarray]
    """Detections in the output's pixels → in the annotated image's."""


def value_of(metric: SetMetric, features: Any, references: Any) -> Score:
    """A set's value, or why there is none; with a value, what its reader has to know of the references."""

    def measured() -> tuple[float, str | None]:
        # What is annotated is held against many methods' boxes: a stranger's metric gets a copy to write into.
        theirs = references if is_ours(type(metric)) else copy.deepcopy(references)
        value = float(metric.aggregate(features) if references is None else metric.aggregate(features, theirs))
        return value, None if references is None or np.isnan(value) else metric.remark(theirs)

    try:
        value, remark = measured() if is_ours(type(metric)) else Guard().call(type(metric), measured)
    except NotApplicable as error:
        return Score("n/a", None, one_line(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 – one metric that fails is a row with its reason
        return Score("failed", None, described(error))
    if np.isnan(value):
        return Score("nan", None, "not a number")
    return Score("inf" if np.isinf(value) else "ok", value, remark)


def _stacked(store: Store, places: Sequence[tuple[int, int]], extractor: int) -> np.ndarray:
    """Features of many images [N,…], each read once however often it occurs."""
    blobs = {place: unpack(store.features(*place, extractor)) for place in dict.fromkeys(places)}
    return np.stack([blobs[place] for place in places])


def pack(features: np.ndarray) -> bytes:
    """One image's features as the store keeps them: in float32 where that loses nothing, as of most networks."""
    short = features.astype(np.float32)
    exact = features.dtype == np.float64 and np.array_equal(short.astype(np.float64), features)
    buffer = io.BytesIO()
    np.save(buffer, short if exact else features, allow_pickle=False)
    return buffer.getvalue()


def unpack(blob: bytes) -> np.ndarray:
    """What `pack` made, read as data; floats are float64 whatever they were kept as."""
    features = np.load(io.BytesIO(blob), allow_pickle=False)
    return features.astype(np.float64) if features.dtype == np.float32 else features

"""Which images of a set have their features stored, and those features in the order in which they are aggregated.

The order is that of content hashes, so that neither the order of work nor how many processes shared it reaches a value.
What features add up to is the metric's business.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.errors import ItemError, one_line
from bench.metrics.base import SetMetric
from bench.store import Score, Store


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


def value_of(metric: SetMetric, features: np.ndarray, references: np.ndarray | None) -> Score:
    """A set's value, or why there is none."""
    try:
        value = float(metric.aggregate(features) if references is None else metric.aggregate(features, references))
    except ItemError as error:
        return Score("failed", None, one_line(error))
    except Exception as error:  # noqa: BLE001 – one metric that fails is a row with its reason
        return Score("failed", None, f"{type(error).__name__}: {one_line(error)}")
    if np.isnan(value):
        return Score("nan", None, "not a number")
    return Score("inf", value, None) if np.isinf(value) else Score("ok", value, None)


def _stacked(store: Store, places: Sequence[tuple[int, int]], extractor: int) -> np.ndarray:
    """Features of many images [N,…], each read once however often it occurs."""
    blobs = {place: unpack(store.features(*place, extractor)) for place in dict.fromkeys(places)}
    return np.stack([blobs[place] for place in places])


def pack(features: np.ndarray) -> bytes:
    """One image's features as the store keeps them."""
    buffer = io.BytesIO()
    np.save(buffer, features, allow_pickle=False)
    return buffer.getvalue()


def unpack(blob: bytes) -> np.ndarray:
    """What `pack` made, read as data."""
    return np.load(io.BytesIO(blob), allow_pickle=False)

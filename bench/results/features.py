"""Which images of a set have their features stored, and those features in the order in which they are aggregated.

The order is that of content hashes, so that neither the order of work nor how many processes shared it reaches a value.
What features add up to is the metric's business.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.catalog.isolation import Guard, exits_raised
from bench.catalog.user_code import is_ours
from bench.errors import ItemError, NotApplicable, described, kind_of, one_line
from bench.metrics.base import SetMetric
from bench.metrics.kinds import Kind, Placed, SetMember, Stored
from bench.metrics.outcome import Status, of_number
from bench.results.store import Score, Store

Value = Callable[[SetMetric, Any, Any], Score]
"""A set's value from its features and what they are held against."""


def complete(store: Store, members: Sequence[SetMember], extractor: int, kind: Kind) -> list[SetMember]:
    """Members of which everything is stored, sorted by what they are: numbers of rows differ between folders.

    `extractor` is the stored signature of the features.
    """
    held = store.extractions({content for one in members for content in (one.output, one.reference)}, extractor)
    found = kind.complete(members, {place for place, row in held.items() if row.status == Status.OK})
    hashes = store.content_hashes({one.reference for one in found})
    return sorted(found, key=lambda one: (one.output_hash, hashes.get(one.reference, b"")))


def aggregate(
    store: Store, members: Sequence[SetMember], extractor: int, metric: SetMetric, truth: Callable[[SetMember], Placed],
    value: Value | None = None,
) -> Score:  # fmt: skip
    """The value of a set from the stored features of its (complete) members; whatever goes wrong is its reason.

    `truth` says what is annotated in a member's image, for a metric of boxes; `value` is how the metric is asked: here,
    by default.
    """
    stored = Stored(lambda place: unpack(store.features(*place, extractor)), store.content_hashes, truth)
    try:
        features, references = metric.kind.gathered(members, stored)
    except ItemError as error:
        return Score(Status.FAILED, None, one_line(error))
    return (value or value_of)(metric, features, references)


def value_of(metric: SetMetric, features: Any, references: Any) -> Score:
    """A set's value, or why there is none; with a value, what its reader has to know of the references."""

    def measured() -> tuple[float, str | None]:
        # What is annotated is held against many methods' boxes: a stranger's metric gets a copy to write into.
        theirs = references if is_ours(type(metric)) else copy.deepcopy(references)
        found: Any = metric.aggregate(features) if references is None else metric.aggregate(features, theirs)
        if isinstance(found, (str, bytes)):  # which `float` would read
            raise ItemError(f"aggregate returned {kind_of(found)}, expected a number")
        value = float(found)
        return value, None if references is None or np.isnan(value) else metric.remark(theirs)

    try:
        value, remark = measured() if is_ours(type(metric)) else _guarded(metric, measured)
    except NotApplicable as error:
        return Score(Status.NOT_APPLICABLE, None, one_line(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 – one metric that fails is a row with its reason
        return Score(Status.FAILED, None, described(error))
    status = of_number(value)
    return Score(status, None, "not a number") if status is Status.NAN else Score(status, value, remark)


def _guarded(metric: SetMetric, measured: Callable[[], tuple[float, str | None]]) -> tuple[float, str | None]:
    with exits_raised(f"{type(metric).__name__}.aggregate()"):
        return Guard().call(type(metric), measured)


def pack(features: np.ndarray) -> bytes:
    """One image's features as the store keeps them: in float32 where that loses nothing, as of most networks."""
    with np.errstate(over="ignore"):  # what overflows is not kept in float32
        short = features.astype(np.float32)
    exact = features.dtype == np.float64 and np.array_equal(short.astype(np.float64), features)
    buffer = io.BytesIO()
    np.save(buffer, short if exact else features, allow_pickle=False)
    return buffer.getvalue()


def unpack(blob: bytes) -> np.ndarray:
    """What `pack` made, read as data; floats are float64 whatever they were kept as. Raises `ItemError`."""
    try:
        features = np.load(io.BytesIO(blob), allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError) as error:  # by what of it is damaged
        damage = one_line(error, 80)
        raise ItemError(f"stored features are damaged ({damage}): bench run --fresh makes them anew") from None
    return features.astype(np.float64) if features.dtype == np.float32 else features

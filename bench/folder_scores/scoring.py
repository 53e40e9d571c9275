"""Scoring the pairs of one request: in parallel, one row per item and metric, then one per set metric.

For the same pixels values equal those of `bench run`, which calls the same `Scorer`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np

from bench.catalog.isolation import exits_raised
from bench.data.items import Dataset, ImageSource, Item
from bench.errors import ItemError, one_line
from bench.folder_scores.asked import Asked
from bench.identity import content_hash
from bench.machine import check_device, usable_cores
from bench.metrics.base import SetMetric
from bench.metrics.kinds import NO_REFERENCE, stacked
from bench.metrics.outcome import Outcome, Status
from bench.metrics.remote import close, elsewhere
from bench.metrics.scorer import Scorer
from bench.results.features import value_of


class Row(TypedDict):
    """One value, or why there is none."""

    item: str
    """The item's id; empty for the value of a set metric."""
    metric: str
    signature: str
    value: float | None
    """±inf with status `inf`; None where nothing was scored."""
    status: Literal["ok", "inf", "nan", "failed", "n/a", "input"]
    reason: str | None


class _Scored(NamedTuple):
    outcomes: list[Outcome]
    content: bytes | None
    """Content hash of the restored image, for set metrics; it orders their features."""
    references: Mapping[int, tuple[bytes, np.ndarray]]
    """For metrics of two sets, by place: the reference's content hash and features."""


def run(
    asked: Sequence[Asked],
    dataset: Dataset,
    *,
    device: str = "cpu",
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    timeout: float | None = None,
) -> Iterator[Row]:
    """Score the items of a dataset whose `lq` are restored images. At most two images per thread are in memory."""
    check_device(device)
    asked = [
        one._replace(metric=elsewhere(one.entry, one.metric, one.options, one.settings, device, timeout))
        for one in asked
    ]
    strange = any(one.entry.strange for one in asked)
    try:
        with exits_raised() if strange else nullcontext():
            yield from _rows(asked, dataset, device, threads, advance)
    finally:
        close([one.metric for one in asked])


def _rows(
    asked: Sequence[Asked], dataset: Dataset, device: str, threads: int | None, advance: Callable[[int], object] | None
) -> Iterator[Row]:
    scorer = Scorer([one.metric for one in asked], device)
    scorer.load()
    features: dict[int, list[tuple[bytes, np.ndarray]]] = {
        place: [] for place, one in enumerate(asked) if isinstance(one.metric, SetMetric)
    }
    references: dict[int, list[tuple[bytes, np.ndarray]]] = {place: [] for place in features}
    for item, scored in _in_order(scorer, dataset, threads):
        if advance is not None:
            advance(1)
        for outcome in scored.outcomes:
            one = asked[outcome.index]
            if outcome.features is not None and scored.content is not None:
                features[outcome.index].append((scored.content, outcome.features))
                if outcome.index in scored.references:
                    references[outcome.index].append(scored.references[outcome.index])
            else:
                yield _row(item.id, one, outcome.status, outcome.value, outcome.reason)
    for place, found in features.items():
        yield _aggregated(asked[place], found, references[place], len(dataset.items))


def exit_code(rows: Sequence[Row]) -> int:
    """0 when everything that was due is scored, 1 when something failed."""
    return int(any(row["status"] not in ("ok", "inf", "n/a") for row in rows))


def _in_order(scorer: Scorer, dataset: Dataset, threads: int | None) -> Iterator[tuple[Item, _Scored]]:
    count = threads or usable_cores()
    # With native metrics alone the images are what runs in parallel; a pool within a pool would only get in the way.
    alone = not any(metric.learned or metric.serial for metric in scorer.metrics)
    settle = _single_threaded if alone else None
    with scorer.guard, ThreadPoolExecutor(count, "score", initializer=settle) as pool:
        pending: deque[tuple[Item, Future[_Scored]]] = deque()
        try:
            for item in dataset.items:
                pending.append((item, pool.submit(_score_item, scorer, item, dataset.paired)))
                if len(pending) >= 2 * count:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _single_threaded() -> None:
    import torch

    torch.set_num_threads(1)


def _score_item(scorer: Scorer, item: Item, has_reference: bool) -> _Scored:
    places = range(len(scorer.metrics))
    if item.lq is None:
        return _Scored([_failure(place, item.problem or "no file") for place in places], None, {})
    try:
        restored = item.lq.load()
    except ItemError as error:
        return _Scored([_failure(place, one_line(error)) for place in places], None, {})
    full = [place for place in places if scorer.metrics[place].kind.fr]
    reference, reason = _reference(item.gt) if full and item.gt is not None else (None, item.problem)
    if reference is None and reason is None and has_reference:
        reason = NO_REFERENCE
    wanted = [place for place in places if place not in full or reason is None]
    outcomes = scorer.score(restored, reference, wanted)
    outcomes += [_failure(place, reason) for place in full if reason is not None]
    sets = any(metric.kind.of_sets for metric in scorer.metrics)
    apart = [one for one in outcomes if one.status == Status.OK and scorer.metrics[one.index].kind.two_sets]
    found: dict[int, tuple[bytes, np.ndarray]] = {}
    if reference is not None and apart:
        content = content_hash(reference)
        for outcome in scorer.references(reference, [one.index for one in apart]):
            if outcome.features is None:  # the image has no value without its reference
                outcomes = [outcome if one.index == outcome.index else one for one in outcomes]
            else:
                found[outcome.index] = (content, outcome.features)
    return _Scored(sorted(outcomes, key=lambda one: one.index), content_hash(restored) if sets else None, found)


def _reference(source: ImageSource) -> tuple[np.ndarray | None, str | None]:
    try:
        return source.load(), None
    except ItemError as error:
        return None, f"reference cannot be read: {one_line(error)}"


def _failure(place: int, reason: str) -> Outcome:
    return Outcome(place, Status.INPUT, None, None, reason, 0.0)


def _row(item: str, one: Asked, status: Any, value: float | None, reason: str | None) -> Row:
    return Row(item=item, metric=one.entry.name, signature=one.signature, value=value, status=status, reason=reason)


def _aggregated(
    one: Asked, found: list[tuple[bytes, np.ndarray]], references: list[tuple[bytes, np.ndarray]], expected: int
) -> Row:
    """The value of a set metric, from features in the order of their images' hashes."""
    assert isinstance(one.metric, SetMetric)
    if not found:
        return _row("", one, Status.FAILED, None, f"0 of {expected} images gave features")
    reason = None if len(found) == expected else f"{len(found)} of {expected} images"
    ours, theirs = ([feature for _, feature in sorted(side, key=lambda pair: pair[0])] for side in (found, references))
    try:
        score = value_of(one.metric, stacked(ours), stacked(theirs) if one.metric.kind.two_sets else None)
    except ItemError as error:
        return _row("", one, Status.FAILED, None, one_line(error))
    return _row("", one, score.status, score.value, score.reason or reason)

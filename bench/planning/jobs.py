"""Units of work, each with its identity, and what the store already holds of single ones.

A unit is one item restored by one method (once per repeat of a stochastic one, or of one with members) and scored by
every metric. Nothing here reads pixels: an item that has not been decoded before has an unknown identity until the loop
reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bench.data.items import ImageSource, Item, Stamp
from bench.errors import ImageError, ItemError
from bench.identity import canonical, cropped_hash, digest, item_seed, restoration_key, restoration_keys
from bench.methods.base import Box, Method, StoredMethod, ToldMethod
from bench.metrics.base import Metric
from bench.metrics.kinds import Place
from bench.metrics.outcome import SETTLED, Status
from bench.planning.bind import BoundDataset, BoundMethod, BoundMetric
from bench.results.artefacts import Shelf
from bench.results.store import Memo, Score, Store, StoredRestoration


@dataclass(frozen=True)
class Job:
    """One method on one dataset."""

    index: int
    dataset_index: int
    dataset: BoundDataset
    method: BoundMethod
    device: str
    """Device kind: cpu or cuda."""
    suite_seed: int

    @cached_property
    def mode(self) -> dict[str, Any]:
        """The numeric mode that a restoration and a learned score depend on."""
        return {"device": self.device, "dtype": "float32", "tf32": False}

    @cached_property
    def quantise(self) -> str:
        """What the artefact is rounded by: the protocol's choice, else the method's official one."""
        own = self.method.method.quantise if self.method.method is not None else "round"
        return self.dataset.protocol.quantise or own

    @property
    def units(self) -> int:
        return len(self.dataset.dataset.items) * self.method.repeats if self.method.is_for(self.dataset.label) else 0

    def item(self, unit: int) -> Item:
        return self.dataset.dataset.items[unit // self.method.repeats]

    def repeat(self, unit: int) -> int:
        return unit % self.method.repeats

    def member(self, unit: int) -> int:
        """Which of its method's members makes a unit."""
        return self.method.member(self.repeat(unit))

    def making(self, unit: int) -> Method | StoredMethod | None:
        """What makes a unit's output."""
        return self.method.making(self.repeat(unit))

    def identity(self, unit: int) -> Mapping[str, Any]:
        """Everything of what makes a unit that can change its output."""
        return self.method.identities[self.member(unit)]

    def draw(self, unit: int) -> int:
        """How often the member that makes a unit has made one of the same item before."""
        return self.repeat(unit) % self.method.draws

    def seed(self, unit: int, content: bytes) -> int | None:
        """The unit's seed, None for deterministic methods."""
        if isinstance(self.method.method, Method) and self.method.method.stochastic:
            return item_seed(content, self.suite_seed, self.draw(unit))
        return None

    def key(self, unit: int, facts: Facts) -> bytes | None:
        """The restoration's key, None while the input's content is unknown."""
        if facts.lq is None:
            return None
        if isinstance(self.method.method, StoredMethod):
            if facts.made is None:
                return None
            identity = {**self.identity(unit), "output": facts.made.hash.hex()}
            return restoration_key(identity, facts.lq.hash, seed=None, mode={}, quantise="stored")
        seed = self.seed(unit, facts.lq.hash)
        if isinstance(self.method.method, ToldMethod):  # what it is told decides what it makes
            done = self.item(unit).done
            own = {**self.identity(unit), "told": None if done is None else list(done)}
            return restoration_key(own, facts.lq.hash, seed=seed, mode=self.mode, quantise=self.quantise)
        return self._keys[self.member(unit)](facts.lq.hash, seed)

    @cached_property
    def _keys(self) -> Sequence[Callable[[bytes, int | None], bytes]]:
        """By member, the keys of its restorations."""
        each = self.method.identities
        return [restoration_keys(identity, mode=self.mode, quantise=self.quantise) for identity in each]

    def crop(self, unit: int, height: int | None, width: int | None) -> Box | None:
        """The part of the reference, in its own pixels, that a method's output stands for."""
        method = self.making(unit)
        if method is None or height is None or width is None:
            return None
        box, scale = method.valid_crop(height, width), method.scale
        return None if box is None else Box(*(value * scale for value in box))

    def metric_mode(self, metric: BoundMetric) -> str:
        """The numeric mode as part of a score's key: only for learned metrics.

        A detector that was trained on the method's outputs is part of it: the signature says how, not with what result.
        """
        own = self.method.detector if metric.kind.boxes else None
        tuned = {} if own is None else {"detector": own.sha256}
        return canonical({**self.mode, **tuned}) if metric.metric.learned else ""

    def measured(self, metric: BoundMetric) -> Metric:
        """A metric as it looks at this job."""
        own = self.method.detector
        return metric.metric.looking_with(own) if own is not None and metric.kind.boxes else metric.metric

    @property
    def scorer(self) -> tuple[int, str]:
        """Jobs with the same one are scored by the same metrics."""
        return self.dataset_index, self.method.label if self.method.detector is not None else ""


class Facts(NamedTuple):
    """What is known of a unit's files without decoding them; None where it has to be found out."""

    lq_stamp: Stamp | None = None
    lq: Memo | None = None
    gt_stamp: Stamp | None = None
    gt: Memo | None = None
    made_stamp: Stamp | None = None
    """Of the file that holds a stored method's output."""
    made: Memo | None = None
    problem: str | None = None
    """Why the unit cannot be worked on at all."""


class State(NamedTuple):
    """What the store holds of a unit."""

    key: bytes | None
    restoration: StoredRestoration | None
    reference: bytes | None
    """Content hash of the reference the output is compared with (after the valid crop); None without one."""
    todo: tuple[int, ...]
    """Metrics, by position, that still need a value."""
    unknown: bool
    """True while the item's content has to be decoded before more can be said."""
    references: tuple[int, ...] = ()
    """Metrics of two sets, by position, that have the reference's features already."""
    gone: bool = False
    """True where the output was made and its file is not there, though somebody needs it: it is made again."""

    @property
    def unkept(self) -> bool:
        """Whether the output was made and its pixels were not kept."""
        return self.restoration is not None and self.restoration.status == "ok" and self.restoration.suffix is None

    @property
    def done(self) -> bool:
        if self.unknown or self.gone:
            return False
        if self.restoration is None or self.restoration.status == "failed":
            return False
        return self.restoration.status == "input" or not self.todo


class Task(NamedTuple):
    """One unit handed to a worker."""

    job: int
    unit: int
    facts: Facts
    claim: bytes


def source_of(job: Job, unit: int) -> ImageSource | None:
    """The file with a stored method's output, None for methods that restore. Raises `ItemError`."""
    method = job.making(unit)
    if not isinstance(method, StoredMethod):
        return None
    from bench.data.images import FileSource

    return FileSource(method.locate(job.dataset.label, job.item(unit).id))


def gather(store: Store, job: Job, units: Sequence[int], *, fresh: bool = False) -> list[Facts]:
    """Stamps and memos of some units of a job; with `fresh` nothing is known before it has been decoded again."""
    items = facts_of_items(store, [job.item(unit) for unit in units], fresh=fresh)
    return with_outputs(store, job, units, items, fresh=fresh)


def facts_of_items(store: Store, items: Sequence[Item], *, fresh: bool = False) -> list[Facts]:
    """Stamps and memos of inputs and references, which are the same for every method that restores."""
    blank: list[Facts] = []
    for item in items:
        if item.problem is not None or item.lq is None:
            blank.append(Facts(problem=item.problem or "no input"))
            continue
        try:
            blank.append(Facts(lq_stamp=item.lq.stamp(), gt_stamp=_stamp_or_none(item.gt)))
        except ItemError as error:
            blank.append(Facts(problem=str(error)))
    stamps = [stamp for facts in blank for stamp in (facts.lq_stamp, facts.gt_stamp) if stamp is not None]
    memos = {} if fresh else store.memos(stamps)
    return [
        facts._replace(lq=_memo(memos, facts.lq_stamp), gt=_memo(memos, facts.gt_stamp))
        if facts.problem is None else facts for facts in blank
    ]  # fmt: skip


def with_outputs(
    store: Store, job: Job, units: Sequence[int], facts: Sequence[Facts], *, fresh: bool = False
) -> list[Facts]:
    """The facts of units, with the files that hold the outputs of a stored method."""
    if not isinstance(job.method.method, StoredMethod):
        return list(facts)
    found: list[Facts] = []
    for unit, fact in zip(units, facts, strict=True):
        item = job.item(unit)
        if item.problem is None and item.lq is not None:
            try:
                source = source_of(job, unit)
                if fact.problem is None and source is not None:
                    fact = fact._replace(made_stamp=source.stamp())
            except ItemError as error:
                fact = Facts(problem=str(error))
        found.append(fact)
    memos = {} if fresh else store.memos(fact.made_stamp for fact in found if fact.made_stamp is not None)
    return [fact._replace(made=_memo(memos, fact.made_stamp)) for fact in found]


def _memo(memos: Mapping[str, Memo], stamp: Stamp | None) -> Memo | None:
    return memos.get(stamp.locator) if stamp is not None else None


def _stamp_or_none(source: ImageSource | None) -> Stamp | None:
    try:
        return source.stamp() if source is not None else None
    except ImageError:
        return None  # a reference that cannot even be found fails where it is decoded, with its reason


def examine(
    store: Store, job: Job, units: Sequence[int], facts: Sequence[Facts], shelf: Shelf | None = None
) -> list[State]:
    """Compare many units of a job with what the store holds. `shelf`: the output files, if they were listed before."""
    shelf = shelf or Shelf(store.folder)
    keys = [job.key(unit, fact) for unit, fact in zip(units, facts, strict=True)]
    restorations = store.restorations(key for key in keys if key is not None)
    references = [reference_of(job, unit, fact) for unit, fact in zip(units, facts, strict=True)]
    contents = store.content_ids(hash_ for hash_ in references if hash_ is not None)
    found = [restorations.get(key) if key is not None else None for key in keys]
    outputs = [row.output for row in found if row is not None and row.output is not None]
    metrics = job.dataset.metrics
    held = [
        _held(store, job, metric, [*outputs, *contents.values()] if metric.kind.two_sets else outputs)
        for metric in metrics
    ]

    states: list[State] = []
    for key, row, reference, fact in zip(keys, found, references, facts, strict=True):
        if key is None:
            states.append(State(None, None, None, (), unknown=fact.problem is None))
            continue
        unseen = reference is None and fact.gt_stamp is not None
        compared = contents.get(reference, NOT_STORED) if reference is not None else 0
        todo: list[int] = []
        if row is not None and row.output is not None:
            for index, metric in enumerate(metrics):
                if metric.unavailable is not None or not wanted(job, metric):
                    continue
                if (metric.kind.fr and unseen) or not _settled(held[index], metric.kind.places(row.output, compared)):
                    todo.append(index)
        theirs = [(index, metric.kind.reference_place(compared)) for index, metric in enumerate(metrics)]
        kept = tuple(index for index, place in theirs if place is not None and _settled(held[index], (place,)))
        gone = row is not None and row.output_hash is not None and _gone(shelf, row.output_hash, row.suffix, bool(todo))
        states.append(State(key, row, reference, tuple(todo), unknown=False, references=kept, gone=gone))
    return states


def _gone(shelf: Shelf, output: bytes, suffix: str | None, needed: bool) -> bool:
    """Whether an output has to be made again: its file is not there any more, or was not kept and is `needed`."""
    return needed if suffix is None else not shelf.holds(output, suffix)


NOT_STORED = -1
"""Stands for a content that has no number yet, and so no rows."""


def _settled(held: Mapping[Place, Score], places: Sequence[Place]) -> bool:
    """Whether nothing is left to do: the first place that has no value decides, and all have one where none has not."""
    for place in places:
        score = held.get(place)
        if score is None or score.status != Status.OK:
            return score is not None and score.status in SETTLED
    return True


def wanted(job: Job, metric: BoundMetric) -> bool:
    """Whether there is anything to compute of a metric for the dataset of a job."""
    annotated = job.dataset.annotations is not None
    return metric.kind.applies(paired=job.dataset.dataset.paired, annotated=annotated)


def reference_of(job: Job, unit: int, facts: Facts) -> bytes | None:
    """Content hash of what a unit's output is compared with; None where there is nothing, or nobody knows yet."""
    if facts.gt is None or facts.lq is None:
        return None
    return cropped_hash(facts.gt.hash, job.crop(unit, facts.lq.height, facts.lq.width))


def _held(store: Store, job: Job, metric: BoundMetric, outputs: Iterable[int]) -> Mapping[tuple[int, int], Score]:
    found = signature_of(store, job, metric, create=False)
    if found is None:
        return {}
    return store.extractions(outputs, found) if metric.kind.of_sets else store.scores(outputs, found)


def signature_of(store: Store, job: Job, metric: BoundMetric, *, create: bool = True) -> int | None:
    """The stored signature of a metric's per-image rows: of its values, or of a set metric's features."""
    return store.signature_id(metric.row_signature, job.metric_mode(metric), create=create)


def claim_key(job: Job, unit: int, facts: Facts) -> bytes:
    """What two runs at once agree on before either has decoded the item: its stamp and the method."""
    return digest(
        [
            dict(job.identity(unit)), job.mode, job.quantise, job.suite_seed, job.draw(unit),
            facts.lq_stamp, facts.made_stamp,
        ]
    )  # fmt: skip

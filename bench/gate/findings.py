"""Two snapshots beside each other: every difference that matters, named down to the item.

Pure: it reads nothing and prints nothing. What is a difference is decided by the base's tolerances and by whether both
were made on the same processor, device and packages; what fails a build is decided by the kinds that the caller picks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from bench.errors import BenchError, suggest
from bench.gate.slowdown import FLOOR, probed, ratio
from bench.gate.snapshot_format import (
    Snapshot,
    SnapshotDataset,
    SnapshotMethod,
    SnapshotMetric,
    SnapshotOrigin,
    SnapshotTiming,
    SnapshotValue,
    Tolerance,
    item_of,
)
from bench.metrics.explain import differences
from bench.results.view import mean

KINDS = {
    "worse": "a value moved the wrong way by more than its tolerance",
    "better": "a value moved the right way by more than its tolerance",
    "items": "values of single items moved, their mean did not",
    "outputs": "restorations differ",
    "inputs": "the dataset's inputs differ",
    "references": "what outputs are compared with differs",
    "signature": "the metric means something else: its numbers are not compared",
    "new": "a cell or value that the base does not have",
    "vanished": "a cell of the base that is gone",
    "failed": "values of the base that are missing now",
    "incomplete": "values are missing in both",
    "fewer": "items of the base that are gone",
    "more": "items that the base does not have",
    "damaged": "a stored output is not what was scored",
    "slower": "the median time of a call grew by more than its limit",
    "faster": "the median time of a call fell by more than its limit",
    "drift": "images differ where machine or packages do, every value is within its tolerance",
    "inconclusive": "perhaps slower: it cannot be told, the machine was slower too, or it was not when measured again",
    "uncompared": "times that must not be compared: another machine, too few or too short calls, not timed again",
}
"""Every kind of finding, with what it means."""

Outcome = Literal["passed", "failed", "inconclusive"]
EXIT_CODES: Mapping[Outcome, int] = {"passed": 0, "failed": 1, "inconclusive": 3}
"""2 is a request that is wrong."""

NOTES = ("faster", "drift", "inconclusive", "uncompared")
"""Kinds that are reported and fail only where they are named."""

GROUPS = {
    "any": frozenset(KINDS) - frozenset(NOTES),
    "worse": frozenset({"worse", "signature", "vanished", "failed", "fewer", "damaged", "slower"}),
    "none": frozenset[str](),
}
"""Words that stand for several kinds. `worse` has what is worse, and what can no longer be shown not to be."""

_WITHOUT_VALUE = ("n/a", "unavailable", "no items")
"""Statuses of values that nobody expects."""


class Finding(NamedTuple):
    """One difference. An empty method or metric stands for all of them."""

    kind: str
    dataset: str
    method: str
    metric: str
    base: float | None = None
    head: float | None = None
    items: tuple[str, ...] = ()
    """Those concerned, the most important first; empty where it is not about single items."""
    detail: str = ""
    digits: int = 4
    tolerance: Tolerance | None = None


class Comparison(NamedTuple):
    """What came out."""

    findings: tuple[Finding, ...]
    compared: int
    """Values that both have."""
    elsewhere: tuple[str, ...]
    """What differs between the places where base and head were made; empty for the same machine and packages."""

    def failing(self, kinds: Collection[str]) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind in kinds]

    def outcome(self, kinds: Collection[str]) -> Outcome:
        """In a word, where `kinds` are those that fail."""
        if self.failing(kinds):
            return "failed"
        return "inconclusive" if any(one.kind == "inconclusive" for one in self.findings) else "passed"


def kinds(words: Iterable[str]) -> frozenset[str]:
    """The kinds that `--fail-on` words stand for; without any, all that are no mere notes."""
    chosen: set[str] = set()
    given = list(words) or ["any"]
    for word in given:
        if word not in GROUPS and word not in KINDS:
            known = [*GROUPS, *KINDS]
            raise BenchError(f"--fail-on {word!r} is no kind of finding{suggest(word, known)} ({', '.join(known)})")
        chosen |= GROUPS.get(word, {word})
    return frozenset(chosen)


def compare(base: Snapshot, head: Snapshot, *, strict: bool = False, more: Iterable[Finding] = ()) -> Comparison:
    """Every difference, in the order of the head. `strict` takes both for made in the same place.

    `more` are findings from elsewhere, such as damaged files, that belong to the same answer.
    """
    elsewhere = tuple(other_place(base.made, head.made))
    walk = _Walk(base, head, () if strict else elsewhere)
    found = _folded([*walk.cells(), *more], head)
    return Comparison((*found, *_times(base, head)), walk.compared, elsewhere)


def other_place(base: SnapshotOrigin, head: SnapshotOrigin) -> Iterator[str]:
    """What differs of all that last bits depend on: processor, its use, device, system library, packages."""
    places = ("processor", "device", "device_model", "platform")
    said: set[tuple[str, str]] = set()
    for name in places:
        pair = getattr(base, name), getattr(head, name)
        if pair[0] != pair[1] and pair not in said:
            said.add(pair)
            yield f"{name.replace('_', ' ')} {pair[0] or 'unknown'} against {pair[1] or 'unknown'}"
    for name in ("instructions", "threads"):  # which older baselines do not have
        first, second = getattr(base, name), getattr(head, name)
        if first and second and first != second:
            yield f"{name} {first} against {second}"
    for name in sorted({*base.packages, *head.packages} - {"iqpir-bench"}):
        versions = base.packages.get(name, "none"), head.packages.get(name, "none")
        if versions[0] != versions[1]:
            yield f"{name} {versions[0]} against {versions[1]}"


def other_images(base: Snapshot, head: Snapshot) -> dict[tuple[str, str], list[Finding]]:
    """(dataset, method) of both → findings that say that inputs or references differ: `inputs` and `references`, or
    `drift` where the sides were made in places that may decode a file differently."""
    walk = _Walk(base, head, tuple(other_place(base.made, head.made)))
    found: dict[tuple[str, str], list[Finding]] = {}
    for name in head.datasets.keys() & base.datasets.keys():
        old, new = base.datasets[name], head.datasets[name]
        given = list(walk.inputs(name, old, new))
        for label in new.methods.keys() & old.methods.keys():
            if told := [*given, *walk.references(name, label, old.methods[label], new.methods[label])]:
                found[name, label] = told
    return found


class _Walk:
    """One pass over two snapshots."""

    def __init__(self, base: Snapshot, head: Snapshot, elsewhere: Sequence[str]) -> None:
        self.base = base
        self.head = head
        self.here = not elsewhere
        self.elsewhere = "; ".join(elsewhere)
        self.compared = 0

    def cells(self) -> Iterator[Finding]:
        for name in dict.fromkeys([*self.head.datasets, *self.base.datasets]):
            old, new = self.base.datasets.get(name), self.head.datasets.get(name)
            if old is None or new is None:
                yield Finding("new" if old is None else "vanished", name, "", "")
                continue
            yield from self.inputs(name, old, new)
            yield from self._dataset(name, old, new)

    def inputs(self, name: str, old: SnapshotDataset, new: SnapshotDataset) -> Iterator[Finding]:
        used = [(key, each) for method in old.methods.values() for key, each in method.items.items()]
        lost = {key for key, each in used if each.output is not None} - old.inputs.keys()  # a damaged baseline
        moved = [key for key, content in new.inputs.items() if key in lost or old.inputs.get(key, content) != content]
        if moved:
            yield self._images("inputs", name, "", moved, len(new.inputs))

    def references(self, dataset: str, method: str, before: SnapshotMethod, after: SnapshotMethod) -> Iterator[Finding]:
        shared = [(item, before.items[item], after.items[item]) for item in after.items if item in before.items]
        compared = [
            item for item, old, new in shared if old.reference and new.reference and old.reference != new.reference
        ]
        if compared:
            yield self._images("references", dataset, method, compared, len(shared))

    def _dataset(self, name: str, old: SnapshotDataset, new: SnapshotDataset) -> Iterator[Finding]:
        for label in dict.fromkeys([*new.methods, *old.methods]):
            before, after = old.methods.get(label), new.methods.get(label)
            if before is None or after is None:
                yield Finding("new" if before is None else "vanished", name, label, "")
                continue
            yield from self._method(name, label, before, after)
            for metric in dict.fromkeys([*new.metrics, *old.metrics]):
                first, second = old.metrics.get(metric), new.metrics.get(metric)
                if first is None or second is None:
                    yield Finding("new" if first is None else "vanished", name, label, metric)
                elif first.signature != second.signature:
                    yield Finding("signature", name, label, metric, detail=_fields(first.signature, second.signature))
                else:
                    yield from _Values(self, name, label, metric, second, before, after).findings()

    def _method(self, dataset: str, method: str, before: SnapshotMethod, after: SnapshotMethod) -> Iterator[Finding]:
        gone = [item for item in before.items if item not in after.items]
        come = [item for item in after.items if item not in before.items]
        if gone:
            detail = f"{after.expected} items, {before.expected} in the base"
            yield Finding("fewer", dataset, method, "", items=tuple(gone), detail=detail)
        if come:
            detail = f"{after.expected} items, {before.expected} in the base"
            yield Finding("more", dataset, method, "", items=tuple(come), detail=detail)
        yield from self.references(dataset, method, before, after)
        shared = [(item, before.items[item], after.items[item]) for item in after.items if item in before.items]
        made = [item for item, old, new in shared if old.output and new.output and old.output != new.output]
        if made:
            yield self._images("outputs", dataset, method, made, len(shared))
        elif before.outputs != after.outputs and not gone and not come and all(
            old.output == new.output for _, old, new in shared
        ):  # fmt: skip
            yield Finding("outputs", dataset, method, "", detail="the digest of all outputs differs")

    def _images(self, kind: str, dataset: str, method: str, items: Sequence[str], of: int) -> Finding:
        """Images that are not the same: strict in the same place, in another a note that says what is other there."""
        detail = f"{len(items)} of {of} {kind} differ"
        if not self.here:
            detail += f", where {self.elsewhere}"
        return Finding(kind if self.here else "drift", dataset, method, "", items=tuple(items), detail=detail)


class _Values:
    """One metric of one method on one dataset in both snapshots."""

    def __init__(
        self,
        walk: _Walk,
        dataset: str,
        method: str,
        label: str,
        metric: SnapshotMetric,
        before: SnapshotMethod,
        after: SnapshotMethod,
    ) -> None:
        self.walk = walk
        self.place = (dataset, method, label)
        self.metric = metric
        self.before, self.after = before, after
        self.tolerance = walk.base.tolerances.of(label, metric, here=walk.here)

    def findings(self) -> Iterator[Finding]:
        label = self.place[2]
        old, new = self.before.values.get(label), self.after.values.get(label)
        if old is None or new is None:
            if old is not new:
                yield Finding("new" if old is None else "vanished", *self.place)
            return
        if old.number is None or new.number is None:
            yield from self._without(old, new)
            return
        self.walk.compared += 1
        if self.metric.of_sets:
            yield from self._of_sets(old, new)
        else:
            yield from self._of_items(old, new)

    def _without(self, old: SnapshotValue, new: SnapshotValue) -> Iterator[Finding]:
        if old.number is not None:
            reason = new.reason or new.status
            yield Finding("failed", *self.place, base=old.number, detail=reason, digits=self.metric.digits)
        elif new.number is not None:
            yield Finding("new", *self.place, head=new.number, detail=f"the base says {old.reason or old.status}")
        elif new.status not in _WITHOUT_VALUE or old.status not in _WITHOUT_VALUE:
            yield Finding("incomplete", *self.place, detail=new.reason or new.status)

    def _of_sets(self, old: SnapshotValue, new: SnapshotValue) -> Iterator[Finding]:
        """Two values of a set are held against each other where the same items entered both."""
        before, after = _entered(self.before), _entered(self.after)
        lost, won = tuple(before - after), tuple(after - before)
        told = f"{new.n} items entered it, {old.n} in the base"
        if lost or new.n < old.n:
            yield Finding("failed", *self.place, items=tuple(sorted(lost)), detail=told)
        if won or new.n > old.n:
            yield Finding("new", *self.place, items=tuple(sorted(won)), detail=told)
        if lost or won or new.n != old.n:
            return
        if new.n < self.after.expected:
            yield Finding("incomplete", *self.place, detail=f"{new.n} of {self.after.expected}: {new.reason or ''}")
        if self.before.expected == self.after.expected:
            yield from self._moved(old.number, new.number, (), "")

    def _of_items(self, old: SnapshotValue, new: SnapshotValue) -> Iterator[Finding]:
        label = self.place[2]
        whole = self._all_equal(label)
        if whole is not None:
            yield from self._moved(old.number, new.number, whole, "")
            return
        lost: list[str] = []
        won: list[str] = []
        still: list[str] = []
        pairs: list[tuple[str, float, float]] = []
        for item, row in self.after.items.items():
            if item not in self.before.items:
                continue
            known = self.before.items[item]
            first, second = known.number(label), row.number(label)
            if first is not None and second is not None:
                pairs.append((item, first, second))
            elif first is not None:
                lost.append(item)
            elif second is not None:
                won.append(item)
            elif not {known.values.get(label), row.values.get(label)} <= set(_WITHOUT_VALUE):
                still.append(item)
        if lost:
            yield Finding("failed", *self.place, items=tuple(lost), detail=new.reason or "")
        if won:
            yield Finding("new", *self.place, items=tuple(won), detail=f"the base says {old.reason or 'no value'}")
        if still:
            yield Finding("incomplete", *self.place, items=tuple(still), detail=new.reason or old.reason or "")
        means: tuple[float | None, float | None] = (old.number, new.number)
        said = ""
        if len(pairs) < max(len(self.before.items), len(self.after.items)):
            means = self._mean([pair[:2] for pair in pairs]), self._mean([(item, new) for item, _, new in pairs])
            said = f"over the {len(pairs)} items that both have"
        moved = [(item, a, b) for item, a, b in pairs if not self._equal(a, b)]
        moved.sort(key=lambda each: -_distance(each[1], each[2]))
        yield from self._moved(*means, [item for item, _, _ in moved], said)

    def _all_equal(self, label: str) -> Sequence[str] | None:
        """Items whose values moved, the most important first, where both sides have a value of the same items; else
        None. Most of what is compared is this, and is compared as columns."""
        if self.before.items.keys() != self.after.items.keys():
            return None
        first, second = _numbers(self.before, self.after, label), _numbers(self.after, self.after, label)
        if first is None or second is None:
            return None
        with np.errstate(invalid="ignore"):
            apart = np.abs(first - second)
            bound = np.maximum(np.abs(first), np.abs(second)) * self.tolerance.relative
        bound = np.maximum(bound, self.tolerance.absolute)
        moved = np.flatnonzero(~((first == second) | (apart <= bound) & (bound < math.inf)))
        if not len(moved):
            return ()
        keys = list(self.after.items)
        pairs = [(keys[place], float(first[place]), float(second[place])) for place in moved.tolist()]
        return [item for item, a, b in sorted(pairs, key=lambda each: -_distance(each[1], each[2]))]

    def _moved(self, old: float | None, new: float | None, items: Sequence[str], said: str) -> Iterator[Finding]:
        if old is None or new is None:
            return
        if not self._equal(old, new):
            kind = "better" if (new > old) == (self.metric.better == "higher") else "worse"
        elif math.isinf(old) and (hidden := self._behind_infinity()) is not None:
            kind, said = hidden
        elif items:
            kind = "items"
        else:
            return
        yield Finding(kind, *self.place, old, new, tuple(items), said, self.metric.digits, self.tolerance)

    def _behind_infinity(self) -> tuple[str, str] | None:
        """(kind, words) of what two infinite means hide: more items of one side are infinite, or the mean of those that
        are finite on both moved; None where neither."""
        label, up = self.place[2], self.metric.better == "higher"
        names, before, after = [], list[float](), list[float]()
        for item, row in self.after.items.items():
            known = self.before.items.get(item)
            first, second = None if known is None else known.number(label), row.number(label)
            if first is not None and second is not None:
                names.append(item)
                before.append(first)
                after.append(second)
        finite = [place for place in range(len(names)) if math.isfinite(before[place]) and math.isfinite(after[place])]
        counts = [sum(map(math.isinf, side)) for side in (before, after)]
        old, new = (self._mean([(names[place], side[place]) for place in finite]) for side in (before, after))
        if counts[0] != counts[1]:
            good = next(value for value in (*before, *after) if math.isinf(value)) > 0
            kind = "better" if (counts[1] > counts[0]) == (good == up) else "worse"
            return kind, f"{counts[1]} of {len(names)} items are infinite, {counts[0]} in the base"
        if old is None or new is None or self._equal(old, new):
            return None
        digits = self.metric.digits
        told = f"{old:.{digits}f} to {new:.{digits}f} over the {len(finite)} items that are finite on both sides"
        return "better" if (new > old) == up else "worse", told

    def _mean(self, values: Sequence[tuple[str, float]]) -> float | None:
        """Mean over items of the means of their repeats, as tables have it."""
        inputs, keys = self.walk.head.datasets[self.place[0]].inputs, self.after.items
        found: dict[str, list[float]] = {}
        for key, value in values:
            found.setdefault(item_of(key, keys, inputs)[0], []).append(value)
        means = [mean(repeats) for repeats in found.values()]
        return None if not means or math.isnan(whole := mean(means)) else whole

    def _equal(self, old: float, new: float) -> bool:
        return self.tolerance.holds(old, new)


def _entered(method: SnapshotMethod) -> set[str]:
    """Items that have an output, as far as is known."""
    return {item for item, row in method.items.items() if row.output is not None}


def _numbers(method: SnapshotMethod, order: SnapshotMethod, label: str) -> np.ndarray | None:
    """A metric's values in the order of a method's items; None where one is missing."""
    rows = method.items
    try:
        given = [rows[item].values[label] for item in order.items]
        values = np.array([float(value) for value in given], np.float64)  # infinite ones are words
    except (KeyError, ValueError):
        return None
    return None if np.isnan(values).any() else values


def _distance(first: float, second: float) -> float:
    return abs(first - second) if math.isfinite(first) and math.isfinite(second) else math.inf


def _fields(old: str, new: str) -> str:
    """What two signatures disagree in."""
    try:
        rows = differences(old, new)
    except BenchError:  # a baseline that was edited by hand
        rows = []
    named = ", ".join(f"{row.field}: {row.first} against {row.second}" for row in rows)
    return named or f"{old} against {new}"


def _times(base: Snapshot, head: Snapshot) -> Iterator[Finding]:
    """Every method and setting that was timed in both, on the same machine."""
    before = {(row.method, row.setting, row.machine): row for row in base.timings}
    machines = {(row.method, row.setting): row.machine for row in base.timings}
    timed = {(row.method, row.setting) for row in head.timings}
    for method, setting in machines:
        if (method, setting) not in timed:
            yield Finding("uncompared", "", method, f"ms per call, {setting}", detail="not timed again")
    for row in head.timings:
        old = before.get((row.method, row.setting, row.machine))
        if old is not None:
            yield from _time(old, row, base.tolerances.latency)
        elif (row.method, row.setting) in machines:
            detail = f"timed on {row.machine}, the base on {machines[row.method, row.setting]}: not compared"
            yield Finding("uncompared", "", row.method, f"ms per call, {row.setting}", detail=detail)


def _time(old: SnapshotTiming, new: SnapshotTiming, limit: float) -> Iterator[Finding]:
    change = ratio(old, new)
    place = ("", new.method, f"ms per call, {new.setting}")
    if old.n and not new.n:
        yield Finding("failed", *place, detail=new.reason or "")
        return
    if change is None:
        yield Finding("uncompared", *place, detail=f"{min(old.n, new.n)} calls are too few to compare")
        return
    if old.samples == new.samples:  # nothing was timed since: however much they vary, they differ by nothing
        return
    said = f"{change.ratio:.2f} times the base's median, interval {change.low:.2f} to {change.high:.2f}"
    said += f" ({new.reason})" if new.reason else ""
    medians = 1e3 * median(old.samples), 1e3 * median(new.samples)
    machine = probed(old, new)
    apart = medians[1] - medians[0] if change.low > limit else (change.high - 1) * medians[0]
    if change.high > limit and apart < FLOOR:
        yield Finding("uncompared", *place, *medians, digits=2, detail=f"{said}, less than {FLOOR:g} ms apart")
    elif change.low > limit and machine is not None and change.low / machine <= limit:
        told = f"{said}; the machine itself took {machine:.2f} times as long for the same work"
        yield Finding("inconclusive", *place, *medians, digits=2, detail=told)
    elif change.low > limit:
        yield Finding("slower", *place, *medians, digits=2, detail=f"{said}, limit {limit:g}")
    elif change.high > limit:
        yield Finding("inconclusive", *place, *medians, digits=2, detail=f"{said}, which holds the limit {limit:g}")
    elif change.high < 1 / limit:
        yield Finding("faster", *place, *medians, digits=2, detail=said)


def _folded(found: Iterable[Finding], head: Snapshot) -> list[Finding]:
    """What holds for all metrics of a method is said once, and then what holds for all methods of a dataset."""
    sizes = {name: (len(one.metrics), len(one.methods)) for name, one in head.datasets.items()}
    by_method = _fold(found, lambda one: one._replace(metric=""), {name: size[0] for name, size in sizes.items()})
    return _fold(by_method, lambda one: one._replace(method=""), {name: size[1] for name, size in sizes.items()})


def _fold(found: Iterable[Finding], wider: Callable[[Finding], Finding], sizes: Mapping[str, int]) -> list[Finding]:
    groups: dict[Finding, list[Finding]] = {}
    for one in found:
        groups.setdefault(wider(one), []).append(one)
    folded: list[Finding] = []
    for whole, group in groups.items():
        all_of_it = len(group) > 1 and len(group) == sizes.get(whole.dataset) and whole.base is whole.head is None
        folded.extend([whole] if all_of_it else group)
    return folded

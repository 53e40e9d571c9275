"""The columns of a run that people fill: votes on the pixels of its outputs, turned into values when it is read.

Votes are looked up by content hash alone, so that they answer for every method of every run whose output is what was
shown. Comparisons count where all that was compared is among the run's outputs of one item.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.errors import BenchError, ItemError
from bench.metrics import opinion, preference
from bench.metrics.people import DESIGNS, Asked, completed
from bench.metrics.preference import Comparison
from bench.results import votes
from bench.results.record import Column, DatasetRecord, RunRecord
from bench.results.units import Units
from bench.results.votes import Ballot, Session


class Owner(NamedTuple):
    """An output of a run."""

    method: str
    position: int
    """Of its item."""


class Judged(NamedTuple):
    """One answer to one criterion, with what of it are the run's outputs."""

    session: Session
    ballot: Ballot
    owners: tuple[tuple[Owner, float, int], ...]
    """(output, its value, its place on the screen); of images that are several methods' one for each."""

    @property
    def observer(self) -> str:
        """A person of a study."""
        return f"{self.session.study}/{self.session.observer}"


class Opinion(NamedTuple):
    """One person's score of one output, the mean over criteria."""

    owner: Owner
    observer: str
    value: float


Owners = Mapping[str, Sequence[Owner]]
"""By the content hash of an output, in hexadecimal."""


def owners(dataset: DatasetRecord, units: Units, methods: Sequence[str]) -> Owners:
    """The outputs of a dataset by their pixels; equal pixels have several owners."""
    found: dict[str, dict[Owner, None]] = {}
    for method in dict.fromkeys(methods):
        for unit in units.get((dataset.label, method), ()):
            if unit.made is not None and unit.made.output_hash is not None:
                found.setdefault(unit.made.output_hash.hex(), {})[Owner(method, unit.position)] = None
    return {hash_: list(each) for hash_, each in found.items()}


def judged(sessions: Iterable[Session], of: Owners, asked: Asked) -> list[Judged]:
    """The answers that are on these outputs."""
    found = []
    for session in sessions:
        if session.design != DESIGNS[asked.of] or (asked.study and session.study != asked.study):
            continue
        for ballot in session.votes:
            if asked.criterion and ballot.criterion != asked.criterion:
                continue
            mine = tuple(
                (owner, value, place)
                for place, (image, value) in enumerate(zip(ballot.images, ballot.values, strict=False))
                for owner in of.get(image, ())
            )
            if mine:
                found.append(Judged(session, ballot, mine))
    return found


def asks(record: RunRecord) -> bool:
    """Whether a run has a column that people fill."""
    return any(column.voted is not None for dataset in record.datasets for column in dataset.columns)


def answered(record: RunRecord, units: Units, results: Path) -> RunRecord:
    """The record with every column that people fill, where they have voted."""
    kept = votes.sessions(results)
    methods = [method.label for method in record.methods]
    datasets = []
    for dataset in record.datasets:
        of = owners(dataset, units, [one.label for one in record.methods if one.is_for(dataset.label)])
        columns = [
            column if column.voted is None else _filled(column, dataset, methods, kept, of)
            for column in dataset.columns
        ]
        datasets.append(replace(dataset, columns=columns))
    return replace(record, datasets=datasets)


def _filled(
    column: Column, dataset: DatasetRecord, methods: Sequence[str], kept: Sequence[Session], of: Owners
) -> Column:
    assert column.voted is not None
    asked = Asked.read(column.voted)
    found = judged(kept, of, asked)
    if asked.of in ("bt", "rank", "points", "top-1"):
        found = [one for one in found if len({owner.method for owner, _, _ in one.owners}) > 1]
    if not found:
        return replace(column, given={})
    signature = completed(column.signature, facts(found, asked))
    missing = "nobody voted on it"
    try:
        if asked.of == "bt":
            values = strengths(found, list(dict.fromkeys(methods)))
            made = tuple(comparisons(found, list(dict.fromkeys(methods))))
            seen = {owner for one in found for owner, _, _ in one.owners}
            given = _grid(methods, dataset, dict.fromkeys(seen, 1.0))
            return replace(column, signature=signature, given=given, strengths=values, compared=made, not_given=missing)
        per_output = opinions(found, asked) if asked.of == "mos" else ranks(found, asked.of)
    except (BenchError, ItemError) as error:
        return replace(column, given={}, not_given=str(error))
    return replace(column, signature=signature, given=_grid(methods, dataset, per_output), not_given=missing)


def _grid(
    methods: Sequence[str], dataset: DatasetRecord, values: Mapping[Owner, float]
) -> dict[str, list[float | None]]:
    places = range(len(dataset.items))
    return {method: [values.get(Owner(method, place)) for place in places] for method in methods}


def facts(found: Sequence[Judged], asked: Asked) -> list[tuple[str, object]]:
    """What a number from votes rests on, for its signature."""
    sessions = {(one.session.study, one.session.session): one.session for one in found}
    each = list(sessions.values())
    shown: list[tuple[str, object]] = [("design", DESIGNS[asked.of])]
    if asked.of == "mos":
        shown.append(("scale", "+".join(sorted({f"{one.lowest:g}-{one.highest:g}" for one in each}))))
    elif asked.of != "bt":
        counts = sorted({len({owner.method for owner, _, _ in one.owners}) for one in found})
        shown.append(("methods", "-".join(map(str, [counts[0], counts[-1]] if len(counts) > 1 else counts))))
    shown.append(("criteria", "+".join(sorted({one.ballot.criterion for one in found}))))
    shown.append(("people", len({one.observer for one in found})))
    shown.append(("n", len(found)))
    rows = sorted(
        [one.session.study, one.session.observer, one.ballot.question, one.ballot.criterion, *one.ballot.images,
         *map(repr, one.ballot.values)]
        for one in found
    )  # fmt: skip
    shown.append(("votes", hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]))
    return shown


# What votes come to


def scores(found: Sequence[Judged]) -> list[Opinion]:
    """One per person and output. Raises `ItemError` for scores on several scales."""
    scales = {(one.session.lowest, one.session.highest) for one in found}
    if len(scales) > 1:
        shown = " and ".join(f"{low:g}–{high:g}" for low, high in sorted(scales))
        studies = sorted({one.session.study for one in found})
        raise ItemError(
            f"votes are on the scales {shown}, which have no common mean: "
            f"option study chooses one of {', '.join(studies)}"
        )
    given: dict[tuple[Owner, str], list[float]] = {}
    for one in found:
        for owner, value, _ in one.owners:
            given.setdefault((owner, one.observer), []).append(value)
    return [Opinion(owner, observer, statistics.fmean(each)) for (owner, observer), each in given.items()]


def matrix(each: Sequence[Opinion]) -> tuple[list[Owner], list[str], np.ndarray]:
    """(outputs, people, votes [outputs, people] with NaN where there is none)."""
    outputs = sorted({one.owner for one in each})
    people = sorted({one.observer for one in each})
    row, column = {owner: n for n, owner in enumerate(outputs)}, {one: n for n, one in enumerate(people)}
    found = np.full((len(outputs), len(people)), np.nan)
    for one in each:
        found[row[one.owner], column[one.observer]] = one.value
    return outputs, people, found


def opinions(found: Sequence[Judged], asked: Asked) -> dict[Owner, float]:
    """Mean opinion scores. Raises `ItemError`."""
    outputs, _, given = matrix(scores(found))
    if asked.reject == "bt500":
        given = given[:, ~opinion.rejected(given)]
        if not given.size:
            raise ItemError("BT.500 rejects everybody")
        seen = (~np.isnan(given)).any(1)
        outputs, given = [owner for owner, one in zip(outputs, seen, strict=True) if one], given[seen]
    if asked.reject == "z3.29":
        given = opinion.without_outliers(given)
    values = opinion.consistent(given).mean if asked.variant == "p910" else opinion.plain(given).mean
    return {owner: float(value) for owner, value in zip(outputs, values, strict=True)}


def orders(found: Sequence[Judged]) -> Iterator[dict[Owner, float]]:
    """Of each ranking the ranks of the run's outputs among themselves, 1 for the best; equal pixels share theirs."""
    for one in found:
        given = {owner: value for owner, value, _ in one.owners}
        yield {
            owner: 1 + sum(other < value for other in given.values())
            + (sum(other == value for other in given.values()) - 1) / 2
            for owner, value in given.items()
        }  # fmt: skip


def ranks(found: Sequence[Judged], of: str) -> dict[Owner, float]:
    """Mean rank of each output, or points (as many as there are methods for the first place), or % of first places."""
    each: dict[Owner, list[float]] = {}
    for order in orders(found):
        for owner, rank in order.items():
            value = {"rank": rank, "points": len(order) + 1 - rank, "top-1": 100.0 * (rank == 1)}[of]
            each.setdefault(owner, []).append(value)
    return {owner: statistics.fmean(values) for owner, values in each.items()}


def comparisons(found: Sequence[Judged], methods: Sequence[str]) -> list[Comparison]:
    """Answers to pairs between methods by their place in `methods`; scenes and people by numbers of their own."""
    place = {method: n for n, method in enumerate(methods)}
    scenes: dict[str, int] = {}
    people: dict[str, int] = {}
    made = []
    for one in found:
        scene = scenes.setdefault(one.ballot.reference, len(scenes))
        person = people.setdefault(one.observer, len(people))
        for first, value, at in one.owners:
            for second, _, other in one.owners:
                if at < other and first.position == second.position and first.method != second.method:
                    made.append(Comparison(place[first.method], place[second.method], value, scene, person))
    return made


def strengths(found: Sequence[Judged], methods: Sequence[str]) -> dict[str, float | None]:
    """Bradley–Terry strengths of the methods that were compared. Raises `ItemError`, `BenchError`."""
    made, names = only_compared(comparisons(found, methods), methods)
    values = preference.bradley_terry(preference.wins(made, len(names)))
    known = dict(zip(names, map(float, values), strict=True))
    return {method: known.get(method) for method in methods}


def only_compared(made: Sequence[Comparison], methods: Sequence[str]) -> tuple[list[Comparison], list[str]]:
    """Comparisons by the place of their methods among those that were compared at all, and which these are."""
    seen = sorted({place for one in made for place in (one.first, one.second)})
    place = {old: new for new, old in enumerate(seen)}
    told = [one._replace(first=place[one.first], second=place[one.second]) for one in made]
    return told, [methods[old] for old in seen]

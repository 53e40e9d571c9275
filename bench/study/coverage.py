"""Which outputs still need votes: what has come in, held against what the plans of a study ask of people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.results.voted import Judged, Owner, Owners
from bench.study import key as keys
from bench.study.key import Key


class Need(NamedTuple):
    """An output and its votes; all criteria of one answer are one."""

    owner: Owner
    votes: int
    planned: int
    """By the plans of all studies that show it; where no key is here, the most that any output has."""

    @property
    def missing(self) -> int:
        return max(self.planned - self.votes, 0)


def coverage(results: Path, studies: Iterable[str], of: Owners, found: Sequence[Judged]) -> list[Need]:
    """Of each output that is in a study or has votes, those that miss most first. Raises `BenchError`."""
    had = Counter(
        owner for owner, _, _ in {
            (owner, one.observer, one.ballot.question) for one in found for owner, _, _ in one.owners
        }
    )  # fmt: skip
    planned: Counter[Owner] = Counter()
    unknown = False
    for study in sorted(studies):
        place = keys.kept_at(results, study)
        if place.is_file():
            for image, count in asked(keys.read(place)[0]).items():
                planned.update(dict.fromkeys(of.get(image, ()), count))
        else:
            unknown = True
    most = max(had.values(), default=0) if unknown else 0
    needs = [Need(owner, had[owner], max(planned[owner], most)) for owner in {*had, *planned}]
    return sorted(needs, key=lambda one: (-one.missing, one.owner))


def asked(key: Key) -> Mapping[str, int]:
    """How many people are to judge each image, by its content hash; traps are no votes."""
    questions = list(key.questions.values())
    found: Counter[str] = Counter()
    for plan in key.plans:
        for place in {place for place, _ in plan}:
            if not questions[place].trap:
                found.update({key.images[name].hash: 1 for name in questions[place].images})
    return found

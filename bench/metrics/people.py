"""What people say, as columns: mean opinion score, Bradley–Terry strength, mean rank. Asked for here, answered later.

A vote is on pixels, and comes after the run. So a column of these holds nothing when the run is planned; whoever reads
the run looks up the votes on its outputs (`bench.results.voted`), and completes the signature with the people, the
criteria and the votes that the number rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

from bench.catalog.registry import Entry
from bench.errors import BenchError
from bench.metrics.base import Metric, Signature
from bench.metrics.kinds import Kind, Place
from bench.metrics.view import View

VARIANTS = ("mean", "p910")
"""Of opinion scores: the mean over people, or P.910's, which takes bias away and weighs people by consistency."""
REJECTS = ("none", "bt500", "z3.29")
"""What is left out beside sessions that were not kept: people by BT.500, or single votes by the P.910 toolkit."""
DESIGNS = {"mos": "rating", "bt": "pairs", "rank": "ranking", "points": "ranking", "top-1": "ranking"}
"""What is made of votes → the design of the studies that they come from."""
_ENTRY: dict[str, Any] = {"entry": True}
NO_VOTES = "nobody voted on it: bench study make RUN -o DIR, then bench study add"


class Voted(Kind):
    """A value per image from votes on its pixels, looked up when a run is read."""

    computed = False

    def places(self, output: int, reference: int) -> tuple[Place, ...]:
        return ()


class VotedSet(Voted):
    """One value of all images of a method, from votes on their pixels."""

    of_sets = True


class Asked(NamedTuple):
    """What a column makes of votes, as a run's record keeps it."""

    of: str
    """A key of `DESIGNS`."""
    criterion: str = ""
    """Empty: all of a study, their mean."""
    study: str = ""
    """Empty: all studies of the design."""
    variant: str = "mean"
    reject: str = "none"

    @classmethod
    def read(cls, recorded: Mapping[str, str]) -> Asked:
        return cls(**{name: value for name, value in recorded.items() if name in cls._fields})


@dataclass(frozen=True)
class PeopleMetric(Metric):
    """What is made of votes that `bench study add` has stored."""

    name: str = field(default="", metadata=_ENTRY)
    view: View = field(default_factory=View)
    criterion: str = ""
    """Only votes on this criterion; empty for the mean of all."""
    study: str = ""
    """Only votes of this study."""

    mode = "NR"
    of: ClassVar[str]
    """A key of `DESIGNS`."""

    @property
    def kind(self) -> Kind:
        return Voted(False)

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        return cls(name=entry.name, view=view, **options)

    def signature(self) -> Signature:
        """Before anybody has voted; `completed` says the rest."""
        fields = [("design", DESIGNS[self.of]), *self._fit(), ("votes", "none"), ("v", 1)]
        return Signature.of(self.name, fields)

    def _fit(self) -> Sequence[tuple[str, object]]:
        return ()

    def asked_of_people(self) -> Mapping[str, str]:
        return Asked(self.of, self.criterion, self.study)._asdict()

    def given(
        self, dataset: str, methods: Sequence[str], items: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[float | None]] | None, str | None]:
        return {}, NO_VOTES


@dataclass(frozen=True)
class OpinionScore(PeopleMetric):
    """Mean opinion score, on the scale of its study."""

    variant: str = "mean"
    reject: str = "none"

    of = "mos"

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        """Raises `BenchError` for a variant or a rejection that there is not."""
        made = super().from_entry(entry, view, options)
        for key, choices in (("variant", VARIANTS), ("reject", REJECTS)):
            if getattr(made, key) not in choices:
                given = getattr(made, key)
                raise BenchError(f"metric {entry.name!r}: {key} is one of {', '.join(choices)}, not {given!r}")
        return made

    def _fit(self) -> Sequence[tuple[str, object]]:
        return ("of", self.variant), ("reject", self.reject)

    def asked_of_people(self) -> Mapping[str, str]:
        return {**super().asked_of_people(), "variant": self.variant, "reject": self.reject}


@dataclass(frozen=True)
class Strength(PeopleMetric):
    """Bradley–Terry strength of a method, in logits."""

    of = "bt"

    @property
    def kind(self) -> Kind:
        return VotedSet(False)

    def _fit(self) -> Sequence[tuple[str, object]]:
        return ("fit", "mle"), ("ties", "half"), ("zero", "mean")


@dataclass(frozen=True)
class MeanRank(PeopleMetric):
    """Mean rank among the methods of the run, 1 for the best."""

    higher_is_better: bool = field(default=False, metadata=_ENTRY)

    of = "rank"


def completed(signature: str, facts: Sequence[tuple[str, object]]) -> str:
    """A column's signature with what its votes are; what it said of votes to come is replaced."""
    name, *fields = signature.split("|")
    version = [one for one in fields if one.startswith("v:")]
    replaced = {"votes", "sheet", "raters", "scale", "design", *(key for key, _ in facts)}
    kept = [one for one in fields if one.partition(":")[0] not in replaced and one not in version]
    return "|".join([str(Signature.of(name, facts)), *kept, *version])

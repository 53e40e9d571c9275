"""What people say of restored images: votes in a CSV file, read and checked, never computed; or, without a file,
those that `bench study` has collected (`bench.metrics.people`).

A rating belongs to the item and the method whose output was shown, as a reference belongs to its item by name. Names
only find the votes: what fixes the number is the file's content, whose hash stands in the signature, so that votes of
other people, or one vote changed, are another number. Nothing of a sheet is stored per output: a vote is part of what
a run was asked, like its list of items, and stands in the run's record – two methods whose outputs are the same pixels
can be rated differently, which a key of pixels could not hold.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench import files, paths
from bench.catalog.registry import Entry
from bench.data.decimal_text import decimal
from bench.errors import BenchError, one_line, suggest
from bench.metrics.base import Metric, Signature
from bench.metrics.kinds import Kind, Votes
from bench.metrics.people import Asked, Voted
from bench.metrics.view import View

VARIANTS = ("score", "rank", "top-1")
"""`score`: the mean of the votes. `rank`: points, as many as there are methods for the first place, 1 for the last.
`top-1`: percent of the raters who put it first."""
_ENTRY: dict[str, Any] = {"entry": True}


class Vote(NamedTuple):
    """One line of a sheet."""

    line: int
    dataset: str
    item: str
    method: str
    rater: str
    value: float


@dataclass(frozen=True)
class RatedMetric(Metric):
    """Mean over items of what the raters of each say, in the units of the variant.

    A sheet has the columns dataset, item, method, rater and `score` (or `rank`, 1 for the best): labels as the suite
    has them. Whoever votes on an item votes on all methods of the sheet for that dataset, once each.
    """

    name: str = field(default="rating", metadata=_ENTRY)
    view: View = field(default_factory=View)
    ratings: str = ""
    """The CSV file; without it no item is rated."""
    raters: int = 12
    """How many people vote."""
    lowest: float = 0.0
    highest: float = 5.0
    """Ends of the scale of scores; ranks run from 1 to the number of methods."""
    variant: str = "score"

    mode = "NR"

    @property
    def kind(self) -> Kind:
        return Votes(False) if self.ratings else Voted(False)

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        """Raises `BenchError` for a variant that there is not, and for a scale without length."""
        made = cls(name=entry.name, view=view, **options)
        if made.variant not in VARIANTS:
            raise BenchError(f"metric {entry.name!r}: variant is one of {', '.join(VARIANTS)}, not {made.variant!r}")
        if made.raters < 1 or not made.lowest < made.highest:
            raise BenchError(f"metric {entry.name!r}: needs raters of at least 1 and lowest below highest")
        return made

    @property
    def column(self) -> str:
        """The sheet's last column."""
        return "score" if self.variant == "score" else "rank"

    def signature(self) -> Signature:
        scale = [("scale", f"{self.lowest:g}-{self.highest:g}")] if self.variant == "score" else []
        found = votes_of(self) if self.ratings else ()
        sheet = hashlib.sha256(_raw(Path(self.ratings))).hexdigest()[:12] if self.ratings else "none"
        pairs = [("of", self.variant), ("raters", self.raters), *scale, ("votes", len(found)), ("sheet", sheet)]
        return Signature.of(self.name, [*pairs, ("v", 1)])

    def based(self, base: Path | None) -> Self:
        """The metric with its sheet's place settled, the sheet read and checked in itself. Raises `BenchError`."""
        if not self.ratings:
            return self
        found = replace(self, ratings=str(paths.find(self.ratings, base)))
        votes_of(found)
        return found

    def check(self, items: Mapping[str, Collection[str] | None], methods: Collection[str]) -> None:
        """Hold the sheet's names against a suite's. `items`: dataset → ids, None where they are not known here.

        Raises `BenchError` with the line of the first name that the suite does not have.
        """
        for vote in votes_of(self) if self.ratings else ():
            where = f"{paths_shown(self.ratings)}:{vote.line}"
            if vote.dataset not in items:
                raise BenchError(f"{where}: no dataset {vote.dataset!r} in this suite{suggest(vote.dataset, items)}")
            if vote.method not in methods:
                raise BenchError(f"{where}: no method {vote.method!r} in this suite{suggest(vote.method, methods)}")
            known = items[vote.dataset]
            if known is not None and vote.item not in known:
                near = suggest(vote.item, known)
                raise BenchError(f"{where}: dataset {vote.dataset!r} has no item {vote.item!r}{near}")

    def asked_of_people(self) -> Mapping[str, str] | None:
        """Without a sheet, what votes of `bench study` say."""
        if self.ratings:
            return None
        return Asked({"score": "mos", "rank": "points", "top-1": "top-1"}[self.variant])._asdict()

    def given(
        self, dataset: str, methods: Sequence[str], items: Sequence[str]
    ) -> tuple[Mapping[str, Sequence[float | None]] | None, str | None]:
        rated = methods if self.ratings else ()
        return {method: self.values(dataset, method, items) for method in rated}, self.reason()

    def values(self, dataset: str, method: str, items: Sequence[str]) -> list[float | None]:
        """One value per item, None where nobody voted."""
        votes: dict[str, list[float]] = {}
        most = 0
        for vote in votes_of(self) if self.ratings else ():
            if vote.dataset == dataset:
                most = max(most, round(vote.value))
                if vote.method == method:
                    votes.setdefault(vote.item, []).append(vote.value)
        return [self._value(votes[item], most) if item in votes else None for item in items]

    def _value(self, votes: Sequence[float], most: int) -> float:
        if self.variant == "top-1":
            return 100 * sum(vote == 1 for vote in votes) / len(votes)
        mean = math.fsum(votes) / len(votes)
        return most + 1 - mean if self.variant == "rank" else mean

    def reason(self) -> str:
        """Why an item has no value, with the remedy."""
        if self.ratings:
            return f"nobody rated it in {paths_shown(self.ratings)}"
        columns = ", ".join(_columns(self.column))
        return (
            f"no votes are given: bench study make asks people and bench study add takes what they say; or a CSV file "
            f"with the columns {columns}, which a suite that includes this one takes by metrics: "
            f"[{{{self.name}: {{ratings: FILE.csv}}}}]"
        )


def votes_of(metric: RatedMetric) -> tuple[Vote, ...]:
    """All votes of a metric's sheet, checked in themselves. Raises `BenchError` with file and line."""
    file = Path(metric.ratings)
    raw = _raw(file)
    place = paths_shown(metric.ratings)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BenchError(f"{place}: not UTF-8: {error.reason} at byte {error.start}") from None
    votes = tuple(_read(metric, place, text))
    _complete(metric, place, votes)
    return votes


def paths_shown(path: str) -> str:
    """A path on one line, relative to the working directory where it lies below it."""
    given = Path(path)
    return one_line(str(given.relative_to(Path.cwd()) if given.is_relative_to(Path.cwd()) else given), 200)


def _raw(file: Path) -> bytes:
    try:
        return files.read(file, files.MOST_TEXT)
    except OSError as error:
        raise BenchError(f"{paths_shown(str(file))}: cannot be read: {error.strerror or error}") from None


def _columns(last: str) -> tuple[str, ...]:
    return ("dataset", "item", "method", "rater", last)


def _read(metric: RatedMetric, place: str, text: str) -> Iterator[Vote]:
    columns = _columns(metric.column)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    first: dict[tuple[str, ...], int] = {}
    raters: dict[str, int] = {}
    try:
        header = next(reader, [])
        if tuple(header) != columns:
            found = one_line(",".join(header), 80)
            raise BenchError(f"{place}:1: the first line must be {','.join(columns)}, not {found!r}")
        for cells in reader:
            where = f"{place}:{reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(columns) or not all(cell.strip() for cell in cells):
                raise BenchError(f"{where}: a vote needs all of {', '.join(columns)}")
            dataset, item, method, rater, given = (cell.strip() for cell in cells)
            key = (dataset, item, method, rater)
            if key in first:
                named = f"{rater!r} votes on {method!r}, {item!r} of {dataset!r}"
                raise BenchError(f"{where}: {named} a second time, first on line {first[key]}")
            first[key] = reader.line_num
            if rater not in raters and len(raters) == metric.raters:
                near = suggest(rater, raters)
                raise BenchError(f"{where}: unknown rater {rater!r}, beyond the {metric.raters} of the study{near}")
            raters[rater] = reader.line_num
            yield Vote(reader.line_num, dataset, item, method, rater, _number(metric, where, given))
    except csv.Error as error:
        raise BenchError(f"{place}:{reader.line_num}: {one_line(error)}") from None
    if len(raters) < metric.raters:
        raise BenchError(f"{place}: {len(raters)} raters vote, the study has {metric.raters} (option raters)")


def _number(metric: RatedMetric, where: str, given: str) -> float:
    try:
        value = decimal(given)
    except ValueError:
        value = math.nan
    if metric.variant == "score":
        if not metric.lowest <= value <= metric.highest:
            raise BenchError(f"{where}: score {given!r} is not between {metric.lowest:g} and {metric.highest:g}")
    elif not (value >= 1 and value.is_integer()):
        raise BenchError(f"{where}: rank {given!r} is none of 1, 2, …")
    return value


def _complete(metric: RatedMetric, place: str, votes: Sequence[Vote]) -> None:
    """Every rater of the study votes on every method of a dataset for each of its rated items; ranks are a ranking."""
    raters = list(dict.fromkeys(vote.rater for vote in votes))
    methods: dict[str, dict[str, None]] = {}
    ballots: dict[tuple[str, str], list[Vote]] = {}
    for vote in votes:
        methods.setdefault(vote.dataset, {})[vote.method] = None
        ballots.setdefault((vote.dataset, vote.item), []).append(vote)
    for (dataset, item), cast in ballots.items():
        given = {(vote.rater, vote.method): vote for vote in cast}
        for rater in raters:
            ranks: list[float] = []
            for method in methods[dataset]:
                if (rater, method) not in given:
                    what = f"{rater!r} has no vote on {method!r} for item {item!r} of {dataset!r}"
                    raise BenchError(f"{place}:{cast[0].line}: {what}, which is rated here")
                ranks.append(given[rater, method].value)
            if metric.variant != "score" and sorted(ranks) != list(range(1, len(ranks) + 1)):
                line = next(vote.line for vote in cast if vote.rater == rater)
                told = f"{rater!r} ranks item {item!r} of {dataset!r} by {', '.join(f'{rank:g}' for rank in ranks)}"
                raise BenchError(f"{place}:{line}: {told}, which is no order of 1 to {len(ranks)}")

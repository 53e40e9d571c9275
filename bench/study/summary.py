"""What the votes on a run's outputs say, in numbers: scores with intervals, agreement, bias, and what is still needed.

Intervals speak of other people and other items of the same kind: both are drawn again in every resample.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.errors import BenchError, ItemError
from bench.metrics import opinion, preference, ranking
from bench.metrics.people import Asked
from bench.results import voted, votes
from bench.results.record import DatasetRecord
from bench.results.view import RunView
from bench.results.voted import Judged
from bench.results.votes import Session
from bench.study.coverage import Need, coverage

RESAMPLES = 1000
SEED = 12345
POWER = 0.8
LEVEL = 0.05


class Estimate(NamedTuple):
    """A number with its interval at 95 %; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Apart(NamedTuple):
    """Two methods that follow each other, and whether votes tell them apart."""

    better: str
    worse: str
    difference: float
    votes: int
    """That compare the two."""
    more: int | None
    """Votes that are still needed to tell them apart with a probability of 80 % at 5 %; None: no number will do."""


class PersonFacts(NamedTuple):
    """A participant, as P.910 sees them."""

    observer: str
    bias: float
    inconsistency: float
    rejected: bool
    """By BT.500."""


@dataclass(frozen=True)
class RatingSummary:
    """Of a study with ratings."""

    scores: Mapping[str, Estimate]
    corrected: Mapping[str, float]
    """P.910."""
    criteria: Mapping[str, Mapping[str, float]]
    """Criterion → method → mean."""
    people: Sequence[PersonFacts]
    alpha: float | None
    apart: Sequence[Apart]


@dataclass(frozen=True)
class PairSummary:
    """Of a study in pairs."""

    strengths: Mapping[str, Estimate]
    why_not: str
    """Why there are no strengths."""
    lost: int
    elo: Mapping[str, float]
    shares: Mapping[tuple[str, str], tuple[float, int]]
    """(method, method) → (how often the first was preferred, of so many)."""
    ties: float
    first: tuple[int, int, float]
    """(answers for the image that stood first, of so many without ties, two-sided binomial p)."""
    alpha: float | None
    apart: Sequence[Apart]


@dataclass(frozen=True)
class RankSummary:
    """Of a study with rankings."""

    ranks: Mapping[str, Estimate]
    test: ranking.Friedman | None
    first: tuple[Sequence[int], float]
    """(first places by place on the screen, χ² p that none is favoured)."""
    alpha: float | None
    apart: Sequence[Apart]


@dataclass(frozen=True)
class DatasetSummary:
    """All that was said of one dataset's outputs."""

    dataset: str
    votes: Mapping[str, Sequence[Judged]]
    """By what is made of them: mos, bt, rank."""
    needs: Mapping[str, Sequence[Need]]
    """By the same: outputs and the votes that they have and lack."""
    rating: RatingSummary | None
    pairs: PairSummary | None
    rank: RankSummary | None


@dataclass(frozen=True)
class Summary:
    """All that was said of a run."""

    sessions: Sequence[Session]
    """Of every study that has a vote on it, those left out as well."""
    repeats: Mapping[str, tuple[int, int]]
    """Study → (answers that came out the same when they were asked again, of so many)."""
    datasets: Sequence[DatasetSummary]


def summarise(data: RunView, results: Path, criterion: str = "", study: str = "") -> Summary:
    """Raises `BenchError` where a library is missing, and for scores on several scales."""
    every = votes.sessions(results, kept=False)
    kept = [one for one in every if one.kept]
    datasets, hashes = [], set[str]()
    for dataset in data.record.datasets:
        of = _owners(dataset, data)
        hashes |= set(of)
        found = {name: voted.judged(kept, of, Asked(name, criterion, study)) for name in ("mos", "bt", "rank")}
        for name in ("bt", "rank"):
            found[name] = [one for one in found[name] if len({owner.method for owner, _, _ in one.owners}) > 1]
        if any(found.values()):
            needs = {
                name: coverage(results, {one.session.study for one in given}, of, given)
                for name, given in found.items() if given
            }  # fmt: skip
            try:
                datasets.append(_dataset(dataset, data, found, needs))
            except ItemError as error:
                raise BenchError(f"{dataset.label}: {error}") from None
    studies = {one.study for one in every if votes.hashes(one.votes) & hashes}
    mine = [one for one in every if one.study in studies]
    return Summary(
        mine, {study: _repeats([one for one in mine if one.study == study and one.kept]) for study in studies}, datasets
    )


def _owners(dataset: DatasetRecord, data: RunView) -> voted.Owners:
    labels = [method.label for method in data.record.methods if method.is_for(dataset.label)]
    return voted.owners(dataset, data.units, labels)


def _dataset(
    dataset: DatasetRecord, data: RunView, found: Mapping[str, Sequence[Judged]], needs: Mapping[str, Sequence[Need]]
) -> DatasetSummary:
    methods = list(dict.fromkeys(one.label for one in data.record.methods if one.is_for(dataset.label)))
    return DatasetSummary(
        dataset.label, found, needs,
        rating=_rating(found["mos"]) if found["mos"] else None,
        pairs=_pairs(found["bt"], methods) if found["bt"] else None,
        rank=_rank(found["rank"]) if found["rank"] else None,
    )  # fmt: skip


# Ratings


def _rating(found: Sequence[Judged]) -> RatingSummary:
    outputs, people, given = voted.matrix(voted.scores(found))
    corrected = opinion.consistent(given)
    rejected = opinion.rejected(given)
    methods = list(dict.fromkeys(owner.method for owner in outputs))
    of = np.array([methods.index(owner.method) for owner in outputs])
    items = np.array([owner.position for owner in outputs])
    scores = {method: _crossed(given[of == place], items[of == place]) for place, method in enumerate(methods)}
    criteria: dict[str, dict[str, float]] = {}
    for criterion in dict.fromkeys(one.ballot.criterion for one in found):
        part = voted.matrix(voted.scores([one for one in found if one.ballot.criterion == criterion]))
        means = opinion.plain(part[2]).mean
        criteria[criterion] = {
            method: float(
                np.mean([value for owner, value in zip(part[0], means, strict=True) if owner.method == method])
            )
            for method in methods
        }
    facts = [
        PersonFacts(person, float(bias), float(spread), bool(out))
        for person, bias, spread, out in zip(people, corrected.bias, corrected.inconsistency, rejected, strict=True)
    ]
    return RatingSummary(
        dict(sorted(scores.items(), key=lambda pair: -pair[1].value)),
        {method: float(corrected.mean[of == place].mean()) for place, method in enumerate(methods)},
        criteria, facts, opinion.agreement(given, "interval"), _rating_apart(given, of, items, methods, scores),
    )  # fmt: skip


def _crossed(given: np.ndarray, items: np.ndarray) -> Estimate:
    """Mean over items of the mean over people, with an interval over both (Owen 2007)."""

    def value(by_item: np.ndarray, by_person: np.ndarray) -> float:
        weight = ~np.isnan(given) * by_person[None, :]
        total = weight.sum(1)
        mean = np.divide(
            np.nansum(given * by_person[None, :], axis=1), total, out=np.zeros(len(given)), where=total > 0
        )
        heft = by_item * (total > 0)
        return float((mean * heft).sum() / heft.sum()) if heft.sum() else math.nan

    return _interval(value, items, given.shape[1])


def _interval(value: Callable[[np.ndarray, np.ndarray], float], items: np.ndarray, people: int) -> Estimate:
    which = np.unique(items, return_inverse=True)[1]
    count = int(which.max()) + 1
    whole = value(np.ones(len(items)), np.ones(people))
    if count < 2 or people < 2:
        return Estimate(whole)
    draw = np.random.default_rng(SEED)
    drawn = [
        value(
            draw.multinomial(count, np.full(count, 1 / count))[which].astype(float),
            draw.multinomial(people, np.full(people, 1 / people)).astype(float),
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(whole, float(low), float(high))


def _rating_apart(
    given: np.ndarray, of: np.ndarray, items: np.ndarray, methods: Sequence[str], scores: Mapping[str, Estimate]
) -> list[Apart]:
    found = []
    order = sorted(range(len(methods)), key=lambda place: -scores[methods[place]].value)
    for better, worse in itertools.pairwise(order):
        common = sorted(set(items[of == better]) & set(items[of == worse]))
        rows = [
            (np.flatnonzero((of == better) & (items == one))[0], np.flatnonzero((of == worse) & (items == one))[0])
            for one in common
        ]
        gaps = np.concatenate([given[one] - given[other] for one, other in rows]) if rows else np.array([])
        found.append(_means_apart(methods[better], methods[worse], gaps[~np.isnan(gaps)]))
    return found


def _means_apart(better: str, worse: str, gaps: np.ndarray) -> Apart:
    """From differences that people saw, taken as independent."""
    if gaps.size < 2:
        return Apart(better, worse, math.nan, int(gaps.size), None)
    mean, spread = float(gaps.mean()), float(gaps.std(ddof=1))
    return Apart(better, worse, mean, int(gaps.size), _more(_needed(mean, spread), int(gaps.size)))


def _needed(effect: float, spread: float) -> float:
    """Votes for a two-sided z-test of a mean."""
    from scipy import stats

    z = float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))
    return math.inf if effect == 0 else (z * spread / effect) ** 2


def _more(needed: float, have: int) -> int | None:
    return None if needed > 1e7 else max(0, math.ceil(needed) - have)


# Pairs


def _pairs(found: Sequence[Judged], methods: Sequence[str]) -> PairSummary:
    made, names = voted.only_compared(voted.comparisons(found, methods), methods)
    table = preference.wins(made, len(names))
    why, strengths, lost = "", dict[str, Estimate](), 0
    try:
        fitted = preference.with_bootstrap(made, len(names))
        lost = fitted.lost
        strengths = {
            name: Estimate(float(fitted.values[n]), float(fitted.low[n]), float(fitted.high[n]))
            for n, name in enumerate(names)
        }
    except ItemError as error:
        why = str(error)
    elo = preference.elo(made, len(names))
    counts = table + table.T
    shares = {
        (names[i], names[j]): (float(table[i, j] / counts[i, j]), round(counts[i, j]))
        for i, j in itertools.permutations(range(len(names)), 2)
        if counts[i, j]
    }
    given = dict(sorted(strengths.items(), key=lambda pair: -pair[1].value))
    order = list(given) or [name for _, name in sorted(zip(-elo, names, strict=True))]
    return PairSummary(
        given, why, lost, {name: float(elo[n]) for n, name in enumerate(names)}, shares,
        sum(one.share == 0.5 for one in made) / max(len(made), 1), _first_of_two(found), _pair_alpha(found),
        [_pair_apart(*two, names, table) for two in itertools.pairwise(order)],
    )  # fmt: skip


def _first_of_two(found: Sequence[Judged]) -> tuple[int, int, float]:
    from scipy import stats

    clear = [one.ballot.values[0] for one in found if one.ballot.values[0] != 0.5]
    first = sum(value == 1 for value in clear)
    return first, len(clear), float(stats.binomtest(first, len(clear)).pvalue) if clear else 1.0


def _pair_alpha(found: Sequence[Judged]) -> float | None:
    """Nominal, over questions: which image, whatever its side, or none."""
    units = sorted({(one.ballot.question, one.ballot.criterion) for one in found})
    people = sorted({one.observer for one in found})
    given = np.full((len(units), len(people)), np.nan)
    for one in found:
        least = min(one.ballot.images)
        value = one.ballot.values[one.ballot.images.index(least)]
        given[units.index((one.ballot.question, one.ballot.criterion)), people.index(one.observer)] = value
    return opinion.agreement(given, "nominal")


def _pair_apart(better: str, worse: str, names: Sequence[str], table: np.ndarray) -> Apart:
    from scipy import stats

    one, other = names.index(better), names.index(worse)
    have = round(float(table[one, other] + table[other, one]))
    if not have:
        return Apart(better, worse, math.nan, 0, None)
    share = float(table[one, other] / (table[one, other] + table[other, one]))
    z, w = float(stats.norm.ppf(1 - LEVEL / 2)), float(stats.norm.ppf(POWER))
    effect = share - 0.5
    needed = math.inf if effect == 0 else ((z * 0.5 + w * math.sqrt(share * (1 - share))) / effect) ** 2
    return Apart(better, worse, share, have, _more(needed, have))


# Rankings


def _rank(found: Sequence[Judged]) -> RankSummary:
    from scipy import stats

    given = list(zip(found, voted.orders(found), strict=True))
    methods = sorted({owner.method for _, order in given for owner in order})
    people = sorted({one.observer for one in found})
    cells = sorted({owner for _, order in given for owner in order})
    sums, counts = np.zeros((len(cells), len(people))), np.zeros((len(cells), len(people)))
    for one, order in given:
        for owner, rank in order.items():
            sums[cells.index(owner), people.index(one.observer)] += rank
            counts[cells.index(owner), people.index(one.observer)] += 1
    table = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    of = np.array([methods.index(owner.method) for owner in cells])
    items = np.array([owner.position for owner in cells])
    ranks = {method: _crossed(table[of == n], items[of == n]) for n, method in enumerate(methods)}
    whole = [one for one in sorted(set(items)) if len(set(of[items == one])) == len(methods)]
    means = np.nanmean(table, axis=1)
    by_item = np.array([[means[(of == n) & (items == one)][0] for n in range(len(methods))] for one in whole])
    places = np.zeros(max(len(one.ballot.images) for one in found), dtype=int)
    for one in found:
        places[one.ballot.values.index(min(one.ballot.values))] += 1
    best = sorted(methods, key=lambda method: ranks[method].value)
    return RankSummary(
        {method: ranks[method] for method in best}, ranking.friedman(by_item) if len(whole) else None,
        (places.tolist(), float(stats.chisquare(places).pvalue)), opinion.agreement(table, "ordinal"),
        [_rank_apart(*two, table, of, items, methods) for two in itertools.pairwise(best)],
    )  # fmt: skip


def _rank_apart(
    better: str, worse: str, table: np.ndarray, of: np.ndarray, items: np.ndarray, methods: Sequence[str]
) -> Apart:
    one, other = methods.index(better), methods.index(worse)
    common = sorted(set(items[of == one]) & set(items[of == other]))
    gaps = [table[(of == other) & (items == item)][0] - table[(of == one) & (items == item)][0] for item in common]
    joined = np.concatenate(gaps) if gaps else np.array([])
    return _means_apart(better, worse, joined[~np.isnan(joined)])


def _repeats(kept: Sequence[Session]) -> tuple[int, int]:
    """Answers that came out the same: within one step of a scale, the same side, the same first place."""
    same = count = 0
    for session in kept:
        first = {(one.question, one.criterion): one for one in session.ballots if one.kind == "vote"}
        for again in (one for one in session.ballots if one.kind == "repeat"):
            before = first.get((again.question, again.criterion))
            if before is not None:
                count += 1
                same += _alike(session, before, again)
    return same, count


def _alike(session: Session, before: votes.Ballot, again: votes.Ballot) -> bool:
    if session.design == "rating":
        return abs(before.values[0] - again.values[0]) <= 1
    best = (lambda one: one.images[one.values.index(min(one.values))]) if session.design == "ranking" else None
    if best is not None:
        return bool(best(before) == best(again))
    return dict(zip(before.images, before.values, strict=True)) == dict(zip(again.images, again.values, strict=True))

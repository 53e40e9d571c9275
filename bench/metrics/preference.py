"""Strengths from comparisons of two: Bradley–Terry by evalica, a bootstrap around it, and Elo ratings.

A tie counts half a win for each. Where somebody won or lost all, the likelihood has no maximum: there is no finite
strength, and none is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.errors import ItemError
from bench.metrics.study_libraries import library

TOLERANCE = 1e-12
_ROUNDS = 1_000_000
RESAMPLES = 1000
SEED = 12345


class Comparison(NamedTuple):
    """One answer."""

    first: int
    second: int
    share: float
    """1 where the first was preferred, 0 where the second was, ½ where neither."""
    scene: int = 0
    person: int = 0


class Strengths(NamedTuple):
    """Logits, their mean 0: by their difference d the one is preferred to the other with probability 1/(1+e^−d)."""

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lost: int = 0
    """Resamples in which somebody won or lost all, which are not in the interval."""


def wins(comparisons: Sequence[Comparison], count: int) -> np.ndarray:
    """[i,j]: how often i was preferred to j."""
    found = np.zeros((count, count))
    for one in comparisons:
        found[one.first, one.second] += one.share
        found[one.second, one.first] += 1 - one.share
    return found


def bradley_terry(table: np.ndarray) -> np.ndarray:
    """Maximum-likelihood strengths of wins[i,j], as logits with mean 0.

    Raises `ItemError` where there are none, and `BenchError` where evalica is not installed.
    """
    why = no_maximum(table)
    if why is not None:
        raise ItemError(why)
    evalica = library("evalica")
    first, second = np.nonzero(table)
    found = evalica.bradley_terry(
        [int(one) for one in first], [int(one) for one in second], [evalica.Winner.X] * len(first),
        weights=[float(value) for value in table[first, second]], tolerance=TOLERANCE, limit=_ROUNDS,
    )  # fmt: skip
    logits = np.log(np.array([float(found.scores[place]) for place in range(len(table))]))
    return logits - logits.mean()


def no_maximum(table: np.ndarray) -> str | None:
    """Why there are no finite strengths (Ford 1957: each is reached from each by preferences); None if there are."""
    from scipy.sparse.csgraph import connected_components

    groups, _ = connected_components(table > 0, directed=True, connection="strong")
    if groups == 1:
        return None
    joined, _ = connected_components(table > 0, directed=False)
    if joined > 1:
        return "some methods were never compared with others, even by way of third ones"
    return (
        "some methods were preferred every time to all the others: strengths are finite once somebody disagrees "
        f"({groups} groups of methods)"
    )


def with_bootstrap(
    comparisons: Sequence[Comparison], count: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Strengths:
    """Strengths with percentile intervals at 95 %, resampling scenes and people independently (Owen 2007), since the
    votes of one person, and those on one scene, are not independent."""
    values = bradley_terry(wins(comparisons, count))
    draw = np.random.default_rng(seed)
    table = np.array([(one.first, one.second, one.share) for one in comparisons])
    first, second = table[:, 0].astype(int), table[:, 1].astype(int)
    scenes = np.unique([one.scene for one in comparisons], return_inverse=True)[1]
    people = np.unique([one.person for one in comparisons], return_inverse=True)[1]
    found: list[np.ndarray] = []
    nothing = np.full(count, np.nan)
    if scenes.max() == 0 or people.max() == 0:  # one of a kind says nothing of others
        return Strengths(values, nothing, nothing)
    for _ in range(resamples):
        weight = _draws(draw, scenes) * _draws(draw, people)
        drawn = np.zeros((count, count))
        np.add.at(drawn, (first, second), weight * table[:, 2])
        np.add.at(drawn, (second, first), weight * (1 - table[:, 2]))
        if no_maximum(drawn) is None:
            found.append(newton(drawn, values))
    if len(found) < resamples / 2:
        return Strengths(values, nothing, nothing, resamples - len(found))
    low, high = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    return Strengths(values, low, high, resamples - len(found))


def _draws(draw: np.random.Generator, which: np.ndarray) -> np.ndarray:
    count = int(which.max()) + 1
    return draw.multinomial(count, np.full(count, 1 / count))[which].astype(np.float64)


def newton(table: np.ndarray, start: np.ndarray) -> np.ndarray:
    """As `bradley_terry`, by Newton's steps from values that are close, which a thousand resamples can afford."""
    logits = start - start.mean()
    counts = table + table.T
    for _ in range(100):
        chance = 1 / (1 + np.exp(np.clip(logits[None, :] - logits[:, None], -50, 50)))
        gradient = (table - counts * chance).sum(1)
        weight = counts * chance * (1 - chance)
        # One more row fixes the mean, which the likelihood leaves open.
        hessian = np.diag(weight.sum(1)) - weight + 1 / len(table)
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        logits = logits + step
        if np.abs(step).max() < 1e-10:
            break
    return logits - logits.mean()


def elo(comparisons: Sequence[Comparison], count: int, *, orders: int = 100, seed: int = SEED) -> np.ndarray:
    """Elo ratings around 1500, the mean over drawn orders, since one order's ratings depend on it."""
    evalica = library("evalica")
    draw = np.random.default_rng(seed)
    total = np.zeros(count)
    sides = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y}
    for _ in range(orders):
        mixed = [comparisons[place] for place in draw.permutation(len(comparisons))]
        found = evalica.elo(
            [one.first for one in mixed], [one.second for one in mixed],
            [sides.get(one.share, evalica.Winner.Draw) for one in mixed], initial=1500.0, k=4.0,
        )  # fmt: skip
        total += np.array([float(found.scores.get(place, 1500.0)) for place in range(count)])
    return total / orders

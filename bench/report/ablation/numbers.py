"""Means over photographs and seeds with intervals, and differences between arms on the same photographs and seeds.

An ablation has two sources of chance: which photographs are looked at, and which seed the training had. Both are drawn
anew, independently (a crossed bootstrap: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007). Windows
of a photograph are averaged first. With one seed the interval speaks of photographs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.report.ablation.measure import Row
from bench.tables.statistics import LEVEL, SEED, Interval

RESAMPLES = 4000


class Values(NamedTuple):
    """One metric of one arm."""

    seeds: tuple[int, ...]
    photographs: tuple[str, ...]
    table: np.ndarray
    """[seeds, photographs], means over the windows of a photograph."""


class Mean(NamedTuple):
    value: float
    interval: Interval | None
    """None where there is a single number."""
    seeds: int
    photographs: int


class Difference(NamedTuple):
    """Mean of an arm less that of another, on the photographs and seeds that both have."""

    value: float
    interval: Interval | None
    seeds: int
    photographs: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


def values(rows: Iterable[Row], arm: str, kind: str, metric: str, score: float | None = None) -> Values | None:
    """The numbers of a metric; None where there are none. Photographs without a finite value are left out.

    `score`: only rows of that quality asked for.
    """
    found: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        asked = score is None or (row.score is not None and abs(row.score - score) < 1e-9)
        if (row.arm, row.kind, row.metric) == (arm, kind, metric) and asked:
            found.setdefault((row.seed, row.photograph), []).append(row.value)
    means = {key: float(np.mean(each)) for key, each in found.items() if np.isfinite(each).all()}
    seeds = tuple(sorted({seed for seed, _ in found}))
    photographs = tuple(sorted({name for _, name in found if all((seed, name) in means for seed in seeds)}))
    if not seeds or not photographs:
        return None
    return Values(seeds, photographs, np.array([[means[seed, name] for name in photographs] for seed in seeds]))


def mean(found: Values) -> Mean:
    return Mean(float(found.table.mean()), interval(found.table), *found.table.shape)


def difference(base: Values, other: Values) -> Difference | None:
    """`other` less `base`; None where they share no seed or no photograph."""
    seeds = [seed for seed in other.seeds if seed in base.seeds]
    names = [name for name in other.photographs if name in base.photographs]
    if not seeds or not names:
        return None
    first, second = (_part(each, seeds, names) for each in (base, other))
    table = second - first
    return Difference(float(table.mean()), interval(table), *table.shape)


def _part(of: Values, seeds: Sequence[int], names: Sequence[str]) -> np.ndarray:
    rows, columns = [of.seeds.index(seed) for seed in seeds], [of.photographs.index(name) for name in names]
    return of.table[np.ix_(rows, columns)]


def interval(table: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval | None:
    """Percentile interval at `LEVEL` of the mean of [seeds, photographs]; None for a single number.

    Every resample draws as many seeds and as many photographs as there are, with replacement.
    """
    if table.size < 2 or not np.isfinite(table).all():
        return None
    drawn = np.random.Generator(np.random.PCG64(seed))
    rows, columns = table.shape
    shares = [drawn.multinomial(count, np.full(count, 1 / count), resamples) / count for count in (rows, columns)]
    means = np.einsum("ri,ij,rj->r", shares[0], table, shares[1])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def by_photograph(rows: Sequence[Row]) -> Mapping[str, int]:
    """How many windows each photograph has."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.photograph:
            found.setdefault(row.photograph, set()).add(row.window)
    return {name: len(each) for name, each in found.items()}

"""How sure a mean is, and whether two methods differ: seeded resampling of stored per-image values.

Values are resampled, never recomputed. An interval or a p-value here speaks of other items of the same kind, and of
another training run only where there were several (`crossed`); a significant difference need not be one that anybody
sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SEED = 12345
RESAMPLES = 1000
TRIALS = 10_000
LEVEL = 0.95
FEW = 30
"""Below so many items intervals and tests are rough, and tables say so."""

EXACT_ITEMS = 13
"""Up to so many items all 2^n sign patterns are fewer than the trials, and the test is exact."""
_CHUNK = 2**22
"""Resampled values held at once."""
_NEAR = 2**16
"""As many stay close to the processor."""
Values = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """A confidence interval of a mean."""

    low: float
    high: float


class Paired(NamedTuple):
    """Two methods on the same items."""

    n: int
    """Items that both have a finite value for."""
    difference: float
    """Mean of the second minus mean of the first, on those items."""
    interval: Interval
    """Of the difference, percentile bootstrap."""
    p_randomisation: float
    """Randomisation of the signs, two-sided: exact up to 13 items, approximate above."""
    p_bootstrap: float
    """Paired bootstrap of the centred difference, two-sided (Koehn 2004, shift method)."""

    @property
    def exact(self) -> bool:
        """Whether all sign patterns were counted, rather than some of them drawn."""
        return self.n <= EXACT_ITEMS


def bootstrap(values: Values, *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval | None:
    """Percentile bootstrap interval of the mean at `LEVEL`; None for fewer than two values or infinite ones."""
    return bootstraps([values], resamples=resamples, seed=seed)[0]


def bootstraps(samples: Sequence[Values], *, resamples: int = RESAMPLES, seed: int = SEED) -> list[Interval | None]:
    """`bootstrap` of many samples. Those of one size share their resamples, as they would if each were asked alone."""
    given = [np.asarray(values, dtype=np.float64) for values in samples]
    found: list[Interval | None] = [None] * len(given)
    by_size: dict[int, list[int]] = {}
    for place, values in enumerate(given):
        if values.size >= 2 and np.isfinite(values).all():
            by_size.setdefault(values.size, []).append(place)
    for places in by_size.values():
        means = _resampled_means([given[place] for place in places], resamples, seed)
        for place, each in zip(places, means, strict=True):
            found[place] = _percentiles(each)
    return found


def crossed(
    table: Sequence[Sequence[float]], *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | None:  # fmt: skip
    """Percentile interval at `LEVEL` of the mean of [members][items], where both are a sample of what there could be.

    Every resample draws as many members and as many items as there are, with replacement and independently (Owen, "The
    pigeonhole bootstrap", Annals of Applied Statistics 2007). None for a single number or infinite ones.
    """
    given = np.asarray(table, dtype=np.float64)
    if given.size < 2 or not np.isfinite(given).all():
        return None
    drawn = np.random.Generator(np.random.PCG64(seed))
    shares = [drawn.multinomial(count, np.full(count, 1 / count), resamples) / count for count in given.shape]
    return _percentiles(np.einsum("ri,ij,rj->r", shares[0], given, shares[1]))


def paired(
    base: Values, other: Values, *, resamples: int = RESAMPLES, trials: int = TRIALS, seed: int = SEED
) -> Paired | None:
    """Compare two methods item by item; the values must be of the same items in the same order.

    Items where either value is not finite are left out. None for fewer than two items.
    """
    first, second = np.asarray(base, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} and {second.size} values are not of the same items")
    both = np.isfinite(first) & np.isfinite(second)
    differences = second[both] - first[both]
    if differences.size < 2:
        return None
    mean = float(differences.mean())
    (means,) = _resampled_means([differences], resamples, seed)
    # Rounding must not tell a pattern of signs from the observed one that it equals.
    slack = 1e-12 * float(np.abs(differences).mean())
    exceeding = int((np.abs(means - mean) >= abs(mean) - slack).sum())
    return Paired(
        n=int(differences.size),
        difference=mean,
        interval=_percentiles(means),
        p_randomisation=_randomisation(differences, abs(mean) - slack, trials, seed),
        p_bootstrap=(exceeding + 1) / (resamples + 1),
    )


def _percentiles(means: np.ndarray) -> Interval:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _resampled_means(samples: Sequence[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """[samples][resamples] Means of the same resamples of each of some samples of one size."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    size = samples[0].size
    means = np.empty((len(samples), resamples))
    step, near = max(1, _CHUNK // size), max(1, _NEAR // size)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        chosen = drawn.integers(0, size, (count, size))
        # A few resamples at a time for all samples: what is drawn stays in the processor's cache meanwhile.
        for first in range(0, count, near):
            part = chosen[first : first + near]
            place = slice(start + first, start + first + len(part))
            for row, values in enumerate(samples):
                means[row, place] = values.take(part).mean(axis=1)
    return means


def _randomisation(differences: np.ndarray, observed: float, trials: int, seed: int) -> float:
    """Share of sign patterns whose mean is at least as large as the observed one."""
    if differences.size <= EXACT_ITEMS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=differences.size)))
        return float((np.abs(signs @ differences) / differences.size >= observed).mean())
    drawn = np.random.Generator(np.random.PCG64(seed))
    exceeding = 0
    step = max(1, _CHUNK // differences.size)
    for start in range(0, trials, step):
        count = min(step, trials - start)
        signs = drawn.integers(0, 2, (count, differences.size), dtype=np.int8) * 2.0 - 1.0
        exceeding += int((np.abs(signs @ differences) / differences.size >= observed).sum())
    return (exceeding + 1) / (trials + 1)


def p_text(p: float) -> str:
    """A p-value as papers print it."""
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"

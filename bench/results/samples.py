"""What a sample of times says: median, quartiles, the percentiles that it is large enough for, ratios with intervals.

A percentile is told only from so many samples that it is honest with 99 % confidence (MLPerf's rule). Ratios are those
of medians, and pair the samples of one round, so that drift which falls on both methods cancels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLOORS = {50: 11, 90: 64, 95: 130, 99: 662}
"""Samples below which a percentile is not told (the median is, with its n beside it)."""
SEED = 12345
RESAMPLES = 1000
LEVEL = 0.95
ROUNDS = 6
"""Rounds from which on a ratio has an interval: of fewer, all resamples together say less than 95 %."""
_CHUNK = 2**22
"""Resampled values held at once."""


class TimeSummary(NamedTuple):
    """Of times in nanoseconds."""

    n: int
    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    p90: float | None
    """None where n is below the floor."""
    p95: float | None
    p99: float | None
    spread: float
    """Standard deviation divided by the mean."""

    @property
    def iqr(self) -> float:
        return self.high - self.low


class Ratio(NamedTuple):
    """Median of one method divided by that of another."""

    value: float
    low: float | None
    """None for fewer rounds than `ROUNDS`, of which no interval can be told."""
    high: float | None
    rounds: int
    """Pairs."""


def summarise(samples: np.ndarray) -> TimeSummary:
    """At least one sample; percentiles interpolate linearly."""
    n = int(samples.size)
    low, median, high = (float(value) for value in np.percentile(samples, [25, 50, 75]))
    p90, p95, p99 = (float(np.percentile(samples, q)) if n >= FLOORS[q] else None for q in (90, 95, 99))
    return TimeSummary(n, median, low, high, p90, p95, p99, spread(samples))


def spread(samples: np.ndarray) -> float:
    """Standard deviation (of a sample) divided by the mean; infinite for fewer than two."""
    return float(samples.std(ddof=1) / samples.mean()) if samples.size > 1 else float("inf")


def ratio(base: np.ndarray, other: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED) -> Ratio | None:
    """Median of `other` over median of `base`, on the rounds that both took part in: sample i of each is of round i.

    The interval is a percentile bootstrap that draws whole rounds. None without any round.
    """
    rounds = min(base.size, other.size)
    if not rounds:
        return None
    pairs = np.stack([base[:rounds], other[:rounds]])
    first, second = np.median(pairs, axis=1)
    if rounds < ROUNDS:
        return Ratio(float(second / first), None, None, rounds)
    drawn = np.random.Generator(np.random.PCG64(seed))
    found = np.empty(resamples)
    step = max(1, _CHUNK // rounds)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        medians = np.median(pairs[:, drawn.integers(0, rounds, (count, rounds))], axis=2)
        found[start : start + count] = medians[1] / medians[0]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Ratio(float(second / first), float(low), float(high), rounds)


def stable(times: list[int], change: float) -> bool:
    """Whether the median of five calls has moved less than `change` over the last five calls."""
    if len(times) < 9:
        return False
    medians = [float(np.median(times[end - 5 : end])) for end in range(len(times) - 4, len(times) + 1)]
    return (max(medians) - min(medians)) < change * medians[-1]

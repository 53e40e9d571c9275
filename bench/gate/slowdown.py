"""Has a method become slower? A ratio of medians with its interval, on one machine and in one setting only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bench.gate.snapshot_format import SnapshotTiming
from bench.tables import statistics

FEWEST = 5
"""Calls below which nothing is said of a difference."""
FLOOR = 0.1
"""Milliseconds by which medians of two sessions may always differ: what a call costs around the method."""
KEPT = 100
"""Samples of a method that a snapshot keeps."""


class Slowdown(NamedTuple):
    """The median time of a call, after over before, with its bootstrap interval."""

    ratio: float
    low: float
    high: float


def timing(
    method: str, setting: str, machine: str, seconds: Sequence[float], reason: str | None = None,
    probe: Sequence[float] = (),
) -> SnapshotTiming:  # fmt: skip
    """A snapshot's form of measured calls: sorted, at most `KEPT` evenly spaced ranks, six significant digits."""
    ordered = np.sort(np.asarray(seconds, dtype=np.float64))
    if ordered.size > KEPT:
        ordered = np.quantile(ordered, np.linspace(0, 1, KEPT))
    return SnapshotTiming(
        method=method, setting=setting, machine=machine, n=len(seconds), reason=reason, samples=_rounded(ordered),
        probe=_rounded(sorted(probe)) or None,
    )  # fmt: skip


def _rounded(seconds: Iterable[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in seconds]


def probed(before: SnapshotTiming, after: SnapshotTiming) -> float | None:
    """How many times as long the machine took for the probe's work, never less than 1; None where a side has none.

    A machine that was faster excuses nothing, and accuses nobody: the limit is for methods.
    """
    if not before.probe or not after.probe:
        return None
    return max(1.0, float(np.median(after.probe) / np.median(before.probe)))


def ratio(before: SnapshotTiming, after: SnapshotTiming) -> Slowdown | None:
    """The ratio of medians at `statistics.LEVEL`; None for too few calls.

    It speaks of calls within two sessions. What differs between sessions of one machine (heat, neighbours) is what
    the limit above 1 is for.
    """
    if min(before.n, after.n, len(before.samples), len(after.samples)) < FEWEST:
        return None
    drawn = np.random.Generator(np.random.PCG64(statistics.SEED))
    medians = [
        np.median(samples[drawn.integers(0, samples.size, (statistics.RESAMPLES, samples.size))], axis=1)
        for samples in (np.asarray(after.samples), np.asarray(before.samples))
    ]
    ratios = medians[0] / medians[1]
    low, high = np.quantile(ratios, [(1 - statistics.LEVEL) / 2, (1 + statistics.LEVEL) / 2])
    return Slowdown(float(np.median(after.samples) / np.median(before.samples)), float(low), float(high))

"""Whether rankings differ: Friedman's test over items and Nemenyi's critical difference, as in Demšar (JMLR 2006)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Friedman(NamedTuple):
    """Of a table of ranks, items × methods."""

    mean: np.ndarray
    """Mean rank of each method, 1 for the best."""
    statistic: float
    """χ² with one degree of freedom less than there are methods, corrected for ties."""
    p: float
    difference: float
    """Nemenyi: mean ranks further apart than this differ, at 5 % for all pairs together."""
    items: int


def friedman(values: np.ndarray) -> Friedman | None:
    """Of values [items, methods] of which the lowest is the best; None for fewer than 2 items or 3 methods, or where
    all are tied."""
    from scipy import stats

    items, methods = values.shape
    if items < 2 or methods < 3:
        return None
    ranks = stats.rankdata(values, axis=1)
    if (ranks == ranks[:, :1]).all():
        return None
    statistic, p = stats.friedmanchisquare(*values.T)
    return Friedman(ranks.mean(0), float(statistic), float(p), critical(methods, items), items)


def critical(methods: int, items: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 %."""
    from scipy import stats

    quantile = float(stats.studentized_range.ppf(0.95, methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(methods * (methods + 1) / (6 * items))

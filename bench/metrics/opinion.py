"""Mean opinion scores of a matrix of votes, stimuli by people, NaN where somebody did not vote.

The plain mean with its interval, the scores of ITU-T P.910 (2023) Appendix VI, which weigh people by their consistency
after taking their bias away, and the rejection of people by ITU-R BT.500-14 Annex 1, 2.3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FAR = 3.29
"""Standard deviations: of normal votes one in a thousand lies further away."""
_EPSILON = 1e-8
_ROUNDS = 1000
_CLOSE = 1e-8


class Opinions(NamedTuple):
    """Per stimulus."""

    mean: np.ndarray
    low: np.ndarray
    """Of the interval of the mean at 95 %, Student's; NaN for fewer than two votes."""
    high: np.ndarray
    votes: np.ndarray


class Consistent(NamedTuple):
    """P.910: scores, and what they say of the people."""

    mean: np.ndarray
    """Per stimulus."""
    spread: np.ndarray
    """Per stimulus: standard error, of the residues of its votes."""
    bias: np.ndarray
    """Per person: how far above the others they vote; the mean is 0."""
    inconsistency: np.ndarray
    """Per person: standard deviation of what is left."""


def plain(votes: np.ndarray) -> Opinions:
    """Mean and interval of each row."""
    from scipy import stats

    given = ~np.isnan(votes)
    count = given.sum(1)
    total = np.where(given, votes, 0).sum(1)
    mean = np.divide(total, count, out=np.full(len(votes), np.nan), where=count > 0)
    squares = np.where(given, (votes - mean[:, None]) ** 2, 0).sum(1)
    several = count > 1
    error = np.full(len(votes), np.nan)
    error[several] = np.sqrt(squares[several] / (count[several] - 1) / count[several])
    half = error * stats.t.ppf(0.975, np.maximum(count - 1, 1))
    return Opinions(mean, mean - half, mean + half, count)


def consistent(votes: np.ndarray) -> Consistent:
    """ITU-T P.910 Appendix VI, alternating projection (Li et al., "A simple model for subject behavior in subjective
    experiments", HVEI 2020). Every row and every column needs a vote."""
    mean = np.nanmean(votes, axis=1)
    bias = np.nanmean(votes - mean[:, None], axis=0)
    for _ in range(_ROUNDS):
        before = mean
        residue = votes - mean[:, None] - bias[None, :]
        inconsistency = np.nanstd(residue, axis=0)
        by_stimulus = np.nanstd(residue, axis=1)
        weight = np.where(np.isnan(votes), 0, 1 / (inconsistency**2 + _EPSILON)[None, :])
        mean = np.nansum((votes - bias[None, :]) * weight, axis=1) / weight.sum(1)
        bias = np.nanmean(votes - mean[:, None], axis=0)
        if np.linalg.norm(before - mean) < _CLOSE:
            break
    counts = (~np.isnan(votes)).sum(1)
    shift = bias.mean()
    return Consistent(mean + shift, by_stimulus / np.sqrt(counts), bias - shift, inconsistency)


def rejected(votes: np.ndarray) -> np.ndarray:
    """People to leave out by BT.500-14: often far from the mean, and to both sides (boolean, per column).

    Far is 2 standard deviations of a stimulus whose votes look normal (kurtosis from 2 to 4), else √20. Somebody is
    rejected whose far votes are more than 5 % of all, and of whom neither side has 65 % or more of them.
    """
    given = ~np.isnan(votes)
    counts = given.sum(1)
    used = counts > 1
    mean = np.full(len(votes), np.nan)
    mean[used] = np.nanmean(votes[used], axis=1)
    away = np.where(given, votes - mean[:, None], 0)
    second = (away**2).sum(1) / np.maximum(counts, 1)
    fourth = (away**4).sum(1) / np.maximum(counts, 1)
    spread = np.sqrt((away**2).sum(1) / np.maximum(counts - 1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = np.where(second > 0, fourth / second**2, 3.0)
    reach = np.where((kurtosis >= 2) & (kurtosis <= 4), 2.0, np.sqrt(20)) * spread
    judged = given & (used & (spread > 0))[:, None]
    above = (judged & (away >= reach[:, None])).sum(0)
    below = (judged & (away <= -reach[:, None])).sum(0)
    far = above + below
    with np.errstate(divide="ignore", invalid="ignore"):
        often = far / np.maximum(given.sum(0), 1) > 0.05
        both = np.abs(above - below) / far < 0.3
    return often & np.where(far > 0, both, False)


def without_outliers(votes: np.ndarray) -> np.ndarray:
    """The votes with NaN for those that lie further than `FAR` standard deviations from the mean of their stimulus.

    As the P.910 crowd-sourcing toolkit does: z of all votes of a stimulus, once, σ of the population. Of n votes none
    can lie further than √(n − 1), so that fewer than twelve are never touched.
    """
    given = ~np.isnan(votes)
    count = np.maximum(given.sum(1), 1)
    mean = np.where(given, votes, 0).sum(1) / count
    away = np.where(given, votes - mean[:, None], 0)
    spread = np.sqrt((away**2).sum(1) / count)
    return np.where(np.abs(away) > FAR * spread[:, None], np.nan, votes)


def agreement(votes: np.ndarray, level: str) -> float | None:
    """Krippendorff's α of a matrix stimuli × people; None where nothing can be compared. `level`: interval, ordinal or
    nominal. Raises `BenchError` where the library is not installed."""
    from bench.metrics.study_libraries import library

    krippendorff = library("krippendorff")
    pairable = votes[(~np.isnan(votes)).sum(1) > 1]
    if not len(pairable) or len(np.unique(pairable[~np.isnan(pairable)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=pairable.T, level_of_measurement=level))

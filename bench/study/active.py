"""Which pair to ask next: the one whose answer is expected to say most about the order of the methods.

The strengths of a Bradley–Terry model with a Gaussian prior have a Gaussian posterior (Laplace); a pair's information
gain is the mutual information of its answer and the posterior, which is the expected divergence that ASAP maximises
(Mikhailiuk et al., "Active Sampling for Pairwise Comparisons via Approximate Message Passing and Information Gain
Maximization", ICPR 2020). Where votes go is biased towards methods that are close; their scores are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

PRIOR = 4.0
"""Variance of strengths before any vote, in squared logits: two methods can lie worlds apart."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


class Posterior(NamedTuple):
    """What is known of strengths, in logits."""

    mean: np.ndarray
    covariance: np.ndarray


def posterior(wins: np.ndarray, pending: np.ndarray | None = None) -> Posterior:
    """Of wins[i,j], how often i was preferred to j (½ each for no difference).

    `pending[i,j]`: comparisons that are being made, which will narrow the posterior whatever their answer is.
    """
    count = len(wins)
    mean = np.zeros(count)
    hessian = np.eye(count) / PRIOR
    for _ in range(100):
        chance = _logistic(mean[:, None] - mean[None, :])
        gradient = (wins * (1 - chance)).sum(1) - (wins.T * chance).sum(1) - mean / PRIOR
        hessian = _hessian(wins + wins.T, chance)
        step = np.linalg.solve(hessian, gradient)
        mean = mean + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    if pending is not None:
        hessian = _hessian(wins + wins.T + pending + pending.T, _logistic(mean[:, None] - mean[None, :]))
    return Posterior(mean, np.linalg.inv(hessian))


def _hessian(counts: np.ndarray, chance: np.ndarray) -> np.ndarray:
    weight = counts * chance * (1 - chance)
    np.fill_diagonal(weight, 0)
    return np.diag(weight.sum(1)) - weight + np.eye(len(counts)) / PRIOR


def gain(known: Posterior, first: int, second: int) -> float:
    """Expected information of one more answer, in nats."""
    covariance = known.covariance
    spread = math.sqrt(max(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second], 0.0))
    chances = _logistic(known.mean[first] - known.mean[second] + spread * _NODES)
    weights = _WEIGHTS / _WEIGHTS.sum()
    return _entropy(float(weights @ chances)) - float(weights @ np.array([_entropy(one) for one in chances]))


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(value, -40, 40)))


def _entropy(chance: float) -> float:
    return -sum(one * math.log(one) for one in (chance, 1 - chance) if one > 0)


class Chooser:
    """Hands out questions to several people at once. Not safe for threads: its server has a lock."""

    def __init__(self, pairs: Mapping[int, tuple[int, int]], methods: int) -> None:
        """`pairs`: question → the two methods that it compares, in the order of its images."""
        self._pairs = dict(pairs)
        self._wins = np.zeros((methods, methods))
        self._pending = np.zeros((methods, methods))
        self._left = np.zeros((methods, methods))
        self._asked: dict[int, int] = dict.fromkeys(pairs, 0)
        self._of: dict[str, set[int]] = {}

    def choose(self, session: str) -> tuple[int, int] | None:
        """(question, turn) for a person who has not had it; None when they have had all."""
        had = self._of.setdefault(session, set())
        free = [question for question in self._pairs if question not in had]
        if not free:
            return None
        known = posterior(self._wins, self._pending)
        gains = {pair: gain(known, *pair) for pair in {self._pairs[question] for question in free}}
        best = max(gains.values())
        near = [question for question in free if gains[self._pairs[question]] >= best - 1e-12]
        question = min(near, key=lambda one: (self._asked[one], one))
        first, second = self._pairs[question]
        turn = int(self._left[first, second] > self._left[second, first])
        self.shown(session, question, turn)
        return question, turn

    def shown(self, session: str, question: int, turn: int) -> None:
        """A question is before somebody's eyes."""
        if question in self._of.setdefault(session, set()):
            return
        self._of[session].add(question)
        self._asked[question] += 1
        first, second = self._pairs[question]
        self._pending[first, second] += 1
        self._left[(first, second) if not turn else (second, first)] += 1

    def answered(self, session: str, question: int, turn: int, values: Sequence[float]) -> None:
        """What was said; `values` in the order in which the images were shown."""
        self.shown(session, question, turn)
        first, second = self._pairs[question]
        self._pending[first, second] = max(self._pending[first, second] - 1, 0)
        one, other = (values[0], values[1]) if not turn else (values[1], values[0])
        self._wins[first, second] += one
        self._wins[second, first] += other

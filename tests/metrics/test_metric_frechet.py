"""Fréchet distance and polynomial MMD against closed forms, plain loops and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.linalg

from bench.errors import BenchError, ItemError
from bench.metrics.primitives import frechet
from bench.metrics.primitives.frechet import Gaussian, Subsets, frechet_distance, polynomial_mmd


def draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def between(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(Gaussian.of_samples(first), Gaussian.of_samples(second))


def features(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    """Like pooled activations: positive, of very different spread."""
    return np.abs(draw(seed).normal(size=(count, dimensions))) * np.exp(0.7 * draw(99).normal(size=dimensions))


def rotation(size: int, seed: int = 5) -> np.ndarray:
    return np.linalg.qr(draw(seed).normal(size=(size, size)))[0]


@pytest.mark.parametrize("count", [2, 15, 3000])
def test_a_set_has_no_distance_to_an_equal_copy_in_another_order(count):
    ours = features(count, 2048)
    theirs = ours[draw(1).permutation(count)].copy()
    assert between(ours, theirs) <= 1e-6


def test_the_zero_of_an_equal_copy_is_computed_and_not_decided():
    ours = features(15, 256)
    theirs = ours.copy()
    theirs[3, 7] += 0.01
    assert between(ours, theirs) == pytest.approx(in_forty_digits(ours, theirs), rel=1e-6)
    assert between(ours, theirs) > 1e-6


def in_forty_digits(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|m₁-m₂|² + tr S₁ + tr S₂ - 2 tr √(S₁S₂) of equal sizes, the last from the singular values of C₁ C₂ᵀ."""
    import mpmath

    with mpmath.workdps(40):
        means, roots = [], []
        for side in (ours, theirs):
            rows = mpmath.matrix(side.tolist())
            means.append([mpmath.fsum(rows[:, column]) / rows.rows for column in range(rows.cols)])
            centred = [[rows[i, j] - means[-1][j] for j in range(rows.cols)] for i in range(rows.rows)]
            roots.append(mpmath.matrix(centred) / mpmath.sqrt(rows.rows - 1))
        shift = mpmath.fsum((a - b) ** 2 for a, b in zip(*means, strict=True))
        traces = mpmath.fsum(value * value for root in roots for value in root)
        return float(shift + traces - 2 * mpmath.fsum(mpmath.svd_r(roots[0] * roots[1].T, compute_uv=False)))


def test_one_dimension_is_the_textbook_formula():
    first, second = Gaussian.of_moments([2.0], [[9.0]]), Gaussian.of_moments([-1.0], [[0.25]])
    assert frechet_distance(first, second) == pytest.approx((2 + 1) ** 2 + (3 - 0.5) ** 2, abs=1e-12)


def test_commuting_covariances_are_the_sum_over_their_axes():
    turn = rotation(40)
    ours, theirs = draw(2).uniform(0.01, 9, 40), draw(3).uniform(0.01, 9, 40)
    first, second = (Gaussian.of_moments(np.zeros(40), turn @ np.diag(axes) @ turn.T) for axes in (ours, theirs))
    assert frechet_distance(first, second) == pytest.approx(np.square(np.sqrt(ours) - np.sqrt(theirs)).sum(), rel=1e-10)


def test_covariances_that_do_not_commute_agree_with_scipys_square_root():
    first, second = (np.cov(features(200, 12, seed) @ rotation(12, seed), rowvar=False) for seed in (4, 5))
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.trace(first + second - 2 * root)
    found = frechet_distance(Gaussian.of_moments(np.zeros(12), first), Gaussian.of_moments(np.zeros(12), second))
    assert found == pytest.approx(expected, rel=1e-9)


def test_two_lines_are_computed_by_hand():
    # Two points each: S₁ = uuᵀ and S₂ = vvᵀ, whose product has the one root |u·v|.
    ours, theirs = np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([[0.0, 0, 1], [3, 4, 1]])
    u, v = np.array([2.0, 0, 0]) / math.sqrt(2), np.array([3.0, 4, 0]) / math.sqrt(2)
    shift = np.square(ours.mean(0) - theirs.mean(0)).sum()
    assert between(ours, theirs) == pytest.approx(shift + u @ u + v @ v - 2 * abs(u @ v), abs=1e-12)


@pytest.mark.parametrize("count", [15, 80])
def test_a_shift_adds_its_square(count):
    ours = features(count, 30)
    shift = draw(6).normal(size=30)
    assert between(ours, ours + shift) == pytest.approx(shift @ shift, rel=1e-10)


@pytest.mark.parametrize("counts", [(20, 25), (200, 25), (200, 300)])
def test_the_distance_is_symmetric_and_rotating_both_sets_leaves_it(counts):
    ours, theirs = features(counts[0], 60, 1), features(counts[1], 60, 2) * 0.8
    value, turn = between(ours, theirs), rotation(60)
    assert value > 0
    assert between(theirs, ours) == pytest.approx(value, rel=1e-12)
    assert between(ours @ turn, theirs @ turn) == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("count", [15, 200])
def test_moments_stand_for_the_samples_they_were_taken_of(count):
    ours, theirs = features(count, 60, 1), features(70, 60, 2)
    moments = Gaussian.of_moments(theirs.mean(axis=0), np.cov(theirs, rowvar=False))
    assert frechet_distance(Gaussian.of_samples(ours), moments) == pytest.approx(between(ours, theirs), abs=1e-9)
    own = Gaussian.of_moments(ours.mean(axis=0), np.cov(ours, rowvar=False))
    assert frechet_distance(Gaussian.of_samples(ours), own) <= 1e-6
    assert frechet_distance(own, own) <= 1e-6


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_covariance(count):
    with pytest.raises(ItemError, match=f"needs 2 images or more, there is {count}"):
        Gaussian.of_samples(np.ones((count, 8)))


@pytest.mark.parametrize(
    "mean, covariance, message",
    [
        ([0.0, 0], [[1.0]], r"not \[2\] and \[1, 1\]"),
        ([0.0, 0], [[1.0, 2], [0, 1]], "not symmetric"),
        ([0.0, 0], [[1.0, 0], [0, -1]], "negative eigenvalue"),
        ([0.0, math.nan], [[1.0, 0], [0, 1]], "not finite"),
    ],
)
def test_moments_that_are_none_are_refused(mean, covariance, message):
    with pytest.raises(BenchError, match=message):
        Gaussian.of_moments(np.array(mean), np.array(covariance))


def test_features_of_other_dimensions_are_refused():
    with pytest.raises(BenchError, match="8 and of 9 dimensions"):
        between(np.ones((3, 8)), np.ones((3, 9)))
    with pytest.raises(BenchError, match="8 and of 9 dimensions"):
        polynomial_mmd(np.ones((3, 8)), np.ones((3, 9)))


def mmd_by_loops(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The estimator as it is written: means over pairs of different images within, over all pairs across."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / x.size + 1) ** 3

    within = sum(
        np.mean([kernel(side[i], side[j]) for i, j in itertools.permutations(range(len(side)), 2)])
        for side in (ours, theirs)
    )
    return float(within - 2 * np.mean([kernel(x, y) for x in ours for y in theirs]))


@pytest.mark.parametrize("counts", [(2, 2), (7, 7), (6, 9)])
def test_kid_over_all_images_is_the_estimator_written_as_loops(counts):
    ours, theirs = features(counts[0], 20, 1), features(counts[1], 20, 2)
    assert polynomial_mmd(ours, theirs) == pytest.approx(mmd_by_loops(ours, theirs), rel=1e-12)


def test_kid_over_subsets_is_the_mean_of_the_subsets_drawn():
    ours, theirs = features(12, 20, 1), features(9, 20, 2)
    chance, found = np.random.Generator(np.random.PCG64(3)), []
    for _ in range(4):
        mine = ours[chance.choice(12, 5, replace=False)]
        found.append(mmd_by_loops(mine, theirs[chance.choice(9, 5, replace=False)]))
    assert polynomial_mmd(ours, theirs, Subsets(4, 5, 3)) == pytest.approx(np.mean(found), rel=1e-12)
    assert polynomial_mmd(ours, theirs, Subsets(4, 5, 4)) != pytest.approx(np.mean(found), rel=1e-6)


def test_one_subset_of_everything_is_all_images():
    ours, theirs = features(9, 20, 1), features(9, 20, 2)
    assert polynomial_mmd(ours, theirs, Subsets(1, 9, 0)) == pytest.approx(polynomial_mmd(ours, theirs), rel=1e-12)


def test_how_much_of_the_kernel_is_held_at_once_changes_nothing(monkeypatch):
    ours, theirs = features(23, 20, 1), features(17, 20, 2)
    values = [polynomial_mmd(ours, theirs, subsets) for subsets in (None, Subsets(5, 10, 0))]
    monkeypatch.setattr(frechet, "_ENTRIES", 70)
    again = [polynomial_mmd(ours, theirs, subsets) for subsets in (None, Subsets(5, 10, 0))]
    assert again == pytest.approx(values, rel=1e-12)


def test_kid_is_unbiased_where_the_frechet_distance_is_not():
    # Small sets of one distribution: the mean of KID is nought within its error, that of FID is far from it.
    pairs = [(draw(i).normal(size=(10, 20)), draw(1000 + i).normal(size=(10, 20))) for i in range(300)]
    kids = [polynomial_mmd(*pair) for pair in pairs]
    assert abs(np.mean(kids)) < 3 * np.std(kids) / math.sqrt(len(kids))
    assert np.mean([between(*pair) for pair in pairs[:20]]) > 5


def test_a_subset_larger_than_the_set_is_refused_in_one_line():
    with pytest.raises(ItemError, match="KID needs 1000 images or more in each set, there are 15: subsets: 0"):
        polynomial_mmd(features(15, 8), features(2000, 8), Subsets(100, 1000, 0))
    with pytest.raises(ItemError, match="needs 2 images or more in each set, there is 1"):
        polynomial_mmd(features(1, 8), features(5, 8))

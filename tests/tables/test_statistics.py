"""Resampling statistics against exact enumeration, theory and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from bench.tables import statistics


def test_an_interval_agrees_with_the_normal_theory_of_a_large_sample():
    values = np.random.default_rng(1).normal(30, 2, 4000)
    found = statistics.bootstrap(values, resamples=4000)
    assert found is not None
    error = 2 / np.sqrt(4000)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_an_interval_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(2).exponential(1, 60)
    ours = statistics.bootstrap(values, resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours is not None
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_intervals_are_the_same_every_time_and_depend_on_the_seed():
    values = list(range(20))
    assert statistics.bootstrap(values) == statistics.bootstrap(values)
    assert statistics.bootstrap(values) != statistics.bootstrap(values, seed=1)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("inf")]])
def test_no_interval_where_there_is_none(values: list[float]):
    assert statistics.bootstrap(values) is None


def test_randomisation_of_few_items_is_the_exact_share_of_sign_patterns():
    base, other = [0.0] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, -1.0]
    patterns = [
        abs(sum(s * d for s, d in zip(signs, other, strict=True))) for signs in itertools.product((1, -1), repeat=6)
    ]
    expected = sum(total >= 14 for total in patterns) / 64
    found = statistics.paired(base, other)
    assert found is not None
    assert found.p_randomisation == expected
    assert found.difference == pytest.approx(14 / 6)


def test_randomisation_of_many_items_agrees_with_scipys_permutation_test():
    rng = np.random.default_rng(4)
    base = rng.normal(0, 1, 40)
    other = base + rng.normal(0.25, 1, 40)
    found = statistics.paired(base, other)
    theirs = scipy.stats.permutation_test(
        (other, base), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000,
        rng=np.random.default_rng(5),
    ).pvalue  # fmt: skip
    assert found is not None
    assert found.p_randomisation == pytest.approx(theirs, abs=0.02)
    assert found.p_bootstrap == pytest.approx(theirs, abs=0.04)


def test_equal_methods_do_not_differ():
    found = statistics.paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert found is not None
    assert (found.difference, found.p_randomisation, found.p_bootstrap) == (0.0, 1.0, 1.0)


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(6)
    found = [statistics.paired(np.zeros(15), rng.normal(0, 1, 15), trials=500, resamples=10) for _ in range(400)]
    share = np.mean([one.p_randomisation < 0.1 for one in found if one is not None])
    assert 0.06 < share < 0.14


def test_items_without_a_finite_value_are_left_out_of_both():
    found = statistics.paired([1.0, 2.0, float("inf"), 4.0], [2.0, 3.0, 9.0, 5.0])
    assert found is not None
    assert (found.n, found.difference) == (3, 1.0)


def test_values_of_different_items_are_refused():
    with pytest.raises(ValueError, match="not of the same items"):
        statistics.paired([1.0], [1.0, 2.0])

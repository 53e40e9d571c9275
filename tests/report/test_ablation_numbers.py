"""Intervals over photographs and seeds, against hand calculations; differences on what two arms share."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bench.report.ablation.measure import Row, perplexity, read_rows, write_rows
from bench.report.ablation.numbers import Values, difference, interval, mean, values


def test_an_interval_is_that_of_all_resamples() -> None:
    """2 seeds × 2 photographs: all 4 × 4 draws are equally likely, and can be listed."""
    table = np.array([[0.0, 4.0], [1.0, 9.0]])
    draws = list(itertools.product(range(2), repeat=2))
    means = sorted(table[np.ix_(rows, columns)].mean() for rows in draws for columns in draws)
    # Each of the 16 has a share of 6.25 %, more than 2.5 %: the ends are the least and the greatest.
    found = interval(table)
    assert found is not None
    assert (found.low, found.high) == (means[0], means[-1]) == (0.0, 9.0)


def test_an_interval_of_many_is_as_wide_as_the_variances_of_both_say() -> None:
    """For a sum of effects of seeds and photographs, the variance of a resampled mean is that of both means, added."""
    rng = np.random.default_rng(0)
    seeds, photographs = rng.normal(0, 1, 40), rng.normal(0, 2, 50)
    found = interval(seeds[:, None] + photographs[None])
    assert found is not None
    deviation = math.sqrt(seeds.var() / 40 + photographs.var() / 50)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * deviation, rel=0.06)
    assert (found.high + found.low) / 2 == pytest.approx(seeds.mean() + photographs.mean(), abs=0.2 * deviation)


def test_seeds_that_agree_leave_the_photographs() -> None:
    one = np.random.default_rng(1).normal(size=(1, 30))
    narrow, wide = interval(np.repeat(one, 3, axis=0)), interval(one + np.array([[-2.0], [0.0], [2.0]]))
    alone = interval(one)
    assert narrow is not None and wide is not None and alone is not None
    assert narrow.high - narrow.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert wide.high - wide.low > 2 * (alone.high - alone.low)


def test_one_number_has_no_interval() -> None:
    assert interval(np.array([[3.0]])) is None


def rows(arm: str, numbers: dict[tuple[int, str, str], float]) -> list[Row]:
    return [
        Row(arm, seed, "restored", 0.95, photo, window, "psnr", value)
        for (seed, photo, window), value in numbers.items()
    ]


def test_windows_of_a_photograph_are_averaged_first() -> None:
    given = rows("a", {(0, "cat", "cat-0"): 1.0, (0, "cat", "cat-1"): 3.0, (0, "cup", "cup-0"): 8.0})
    found = values(given, "a", "restored", "psnr")
    assert found is not None
    assert found.table.tolist() == [[2.0, 8.0]]
    assert mean(found).value == 5.0  # not 4, the mean of the windows


def test_a_photograph_without_a_value_is_left_out_for_all_seeds() -> None:
    given = rows("a", {(0, "cat", "w"): 1.0, (1, "cat", "w"): math.nan, (0, "cup", "w"): 2.0, (1, "cup", "w"): 4.0})
    found = values(given, "a", "restored", "psnr")
    assert found is not None
    assert found.photographs == ("cup",)
    assert mean(found).value == 3.0


def test_a_difference_is_paired_on_what_both_have() -> None:
    base = Values((0, 1, 2), ("cat", "cup"), np.array([[10.0, 30.0], [11.0, 29.0], [99.0, 99.0]]))
    other = Values((0, 1), ("cup", "cat", "new"), np.array([[31.0, 11.5, 0.0], [30.5, 11.5, 0.0]]))
    found = difference(base, other)
    assert found is not None
    # 11.5 − 10, 31 − 30, 11.5 − 11, 30.5 − 29: the mean of 1.5, 1, 0.5 and 1.5, though values differ by 20.
    assert found.value == pytest.approx(1.125)
    assert (found.seeds, found.photographs) == (2, 2)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (0.5, 1.5)
    assert found.clear


def test_a_difference_whose_interval_holds_zero_is_not_clear() -> None:
    base = Values((0,), ("cat", "cup"), np.array([[1.0, 1.0]]))
    found = difference(base, Values((0,), ("cat", "cup"), np.array([[0.0, 3.0]])))
    assert found is not None
    assert (found.value, found.clear) == (0.5, False)
    assert difference(base, Values((1,), ("cat",), np.array([[0.0]]))) is None


def test_perplexity_is_the_number_of_equally_frequent_codes() -> None:
    import torch

    assert perplexity(torch.tensor([0, 5, 9, 7] * 3)) == pytest.approx(4)
    # Shares ¾ and ¼: exp(−¾ ln ¾ − ¼ ln ¼) = 4 / 3^¾
    assert perplexity(torch.tensor([1, 1, 1, 0])) == pytest.approx(4 / 3**0.75)


def test_rows_come_back_as_they_were_and_belong_to_one_network(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "values.csv"
    given = [Row("a", 0, "restored", 0.95, "cat", "cat-0", "psnr", 21.5), Row("a", 0, "codes", None, "", "", "x", 3.0)]
    write_rows(path, given, "one")
    assert read_rows(path, "one") == given
    assert read_rows(path, "another") == []

"""Several trainings of one method are one row: an item's value is their mean, and intervals speak of both."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from support.records import method_record, run_record

from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import layout, render, significance, statistics

PSNR = Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
TWO_SEEDS = [[20.0, 22.0, 30.0], [24.0, 22.0, 26.0]]
"""[members][items]"""


def cell(method: str, table: list[list[float]], members: int | None = None) -> Cell:
    scores = [
        ItemScore(f"i{item}", repeat, "inf" if math.isinf(value) else "ok", value, None)
        for item in range(len(table[0]))
        for repeat, value in enumerate(values[item] for values in table)
    ]
    return Cell("d", method, PSNR, len(table[0]), scores, members=len(table) if members is None else members)


def run(*cells: Cell) -> RunView:
    methods = [{"label": one.method} for one in cells]
    return RunView(1, run_record("s", "T", {}, [{"label": "d", "items": ["i0", "i1", "i2"]}], methods), {}, cells,
                   frozenset())  # fmt: skip


GROUP, ALONE = cell("group", TWO_SEEDS), cell("alone", [[21.0, 20.0, 25.0]])


def test_an_item_has_the_mean_of_its_trainings_and_n_counts_items():
    assert dict(GROUP.items) == {"i0": 22.0, "i1": 22.0, "i2": 28.0}
    assert (GROUP.value, GROUP.n, GROUP.expected, GROUP.repeats, GROUP.members) == (24.0, 3, 3, 2, 2)
    assert [list(row) for row in GROUP.by_member] == TWO_SEEDS


def test_the_interval_is_that_of_all_draws_of_trainings_and_items():
    """2 trainings × 3 items: all 4 × 27 draws are equally likely, and can be listed."""
    table = np.array(TWO_SEEDS)
    draws = itertools.product(itertools.product(range(2), repeat=2), itertools.product(range(3), repeat=3))
    means = np.array([table[np.ix_(rows, columns)].mean() for rows, columns in draws])
    assert means.size == 108 and means.mean() == pytest.approx(24)
    found = statistics.crossed(TWO_SEEDS, resamples=50_000)
    assert found is not None
    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        below, upto = np.mean(means < end - 1e-9), np.mean(means < end + 1e-9)
        assert below - 0.005 <= share <= upto + 0.005, "the share of draws below it, but for the chance of 50,000"
    assert significance.interval_of(GROUP) == statistics.crossed(TWO_SEEDS)


def test_an_interval_of_many_is_as_wide_as_the_variances_of_both_say():
    """For a sum of effects of trainings and items, the variance of a resampled mean is that of both means, added."""
    rng = np.random.default_rng(0)
    trainings, items = rng.normal(0, 1, 40), rng.normal(0, 2, 50)
    found = statistics.crossed(trainings[:, None] + items[None], resamples=4000)
    assert found is not None
    deviation = math.sqrt(trainings.var() / 40 + items.var() / 50)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * deviation, rel=0.06)
    assert (found.high + found.low) / 2 == pytest.approx(trainings.mean() + items.mean(), abs=0.2 * deviation)


def test_what_cannot_have_an_interval_has_none():
    assert statistics.crossed([[3.0]]) is None
    assert statistics.crossed([[3.0, math.inf], [1.0, 2.0]]) is None
    assert significance.interval_of(replace(GROUP, column=replace(PSNR, is_set=True))) is None


def test_repeats_of_one_network_are_no_other_trainings():
    """The same values as draws of one stochastic method: the interval is that of the items' means alone."""
    found = significance.interval_of(cell("dice", TWO_SEEDS, members=1))
    assert found == statistics.bootstrap([22.0, 22.0, 28.0])


def test_draws_of_a_training_are_averaged_within_it():
    two_draws = [[20.0, 22.0, 30.0], [22.0, 24.0, 32.0], [24.0, 22.0, 26.0], [26.0, 24.0, 28.0]]
    found = cell("group", two_draws, members=2)
    assert [list(row) for row in found.by_member] == [[21.0, 23.0, 31.0], [25.0, 23.0, 27.0]]


def test_an_item_that_lacks_a_training_counts_for_none():
    broken = [score._replace(status="failed", value=None) if (score.item, score.repeat) == ("i1", 1) else score
              for score in GROUP.scores]  # fmt: skip
    found = replace(GROUP, scores=broken)
    assert (found.n, found.value) == (2, 25.0)
    assert [list(row) for row in found.by_member] == [[20.0, 30.0], [24.0, 26.0]]


def test_a_test_pairs_items_by_the_mean_of_their_trainings():
    test = significance.paired_test(ALONE, GROUP)
    assert test is not None and test.n == 3
    assert test.difference == pytest.approx((1 + 2 + 3) / 3)
    assert test.p_randomisation == 2 / 8  # three differences of one sign, of 2³ patterns


def test_a_table_says_what_its_rows_are():
    data = run(GROUP, ALONE)
    assert [row.scored for row in layout.lay_out(data).rows] == ["3/3 × 2 repeats", "3/3"]
    text = render.render(data, "markdown", layout.Extras(ci=True, against="alone"))
    assert "group: an item enters with the mean of its members, so that p speaks of other items alone" in text
    assert "group: every item was restored × 2 repeats, by members that differ in their options" in text
    assert "group: resampled are the items and, independently, the members" in text
    assert "seed of its own" not in text
    assert "with a seed of its own" in render.render(run(cell("dice", TWO_SEEDS, members=1)), "markdown")


def test_what_is_timed_of_a_method_is_its_first_member():
    first, second = {"weights": "aa"}, {"weights": "bb"}
    group = method_record(
        "g", options={"score": 1}, identity={"repeats": [first, second]}, repeats=2, members=[{"k": 1}, {"k": 2}]
    )
    assert group.timed == (first, {"k": 1}) and group.identities == [first, second]
    assert method_record("g", members=[{"k": 1}], unavailable="no weights").timed == ({}, {"k": 1})
    assert method_record("a", options={"k": 3}, identity=first).timed == (first, {"k": 3})


def test_a_record_without_members_says_nothing_of_them():
    """Runs of before are found by what their record holds."""
    record = run_record("s", "T", {}, [], [{"label": "a"}, {"label": "g", "members": [{"k": 1}], "repeats": 1}])
    assert ["members" in method for method in record.content()["methods"]] == [False, True]

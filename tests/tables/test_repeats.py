"""Statistics speak of items: repeats are averaged first, infinite means do not rank, exact tests are called exact."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from support.records import run_record

from bench.gate import snapshot
from bench.gate.findings import compare as gate
from bench.gate.snapshot_format import (
    Snapshot,
    SnapshotDataset,
    SnapshotItem,
    SnapshotMethod,
    SnapshotMetric,
    SnapshotOrigin,
    SnapshotValue,
)
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import compare, layout, render, significance, statistics

PSNR = Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
REPEATS = 20


def cell(method: str, values: list[list[float | None]], dataset: str = "d", column: Column = PSNR) -> Cell:
    """One inner list per item, a value per repeat; None: the repeat failed."""
    scores = [
        ItemScore(f"i{n}", repeat, "failed" if v is None else "inf" if math.isinf(v) else "ok", v, None if v else "no")
        for n, repeats in enumerate(values)
        for repeat, v in enumerate(repeats)
    ]
    return Cell(dataset, method, column, len(values), scores)


def run(*cells: Cell) -> RunView:
    datasets = [
        {"label": name, "items": sorted({s.item for one in cells if one.dataset == name for s in one.scores})}
        for name in dict.fromkeys(one.dataset for one in cells)
    ]
    methods = [{"label": name} for name in dict.fromkeys(one.method for one in cells)]
    return RunView(1, run_record("s", "T", {}, datasets, methods), {}, cells, frozenset())


def stochastic(seed: int = 0, items: int = 6) -> list[list[float | None]]:
    """Items that differ by much, repeats of one item by little."""
    draw = np.random.default_rng(seed)
    return [list(20 + 2 * n + draw.normal(0, 0.1, REPEATS)) for n in range(items)]


MANY, ONE = cell("dice", stochastic()), cell("still", [[19.5 + 2 * n] for n in range(6)])


def test_the_interval_of_six_images_twenty_times_is_that_of_their_six_means():
    means = [float(np.mean(repeats)) for repeats in stochastic()]
    found = significance.interval_of(MANY)
    assert found == statistics.bootstrap(means)
    theirs = scipy.stats.bootstrap(
        (means,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found is not None and found == pytest.approx((theirs.low, theirs.high), abs=0.2)
    pooled = statistics.bootstrap([value for repeats in stochastic() for value in repeats])
    assert pooled is not None and found.high - found.low > 3 * (pooled.high - pooled.low)


def test_six_items_cannot_give_a_p_below_two_of_sixty_four_however_often_they_are_restored():
    test = significance.paired_test(ONE, MANY)
    assert test is not None and test.n == 6 and test.exact
    assert test.p_randomisation == 2 / 64  # all six differences have one sign


def test_against_a_deterministic_method_every_repeat_counts():
    test = significance.paired_test(ONE, MANY)
    means = [float(np.mean(repeats)) for repeats in stochastic()]
    expected = np.mean([mean - (19.5 + 2 * n) for n, mean in enumerate(means)])
    assert test is not None and test.difference == pytest.approx(expected, abs=1e-12)


def test_the_value_is_the_mean_over_items_and_n_counts_items():
    assert MANY.value == pytest.approx(np.mean(stochastic()), abs=1e-12)
    assert (MANY.n, MANY.expected, MANY.complete, MANY.repeats) == (6, 6, True, REPEATS)
    data = run(MANY, ONE)
    assert [row.scored for row in layout.lay_out(data).rows] == ["6/6 × 20 repeats", "6/6"]
    text = render.render(data, "markdown")
    assert "dice: every item was restored × 20 repeats" in text
    assert r"on d $\times$ 20 repeats" in render.render(data, "latex")
    rows = json.loads(render.render(data, "json"))
    assert [(row["n"], row["expected"], row["repeats"]) for row in rows] == [(6, 6, 20), (6, 6, 1)]
    assert [row["repeats"] for row in csv.DictReader(io.StringIO(render.render(data, "csv")))] == ["20", "1"]


def test_an_item_that_lacks_a_repeat_has_no_value():
    values = stochastic()
    values[2][7] = None
    broken = cell("dice", values)
    kept = [float(np.mean(repeats)) for n, repeats in enumerate(values) if n != 2]  # type: ignore[arg-type]
    assert (broken.n, broken.complete, broken.value) == (5, False, pytest.approx(np.mean(kept)))
    row = layout.lay_out(run(broken, ONE)).rows[0]
    assert row.scored == "5/6 × 20 repeats" and row.cells[0].text.endswith("(5/6)") and row.cells[0].rank == 0
    test = significance.paired_test(ONE, broken)
    assert test is not None and test.n == 5
    shared = layout.common_items(run(broken, ONE))
    assert [(one.n, one.expected) for one in shared.cells] == [(5, 5), (5, 5)]


def test_a_cell_of_which_every_item_lacks_a_repeat_says_why():
    empty = cell("dice", [[1.0, None], [None, 2.0]])
    assert (empty.n, empty.value, empty.status, empty.reason) == (0, None, "failed", "no")


def test_runs_are_compared_by_items_too():
    other = cell("dice", [[value + 1 for value in repeats if value is not None] for repeats in stochastic(1)])
    [change] = compare.changes(run(MANY), run(other))
    assert change.test is not None and change.test.n == 6 and change.test.p_randomisation == 2 / 64
    assert change.verdict == "better"
    text = compare.render([change], "markdown")
    assert "the repeats of an item averaged (exact randomisation over all sign patterns, two-sided)" in text
    assert "trials" not in text


# What the footer says of a test


@pytest.mark.parametrize(
    ("sizes", "said", "unsaid"),
    [
        ([13], "exact randomisation", "10000 trials"),
        ([14], "approximate randomisation, two-sided, 10000 trials", "exact"),
        ([6, 20], "exact randomisation over all sign patterns, two-sided, up to 13 items; above, approximate", "zzz"),
    ],
)
def test_a_test_is_called_exact_where_it_is(sizes: list[int], said: str, unsaid: str):
    cells = [
        cell(method, [[base + n * 0.1] for n in range(size)], f"d{size}")
        for size in sizes
        for method, base in (("a", 1.0), ("b", 2.0))
    ]
    footer = "\n".join(layout.lay_out(run(*cells), layout.Extras(against="a")).footer)
    assert said in footer and unsaid not in footer


# Infinite means


def shown(*cells: Cell) -> dict[str, tuple[str, int]]:
    return {row.method: (row.cells[0].text, row.cells[0].rank) for row in layout.lay_out(run(*cells)).rows}


def test_one_infinite_item_does_not_make_the_worst_method_the_best():
    worst, good, fair = (
        cell(name, [[value] for value in values])
        for name, values in (
            ("worst", [9.0, 9.0, math.inf, 9.0]), ("good", [38.0] * 4), ("fair", [30.0] * 4)
        )
    )  # fmt: skip
    assert shown(worst, good, fair) == {"worst": ("inf (1 of 4)", 0), "good": ("38.00", 1), "fair": ("30.00", 2)}
    text = render.render(run(worst, good, fair), "markdown")
    assert "**inf" not in text and "k of n items have an infinite value" in text
    assert "infinite value are left out of the tests" in render.render(
        run(worst, good, fair), "markdown", layout.Extras(against="good")
    )


def test_an_infinite_and_incomplete_cell_says_both():
    assert shown(cell("a", [[math.inf], [None], [3.0]]), cell("b", [[1.0]] * 3))["a"] == ("inf (1 of 2) (2/3)", 0)


def test_methods_that_are_infinite_on_every_item_do_not_rank_either():
    perfect, other = cell("perfect", [[math.inf]] * 2), cell("other", [[2.0]] * 2)
    assert shown(perfect, other, cell("third", [[1.0]] * 2)) == {
        "perfect": ("inf (2 of 2)", 0), "other": ("2.00", 1), "third": ("1.00", 2),
    }  # fmt: skip


def test_a_lower_is_better_metric_does_not_rank_minus_infinity():
    lower = replace(PSNR, higher_is_better=False)
    cells = [cell(name, [[v]], column=lower) for name, v in (("a", -math.inf), ("b", 1.0), ("c", 2.0))]
    assert shown(*cells) == {"a": ("-inf (1 of 1)", 0), "b": ("1.00", 1), "c": ("2.00", 2)}


def test_equal_infinite_means_do_not_hide_what_moved():
    base = cell("m", [[math.inf], *[[20.0 + n] for n in range(6)]])
    head = cell("m", [[math.inf], *[[15.0 + n] for n in range(6)]])
    [same], [moved] = compare.changes(run(base), run(base)), compare.changes(run(base), run(head))
    assert same.verdict == "same"
    assert (moved.verdict, moved.detail) == ("worse", "1 of 7 items are infinite and not in the test")


# Through a baseline


def method(values: list[list[float]], prefix: str = "i") -> SnapshotMethod:
    items = {
        f"{prefix}{n}" + (f"#{k + 1}" if len(repeats) > 1 else ""): SnapshotItem(values={"psnr": v})
        for n, repeats in enumerate(values)
        for k, v in enumerate(repeats)
    }
    whole = float(np.mean([np.mean(repeats) for repeats in values]))
    value = SnapshotValue(value=whole, status="ok", n=len(items))
    return SnapshotMethod(expected=len(items), outputs="0" * 64, values={"psnr": value}, items=items)


def taken(*, inputs: dict[str, str], **methods: SnapshotMethod) -> Snapshot:
    made = SnapshotOrigin(
        created="", processor="P", device="cpu", device_model="P", platform="L", python="3", packages={}
    )
    metric = SnapshotMetric(signature="psnr|v:1", better="higher", digits=2)
    return Snapshot(
        suite="s", made=made, datasets={"d": SnapshotDataset(inputs=inputs, metrics={"psnr": metric}, methods=methods)}
    )


def test_a_baseline_knows_the_repeats_of_an_item():
    held = taken(inputs={f"i{n}": "0" * 16 for n in range(3)}, dice=method([[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]))
    [found] = snapshot.cells(held).cells
    assert (found.n, found.expected, found.repeats, found.items) == (3, 3, 2, {"i0": 2.0, "i1": 6.0, "i2": 10.0})


def test_an_input_that_is_called_like_a_repeat_is_an_item():
    held = taken(inputs={"a#1": "0" * 16, "a#2": "1" * 16}, m=method([[1.0], [2.0]], "a#"))
    held.datasets["d"].methods["m"].items.clear()
    held.datasets["d"].methods["m"].items.update(
        {"a#1": SnapshotItem(values={"psnr": 1.0}), "a#2": SnapshotItem(values={"psnr": 2.0})}
    )
    [found] = snapshot.cells(held).cells
    assert (found.n, found.expected, found.repeats) == (2, 2, 1)


def test_the_gates_mean_over_shared_items_weighs_items_and_not_repeats():
    """One repeat of i0 is gone: the others' mean over items is (3 + 6) / 2, pooled it would be 5."""
    inputs = {"i0": "0" * 16, "i1": "1" * 16}
    base = taken(inputs=inputs, m=method([[1.0, 3.0], [5.0, 7.0]]))
    head = taken(inputs=inputs, m=method([[1.0, 2.0], [5.0, 7.0]]))
    del head.datasets["d"].methods["m"].items["i0#1"]
    moved = [one for one in gate(base, head).findings if one.kind == "worse"]
    assert [(one.base, one.head) for one in moved] == [(4.5, 4.0)]


# Minus nothing


@pytest.mark.parametrize(("value", "digits", "text"), [(-0.001, 2, "0.00"), (-0.0, 2, "0.00"), (-0.006, 2, "-0.01")])
def test_a_negative_zero_is_never_printed(value: float, digits: int, text: str):
    assert layout.format_value(value, digits) == text
    data = run(cell("a", [[value]]), cell("b", [[5.0]]))
    for style in ("markdown", "latex", "html"):
        assert not re.search(r"-0\.0+\b(?!\d)", render.render(data, style).replace("-0.01", ""))


def test_a_difference_has_a_sign_and_no_negative_zero():
    assert [layout.signed(value, 2) for value in (-0.001, 0.0, 0.004, -0.006)] == ["+0.00", "+0.00", "+0.00", "-0.01"]
    base, head = cell("m", [[2.0 + n] for n in range(4)]), cell("m", [[1.999 + n] for n in range(4)])
    assert "-0.00" not in compare.render(compare.changes(run(base), run(head)), "markdown")

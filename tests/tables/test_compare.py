"""Two runs side by side: what moved, what cannot be compared, what is gone."""

from __future__ import annotations

import json
import math

import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.metrics.explain import differences, explain, parse
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import compare


def cell(
    values: list[float | None], signature: str = "psnr|space:rgb|v:1", better: bool = True, method: str = "m"
) -> Cell:
    column = Column("psnr", "PSNR", signature, signature, "", True, False, better, 2, None)
    scores = [
        ItemScore(f"i{n}", 0, "ok" if v is not None else "failed", v, None if v is not None else "broken")
        for n, v in enumerate(values)
    ]
    return Cell("d", method, column, len(scores), scores)


def run(*cells: Cell) -> RunView:
    return RunView(1, run_record("s", "T", {}, [], []), {}, cells, frozenset())


def verdict(base: Cell, head: Cell) -> str:
    return compare.changes(run(base), run(head))[0].verdict


LOW = [20.0 + n * 0.1 for n in range(10)]
HIGH = [value + 1 + 0.01 * n for n, value in enumerate(LOW)]


def test_a_change_on_every_item_is_better_or_worse_by_the_metrics_direction():
    assert verdict(cell(LOW), cell(HIGH)) == "better"
    assert verdict(cell(HIGH), cell(LOW)) == "worse"
    assert verdict(cell(LOW, better=False), cell(HIGH, better=False)) == "worse"


def test_a_change_that_goes_both_ways_is_undecided():
    mixed = [value + (0.5 if n % 2 else -0.45) for n, value in enumerate(LOW)]
    assert verdict(cell(LOW), cell(mixed)) == "undecided"


def test_equal_numbers_are_the_same():
    assert verdict(cell(LOW), cell(LOW)) == "same"


def test_numbers_of_different_signatures_are_not_compared():
    assert verdict(cell(LOW), cell(HIGH, "psnr|space:y|v:1")) == "incomparable"


def test_an_incomplete_cell_is_never_called_equal():
    assert verdict(cell(LOW), cell([*LOW[:-1], None])) == "incomplete"


def test_new_and_vanished_cells_are_findings():
    found = compare.changes(run(cell(LOW)), run(cell(LOW, method="other")))
    assert [(change.method, change.verdict) for change in found] == [("other", "new"), ("m", "vanished")]


def test_a_run_that_failed_is_compared_with_nothing():
    broken = run(cell([None, None]), cell(LOW, method="new"))
    assert not any(change.compared for change in compare.changes(run(cell([None, None])), broken))
    assert any(change.compared for change in compare.changes(run(cell(LOW)), run(cell(LOW))))


def test_the_json_form_is_strict():
    rows = json.loads(
        compare.render(compare.changes(run(cell(LOW)), run(cell(HIGH))), "json"), parse_constant=pytest.fail
    )
    assert rows[0]["verdict"] == "better"
    assert rows[0]["test"]["difference"] == pytest.approx(1.045)


def test_a_difference_needs_two_finite_numbers_and_no_test():
    same, endless, lost = (
        compare.changes(run(cell(base)), run(cell(head)))[0]
        for base, head in ((LOW, LOW), ([math.inf] * 3, [math.inf] * 3), (LOW, [*LOW[:-1], None]))
    )
    assert same.difference == 0 and endless.verdict == "same" and endless.difference is None
    assert lost.verdict == "incomplete" and lost.difference is None
    assert " +0.00 | same " in compare.render([same], "markdown")


A = "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1"


def test_explain_names_exactly_the_fields_that_differ():
    found = differences(A, "psnr|space:y|range:u8|crop:4|gtmean:no|v:1")
    assert [(row.field, row.first, row.second) for row in found] == [("space", "rgb", "y"), ("crop", "0", "4")]
    assert differences(A, A) == []


def test_explain_says_when_one_signature_has_a_field_that_the_other_lacks():
    assert [(row.field, row.first) for row in differences(A, A.replace("|v:1", "|resize:pil-bicubic|v:1"))] == [
        ("resize", "–")
    ]


def test_another_metric_is_the_first_difference():
    assert differences(A, A.replace("psnr", "ssim"))[0].field == "metric"


def test_two_protocols_are_explained_by_the_signatures_they_give():
    assert "gtmean: no against gray" in explain("hvi-cidnet/lol-v2", "hvi-cidnet/lol-v1")
    assert "the two numbers are comparable" in explain("recommended/rgb", "recommended/rgb")


def test_protocols_that_save_or_fit_differently_are_told_apart():
    said = explain("recommended/rgb", "pugan/256")
    assert "fit: – against pil-bicubic@256x256 – size to which every image is brought first" in said
    assert "pil-bicubic@256x256: every image to W×H by Pillow's bicubic" in said
    assert "proto: – against unverified" in said and "cov: – against sample25 – correction of the variances" in said
    assert "data: – against 2 – range that SSIM's constants assume" in explain("skimage/rgb", "nu2net/uieb")
    saved = "outputs before scoring: A cut down to 8 bits, B kept as floats"
    assert explain("kind/lol", "mirnet/lol").rstrip().endswith(saved)
    assert "outputs before scoring" not in explain("kind/lol", A)


def test_text_that_is_no_signature_is_refused():
    with pytest.raises(BenchError, match="is not a signature"):
        parse("psnr|what")
    with pytest.raises(BenchError, match="did you mean 'recommended/rgb'"):
        explain("recomended/rgb", A)


APART = {("d", "m"): [compare.Apart("6 of 6 references differ", references=True, certain=True)]}


def test_numbers_against_other_references_are_not_compared():
    (change,) = compare.changes(run(cell(LOW)), run(cell(HIGH)), APART)
    assert (change.verdict, change.detail, change.difference) == ("incomparable", "6 of 6 references differ", None)


def test_a_metric_without_a_reference_does_not_depend_on_it():
    first, second = cell(LOW, "niqe|space:y|v:1"), cell(HIGH, "niqe|space:y|v:1")
    assert compare.changes(run(first), run(second), APART)[0].verdict == "better"
    inputs = {("d", "m"): [compare.Apart("1 of 6 inputs differ", references=False, certain=True)]}
    assert compare.changes(run(first), run(second), inputs)[0].verdict == "incomparable"


def test_where_another_machine_may_decode_otherwise_it_is_said_and_compared():
    drift = {("d", "m"): [compare.Apart("2 of 6 references differ, where numpy 1 against 2", True, certain=False)]}
    (change,) = compare.changes(run(cell(LOW)), run(cell(HIGH)), drift)
    assert change.verdict == "better" and "numpy 1 against 2" in change.detail


def test_infinite_values_are_words_in_strict_json():
    both = [math.inf] * 3
    text = compare.render(compare.changes(run(cell(both)), run(cell([*both[:2], 30.0]))), "json")

    def refused(word: str) -> None:
        raise AssertionError(word)

    (row,) = json.loads(text, parse_constant=refused)
    assert row["base"] == "inf" and row["head"] == "inf"


def test_a_pipe_in_a_label_ends_no_cell():
    text = compare.render(compare.changes(run(cell(LOW, method="a|b")), run(cell(HIGH, method="a|b"))), "markdown")
    row = next(line for line in text.splitlines() if "a\\|b" in line)
    assert row.replace("\\|", "").count("|") == 8


def test_the_text_speaks_of_tests_only_where_one_was_made():
    many = compare.render(compare.changes(run(cell(LOW)), run(cell(HIGH))), "text")
    one = compare.render(compare.changes(run(cell(LOW[:1])), run(cell(HIGH[:1]))), "text")
    assert "p < 0.05" in many and "no difference was tested" not in many
    assert "no difference was tested" in one and "p <" not in one

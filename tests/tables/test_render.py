"""A table says what was measured, marks what is best among complete cells, and gives a reason for every gap."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView, failures
from bench.tables import layout, render


def column(label: str = "psnr", *, better: bool = True, digits: int = 2, is_set: bool = False) -> Column:
    signature = f"{label}|v:1"
    return Column(label, label.upper(), signature, signature, "", True, is_set, better, digits, None)


def cell(method: str, values: list[float | str], col: Column | None = None, dataset: str = "d") -> Cell:
    scores = [
        ItemScore(f"i{n}", 0, value, None, f"because {value}") if isinstance(value, str)
        else ItemScore(f"i{n}", 0, "inf" if math.isinf(value) else "ok", value, None)
        for n, value in enumerate(values)
    ]  # fmt: skip
    return Cell(dataset, method, col or column(), len(scores), scores)


def run(*cells: Cell, title: str = "T") -> RunView:
    datasets = [{"label": name} for name in dict.fromkeys(one.dataset for one in cells)]
    methods = [{"label": name} for name in dict.fromkeys(one.method for one in cells)]
    return RunView(1, run_record("s", title, {}, datasets, methods), {}, cells, frozenset({"cpu"}))


def marks(data: RunView) -> list[int]:
    return [shown.rank for row in layout.lay_out(data).rows for shown in row.cells]


def test_the_value_of_a_cell_is_the_mean_of_its_items():
    assert cell("a", [10.0, 20.0, 40.0]).value == pytest.approx(70 / 3)


def test_best_and_second_follow_the_metrics_direction():
    up, down = column("psnr"), column("lpips", better=False)
    assert marks(run(*(cell(name, [v], up) for name, v in zip("abc", (1.0, 3.0, 2.0), strict=True)))) == [0, 1, 2]
    assert marks(run(*(cell(name, [v], down) for name, v in zip("abc", (1.0, 3.0, 2.0), strict=True)))) == [1, 0, 2]


def test_values_that_print_alike_share_their_rank():
    assert marks(run(cell("a", [1.001]), cell("b", [1.004]), cell("c", [0.5]))) == [1, 1, 2]


def test_an_incomplete_cell_shows_its_count_and_is_never_ranked():
    data = run(cell("a", [99.0, "failed"]), cell("b", [1.0, 1.0]), cell("c", [2.0, 2.0]))
    rows = layout.lay_out(data).rows
    assert [shown.rank for row in rows for shown in row.cells] == [0, 2, 1]
    assert rows[0].cells[0].text == "99.00 (1/2)"
    assert rows[0].scored == "1/2"


def test_one_method_alone_is_not_called_best():
    assert marks(run(cell("a", [1.0]))) == [0]


def test_an_infinite_mean_is_printed_and_is_null_with_its_status_in_json():
    data = run(cell("a", [math.inf, 30.0]), cell("b", [1.0, 1.0]))
    assert "inf" in render.render(data, "markdown")
    row = json.loads(render.render(data, "json"), parse_constant=pytest.fail)[0]
    assert (row["value"], row["status"], row["n"]) == (None, "inf", 2)


def test_json_rows_carry_what_other_tools_depend_on():
    row = json.loads(render.render(run(cell("a", [1.0, "failed"])), "json"))[0]
    assert row == {
        "dataset": "d", "method": "a", "metric": "psnr", "signature": "psnr|v:1", "value": 1.0, "n": 1, "expected": 2,
        "status": "ok", "reason": "because failed",
    }  # fmt: skip


def test_a_gap_says_why():
    data = run(cell("a", ["n/a", "n/a"]), cell("b", ["failed", "failed"]))
    text = render.render(data, "markdown")
    assert re.search(r"\| a +\| +n/a \[a\] \|", text) and "- [a] n/a: d: because n/a" in text
    assert re.search(r"\| b +\| +failed \[b\] \|", text)
    assert "- [b] failed: b on d, i0: because failed (also b on d, i1)" in text


def test_every_cell_without_a_value_has_its_reason_in_every_format():
    gone = cell("c", ["unavailable"], column("ssim"))
    half = cell("b", [1.0, "nan"])
    data = run(cell("a", ["failed"]), cell("a", [1.0], column("ssim")), half, cell("b", ["pending"], column("ssim")),
               cell("c", [2.0]), gone)  # fmt: skip
    rows = layout.lay_out(data).rows
    marked = {(row.method, n): shown for row in rows for n, shown in enumerate(row.cells) if shown.mark}
    assert {place: shown.text for place, shown in marked.items()} == {
        ("a", 0): "failed", ("b", 0): "1.00 (1/2)", ("b", 1): "…", ("c", 1): "–",
    }  # fmt: skip
    assert [shown.reason for shown in marked.values()] == [
        "failed: because failed", "failed: because nan", "pending: because pending", "unavailable: because unavailable",
    ]  # fmt: skip
    footer = layout.lay_out(data).footer
    for shown in marked.values():
        assert any(line.startswith(f"[{shown.mark}] ") and line.endswith(shown.reason[-10:]) for line in footer)
    page, paper = render.render(data, "html"), render.render(data, "latex")
    for shown in marked.values():
        assert re.search(rf'title="{re.escape(shown.reason)}">[^<]+ <sup>{shown.mark}</sup>', page)
        assert rf"\tablemark{{{shown.mark}}}~" in paper and re.search(rf"\\tablemark{{{shown.mark}}} (&|\\\\)", paper)


def test_many_equal_reasons_are_one_line():
    data = run(*(cell(f"m{n}", ["unavailable"], col) for n in range(9) for col in (column("psnr"), column("ssim"))))
    lines = [line for line in layout.lay_out(data).footer if "unavailable" in line]
    assert lines == ["[a] unavailable: m0 on d: because unavailable (also m1 on d; m2 on d; m3 on d and 5 more)"]


def test_the_footer_gives_every_signature_and_names_the_dataset_where_they_differ():
    one, other = column(), replace(column(), signature="psnr|space:y|v:1")
    text = render.render(run(cell("a", [1.0], one, "d1"), cell("a", [1.0], other, "d2")), "markdown")
    assert "PSNR on d1: psnr|v:1" in text
    assert "PSNR on d2: psnr|space:y|v:1" in text


def test_csv_reads_back_with_full_precision():
    rows = list(csv.DictReader(io.StringIO(render.render(run(cell("a", [1 / 3])), "csv"))))
    assert float(rows[0]["value"]) == 1 / 3


def test_markdown_survives_names_that_are_markup():
    text = render.render(run(cell("a|b\nc", [1.0]), cell("d", [2.0])), "markdown")
    body = [line for line in text.splitlines() if line.startswith("|")]
    assert len(body) == 4
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in body)


def test_latex_escapes_every_special_character_and_balances_its_braces():
    text = render.render(run(cell("a_b & 50% #1 {x} ~^\\", [1.0]), cell("d", [2.0]), title="50% & more_of_it"), "latex")
    body = re.sub(r"\\[&%#_{}$]", "", text)
    assert body.count("{") == body.count("}")
    assert body.count("$") % 2 == 0
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", row)) == 1 for row in rows)
    assert {r"\toprule", r"\midrule", r"\bottomrule"} <= set(text.splitlines())
    assert r"\textbf{2.00}" in text
    assert r"\underline{1.00}" in text


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_balanced_and_runs_nothing():
    text = render.render(run(cell("<script>alert(1)</script>", [1.0])), "html")
    parser = _Balance()
    parser.feed(text)
    assert not parser.open
    assert "<script" not in text


def test_common_items_recompute_on_the_intersection():
    data = layout.common_items(run(cell("a", [1.0, 2.0, "failed"]), cell("b", ["failed", 5.0, 6.0])))
    assert [(one.value, one.expected, one.n) for one in data.cells] == [(2.0, 1, 1), (5.0, 1, 1)]


def test_a_table_of_common_items_says_which_were_left_out_and_for_whom():
    data = layout.common_items(run(cell("a", [1.0, 2.0, 3.0]), cell("b", ["failed", 5.0, 6.0])))
    line = "Only the 2 of 3 items of d that every method has a value for, in PSNR; others were left out for b."
    assert line in layout.lay_out(data).footer
    whole = layout.common_items(run(cell("a", [1.0, 2.0]), cell("b", [4.0, 5.0])))
    assert whole.remarks == ()


def test_common_items_leave_the_values_of_whole_sets_as_they_are():
    fid = column("fid", is_set=True)
    sets = [
        Cell("d", name, fid, 3, cell(name, [1.0, 1.0, 1.0]).scores, ItemScore("", 0, "ok", 4.0, None)) for name in "ab"
    ]  # fmt: skip
    data = layout.common_items(run(cell("a", [1.0, 2.0, "failed"]), sets[0], cell("b", ["failed", 5.0, 6.0]), sets[1]))
    rows = layout.lay_out(data).rows
    assert [([shown.text for shown in row.cells], row.scored) for row in rows] == [
        (["2.00", "4.00"], "1/1"), (["5.00", "4.00"], "1/1"),
    ]  # fmt: skip


def test_a_unit_fails_once_however_many_metrics_miss_it():
    psnr, ssim = column("psnr"), column("ssim")
    data = run(cell("a", [1.0, "failed"], psnr), cell("a", [1.0, "failed"], ssim), cell("b", ["n/a", 1.0], psnr))
    assert failures(data)[:3] == (1, 0, 0)
    assert failures(data).expected == 4


def test_an_unknown_format_is_answered_with_the_nearest():
    with pytest.raises(BenchError, match="did you mean 'latex'"):
        render.render(run(cell("a", [1.0])), "latx")

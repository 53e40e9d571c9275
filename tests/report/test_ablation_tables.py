"""An ablation's tables and figures, of numbers that can be checked by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.errors import BenchError
from bench.report import style
from bench.report.ablation import arm_tables, draw
from bench.report.ablation.arm_tables import Results
from bench.report.ablation.evaluation_section import Plan, read
from bench.report.ablation.measure import PRIOR, Column, Row
from bench.report.ablation.photographs import PHOTOGRAPHS, windows

RECIPE = {
    "seeds": [0, 1],
    "common": {"data": {"degradation": "face-small"}},
    "evaluation": {"sweep": ["d"], "pursue": "c"},
    "arms": {
        "a": {"title": "baseline"},
        "c": {"title": "+ two books"},
        "d": {"title": "+ optimised", "from": "c", "restorer": {"quality": 0.5}},
        "half": {"title": "half | as many", "group": "Size", "against": "c", "seeds": [0]},
        "late": {"title": "late", "group": "Size", "against": "c", "seeds": [0]},
    },
}
COLUMNS = {
    "psnr": Column("psnr", "PSNR", True, True, "psnr|v:1", 2),
    "brisque": Column("brisque", "BRISQUE", False, False, "brisque|v:1", 2),
    PRIOR: Column(PRIOR, "prior", True, False, "tiny|v:1"),
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    return read(path, tmp_path / "trained")


@pytest.fixture
def results(plan: Plan) -> Results:
    """PSNR of arm n on photograph p with seed s: 20 + n + 2p + s; BRISQUE its negative; the prior a hundredth of it."""
    rows = []
    for number, arm in enumerate(("a", "c", "d", "half")):
        for seed in (0,) if arm == "half" else (0, 1):
            for place, photograph in enumerate(("cat", "cup")):
                value = 20.0 + number + 2 * place + seed
                for metric, factor in (("psnr", 1.0), ("brisque", -1.0), (PRIOR, 0.01)):
                    for kind in ("restored", "bound"):
                        rows.append(Row(arm, seed, kind, 0.95, photograph, photograph, metric, factor * value))
                    if arm == "d":
                        rows += [Row(arm, seed, "sweep", k / 10 + 0.05, photograph, photograph, metric, k * value)
                                 for k in range(10)]  # fmt: skip
                    if arm == "c":
                        rows += [Row(arm, seed, space, step, photograph, photograph, metric, factor * value + step)
                                 for space in ("continuous", "discrete") for step in (0.0, 1.0, 80.0)]  # fmt: skip
    return Results(plan, COLUMNS, {"niqe": "no weights"}, rows, (), {"late": "out of time"})


def cell(table: arm_tables.Table, row: str, column: str) -> str:
    place = next(number for number, name in enumerate(table.header) if name.startswith(column))
    return next(line for line in table.rows if line[0].startswith(row))[place]


def test_means_and_differences_stand_where_they_belong(results: Results) -> None:
    # Mean over p in {0,1} and s in {0,1} of 20 + n + 2p + s; all resamples reach from the least to the greatest.
    assert cell(arm_tables.main(results), "(a)", "PSNR") == "21.50 [20.00, 23.00]"
    assert cell(arm_tables.differences(results), "(d) − (a)", "PSNR") == "+2.00 [+2.00, +2.00]*"
    assert cell(arm_tables.differences(results), "(d) − (a)", "BRISQUE") == "-2.00 [-2.00, -2.00]*"
    assert cell(arm_tables.steps(results), "(d) − (c)", "PSNR") == "+1.00 [+1.00, +1.00]*"
    # half has the one seed: 23 + 2p less 21 + 2p, and not the mean of both seeds of c
    assert cell(arm_tables.side(results, "Size"), "half", "PSNR") == "+2.00 [+2.00, +2.00]*"


def test_an_arm_that_was_trained_for_the_prior_is_marked_and_no_other(results: Results) -> None:
    assert cell(arm_tables.main(results), "(d)", "prior").endswith("†")
    assert "†" not in cell(arm_tables.main(results), "(c)", "prior") + cell(arm_tables.main(results), "(d)", "PSNR")


def test_what_was_not_run_is_a_row_with_its_reason(results: Results) -> None:
    assert "not run: out of time" in next(
        row for row in arm_tables.side(results, "Size").rows if row[0].startswith("late")
    )
    lines = list(csv.DictReader(io.StringIO(arm_tables.long_form(results))))
    late = [line for line in lines if line["arm"] == "late"]
    assert [line["status"] for line in late] == ["not run: out of time"]
    assert any("niqe: no weights" in note for note in arm_tables.main(results).notes)


def test_the_long_table_has_intervals_and_differences(results: Results) -> None:
    lines = csv.DictReader(io.StringIO(arm_tables.long_form(results)))
    [found] = [x for x in lines if (x["arm"], x["kind"], x["metric"]) == ("c", "restored", "psnr")]
    assert (found["value"], found["low"], found["high"]) == ("22.5", "21", "24")
    assert (found["against"], found["difference"], found["seeds"], found["photographs"]) == ("a", "1", "2", "2")


def test_the_papers_change_stands_beside_ours(results: Results) -> None:
    # IQPIR, Table 5: (d) − (c) is 0.822 − 0.806 in TOPIQ-G and 76.86 − 76.04 in MUSIQ-K.
    told = arm_tables.steps(results).rows[1][-1]
    assert "topiq-g +0.016" in told
    assert "musiq-k +0.82" in told


def test_files_are_written_and_a_bar_in_a_title_breaks_no_table(results: Results, tmp_path: Path) -> None:
    names = {path.name for path in arm_tables.write(results, tmp_path / "out")}
    assert names == {"table.csv", "table.md", "table.tex", "values.csv"}
    line = next(
        line
        for line in (tmp_path / "out" / "table.md").read_text().splitlines()
        if "half" in line and "as many" in line
    )
    assert r"half \| as many" in line
    assert r"\begin{tabular}" in (tmp_path / "out" / "table.tex").read_text()


def test_figures_show_every_arm_that_was_measured(results: Results, tmp_path: Path) -> None:
    with style.applied():
        main, sides, sweep, ascent = (
            draw.main(results), draw.sides(results), draw.sweep(results), draw.ascent(results)
        )  # fmt: skip
        assert sides is not None and sweep is not None and ascent is not None
        assert [text.get_text() for text in main.axes[0].get_xticklabels()] == ["(a)", "(c)", "(d)"]
        assert [text.get_text() for text in sides.axes[0].get_yticklabels()] == ["Size", "half | as many − (c)"]
        assert len(sweep.axes[0].get_lines()) == 1
        assert len(ascent.axes[0].get_lines()) == 2
        style.save(main, tmp_path / "main.png")
    nothing = replace(results, rows=[row for row in results.rows if row.kind == "restored" and row.arm != "half"])
    with style.applied():
        assert draw.sweep(nothing) is None
        assert draw.ascent(nothing) is None


def test_windows_are_of_every_photograph_and_the_same_each_time() -> None:
    first, second = windows("face-small", 64), windows("face-small", 64)
    assert len(first) == 2 * len(PHOTOGRAPHS)
    assert all(one.name == two.name and (one.lq == two.lq).all() for one, two in zip(first, second, strict=True))
    assert all((one.lq != one.gt).any() for one in first)


def test_a_key_that_evaluation_does_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, "evaluation": {"scor": 1}}, sort_keys=False))
    with pytest.raises(BenchError, match=r"unknown key 'evaluation\.scor'; did you mean 'score'\?"):
        read(path, tmp_path)
    path.write_text(yaml.safe_dump({**RECIPE, "evaluation": {"pursue": "z"}}, sort_keys=False))
    with pytest.raises(BenchError, match="names an arm 'z'"):
        read(path, tmp_path)

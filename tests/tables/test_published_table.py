"""A paper's table stands alone or beside a run, with the difference, the doubts and what only one side has."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.records import dataset_record, run_record

from bench import cli
from bench.catalog import published
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.protocols import protocol as rules
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.suite import definition
from bench.suite.definition import MetricSpec, label_of
from bench.tables import beside as tables
from bench.tables import paper
from bench.tables.layout import Extras, Table
from bench.tables.meeting import datasets_met

pytestmark = pytest.mark.skipif(
    not published.folder().is_dir(), reason="results/published was deleted: git checkout results/published"
)


def column(label: str, *, better: bool = True, digits: int = 2) -> Column:
    return Column(label, label.upper(), f"{label}|v:1", f"{label}|v:1", "", True, False, better, digits, None)


def run(values: dict[tuple[str, str, str], float], key: str | None, names: dict[str, str] | None = None) -> RunView:
    """A run of (dataset label, method label, metric) → value, complete; `names` are catalogue names of labels."""
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in values))
    methods = list(dict.fromkeys(method for _, method, _ in values))
    metrics = list(dict.fromkeys(metric for _, _, metric in values))
    cells = [
        Cell(dataset, method, column(metric), 1, [ItemScore("i", 0, "ok", values[dataset, method, metric], None)])
        for dataset in datasets
        for method in methods
        for metric in metrics
    ]
    definition = {"published": key, "metrics": [{"metric": metric} for metric in metrics]}
    record = run_record(
        "s", "T", definition, [{"label": name, "name": "folder"} for name in datasets],
        [{"label": name, "name": (names or {}).get(name, "folder")} for name in methods],
    )  # fmt: skip
    return RunView(1, record, {}, cells, frozenset({"cpu"}))


def beside(data: RunView, **asked: Any) -> Table:
    return tables.beside(data, tables.of_run(data), Extras(**asked))


def text_of(table: Table, dataset: str, method: str, at: int = 0) -> str:
    """A cell as markdown prints it."""
    cell = next(row.cells[at] for row in table.rows if (row.dataset, row.method) == (dataset, method))
    return cell.text + cell.beside + "".join(f" [{number}]" for number in cell.doubts)


def test_the_papers_value_and_the_difference_stand_beside_ours():
    table = beside(run({("LOL-v1", "Reti-Diff", "psnr"): 25.10, ("LOL-v1", "Reti-Diff", "ssim"): 0.87}, "iqpir/table2"))
    assert text_of(table, "LOL-v1", "Reti-Diff") == "25.10 (25.35, -0.25)"
    assert text_of(table, "LOL-v1", "Reti-Diff", 1) == "0.87 (0.866, +0.004)"


def test_the_difference_is_rounded_once_and_never_a_negative_zero():
    table = beside(run({("lol-v1", "CUE", "psnr"): 21.859}, "iqpir/table2"))
    assert text_of(table, "lol-v1", "CUE") == "21.86 (21.86, +0.00)"


def test_a_method_is_found_by_its_label_its_catalogue_title_or_the_papers_other_names():
    names = {"a": "codeformer", "b": "hvi-cidnet", "daefr": "folder", "mine": "gamma"}
    faces = beside(run({("LFW Test", label, "mdfs"): 18.0 for label in ("a", "daefr", "mine")}, "iqpir/table1", names))
    assert text_of(faces, "LFW Test", "a") == "18.00 (18.46, -0.46)"
    assert text_of(faces, "LFW Test", "daefr") == "18.00 (17.91, +0.09)"
    assert text_of(faces, "LFW Test", "mine") == "18.00"
    low = beside(run({("lol-v1", "b", "psnr"): 23.0}, "iqpir/table2", names))
    assert text_of(low, "lol-v1", "b") == "23.00 (23.50, -0.50)"


def test_variants_of_one_method_are_told_apart_by_their_labels_only():
    names = {"IQPIR (Ours)": "iqpir", "IQPIR S=0.1": "iqpir"}
    values = {("lfw-test", label, "clip-iqa"): 0.8 for label in names}
    table = beside(run(values, "iqpir/table1", names))
    assert text_of(table, "lfw-test", "IQPIR (Ours)").startswith("0.80 (0.790, +0.010)")
    assert text_of(table, "lfw-test", "IQPIR S=0.1") == "0.80"
    assert any(line == "Without a value in the paper: IQPIR S=0.1." for line in table.footer)


def test_rows_that_only_one_side_has_stay_and_are_said_to():
    table = beside(run({("UIEB", "gray", "psnr"): 15.0, ("UIEB", "gray", "niqe"): 4.0}, "iqpir/table3"))
    assert text_of(table, "UIEB", "gray") == "15.00"
    assert text_of(table, "UIEB", "PUGAN") == "(23.05)"
    assert text_of(table, "UIEB", "PUGAN", 1) == "–"
    footer = "\n".join(table.footer)
    assert "Without a value in the paper: gray." in footer
    assert "Not a metric of the paper's table: niqe." in footer
    assert "In the paper's table and not in this one: SSIM, UCIQE, UIQM." in footer


def test_datasets_that_only_the_paper_has_stand_there_when_they_are_asked_for():
    data = run({("lol-v1", "CIDNet", "fid"): 46.0, ("other", "CIDNet", "fid"): 46.0}, "iqpir/table2")
    table = beside(data)
    assert {row.dataset for row in table.rows} == {"lol-v1", "other"}
    assert "In the paper's table and not in this one: LOL-v2-real, LOL-v2-synthetic (--all-published)." in table.footer
    table = beside(data, all_published=True)
    rows = [(row.dataset, row.method, row.first) for row in table.rows if row.dataset == "LOL-v2-synthetic"]
    assert len(rows) == 7 and [first for *_, first in rows] == [True] + [False] * 6
    assert "Not a dataset of the paper's table: other." in table.footer


def test_a_doubt_is_a_footnote_with_one_number_per_wording():
    table = beside(run({("BAID", "RAVE", "lpips"): 0.2, ("BAID", "RAVE", "fid"): 60.0}, "iqpir/table4"))
    assert text_of(table, "BAID", "RAVE") == "0.20 (0.096, +0.104) [1]"
    assert text_of(table, "BAID", "RAVE", 1) == "60.00 (64.89, -4.89) [1]"
    assert [line for line in table.footer if line.startswith("[1] ")] == [
        "[1] LPIPS and FID disagree: another protocol?"
    ]


def test_metrics_that_the_method_was_made_for_carry_a_dagger():
    values = {("lfw-test", "DR2", metric): 0.5 for metric in ("topiq-g", "musiq-g", "q-align", "clip-iqa")}
    table = beside(run(values, "iqpir/table1"))
    assert [name.endswith("†") for name in table.header] == [True, True, True, False]
    assert any(line.startswith("† ") for line in table.footer)
    plain = beside(run({("uieb", "AST", "psnr"): 22.0}, "iqpir/table3"))
    assert not any("†" in line for line in [*plain.header, *plain.footer])


def test_records_carry_the_papers_value_and_the_rows_only_it_has():
    data = run({("UIEB", "AST", "psnr"): 22.0}, "iqpir/table3")
    found = json.loads(tables.render_beside(data, "json"), parse_constant=pytest.fail)
    first = found[0]
    assert (first["published"], first["published_as"], first["less_published"]) == (22.19, "22.19", -0.19)
    rest = found[1:]
    assert len(rest) == 27 and {row["status"] for row in rest} == {"published only"}
    assert {row["value"] for row in rest} == {None}
    lines = list(csv.DictReader(io.StringIO(tables.render_beside(data, "csv"))))
    assert [line["published_as"] for line in lines] == [row["published_as"] for row in found]


def test_a_run_without_a_papers_table_says_what_to_write():
    with pytest.raises(BenchError, match=r"run 1 \(s\) names no paper's table: write published: "):
        tables.render_beside(run({("d", "m", "psnr"): 1.0}, None), "markdown")


@pytest.mark.parametrize("style", ["markdown", "latex", "html", "csv", "json"])
def test_every_papers_table_prints_in_every_format(style):
    for key in published.names():
        text = paper.render_alone(key, style)
        some = published.load(key).values[-1]
        assert (some.printed if style != "csv" else str(some.number)) in text


def test_a_papers_table_alone_counts_no_items_and_keeps_increments_in_brackets():
    table = paper.alone(published.load("iqpfr/table2"))
    assert not table.counted
    assert text_of(table, "CelebA-Test", "DifFace+", 2) == "73.65 (+6.64) [2]"
    assert "[2] must be +4.64" in table.footer
    head = paper.render_alone("iqpfr/table2", "markdown").splitlines()[2]
    assert head.rstrip("| ").endswith("CLIP-IQA ↑") and "Dataset" not in head


def test_best_and_second_follow_the_printed_values():
    table = paper.alone(published.load("iqpir/table4"))
    ranks = {row.method: [cell.rank for cell in row.cells] for row in table.rows}
    assert ranks["IQPIR"] == [1, 1, 1, 1]
    assert ranks["Reti-Diff"] == [2, 2, 0, 2]
    assert ranks["RAVE"] == [0, 0, 2, 0]


def test_values_that_nobody_read_in_the_paper_are_not_called_printed():
    table = paper.alone(published.load("rar/unknown"))
    assert table.footer[0].startswith("Reported for RAR")
    assert any("unverified" in line for line in table.footer[1:])


SUITE = """\
schema: 1
datasets: [{dataset: builtin-lowlight, label: LOL-v1}]
methods: [{method: gamma, label: CUE}, identity]
metrics: [psnr]
published: iqpir/table2
"""


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    return int(stop.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    return tmp_path


def test_a_suites_run_is_printed_beside_the_table_it_names(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "low.yaml").write_text(SUITE, encoding="utf-8")
    assert bench("run", "low.yaml", "--limit", "1") == 0
    assert "not acted on" not in capsys.readouterr().err
    for arguments in (("low",), ()):
        assert bench("table", *arguments, "--published") == 0
        shown = capsys.readouterr().out
        assert "(21.86, " in shown and "(25.35)" in shown
    assert bench("table", "low") == 0
    assert "21.86" not in capsys.readouterr().out


def test_tables_of_papers_need_no_run(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("table", "--published") == 0
    names = capsys.readouterr().out
    assert all(key in names for key in published.names())
    assert bench("list", "published", "--format", "json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == published.names()
    assert bench("table", "iqpir/table2", "--published", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["printed"] == "21.86"
    assert bench("table", "iqpir/table2", "--published", "--ci") == 2
    assert "need a run" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_a_misspelt_table_is_answered_with_the_nearest(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("table", "iqpir/tabel2", "--published") == 2
    assert "did you mean 'iqpir/table2'?" in capsys.readouterr().err
    (folder / "low.yaml").write_text(SUITE.replace("iqpir/table2", "iqpir/tabel2"), encoding="utf-8")
    assert bench("validate", "low.yaml") == 2
    assert "low.yaml:5: no published table 'iqpir/tabel2'; did you mean 'iqpir/table2'?" in capsys.readouterr().err


# Columns that mean something else


def asked(*metrics: dict[str, object], protocol: str | None = None, key: str = "iqpir/table2") -> RunView:
    """A run of CUE on LOL-v1 with one column per metric; with a protocol, columns have the signatures it gives."""
    specs = [MetricSpec(**metric) for metric in metrics]
    cells = []
    for spec in specs:
        entry = registry("metric").get(spec.metric)
        signature = str(build_metric(entry, spec.options, rules(protocol)).signature())
        made = replace(column(label_of(spec)), signature=signature)
        cells.append(Cell("LOL-v1", "CUE", made, 1, [ItemScore("i", 0, "ok", 20.0, None)]))
    dataset = {"label": "LOL-v1", "name": "folder", **({"protocol": protocol} if protocol else {})}
    record = run_record("s", "T", {"published": key, "metrics": list(metrics)}, [dataset], [{"label": "CUE"}])
    return RunView(1, record, {}, cells, frozenset())


def texts(data: RunView) -> list[str]:
    return [cell.text + cell.beside for cell in next(row for row in beside(data).rows if row.method == "CUE").cells]


GRAY = {"metric": "psnr", "options": {"gtmean": "gray"}}


def test_a_papers_value_stands_in_the_column_of_its_protocol_alone():
    data = asked({"metric": "psnr"}, GRAY, {"metric": "ssim"}, protocol="reti-diff/lol")
    assert texts(data) == ["20.00 (21.86, -1.86)", "20.00", "20.00 (0.841, +19.159)"]
    [line] = [line for line in beside(data).footer if line.startswith("No value of the paper beside")]
    assert line == (
        "No value of the paper beside psnr(gtmean=gray): psnr(gtmean=gray) on LOL-v1 is gtmean:gray where it has "
        "gtmean:no by the paper's protocol (reti-diff/lol)."
    )


@pytest.mark.parametrize(
    "options",
    [{"gtmean": "gray"}, {"space": "y"}, {"crop": 4}, {"range": "none"}, {"space": "y", "crop": 4}],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()),
)
def test_an_option_that_changes_the_meaning_leaves_the_value_out(options: dict[str, object]):
    data = asked({"metric": "psnr", "options": options}, protocol="reti-diff/lol")
    assert texts(data) == ["20.00", "(21.86)"]
    table = beside(data)
    footer = "\n".join(table.footer)
    assert table.header[-1] == "PSNR§" and "§ The paper's values alone: no column here measures PSNR" in footer
    assert "No value of the paper beside" in footer and "ours less it" not in footer


def test_an_option_that_repeats_the_protocol_changes_nothing():
    assert texts(asked({"metric": "psnr", "options": {"space": "rgb"}}, protocol="reti-diff/lol"))[0].startswith(
        "20.00 ("
    )


def test_the_runs_own_protocol_decides_nothing_for_a_paper_that_has_another():
    """With GT-mean for all columns, the paper's value belongs to the one that takes it out again."""
    plain = {"metric": "psnr", "options": {"gtmean": "no", "rounding": "u8", "resize": "no"}}
    assert texts(asked({"metric": "psnr"}, plain, protocol="hvi-cidnet/lol-v1")) == ["20.00", "20.00 (21.86, -1.86)"]
    assert texts(asked({"metric": "psnr"}, protocol="recommended/rgb")) == ["20.00 (21.86, -1.86)"]


def test_rows_and_records_that_only_the_paper_has_keep_to_their_column_too():
    data = asked({"metric": "psnr"}, GRAY, protocol="reti-diff/lol")
    rows = {(row.dataset, row.method): [cell.text for cell in row.cells] for row in beside(data).rows}
    assert rows["LOL-v1", "Reti-Diff"] == ["(25.35)", "–"]
    assert all(texts[1] == "–" for place, texts in rows.items() if place != ("LOL-v1", "CUE"))
    records = json.loads(tables.render_beside(data, "json"))
    ours = {row["metric"]: row["published"] for row in records if row["status"] == "ok"}
    assert ours == {"psnr": 21.86, "psnr(gtmean=gray)": None}
    alone = asked(GRAY, protocol="reti-diff/lol")
    left = [row for row in json.loads(tables.render_beside(alone, "json")) if row["method"] == "CUE"]
    assert {"published only"} == {
        row["status"] for row in left if row["metric"] == "psnr" and row["published"] == 21.86
    }


def test_a_record_without_a_protocol_is_told_by_the_suites_options():
    assert texts(asked({"metric": "psnr"}, GRAY)) == ["20.00 (21.86, -1.86)", "20.00"]


@pytest.mark.parametrize(
    "name", [name for name in definition.names() if definition.load(definition.find(name)).suite.published]
)
def test_the_suite_of_a_table_measures_under_the_tables_protocol(name: str):
    """So that every column of it may hold the paper's values."""
    asked = definition.load(definition.find(name)).suite
    table = published.load(str(asked.published))
    for one in asked.datasets:
        for _, theirs in datasets_met([dataset_record(label_of(one), name=one.dataset)], table):
            assert (one.protocol or asked.protocol) == table.protocol_of(theirs), one.dataset

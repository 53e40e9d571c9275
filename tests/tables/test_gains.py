"""What a method gains over its base: by hand, by the papers' printed Gains, and in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.records import run_record

from bench.catalog import published
from bench.errors import BenchError
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.suite import definition
from bench.tables import beside as papers
from bench.tables import gains, layout, render
from bench.tables.layout import Extras

PAPERS = pytest.mark.skipif(
    not published.folder().is_dir(), reason="results/published was deleted: git checkout results/published"
)
LOWER = {"fid", "biqe", "lpips", "lpips-vgg", "idd", "mdfs"}


def column(label: str, digits: int = 2) -> Column:
    signature = f"{label}|v:1"
    return Column(label, label.upper(), signature, signature, "", True, False, label not in LOWER, digits, None)


def run(values: dict[tuple[str, str, str], float | str], **definition: object) -> RunView:
    """A run of (dataset, method, metric) → value, or a status without one, of one item each."""
    cells = [
        Cell(
            dataset, method, column(metric), 1,
            [ItemScore("i", 0, value, None, "why") if isinstance(value, str) else ItemScore("i", 0, "ok", value, None)],
        )
        for (dataset, method, metric), value in values.items()
    ]  # fmt: skip
    datasets = [{"label": name, "name": name, "items": ["i"]} for name in dict.fromkeys(key[0] for key in values)]
    methods = [{"label": name, "name": "folder"} for name in dict.fromkeys(key[1] for key in values)]
    metrics = [{"metric": name} for name in dict.fromkeys(key[2] for key in values)]
    record = run_record("s", "T", {"metrics": metrics, **definition}, datasets, methods)
    return RunView(1, record, {}, cells, frozenset({"cpu"}))


def host(**changed: float | str) -> RunView:
    """A host of 20 dB and FID 50 whose + has 22 dB and FID 40: +10 % and +20 %, so 15 %."""
    values: dict[tuple[str, str, str], float | str] = {
        ("d", "H", "psnr"): 20.0, ("d", "H", "fid"): 50.0, ("d", "H+", "psnr"): 22.0, ("d", "H+", "fid"): 40.0,
    }  # fmt: skip
    return run(values | {("d", "H+", metric): value for metric, value in changed.items()})


def of(data: RunView, method: str = "H+", dataset: str = "d") -> gains.Gain:
    return next(gain for where, who, gain in gains.gains(data) if (where, who) == (dataset, method))


def test_the_gain_is_the_mean_of_relative_improvements_and_lower_is_better_where_it_is():
    assert of(host()).percent == pytest.approx(15.0)
    assert of(host(fid=60.0)).percent == pytest.approx((10 - 20) / 2)
    assert of(host(), "H") == gains.Gain(None, (), None, "it has no base")


def test_a_base_below_zero_is_improved_upwards():
    data = run({("d", "H", "psnr"): -4.0, ("d", "H+", "psnr"): -3.0})
    assert of(data).percent == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("label", "given", "base"),
    [
        ("H+", {}, "H"),
        ("H+(score=0.9)", {}, "H"),
        ("H+(score=0.9)", {"H+(score=0.9)": "G"}, "G"),
        ("mine", {"mine": "H"}, "H"),
        ("H", {}, None),
        ("K+", {}, None),
        ("+", {}, None),
        ("mine", {"mine": "gone"}, None),
    ],
)
def test_a_method_is_paired_by_its_name_or_by_the_suite(label: str, given: dict[str, str], base: str | None):
    assert gains.base_of(label, ["H", "G", "mine", label], given) == base


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("failed", "fid: H+ has 0 of 1 values"),
        (float("inf"), "fid: H+ has the value inf"),
    ],
)
def test_without_a_value_of_every_metric_there_is_no_gain_and_the_table_says_why(value: float | str, said: str):
    gain = of(host(fid=value))
    assert (gain.percent, gain.reason) == (None, said)
    text = render.render(host(fid=value), "markdown", Extras(gain=True))
    assert f"No gain: H+ on d: {said}." in text


def test_a_base_of_zero_has_no_relative_improvement():
    data = run({("d", "H", "psnr"): 0.0, ("d", "H+", "psnr"): 1.0})
    assert of(data).reason == "psnr: H has the value 0"


def test_a_metric_that_does_not_apply_is_no_part_of_the_gain():
    assert of(host(fid="n/a")).percent == pytest.approx(10.0)
    assert of(host(fid="n/a")).metrics == ("psnr",)


def test_values_of_two_signatures_are_no_gain():
    data = host()
    other = [
        one if one.method == "H" else Cell(one.dataset, one.method, replace(one.column, signature="x"), 1, one.scores)
        for one in data.cells
    ]
    assert of(data._replace(cells=other)).reason == "psnr: the two values do not mean the same"


@PAPERS
@pytest.mark.parametrize("key", ["iqpir/table7", "iqpir/table8", "iqpir/table9"])
def test_it_is_the_gain_that_the_papers_print(key: str):
    """Where a paper's values contradict its own Gain, what they do give is in the remark beside it."""
    table = published.load(key)
    values = {value[2:5]: value.number for value in table.values if value.metric != "gain"}
    bases = {"WaveFace+": "WavvFace"} if key == "iqpir/table7" else {}
    found = {(dataset, method): gain.percent for dataset, method, gain in gains.gains(run(values, bases=bases))}
    printed = [value for value in table.values if value.metric == "gain"]
    assert len(printed) == 4
    for value in printed:
        told = re.search(r"its printed values give ([\d.]+)", value.doubt)
        expected = float(told[1]) if told else value.number
        assert found[value.dataset, value.method] == pytest.approx(expected, abs=0.0051), value


@PAPERS
@pytest.mark.parametrize("key", ["iqpfr/table1", "iqpfr/table2"])
def test_increments_are_those_that_the_paper_prints(key: str):
    """Where lower is better as well: MDFS falls from 18.41 to 18.08, and +0.33 is printed."""
    table = published.load(key)
    values = {value[2:5]: value.number for value in table.values if not value.metric.endswith("/increment")}
    data = run(values)
    cells = {(one.dataset, one.method, one.column.label): one for one in data.cells}
    compared = 0
    for value in table.values:
        metric, slash, _ = value.metric.partition("/")
        if slash and value.method != "Ours" and not value.doubt:
            base = cells[value.dataset, value.method.removesuffix("+"), metric]
            found = gains.increment(base, cells[value.dataset, value.method, metric])
            assert found == pytest.approx(value.number, abs=10**-value.decimals * 0.51), value
            compared += 1
    assert compared > 12


def test_increments_stand_behind_values_with_their_sign():
    rows = layout.lay_out(host(), Extras(increments=True)).rows
    assert [shown.beside for shown in rows[1].cells] == [" (+2.00)", " (+10.00)"]
    assert [shown.beside for shown in rows[0].cells] == ["", ""]
    worse = layout.lay_out(host(fid=61.0), Extras(increments=True)).rows[1].cells
    assert worse[1].beside == " (-11.00)"
    assert layout.signed(-0.001, 2) == "+0.00"


@pytest.mark.parametrize("style", ["markdown", "latex", "html"])
def test_every_format_for_readers_has_the_column_and_the_increments(style: str):
    text = render.render(host(), style, Extras(gain=True, increments=True, venue=False))
    assert re.search(r"Gain,( |\\\\)\\?% (↑|\$\\uparrow\$)", text)
    assert "15.00" in text and "+2.00" in text and "10.00" in text
    assert "H+ over H" in text


def test_the_page_of_a_run_has_the_column_and_sorts_by_it():
    from bench.report import page

    data = host()
    datasets = [replace(data.record.datasets[0], protocol="plain")]
    record = replace(data.record, definition={"gain": True}, datasets=datasets)
    data = data._replace(record=record)
    shown = page._table(layout.lay_out(data), data, "r")
    assert [head["text"] for head in shown["heads"]] == ["PSNR ↑", "FID ↓", "Gain, % ↑", "n"]
    cells = [row["cells"][2] for row in shown["groups"][0]["rows"]]
    assert [cell["text"] for cell in cells] == ["–", "15.00"]
    assert cells[0]["sort"] is None and float(cells[1]["sort"]) == pytest.approx(15.0)


def test_csv_and_json_have_a_row_per_gain_and_an_increment_per_value():
    extras = Extras(gain=True, increments=True)
    found = json.loads(render.render(host(), "json", extras))
    assert {key: found[-1][key] for key in ("dataset", "method", "metric", "value", "status", "base")} == {
        "dataset": "d", "method": "H+", "metric": "gain", "value": pytest.approx(15.0), "status": "ok", "base": "H",
    }  # fmt: skip
    assert found[-1]["signature"] == "gain|base:H|over:psnr+fid|unit:percent|v:1"
    assert [(row["base"], row["increment"]) for row in found] == [
        (None, None), (None, None), ("H", 2.0), ("H", 10.0), ("H", None),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(render.render(host(), "csv", extras))))
    assert len(rows) == 5 and float(rows[4]["value"]) == pytest.approx(15.0)


def test_the_suite_decides_and_the_command_line_overrules():
    plain, told = host(), run({(c.dataset, c.method, c.column.label): c.value or 0.0 for c in host().cells}, gain=True)
    assert "Gain" not in render.render(plain, "markdown")
    assert "Gain" in render.render(plain, "markdown", Extras(gain=True))
    assert "Gain" in render.render(told, "markdown")
    assert "Gain" not in render.render(told, "markdown", Extras(gain=False))
    with pytest.raises(BenchError, match="no method of this run has a base"):
        render.render(run({("d", "H", "psnr"): 1.0}), "markdown", Extras(gain=True))
    alone = run({("d", "H", "psnr"): 1.0}, gain=True)  # what bench run --method leaves of a suite with gains
    assert "Gain" not in render.render(alone, "markdown")


def test_the_suite_lists_the_metrics_of_a_gain_by_dataset():
    values = {(where, who, metric): value for where in ("d", "e") for (_, who, metric), value in (
        ((one.dataset, one.method, one.column.label), one.value or 0.0) for one in host().cells)}  # fmt: skip
    data = run(values, gain={"d": ["psnr"], "e": ["fid"]})
    assert of(data).percent == pytest.approx(10.0)
    assert of(data, dataset="e").percent == pytest.approx(20.0)
    assert "over PSNR on d; FID on e" in render.render(data, "markdown")


@PAPERS
def test_the_papers_gain_and_increments_stand_beside_ours():
    values = {("lol-v1", name, metric): value for name, row in {"CIDNet": (20.0, 0.8), "CIDNet+": (22.0, 0.88)}.items()
              for metric, value in zip(("psnr", "ssim"), row, strict=True)}  # fmt: skip
    data = run(values, published="iqpir/table8", gain=True)
    shown = next(row for row in papers.beside(data, papers.of_run(data)).rows if row.method == "CIDNet+").cells
    assert (shown[2].text, shown[2].beside) == ("10.00", " (6.20, +3.80)")
    rows = json.loads(papers.render_beside(data, "json"))
    mine = [row for row in rows if (row["method"], row["metric"]) == ("CIDNet+", "gain")]
    assert [(row["published"], row["less_published"], row["dataset"]) for row in mine] == [
        (6.20, 3.8, "lol-v1"),
    ]  # fmt: skip
    faces = {("lfw-test", name, "musiq-k"): value for name, value in {"DifFace": 70.0, "DifFace+": 74.0}.items()}
    data = run(faces, published="iqpfr/table1", increments=True)
    shown = next(row for row in papers.beside(data, papers.of_run(data)).rows if row.method == "DifFace+").cells
    assert shown[0].beside == " (74.56, -0.56) (+4.00) (+4.66 printed)"


SUITE = """schema: 1
datasets: [builtin-lowlight]
methods: [identity, {method: gamma, label: mine}]
metrics: [psnr, ssim]
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("bases: {mine: identty}", "mini:5: no method 'identty' in this suite; did you mean 'identity'"),
        ("bases: {mine: mine}", "mini:5: 'mine' cannot be its own base"),
        (
            "gain: {builtin-lowlght: [psnr]}",
            "mini:5: no dataset 'builtin-lowlght' in this suite; did you mean 'builtin-lowlight'",
        ),
        ("gain: {builtin-lowlight: [psnr, sim]}", "mini:5: no metric 'sim' in this suite; did you mean 'ssim'"),
        ("gain: {builtin-lowlight: []}", "mini:5: name the metrics that the gain on 'builtin-lowlight' is the mean of"),
        ("gains: true", "mini:5: unknown key 'gains'; did you mean 'gain'"),
    ],
)
def test_a_wrong_line_of_a_suite_is_named(lines: str, said: str):
    with pytest.raises(BenchError) as error:
        definition.parse(SUITE + lines, "mini")
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("name", ["plus-bfr", "plus-lol", "plus-uie-bie", "iqpfr-bfr", "bfr-synthetic"])
def test_every_plus_of_the_papers_suites_has_its_host(name: str):
    given = definition.load(definition.find(name)).suite
    labels = [variant.label for spec in given.methods for variant in definition.variants(spec, name)]
    plus = [label for label in labels if label.endswith("+")]
    assert plus and all(gains.base_of(label, labels, given.bases) for label in plus)
    assert given.gain if name.startswith("plus") else given.increments


def test_gains_of_a_real_run_follow_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Gamma 0.5 over gamma 0.8 on the built-in dark photographs, by hand from the stored means."""
    from bench.results.store import Store
    from bench.results.view import read_cells
    from bench.runner import steps
    from bench.runner.request import Request

    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "schema: 1\ndatasets: [builtin-lowlight]\nmetrics: [psnr, ssim]\ngain: true\nincrements: true\n"
        "methods: [{method: gamma, options: {gamma: 0.8}, label: G}, {method: gamma, label: G+}]\n"
    )
    made = steps.run(Request(suite="s.yaml", limit=2, results="results"))
    with Store(Path("results"), writable=False) as store:
        data = read_cells(store, made.run)
    value = {(one.method, one.column.label): one.value or 0.0 for one in data.cells}
    parts = [value["G+", metric] / value["G", metric] - 1 for metric in ("psnr", "ssim")]
    shown = layout.lay_out(data).rows[1].cells
    assert shown[2].text == f"{50 * sum(parts):.2f}"
    assert shown[0].beside == f" ({value['G+', 'psnr'] - value['G', 'psnr']:+.2f})"

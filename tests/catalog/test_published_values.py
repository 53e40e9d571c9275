"""The papers' own numbers: every line means something, and what a paper says twice is said once or doubted.

With BENCH_TEST_PAPERS=FOLDER a second reading, by program, of the papers' text is held against the files cell by cell.
"""

from __future__ import annotations

import importlib.util
import os
import re
from itertools import groupby
from pathlib import Path

import pytest

from bench.catalog import published
from bench.catalog.published import Value
from bench.catalog.registry import registry
from bench.errors import BenchError

pytestmark = pytest.mark.skipif(
    not published.folder().is_dir(), reason="results/published was deleted: git checkout results/published"
)
PAPERS = os.environ.get("BENCH_TEST_PAPERS")
with_papers = pytest.mark.skipif(not PAPERS, reason="BENCH_TEST_PAPERS names no folder with the papers' text")


def values() -> list[Value]:
    return [value for key in published.names() for value in published.load(key).values]


def found(paper: str, table: str, dataset: str, method: str, metric: str) -> Value:
    return next(v for v in published.load(f"{paper}/{table}").values if v[2:5] == (dataset, method, metric))


def test_every_file_is_in_the_index_and_every_table_has_a_file():
    files = {file.stem.replace("-", "/", 1) for file in published.folder().glob("*.csv")}
    assert files == set(published.names())


def test_every_line_is_of_the_table_that_its_file_is_named_for():
    for key in published.names():
        assert {f"{value.paper}/{value.table}" for value in published.load(key).values} == {key}


def test_every_value_is_a_number_as_a_paper_prints_it():
    wrong = [value for value in values() if not re.fullmatch(r"\+?\d+(\.\d+)?", value.printed)]
    assert not wrong


def test_no_cell_is_there_twice():
    keys = [value[:5] for value in values()]
    assert len(keys) == len(set(keys))


def test_every_metric_is_the_catalogues_or_has_a_title_of_its_own():
    for metric in {value.metric for value in values()}:
        assert published.quantity(metric).title
    with pytest.raises(BenchError, match="no metric 'pnsr'; did you mean 'psnr'"):
        published.quantity("pnsr")


def test_every_dataset_is_the_catalogues_or_has_a_title_of_its_own():
    known = registry("dataset")
    assert {
        v.dataset for v in values() if v.dataset not in known and published.dataset_title(v.dataset) == v.dataset
    } == set()


def test_names_are_of_methods_that_are_printed():
    printed = {value.method for value in values()}
    names = published.load("iqpir/table1").names
    assert set(names) - printed - {"CIDNet+"} == set()


def _relative(base: float, new: float, better: str | None) -> float:
    return (new - base) / base * (1 if better == "higher" else -1)


def _gain(gain: Value) -> float:
    """Mean relative improvement over the base, in percent, from the table's own values."""
    table = published.load(f"{gain.paper}/{gain.table}")
    rows = {(v.method, v.metric): v.number for v in table.values if v.dataset == gain.dataset}
    base = gain.method.removesuffix("+")
    base = {"WaveFace": "WavvFace"}.get(base, base)
    metrics = [metric for method, metric in rows if method == gain.method and metric != "gain"]
    assert len(metrics) == 4
    parts = [
        _relative(rows[base, metric], rows[gain.method, metric], published.quantity(metric).better)
        for metric in metrics
    ]
    return 100 * sum(parts) / len(parts)


def test_a_gain_is_the_mean_relative_improvement_or_its_doubt_says_what_it_would_be():
    gains = [value for value in values() if value.metric == "gain"]
    assert len(gains) == 12
    for gain in gains:
        real = f"{_gain(gain):.2f}"
        doubted = re.search(r"its printed values give ([\d.]+)", gain.doubt)
        if doubted:
            assert doubted[1] == real, gain
        else:
            assert abs(_gain(gain) - gain.number) <= 0.5 * 10**-gain.decimals + 1e-9, (gain, real)


def test_an_increment_is_the_difference_to_the_base_or_its_doubt_says_what_it_would_be():
    increments = [value for value in values() if value.metric.endswith("/increment")]
    assert len(increments) == 64
    wrong = []
    for one in increments:
        metric = one.metric.partition("/")[0]
        plus = found(*one[:3], one.method, metric)
        base = found(*one[:3], one.method.removesuffix("+"), metric)
        sign = 1 if published.quantity(metric).better == "higher" else -1
        real = f"{sign * (plus.number - base.number):+.{one.decimals}f}"
        if real != one.printed:
            wrong.append(one)
            assert f"must be {real}" in one.doubt
    assert [one.method for one in wrong] == ["DifFace+"]


@pytest.mark.parametrize(
    ("key", "part", "mean", "digits"),
    [
        ("iqpir/table6a", "dataset", "mean", 2),
        ("iqpir/table6b", "dataset", "mean", 2),
        ("iqpir/table10", "metric", "ap/mean", 1),
    ],
)
def test_a_mean_is_the_mean_of_its_row(key, part, mean, digits):
    for method, row in groupby(published.load(key).values, key=lambda value: value.method):
        rows = list(row)
        printed = next(value.number for value in rows if getattr(value, part) == mean)
        others = [value.number for value in rows if getattr(value, part) != mean]
        assert abs(sum(others) / len(others) - printed) <= 0.5 * 10**-digits + 1e-9, method


def test_what_two_tables_print_differently_is_doubted():
    """Baselines that several tables list: same dataset, method and metric, within one paper."""
    names = published.load("iqpir/table1").names
    held: dict[tuple[str, ...], list[Value]] = {}
    for value in values():
        if value.paper == "iqpir" and value.table in {
            "table1",
            "table2",
            "table3",
            "table4",
            "table7",
            "table8",
            "table9",
        }:
            method = published.plain(next(iter(names.get(value.method, ())), value.method))
            held.setdefault((value.dataset, method, published.canonical(value.metric)), []).append(value)
    twice = [group for group in held.values() if len(group) > 1]
    assert len(twice) == 48
    for group in twice:
        for value in group:
            others = {other.printed for other in group if other.number != value.number}
            for other in others:
                assert f"prints {other}" in value.doubt, value
            assert others or not re.search(r"table \d prints \d", value.doubt), value


def test_cells_of_both_papers_first_tables_agree_or_are_doubted():
    ours = {value[2:5]: value for value in published.load("iqpir/table1").values}
    theirs = {value[2:5]: value for value in published.load("iqpfr/table1").values}
    assert len(ours.keys() & theirs.keys()) == 168
    assert all(ours[key].printed == theirs[key].printed for key in ours.keys() & theirs.keys())
    own = [
        (value, theirs[value.dataset, "Ours", value.metric])
        for value in ours.values()
        if value.method == "IQPIR (Ours)"
    ]
    assert len(own) == 24
    for one, other in own:
        assert one.printed != other.printed
        assert "prints another value" in one.doubt and "prints another value" in other.doubt


def test_a_rating_is_a_mean_of_twelve_whole_numbers_or_is_doubted():
    for key in ("iqpir/table6a", "iqpir/table6b"):
        for value in published.load(key).values:
            possible = value.dataset == "mean" or any(f"{total / 12:.2f}" == value.printed for total in range(61))
            assert possible or "12 integer ratings" in value.doubt, value


def test_what_was_not_read_in_the_paper_itself_is_called_unverified():
    assert all((value.paper == "rar") == value.doubt.startswith("unverified: ") for value in values())


def _checker():
    place = Path(__file__).with_name("check_extraction.py")
    spec = importlib.util.spec_from_file_location("check_extraction", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@with_papers
def test_a_second_reading_of_the_papers_agrees_cell_by_cell():
    checker = _checker()
    read, unread = checker.read_papers(Path(str(PAPERS)))
    damaged = "iqpfr/table8 wider-test AdaIN musiq-k: "
    assert unread == [f"{damaged}74."]
    assert checker.differences(read, checker.read_csvs()) == [f"{damaged}table 74.99, text –"]
    assert found("iqpfr", "table8", "wider-test", "AdaIN", "musiq-k").doubt


@with_papers
def test_what_a_paper_marks_is_best_or_second_best_or_is_doubted():
    """Tables 1 to 4 and 10 mark two values of each column, 5 and 6 one."""
    read, _ = _checker().read_papers(Path(str(PAPERS)))
    wrong = []
    for key in (f"iqpir/table{name}" for name in ("1", "2", "3", "4", "5", "6a", "6b", "10")):
        table = published.load(key)
        marks = 1 if key in ("iqpir/table5", "iqpir/table6a", "iqpir/table6b") else 2
        columns: dict[tuple[str, str], list[Value]] = {}
        for value in table.values:
            columns.setdefault((value.dataset, value.metric), []).append(value)
        for (dataset, metric), column in columns.items():
            if metric == "inference-ms":
                continue
            up = published.quantity(metric).better == "higher"
            best = sorted({value.number for value in column}, reverse=up)[:marks]
            for value in column:
                if read[key, dataset, value.method, metric].marked != (value.number in best):
                    wrong.append(value)
    assert {(value.table, value.method, value.metric) for value in wrong} == {
        ("table5", "(d)", "mdfs"), ("table5", "(d)", "clip-iqa"),
        ("table10", "Reti-Diff+", "ap/bottle"), ("table10", "Reti-Diff+", "ap/dog"),
    }  # fmt: skip
    assert all("mark" in value.doubt for value in wrong)

"""Votes of people: means by hand, every wrong line named, and what a run makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.registry import registry
from bench.cli import main
from bench.errors import BenchError
from bench.metrics.build import build_metric
from bench.metrics.ratings import RatedMetric

SCORES = """dataset,item,method,rater,score
d,1,A,ann,4
d,1,B,ann,2.5
d,1,A,bob,5
d,1,B,bob,0
d,2,A,ann,3
d,2,B,ann,1
d,2,A,bob,3
d,2,B,bob,2
"""
RANKS = """dataset,item,method,rater,rank
d,1,A,ann,1
d,1,B,ann,2
d,1,C,ann,3
d,1,A,bob,3
d,1,B,bob,1
d,1,C,bob,2
d,2,A,ann,1
d,2,B,ann,3
d,2,C,ann,2
d,2,A,bob,1
d,2,B,bob,2
d,2,C,bob,3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metric(name: str, text: str | None, **options: object) -> RatedMetric:
    if text is not None:
        Path("votes.csv").write_text(text)
        options["ratings"] = "votes.csv"
    made = build_metric(registry("metric").get(name), {"raters": 2, **options}, {})
    assert isinstance(made, RatedMetric)
    return made.based(None)


def test_a_score_is_the_mean_of_an_items_votes() -> None:
    made = metric("iqpir/mos", SCORES)
    assert made.values("d", "A", ["1", "2", "3"]) == [4.5, 3.0, None]
    assert made.values("d", "B", ["2", "1"]) == [1.5, 1.25]
    assert made.values("other", "A", ["1"]) == [None]


def test_a_ranking_gives_points_from_the_last_place_up_and_a_share_of_first_places() -> None:
    # Item 1: A has places 1 and 3 of three, 3 and 1 points; B 2 and 1; C 3 and 2. Item 2: A 1, 1; B 3, 2; C 2, 3.
    rank = metric("average-score", RANKS)
    assert [rank.values("d", name, ["1", "2"]) for name in "ABC"] == [[2.0, 3.0], [2.5, 1.5], [1.5, 1.5]]
    top = metric("iqpfr/rank-top-1", RANKS)
    assert [top.values("d", name, ["1", "2"]) for name in "ABC"] == [[50.0, 100.0], [50.0, 0.0], [0.0, 0.0]]


def test_the_signature_holds_study_scale_raters_votes_and_the_sheet_but_no_name() -> None:
    text = str(metric("rating", SCORES).signature())
    assert text.startswith("iqpir/mos|of:score|raters:2|scale:0-5|votes:8|sheet:") and "ann" not in text
    assert str(metric("rating", SCORES.replace("A,ann,4", "A,ann,5")).signature()) != text
    assert str(metric("rating", None).signature()) == "iqpir/mos|of:score|raters:2|scale:0-5|votes:0|sheet:none|v:1"


@pytest.mark.parametrize(
    "text, said",
    [
        (SCORES.replace("score\n", "stars\n", 1), "csv:1: the first line must be dataset,item,method,rater,score"),
        ("", "votes.csv:1: the first line must be"),
        (SCORES.replace("B,bob,0", "B,bob,5.5"), "votes.csv:5: score '5.5' is not between 0 and 5"),
        (SCORES.replace("B,bob,0", "B,bob,-1"), "votes.csv:5: score '-1' is not between 0 and 5"),
        (SCORES.replace("B,bob,0", "B,bob,nan"), "votes.csv:5: score 'nan' is not between"),
        (SCORES.replace("B,bob,0", "B,bob,good"), "votes.csv:5: score 'good' is not between"),
        (SCORES.replace("B,bob,0", "B,bob,0_4"), "votes.csv:5: score '0_4' is not between"),
        (SCORES.replace("B,bob,0", "B,bob,٤"), "votes.csv:5: score '٤' is not between"),
        (SCORES.replace("d,1,B,bob", 'd,"1\n1",B,bob'), "votes.csv:2: 'bob' has no vote on 'B' for item '1'"),
        (SCORES.replace("B,bob,0", "B,bob"), "votes.csv:5: a vote needs all of dataset, item, method, rater, score"),
        (SCORES.replace("B,bob,0", "B,,0"), "votes.csv:5: a vote needs all of"),
        (SCORES + "d,2,B,bob,1\n", "votes.csv:10: 'bob' votes on 'B', '2' of 'd' a second time, first on line 9"),
        (SCORES.replace("2,B,bob", "2,B,bobb"), "csv:9: unknown rater 'bobb', beyond the 2 of the study; did you"),
        (SCORES.replace("d,2,B,bob,2\n", ""), "votes.csv:6: 'bob' has no vote on 'B' for item '2' of 'd'"),
        (SCORES.replace("bob", "ann").replace("ann,5\nd,1,B,ann,0\n", "ann,5\n"), "a second time"),
        ("\n".join(line for line in SCORES.split("\n") if "bob" not in line), "csv: 1 raters vote, the study has 2"),
        ('dataset,item,method,rater,score\nd,"1,A,ann,4\n', "votes.csv:"),
    ],
)  # fmt: skip
def test_a_wrong_sheet_of_scores_is_one_line_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BenchError) as error:
        metric("iqpir/mos", text)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, said",
    [
        (RANKS.replace("B,bob,1", "B,bob,3"), "votes.csv:5: 'bob' ranks item '1' of 'd' by 3, 3, 2, which is no order"),
        (RANKS.replace("C,ann,3", "C,ann,4"), "votes.csv:2: 'ann' ranks item '1' of 'd' by 1, 2, 4"),
        (RANKS.replace("C,ann,3", "C,ann,1.5"), "votes.csv:4: rank '1.5' is none of 1, 2"),
        (RANKS.replace("C,ann,3", "C,ann,inf"), "votes.csv:4: rank 'inf' is none of 1, 2"),
        (RANKS.replace("C,ann,3", "C,ann,1e400"), "votes.csv:4: rank '1e400' is none of 1, 2"),
        (RANKS.replace("C,ann,3", "C,ann,0"), "votes.csv:4: rank '0' is none of 1, 2"),
    ],
)  # fmt: skip
def test_a_ranking_that_is_none_is_named(text: str, said: str) -> None:
    with pytest.raises(BenchError) as error:
        metric("iqpfr/rank", text)
    assert said in str(error.value)


def test_a_sheet_that_is_not_there_or_no_text_is_named() -> None:
    with pytest.raises(BenchError, match=r"gone\.csv: cannot be read: No such file"):
        metric("iqpir/mos", None, ratings="gone.csv")
    Path("votes.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match=r"votes\.csv: not UTF-8"):
        metric("iqpir/mos", None, ratings="votes.csv")
    with pytest.raises(BenchError, match="variant is one of score, rank, top-1"):
        metric("iqpir/mos", None, variant="median")


# In a run

SUITE = """schema: 1
datasets: [{dataset: builtin-lowlight, label: d}]
methods: [{method: identity, label: A}, {method: identity, label: B}, gamma]
metrics: [psnr, {iqpir/mos: {raters: 2, ratings: votes.csv}}]
"""
LINES = [f"d,{item},{method},{rater},{score}" for item, method, rater, score in [
    ("cat", "A", "ann", 4), ("cat", "B", "ann", 1), ("cat", "A", "bob", 5), ("cat", "B", "bob", 2),
    ("coffee", "A", "ann", 3), ("coffee", "B", "ann", 2), ("coffee", "A", "bob", 3), ("coffee", "B", "bob", 0),
]]  # fmt: skip


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def run(capsys: pytest.CaptureFixture[str], *more: str) -> Mapping[str, dict[str, Any]]:
    capsys.readouterr()
    assert bench("run", "study.yaml", "--format", "json", *more) == 0
    rows = json.loads(capsys.readouterr().out)
    return {row["method"]: row for row in rows if row["metric"] != "psnr"}


def test_votes_belong_to_methods_even_where_their_outputs_are_the_same_pixels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("study.yaml").write_text(SUITE)
    Path("votes.csv").write_text("\n".join(["dataset,item,method,rater,score", *LINES]))
    found = run(capsys)
    # A: cat 4.5, coffee 3. B: cat 1.5, coffee 1. Four of the six photographs were not rated.
    assert (found["A"]["value"], found["A"]["n"], found["A"]["expected"]) == (3.75, 2, 6)
    assert found["B"]["value"] == 1.25
    assert (found["gamma"]["status"], found["gamma"]["reason"]) == ("n/a", "nobody rated it in votes.csv")
    assert bench("table", "--ci") == 0
    shown = capsys.readouterr().out
    assert (
        "3.75 (2/6)" in shown
        and "[3.00, 4.50]" in shown
        and "iqpir/mos|of:score|raters:2|scale:0-5|votes:8|sheet:" in shown
    )
    # One vote changed is another number, without any new work.
    Path("votes.csv").write_text("\n".join(["dataset,item,method,rater,score", *LINES]).replace("A,ann,4", "A,ann,2"))
    assert run(capsys)["A"]["value"] == 3.25


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("d,cat", "e,cat", "study.yaml:4: votes.csv:2: no dataset 'e' in this suite"),
        (",A,", ",gama,", "votes.csv:2: no method 'gama' in this suite; did you mean 'gamma'?"),
        ("d,cat", "d,cats", "votes.csv:2: dataset 'd' has no item 'cats'; did you mean 'cat'?"),
    ],
)  # fmt: skip
def test_names_that_the_suite_does_not_have_are_refused(
    old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text(SUITE)
    lines = [line.replace(old, new) for line in LINES]
    Path("votes.csv").write_text("\n".join(["dataset,item,method,rater,score", *lines]))
    assert bench("validate", "study.yaml") == 2
    assert said in capsys.readouterr().err
    assert bench("run", "study.yaml", "--limit", "1") == 2


def test_a_limited_run_takes_the_votes_of_its_items(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.yaml").write_text(SUITE)
    Path("votes.csv").write_text("\n".join(["dataset,item,method,rater,score", *LINES]))
    found = run(capsys, "--limit", "3", "-m", "A")
    assert (found["A"]["expected"], list(found)) == (3, ["A"])


def test_without_votes_the_cell_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.yaml").write_text(SUITE.replace(", ratings: votes.csv", ""))
    found = run(capsys, "--limit", "1")
    assert {row["status"] for row in found.values()} == {"n/a"}
    reason = found["A"]["reason"]
    assert "dataset, item, method, rater, score" in reason and "{iqpir/mos: {ratings: FILE.csv}}" in reason


def test_people_do_not_score_a_folder(folder: Path) -> None:
    from bench import score

    (folder / "images").mkdir()
    with pytest.raises(BenchError, match="iqpir/mos: people give it"):
        score("images", metrics=["iqpir/mos"])

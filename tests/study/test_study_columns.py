"""From votes to columns: values by hand, wherever the same pixels are in a run, and what a table says of them."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.commands import bench
from support.studies import ITEMS, METHODS, by_quality, filled, save, study

from bench.results import votes
from bench.results.votes import Ballot, Session

pytestmark = pytest.mark.usefixtures("folder")
RESULTS = Path("results")


def outputs() -> dict[tuple[str, str], str]:
    """(method, item) → content hash."""
    from bench.results import view
    from bench.results.store import Store

    with Store.reading(RESULTS) as store:
        data = view.read_cells(store, 1)
    found = {}
    for (_, method), units in data.units.items():
        for unit in units:
            assert unit.made is not None and unit.made.output_hash is not None
            found[method, unit.item] = unit.made.output_hash.hex()
    return found


def said(design: str, person: str, ballots: Sequence[tuple[str, Sequence[str], Sequence[float]]], **more: Any) -> None:
    """Store a session: (criterion, hashes, values) each."""
    made = tuple(
        Ballot(f"q{n}", criterion, "vote", tuple(images), tuple(values), "0" * 64, 2.0)
        for n, (criterion, images, values) in enumerate(ballots)
    )
    session = Session(
        "s1", design, ("noise",), more.get("lowest", 0), more.get("highest", 5), person, f"x{person}",  # type: ignore[arg-type]
        more.get("kept", True), (), made,
    )  # fmt: skip
    votes.write(RESULTS, session)


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    capsys.readouterr()
    assert bench("table", *arguments, "--format", "json") in (0, 1)
    return {(row["method"], row["metric"]): row for row in json.loads(capsys.readouterr().out)}


def test_a_mean_opinion_score_by_hand(capsys: pytest.CaptureFixture[str]):
    of = outputs()
    one, two, bad = of["Amberfox", "scene0"], of["Amberfox", "scene1"], of["Cinnabar", "scene0"]
    said("rating", "ann", [("noise", [one], [5]), ("colour", [one], [3]), ("noise", [two], [2]), ("noise", [bad], [0])])
    said("rating", "bob", [("noise", [one], [3]), ("noise", [bad], [1])])
    said("rating", "eve", [("noise", [one], [0])], kept=False)
    rows = table(capsys, "mine")
    # scene0: ann (5 + 3) / 2 = 4, bob 3 → 3.5; scene1: 2. Mean over items 2.75. Eve was left out.
    found = rows["Amberfox", "mos"]
    assert (found["value"], found["n"], found["expected"]) == (2.75, 2, ITEMS)
    assert rows["Amberfox", "mos(criterion=noise)"]["value"] == pytest.approx((4 + 2) / 2)
    assert rows["Cinnabar", "mos"]["value"] == 0.5 == rows["Cinnabar", "iqpir/mos"]["value"]
    assert rows["Bluejay", "mos"]["status"] == "n/a"
    assert found["signature"].startswith("mos|design:rating|scale:0-5|criteria:colour+noise|people:2|n:6|votes:")
    # Another vote is another number.
    said("rating", "cid", [("noise", [two], [4])])
    assert table(capsys, "mine")["Amberfox", "mos"]["signature"] != found["signature"]


def test_scores_on_two_scales_are_not_averaged(capsys: pytest.CaptureFixture[str]):
    one = outputs()["Amberfox", "scene0"]
    said("rating", "ann", [("noise", [one], [5])])
    said("rating", "bob", [("noise", [one], [9])], lowest=1, highest=10)
    found = table(capsys, "mine")["Amberfox", "mos"]
    assert found["status"] == "n/a" and "scales 0–5 and 1–10, which have no common mean" in found["reason"]
    for command in (["study", "report", "mine"], ["agreement", "mine"]):
        capsys.readouterr()
        assert bench(*command) == 2
        told = capsys.readouterr().err
        assert "Dragonet: votes are on the scales" in told and "one of s1" in told and len(told.splitlines()) == 1


def test_a_mean_rank_by_hand(capsys: pytest.CaptureFixture[str]):
    of = outputs()
    three = [of[method, "scene0"] for method in ("Cinnabar", "Amberfox", "Bluejay")]
    said("ranking", "ann", [("overall", three, [3, 1, 2])])
    said("ranking", "bob", [("overall", three[::-1], [1, 2, 3])])
    said("ranking", "cid", [("overall", [of["Bluejay", "scene1"], "f" * 64, of["Amberfox", "scene1"]], [1, 2, 3])])
    rows = table(capsys, "mine")
    # scene0: Amberfox 1 and 2, Bluejay 2 and 1, Cinnabar 3 and 3. scene1: of the two that are here, Bluejay is first.
    assert rows["Amberfox", "rank"]["value"] == (1.5 + 2) / 2
    assert rows["Bluejay", "rank"]["value"] == (1.5 + 1) / 2
    assert rows["Cinnabar", "rank"]["value"] == 3
    assert rows["Amberfox", "iqpfr/rank"]["value"] == ((3 + 2) / 2 + 1) / 2  # points: 3 + 1 − rank, 2 + 1 − rank
    assert rows["Bluejay", "iqpfr/rank-top-1"]["value"] == (50 + 100) / 2
    assert "|methods:2-3|criteria:overall|people:3|n:3|" in rows["Bluejay", "rank"]["signature"]


def test_strengths_are_those_of_the_votes_between_the_runs_methods(capsys: pytest.CaptureFixture[str]):
    of = outputs()
    good, poor = of["Amberfox", "scene0"], of["Cinnabar", "scene0"]
    said("pairs", "ann", [("overall", [good, poor], [1, 0])] * 8 + [("overall", [poor, good], [0.5, 0.5])] * 2)
    said("pairs", "bob", [("overall", [poor, good], [1, 0])] * 2 + [("overall", [good, "f" * 64], [0, 1])] * 50)
    rows = table(capsys, "mine")
    # 8 + 2·½ = 9 wins against 2 + 2·½ = 3: log 3 between them, their mean 0.
    assert rows["Amberfox", "bt"]["value"] == pytest.approx(math.log(3) / 2, abs=1e-6)
    assert rows["Cinnabar", "bt"]["value"] == pytest.approx(-math.log(3) / 2, abs=1e-6)
    assert rows["Bluejay", "bt"]["status"] == "n/a"
    assert rows["Amberfox", "bt"]["n"] == 1


def test_a_method_that_always_wins_has_no_finite_strength(capsys: pytest.CaptureFixture[str]):
    of = outputs()
    said("pairs", "ann", [("overall", [of["Amberfox", "scene0"], of["Cinnabar", "scene0"]], [1, 0])] * 5)
    found = table(capsys, "mine")["Amberfox", "bt"]
    assert found["status"] == "n/a" and "strengths are finite once somebody disagrees" in found["reason"]


def test_votes_answer_wherever_the_same_pixels_are(capsys: pytest.CaptureFixture[str]):
    said("rating", "ann", [("noise", [hash_], [4]) for (method, _), hash_ in outputs().items() if method == "Bluejay"])
    shutil.copytree("out/Bluejay", "out/Renamed")
    Path("other.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: low}, label: elsewhere}]\n"
        "methods: [{method: folder, options: {path: out/Renamed}, label: Renamed}]\nmetrics: [mos]\n",
        encoding="utf-8",
    )
    assert bench("run", "other.yaml") == 0
    found = table(capsys, "other")["Renamed", "mos"]
    assert (found["value"], found["n"]) == (4, ITEMS)


def test_the_papers_studies_go_from_make_to_table(capsys: pytest.CaptureFixture[str]):
    """The metrics of suites/user-study*.yaml and iqpfr-study.yaml, on small images."""
    for design in ("rating", "ranking"):
        key = study("--design", design, "--people", "4", name=f"study-{design}")
        shutil.rmtree("asked", ignore_errors=True)
        shutil.copytree(f"study-{design}", "asked")
        for person in range(1, 5):
            save(filled(key, person, by_quality(design, person, noise=1.0)), f"{design}{person}.json")
    assert bench("study", "add", "votes") == 0
    rows = table(capsys, "mine")
    for metric in ("iqpir/mos", "iqpfr/rank", "iqpfr/rank-top-1"):
        values = [rows[method, metric]["value"] for method in METHODS]
        assert values == sorted(values, reverse=True) and rows["Amberfox", metric]["n"] == ITEMS, metric
    assert sum(rows[method, "iqpfr/rank-top-1"]["value"] for method in METHODS) == pytest.approx(100)
    assert bench("table", "mine", "--ci") == 0
    assert "Rating ↑" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{mos: {variant: median}}", "variant is one of mean, p910, not 'median'"),
        ("{mos: {reject: all}}", "reject is one of none, bt500, z3.29, not 'all'"),
        ("{bt: {variant: p910}}", "has no option 'variant'"),
    ],
)
def test_a_wrong_option_is_refused(spec: str, said: str, capsys: pytest.CaptureFixture[str]):
    text = Path("mine.yaml").read_text(encoding="utf-8")
    Path("wrong.yaml").write_text(text.replace("metrics: [psnr", f"metrics: [{spec}, psnr"), encoding="utf-8")
    assert bench("validate", "wrong.yaml") == 2
    assert said in capsys.readouterr().err


def test_a_report_says_who_is_out_and_exports_every_vote(capsys: pytest.CaptureFixture[str]):
    key = study("--design", "pairs", "--people", "5")
    for person in range(1, 5):
        save(filled(key, person, by_quality("pairs", person, noise=1.5)))
    save(filled(key, 5, lambda shown: [1, 0]))
    assert bench("study", "add", "votes") == 0
    capsys.readouterr()
    assert bench("study", "report", "mine", "-o", "votes-as-csv") == 0
    told = capsys.readouterr().out
    assert "4 sessions kept, 1 left out" in told and "left out: p5" in told
    assert told.index("| Amberfox") < told.index("| Bluejay") < told.index("| Cinnabar")
    lines = Path("votes-as-csv/pairs.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("observer,session,scene,condition_A,condition_B,is_A_selected,tie,")
    assert len(lines) == 1 + 4 * ITEMS * 3
    assert bench("study", "report", "mine", "--format", "json") == 0
    data = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert data["datasets"][0]["pairs"]["strengths"]["Amberfox"]["value"] > 0
    assert bench("study", "report", "mine", "--criterion", "beauty") == 2


def test_strengths_have_the_interval_of_the_report(capsys: pytest.CaptureFixture[str]):
    key = study("--design", "pairs", "--repeats", "0")
    for person in range(1, 7):
        save(filled(key, person, by_quality("pairs", person, noise=2.5)))
    assert bench("study", "add", "votes") == 0
    rows = table(capsys, "mine", "--ci")
    assert bench("study", "report", "mine", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)["datasets"][0]["pairs"]["strengths"]
    assert set(told) == set(METHODS)
    for method, (value, low, high) in ((name, each.values()) for name, each in told.items()):
        row = rows[method, "bt"]
        assert (row["value"], row["low"], row["high"]) == pytest.approx((value, low, high))
        assert low < value < high
    assert rows["Amberfox", "bt"]["signature"].count("votes:") == 1
    assert bench("table", "mine", "--ci") in (0, 1)
    assert "Of Bradley–Terry strengths items and, independently, people are drawn again." in capsys.readouterr().out


def test_what_still_needs_votes_is_listed_and_who_is_accepted_is_told_apart(capsys: pytest.CaptureFixture[str]):
    key = study("--people", "3")
    save(filled(key, 1, by_quality("rating", 1)))
    save(filled(key, 2, by_quality("rating", 2), seconds=0.2))
    half = filled(key, 3, by_quality("rating", 3))
    half["events"] = half["events"][:9]
    save(half)
    assert bench("study", "add", "votes") == 0
    told = capsys.readouterr().out
    assert "accepted, left out: too fast" in told and re.search(r"answers, left out: incomplete", told)
    assert bench("study", "report", "mine", "-o", "report") == 0
    assert f"{len(METHODS) * ITEMS} lack {2 * len(METHODS) * ITEMS} of those planned" in capsys.readouterr().out
    with Path("report/needs.csv").open(encoding="utf-8", newline="") as file:
        needs = list(csv.DictReader(file))
    assert {(row["scene"], row["condition"]) for row in needs} == {
        (f"scene{n}", method) for n in range(ITEMS) for method in METHODS
    }
    assert {(row["votes"], row["planned"], row["missing"]) for row in needs} == {("1", "3", "2")}
    with Path("report/sessions.csv").open(encoding="utf-8", newline="") as file:
        sessions = {row["observer"]: (row["accepted"], row["kept"]) for row in csv.DictReader(file)}
    assert sessions == {"p1": ("yes", "yes"), "p2": ("yes", "no"), "p3": ("no", "no")}

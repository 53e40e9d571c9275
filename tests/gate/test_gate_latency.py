"""Times in the gate: a ratio of medians with its interval, on the same machine and in the same setting only."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from support.gated import Place

from bench.gate import slowdown
from bench.results import timings, view
from bench.results.store import Store
from bench.suite.setting import Setting, Size

SETTING = Setting(Size(512, 512), 1, "float32", "cpu", "synchronised", 2)
HERE = {"processor": "P", "usable": 2, "torch": "2.5"}


def measured(median: float = 20e6, count: int = 64, spread: float = 0.01, seed: int = 0) -> np.ndarray:
    """Nanoseconds: log-normal with a known median, as times of calls are skewed."""
    return median * np.exp(np.random.default_rng(seed).normal(0, spread, count))


def count(place: Place) -> int:
    """Stored measurements."""
    with closing(sqlite3.connect(place.root / "results/bench.db")) as database:
        return int(database.execute("SELECT count(*) FROM latency").fetchone()[0])


def ask(place: Place) -> None:
    """As if the suite of the newest run asked for times; measuring some would take minutes."""
    place.sql(
        """UPDATE run SET record=json_set(record, '$.definition.latency', json('{"size": 512, "dtype": "fp32"}'))"""
    )


def put(place: Place, samples: np.ndarray, method: str = "identity", **changes: Any) -> None:
    """A measurement of a method of the newest run."""
    ask(place)
    with Store(place.root / "results") as store:
        record = view.read_cells(store, view.find_run(store, "mine")).record
        identity = next(one.identity for one in record.methods if one.label == method)
        row = timings.Timing(
            label=method, name=method, setting=SETTING, machine="ab" * 32, fingerprint=HERE, status="ok", reason=None,
            samples=samples, events=np.array([]), cpu=np.array([]), record={}, session="s", written=1.0,
            method=timings.method_digest(identity), request=b"",
        )  # fmt: skip
        timings.put(store, row._replace(**changes))


@pytest.fixture
def timed(place: Place) -> Place:
    put(place, measured())
    assert place.bench("baseline", "mine")[0] == 0
    assert "2 values and 1 times" in place.err
    return place


def test_the_same_times_pass(timed: Place):
    assert timed.check() == (0, [], timed.check().data)
    put(timed, measured(seed=1))
    assert timed.check().code == 0 and timed.check().findings == []


def test_the_same_times_pass_however_much_they_vary(place: Place):
    put(place, measured(spread=0.6, count=8))
    assert place.bench("baseline", "mine")[0] == 0
    assert (place.check().code, place.check().findings) == (0, [])


def test_a_method_that_is_30_percent_slower_is_found_and_named(timed: Place):
    put(timed, measured(seed=1) * 1.3)
    found = timed.check()
    assert (found.code, found.failing) == (
        1,
        [("slower", "identity", "ms per call, 512×512, batch 1, float32, cpu, 2 threads", [])],
    )
    (row,) = found.findings
    assert row["baseline"] == pytest.approx(20, rel=0.01) and row["run"] == pytest.approx(26, rel=0.01)
    assert row["detail"].startswith("1.30 times the base's median") and row["detail"].endswith("limit 1.15")
    assert timed.check("--fail-on", "worse").code == 1
    assert timed.check("--fail-on", "outputs").code == 0


def test_what_disturbed_a_measurement_is_told(timed: Place):
    put(timed, measured() * 1.3, record={"noise": ["foreign load 37 %"]})
    assert "(foreign load 37 %)" in timed.check().findings[0]["detail"]


def test_a_difference_below_the_limit_passes_and_the_limit_is_the_users(timed: Place):
    put(timed, measured(seed=1) * 1.1)
    assert timed.check().findings == []
    timed.edit(lambda data: data["tolerances"].update(latency=1.05))
    assert [kind for kind, *_ in timed.check().failing] == ["slower"]


@pytest.mark.parametrize(
    ("samples", "changes", "said"),
    [
        (measured(count=4) * 2, {}, "4 calls are too few to compare"),
        (measured() * 2, {"machine": "cd" * 32, "fingerprint": {**HERE, "processor": "Q"}}, "timed on processor Q"),
    ],
    ids=["few", "another machine"],
)  # fmt: skip
def test_what_must_not_be_compared_is_a_note(place: Place, samples: np.ndarray, changes: dict[str, Any], said: str):
    put(place, measured())
    assert place.bench("baseline", "mine")[0] == 0
    place.sql("DELETE FROM latency")  # as in a results folder that starts anew
    put(place, samples, **changes)
    found = place.check()
    assert found.code == 0 and found.data["outcome"] == "passed"
    assert [kind for kind, _ in found.notes] == ["uncompared"] and said in found.notes[0][1]
    assert place.check("--fail-on", "uncompared").code == 1
    assert place.check("--strict").code == 0


def test_what_cannot_be_told_is_an_outcome_of_its_own(timed: Place):
    put(timed, measured(spread=0.3, seed=2, count=20) * 1.15)
    found = timed.check()
    assert (found.code, found.data["outcome"], found.data["passed"]) == (3, "inconclusive", True)
    assert [kind for kind, _ in found.notes] == ["inconclusive"] and "which holds the limit 1.15" in found.notes[0][1]
    assert timed.check("--strict").code == timed.check("--fail-on", "inconclusive").code == 1


PROBE = [2.0e6 + 1e4 * number for number in range(15)]


@pytest.mark.parametrize(
    ("machine", "code", "kind"), [(1.0, 1, "slower"), (1.3, 3, "inconclusive"), (0.7, 1, "slower"), (1.05, 1, "slower")]
)
def test_a_machine_that_was_slower_itself_leaves_it_open(place: Place, machine: float, code: int, kind: str):
    put(place, measured(), record={"probe": {"before": PROBE, "after": PROBE}})
    assert place.bench("baseline", "mine")[0] == 0
    (row,) = json.loads(place.baseline.read_text(encoding="utf-8"))["timings"]
    assert len(row["probe"]) == 30 and np.median(row["probe"]) == pytest.approx(2.07e-3)
    slowed = [value * machine for value in PROBE]
    put(place, measured(seed=1) * 1.3, record={"probe": {"before": slowed, "after": slowed}})
    found = place.check()
    assert found.code == code and [one["kind"] for one in found.findings] == [kind]
    assert ("the machine itself took 1.30 times" in found.findings[0]["detail"]) is (code == 3)


@pytest.mark.parametrize(
    ("factor", "code", "kind", "said"),
    [(1.3, 1, "slower", "1 of 1600"), (1.0, 3, "inconclusive", "measured again: within the limit")],
)
def test_a_slow_down_is_measured_again_before_it_fails(
    timed: Place, monkeypatch: pytest.MonkeyPatch, factor: float, code: int, kind: str, said: str
):
    put(timed, measured(seed=1) * 1.3)
    asked = []

    def again(run: Any, methods: Any, results: Any, **_: Any) -> None:
        asked.append(list(methods))
        put(timed, measured(seed=2) * factor)

    monkeypatch.setattr("bench.gate.confirm.measure_again", again)
    found = timed.check("--confirm")
    assert asked == [["identity"]] and found.code == code
    assert [one["kind"] for one in found.findings] == [kind] and said in found.findings[0]["detail"]
    assert "1.30 times the base's median" in found.findings[0]["detail"]  # the first answer is not forgotten


@pytest.mark.parametrize("style", ["text", "markdown", "github"])
@pytest.mark.parametrize("factor", [1.3, 1.0])
def test_every_form_says_what_measuring_again_has_shown(
    timed: Place, monkeypatch: pytest.MonkeyPatch, style: str, factor: float
):
    put(timed, measured(seed=1) * 1.3)
    monkeypatch.setattr("bench.gate.confirm.measure_again", lambda *_, **__: put(timed, measured(seed=2) * factor))
    asked = ("check", "mine", "--baseline", str(timed.baseline), "--confirm")
    code, told = timed.bench(*asked, "--format", style, "--comment", "comment.md")
    assert "measuring again: identity" in timed.err
    # Above a two-sided interval of 95 % lies one value in 40; the second measurement is independent: 40 · 40 = 1600.
    assert round(2 / (1 - 0.95)) == 40
    chance = "by chance in 1 of 1600 comparisons at most, not 1 of 40"
    for text in (told, (timed.root / "comment.md").read_text(encoding="utf-8")):
        assert "1.30 times the base's median" in text.replace("&#x27;", "'")
        assert (chance in text) is (factor == 1.3)
        assert ("measured again: within the limit" in text) is (factor == 1.0)
    assert code == (1 if factor == 1.3 else 3)


def test_a_slow_down_that_was_measured_once_says_how_to_measure_it_again(timed: Place):
    put(timed, measured(seed=1))
    assert timed.bench("check", "mine", "--baseline", str(timed.baseline))[0] == 0
    assert "--confirm" not in timed.err
    put(timed, measured(seed=1) * 1.3)
    assert timed.bench("check", "mine", "--baseline", str(timed.baseline))[0] == 1
    assert "identity was measured once: --confirm measures again before that fails" in timed.err


def test_help_says_which_suites_confirm_is_for(timed: Place):
    code, told = timed.bench("check", "--help")
    said = " ".join(told.split())
    assert code == 0 and "--confirm Measure a slow-down again before it fails." in said
    assert "--confirm and --plugin go with suites that have latency:" in said


def test_nothing_is_measured_again_without_need(timed: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.gate.confirm.measure_again", lambda *_, **__: pytest.fail("nothing was slower"))
    put(timed, measured(seed=1))
    assert timed.check("--confirm").code == 0


def test_it_is_really_measured_again(timed: Place):
    timed.suite("metrics: [psnr]", "metrics: [psnr]\nlatency: {size: 512x512, samples: 6, dtype: fp32}")
    assert timed.run() == 0 and timed.bench("baseline", "mine")[0] == 0
    timed.edit(lambda data: data["timings"][0].update(samples=[1e-9] * 6))  # as if it had been a million times faster
    before = count(timed)
    found = timed.check("--confirm")
    assert found.code == 1 and "measured again" in found.findings[0]["detail"]
    assert count(timed) == before + 1


def confirmed(timed: Place, monkeypatch: pytest.MonkeyPatch, again: Any, *arguments: str) -> Any:
    """What a slow-down becomes where measuring again does what is given."""
    put(timed, measured(seed=1) * 1.3)
    monkeypatch.setattr("bench.gate.confirm.measure_again", again)
    return timed.check("--confirm", *arguments)


def test_a_method_that_cannot_be_called_any_more_has_failed(timed: Place, monkeypatch: pytest.MonkeyPatch):
    gone = {"status": "failed", "reason": "RuntimeError: cannot any more"}
    found = confirmed(timed, monkeypatch, lambda *_, **__: put(timed, np.array([]), **gone))
    assert (found.code, [kind for kind, *_ in found.failing]) == (1, ["failed"])
    assert "measured again: RuntimeError: cannot any more" in found.findings[0]["detail"]


def test_what_was_not_measured_again_is_no_second_answer(timed: Place, monkeypatch: pytest.MonkeyPatch):
    """As where suite or method are others by now: their times are stored, and are none of this run."""
    other = SETTING._replace(size=Size(256, 256))
    found = confirmed(timed, monkeypatch, lambda *_, **__: put(timed, measured(seed=2), setting=other))
    assert found.code == 3 and [one["kind"] for one in found.findings] == ["inconclusive"]
    assert "not measured again" in found.findings[0]["detail"] and "1600" not in found.findings[0]["detail"]


def test_the_run_of_another_folder_is_measured_for_that_folder(timed: Place, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def again(run: Any, methods: Any, results: Any, **_: Any) -> None:
        asked.append(results)
        put(timed, measured(seed=2) * 1.3)

    put(timed, measured(seed=1) * 1.3)
    monkeypatch.setattr("bench.gate.confirm.measure_again", again)
    folder = timed.root / "results"
    arguments = ("check", f"{folder}:mine", "--baseline", str(timed.baseline), "--confirm")
    code, told = timed.bench(*arguments, "--results", str(timed.root / "others"))
    assert (code, asked) == (1, [folder]) and "1 of 1600" in told


def test_microseconds_between_sessions_are_no_slower_method(place: Place):
    put(place, measured(40e3))
    assert place.bench("baseline", "mine")[0] == 0
    put(place, measured(80e3))
    found = place.check()
    assert found.code == 0 and found.notes[0][0] == "uncompared"
    assert found.notes[0][1].endswith("less than 0.1 ms apart")


def test_microseconds_that_vary_are_not_inconclusive(place: Place):
    put(place, measured(40e3, spread=0.3, seed=2, count=20))
    assert place.bench("baseline", "mine")[0] == 0
    put(place, measured(46e3, spread=0.3, seed=3, count=20))
    found = place.check()
    assert (found.code, found.notes[0][0]) == (0, "uncompared") and "holds" not in found.notes[0][1]


def test_another_setting_is_not_compared(timed: Place):
    timed.sql("DELETE FROM latency")
    put(timed, measured() * 2, setting=SETTING._replace(batch=4))
    put(timed, measured() * 2, setting=SETTING._replace(mode="dispatch"))
    assert timed.check().code == 0
    assert timed.check().notes == [("uncompared", "not timed again")]


def test_a_time_that_the_suite_does_not_ask_for_is_no_part_of_its_baseline(place: Place):
    put(place, measured())
    put(place, measured() * 2, setting=SETTING._replace(size=Size(256, 256)))
    assert place.bench("baseline", "mine")[0] == 0 and "2 values and 1 times" in place.err
    place.sql("UPDATE run SET record=json_remove(record, '$.definition.latency')")
    assert place.bench("baseline", "mine")[0] == 0 and "2 values and 0 times" in place.err


def test_a_faster_method_is_a_note(timed: Place):
    put(timed, measured() / 2)
    assert [kind for kind, _ in timed.check().notes] == ["faster"]


def test_a_method_that_cannot_be_timed_any_more_is_found(timed: Place):
    put(timed, np.array([]), status="failed", reason="out of memory")
    found = timed.check()
    assert found.code == 1 and found.failing[0][:2] == ("failed", "identity")
    assert found.findings[0]["detail"] == "out of memory"


def test_a_baseline_keeps_ranks_of_many_samples(place: Place):
    put(place, measured(count=5000))
    assert place.bench("baseline", "mine")[0] == 0
    (row,) = json.loads(place.baseline.read_text(encoding="utf-8"))["timings"]
    assert (row["n"], len(row["samples"]), row["samples"] == sorted(row["samples"])) == (5000, slowdown.KEPT, True)
    assert np.median(row["samples"]) == pytest.approx(np.median(measured(count=5000)) / 1e9, rel=1e-3)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    """95 % of intervals of two samples of one distribution hold the ratio 1 (percentile bootstrap: nearly)."""
    held = 0
    for seed in range(60):
        first, second = (
            slowdown.timing("m", "s", "here", list(measured(count=40, spread=0.1, seed=2 * seed + part) / 1e9))
            for part in (0, 1)
        )
        found = slowdown.ratio(first, second)
        assert found is not None and found.low <= found.ratio <= found.high
        held += found.low <= 1 <= found.high
    assert 51 <= held <= 60

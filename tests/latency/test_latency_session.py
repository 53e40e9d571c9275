"""A measurement with real processes: turns, failures as rows, what is stored and what is printed."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from bench import cli
from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.latency import selection, session
from bench.latency.timing_process import TimingWorker, scene
from bench.methods.build import build_method, identity_of
from bench.results import timings
from bench.results.store import Store
from bench.suite.setting import STAGES, Rules
from bench.tables import latency_table as tables
from bench.tables.time_column import milliseconds

PLUGIN = Path(__file__).parents[1] / "support" / "timed_plugin.py"
SAMPLES = 24
STEP = 0.006
"""Seconds that the plugin's slowed method sleeps."""


class Measured(NamedTuple):
    code: int
    records: list[dict[str, object]]
    said: str
    timings: list[timings.Timing]
    raw: list[dict[str, str]]

    def timing(self, name: str, height: int) -> timings.Timing:
        return next(one for one in self.timings if (one.name, one.setting.size.height) == (name, height))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Three methods at three sizes in turns, once for all tests."""
    folder = tmp_path_factory.mktemp("latency")
    out, err = io.StringIO(), io.StringIO()
    arguments = [
        "latency", "timed-steady,timed-slowed,timed-fragile", "--plugin", str(PLUGIN), "--size", "32,48x40,56",
        "--samples", str(SAMPLES), "--threads", "1", "--results", str(folder), "--raw", str(folder / "raw.csv"),
        "--format", "json", "--brief",
    ]  # fmt: skip
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert out.getvalue(), err.getvalue()
    records = json.loads(out.getvalue())
    with Store(folder, writable=False) as store:
        stored = timings.of_session(store, records[0]["session"])
    with open(folder / "raw.csv", encoding="utf-8") as file:
        raw = list(csv.DictReader(file))
    return Measured(int(stop.value.code or 0), records, err.getvalue(), stored, raw)


def test_a_deliberately_slowed_method_is_seen(measured: Measured):
    found = next(one for one in measured.records if one["method"] == "timed-slowed" and one["height"] == 32)
    assert found["ratio_to"] == "timed-steady"
    assert 1 < found["ratio_low"] <= found["ratio"] <= found["ratio_high"]  # type: ignore[operator]
    steady, slowed = (measured.timing(name, 32).samples for name in ("timed-steady", "timed-slowed"))
    assert np.median(slowed) - np.median(steady) > STEP * 1e9 / 2
    assert slowed.min() >= STEP * 1e9
    # Sleeping costs time and no work.
    assert np.median(measured.timing("timed-slowed", 32).cpu) < STEP * 1e9


def test_a_failed_method_is_a_row_with_its_reason_and_the_others_go_on(measured: Measured):
    assert measured.code == 1
    reasons = {
        one["height"]: (one["status"], one["reason"]) for one in measured.records if "fragile" in str(one["method"])
    }
    assert reasons[32] == ("ok", None)
    assert reasons[48] == ("failed", "out of memory")
    assert reasons[56] == ("failed", "its process ended with exit code 9")
    assert all(one["n"] == SAMPLES for one in measured.records if "fragile" not in str(one["method"]))


def test_every_sample_is_stored_with_what_it_rests_on(measured: Measured):
    timing = measured.timing("timed-steady", 48)
    assert timing.samples.size == timing.cpu.size == SAMPLES and timing.events.size == 0
    assert (timing.setting.size.width, timing.setting.threads, timing.setting.mode) == (40, 1, "synchronised")
    entry = registry("method").get("timed-steady")  # as the command's plugin has registered it
    identity = identity_of(build_method(entry, {}, None), entry)
    assert set(identity) == {"plugin", "code"} and timing.method == timings.method_digest(identity)
    assert {"processor", "logical", "torch"} <= set(timing.fingerprint)
    record = timing.record
    assert record["stop"] == f"{SAMPLES} samples, as asked" and record["order"] == "interleaved"
    assert record["load_ns"] > 0 and record["first_ns"] > 0 and record["warm"] >= 1
    assert record["memory"]["rss_peak"] > 50 * 2**20
    assert {"foreign_share", "own_share", "flags"} <= set(record["environment"])
    assert record["parameters"] == 81
    mine = [float(row["wall_ns"]) for row in measured.raw if (row["method"], row["height"]) == ("timed-steady", "48")]
    np.testing.assert_array_equal(mine, timing.samples)


def test_the_tables_say_what_a_number_rests_on(measured: Measured):
    found = tables.lines([measured.timing(name, 32) for name in ("timed-steady", "timed-slowed")])
    markdown = tables.text(found, "markdown", "Times")
    for words in (
        f"n/a (n={SAMPLES}<662)", "ratio to timed-steady", "32×32, batch 1, float32, cpu, 1 threads",
        f"{SAMPLES} samples, as asked", "taking turns",
    ):  # fmt: skip
        assert words in markdown
    assert r"\toprule" in tables.text(found, "latex", "Times") and "<table>" in tables.text(found, "html", "Times")
    (header, *rows) = csv.reader(io.StringIO(tables.text(found, "csv", "Times")))
    assert len(rows) == 2 and dict(zip(header, rows[1], strict=True))["method"] == "timed-slowed"


def test_noise_is_marked_and_the_number_is_kept(measured: Measured):
    timing = measured.timing("timed-steady", 32)
    noisy = timing._replace(record={**timing.record, "noise": ["foreign load 37%"]})
    quiet = timing._replace(record={**timing.record, "noise": []})
    shown = tables.text(tables.lines([noisy]), "markdown", "x")
    assert "noisy: foreign load 37%" in shown and milliseconds(float(np.median(timing.samples))) in shown
    assert "noisy" not in tables.text(tables.lines([quiet]), "markdown", "x")


def test_times_of_two_sessions_have_no_ratio(measured: Measured):
    steady, slowed = (measured.timing(name, 32) for name in ("timed-steady", "timed-slowed"))
    assert tables.lines([steady, slowed])[1].ratio is not None
    assert tables.lines([steady, slowed._replace(session="another")])[1].ratio is None
    apart = slowed._replace(record={**slowed.record, "order": "sequential"})
    assert tables.lines([steady, apart])[1].ratio is None


def test_a_papers_times_stand_beside_ours_with_the_reason(measured: Measured):
    timing = measured.timing("timed-steady", 32)._replace(label="(c)", name="iqpir-ablation-c")
    shown = tables.text(tables.lines([timing], "iqpir/table5"), "markdown", "x", table="iqpir/table5")
    assert "5.63" in shown and "without waiting for the GPU" in shown
    by_name = tables.lines([timing._replace(label="mine")], "iqpir/table5")
    assert by_name[0].theirs is not None and by_name[0].theirs.printed == "5.63"


LOAD = {
    "do": "load", "options": {}, "base": None, "plugins": [], "device": "cpu", "dtype": "float32", "mode":
    "synchronised", "commands": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("sci-medium", {}, "needs weights/sci/medium.pt"),
        ("folder", {"path": "."}, "outputs that exist already"),
        ("command", {"argv": ["cp", "{input}", "{output}"]}, "--allow-commands"),
        ("nosuch", {}, "unknown method 'nosuch'"),
    ],
)
def test_what_cannot_be_timed_says_why(name, options, reason, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    answer = TimingWorker().do({**LOAD, "name": name, "options": options, "threads": torch.get_num_threads()})
    assert reason in answer["error"] and "\n" not in answer["error"]


def test_what_cannot_be_timed_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    names = {"sci-medium": {}, "identity": {}, "command": {"argv": ["cp", "{input}", "{output}"]}, "iqpir": {}}
    subjects = [session.TimedMethod(name, name, options) for name, options in names.items()]
    with pytest.raises(BenchError) as caught:
        selection.check(subjects, commands=False)
    weights, program = str(caught.value).splitlines()  # identity needs nothing, iqpir is timed with random weights
    assert weights.startswith("sci-medium: ") and "weights/sci/medium.pt" in weights
    assert program.startswith("command: ") and "--allow-commands" in program


@pytest.mark.parametrize("error", ["SystemExit(0)", "GeneratorExit()", "BaseException('raw')"])
def test_whatever_a_method_raises_is_its_answer(error, tmp_path):
    plugin = tmp_path / f"raises_{abs(hash(error))}.py"
    plugin.write_text(
        "import bench\nfrom bench.methods.base import Method\nclass M(Method):\n"
        "    def identity(self): return {'m': 1}\n    def load(self, device, dtype): pass\n"
        f"    def restore(self, images, seeds=None): raise {error}\n"
        f"bench.register_method({plugin.stem!r}, M)\n"
    )
    worker = TimingWorker()
    worker.do({**LOAD, "name": plugin.stem, "plugins": [str(plugin)], "threads": torch.get_num_threads()})
    answer = worker.do({"do": "prepare", "height": 32, "width": 32, "batch": 1})
    assert answer["error"].startswith(error.partition("(")[0])


def test_what_is_left_is_the_longest_that_the_rules_allow():
    # 40 of 64 samples in 20 s: 24 more at 0.5 s each. 64 are there, but not yet 10 s. 1 sample of 50 s: 60 s end it.
    assert Rules().left(40, 20.0) == 12.0
    assert Rules().left(64, 4.0) == 6.0
    assert Rules().left(1, 50.0) == 10.0
    assert Rules.asked(8, None).left(4, 2.0) == 2.0


def test_missing_weights_of_a_known_network_become_random_ones(tmp_path, monkeypatch):
    import iqpir.network.config as config

    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    monkeypatch.setitem(config.PRESETS, "full", config.PRESETS["small"])
    worker = TimingWorker()
    answer = worker.do({**LOAD, "name": "iqpir", "threads": torch.get_num_threads()})
    assert answer["weights"] == "random" and answer["parameters"] > 1_000_000
    assert worker.do({"do": "prepare", "height": 64, "width": 64, "batch": 2})["shape"] == [2, 3, 64, 64]
    assert worker.do({"do": "call"})["wall"] > 0


def test_the_stages_and_the_rest_make_up_the_whole_job():
    worker = TimingWorker()
    answer = worker.do({**LOAD, "name": "timed-slowed", "plugins": [str(PLUGIN)], "threads": torch.get_num_threads()})
    assert answer["parameters"] == 81
    worker.do({"do": "prepare", "height": 48, "width": 40, "batch": 2})
    found = worker.do({"do": "stages", "call_ns": 1e9})
    stages = found["stages"]
    assert found["repeats"] == 3 and set(stages) == {*STAGES, "whole"}
    assert stages["model"] >= STEP * 1e9 / 2, "per image, of two at once"
    assert 0 < stages["untracked"] < stages["whole"]
    # 3·3 kernels of 3·3 weights over 2·48·40 pixels, two operations each.
    assert worker.do({"do": "flops"})["flops"] == 2 * 81 * 2 * 48 * 40


def test_sequential_turns_mark_a_sample_that_does_not_agree_with_itself():
    found: list[timings.Timing] = []
    job = session.TimingJob(
        [session.TimedMethod("wavering", "timed-wavering", {})],
        selection.settings("32", "1", "fp32", "cpu", threads=1),
        Rules.asked(12, None), "sequential", (str(PLUGIN),), details=False,
    )  # fmt: skip
    session.measure(job, found.append)
    assert found[0].ok and found[0].record["order"] == "sequential" and found[0].record["settled"] is False
    assert any(line.startswith("relative spread ") for line in found[0].noise)


def test_generated_scenes_are_dark_coloured_and_different():
    first, second = scene(48, 40, 0), scene(48, 40, 1)
    assert first.shape == (48, 40, 3) and first.dtype == np.uint8
    assert (first != second).any() and first.std() > 10 and first.mean() < 128
    assert np.abs(first[..., 0].astype(int) - first[..., 2]).mean() > 5

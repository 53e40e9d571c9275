"""Stored times: samples come back bit by bit, nothing is replaced, and a run finds its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.identity import digest
from bench.results import timings
from bench.results.store import Store
from bench.suite.setting import Setting, Size

SETTING = Setting(Size(64, 48), 1, "float32", "cpu", "synchronised", 2)
HERE, THERE = digest("here").hex(), digest("there").hex()


def timing(label: str = "x", median: float = 2e6, machine: str = HERE, **changes: object) -> timings.Timing:
    made = timings.Timing(
        label=label, name="n", setting=SETTING, machine=machine, fingerprint={"processor": "P"}, status="ok",
        reason=None, samples=np.array([median, 1e6 / 3, 9e9]), events=np.array([]), cpu=np.array([5.0, 6.0, 7.0]),
        record={"noise": ["foreign load 37 %"]}, session="s", written=1.0, method=digest("m"), request=digest("r"),
    )  # fmt: skip
    return made._replace(**changes)  # type: ignore[arg-type]


def run_of(store: Store, latency: object, methods: list[dict[str, object]], device: str = "cpu") -> int:
    record = run_record("s", "T", {"latency": latency}, (), methods)
    return store.create_run("s", record.digest, record.text({"device": device}))


def test_samples_come_back_bit_by_bit(tmp_path: Path):
    given = timing()
    with Store(tmp_path) as store:
        timings.put(store, given)
    with Store(tmp_path, writable=False) as store:
        (found,) = timings.of_session(store, "s")
    for mine, theirs in zip(given, found, strict=True):
        np.testing.assert_array_equal(mine, theirs) if isinstance(mine, np.ndarray) else None
    assert found._replace(samples=0, events=0, cpu=0) == given._replace(samples=0, events=0, cpu=0)
    assert found.median_ms == 2.0 and found.noise == ["foreign load 37 %"]


def test_a_later_measurement_stands_beside_the_earlier_one(tmp_path: Path):
    with Store(tmp_path) as store:
        timings.put(store, timing(median=1e6))
        timings.put(store, timing(median=4e6))
        assert [one.median_ms for one in timings.find(store, methods=[digest("m")])] == [4.0, 1.0]
        assert timings.find(store, methods=[digest("other")]) == []
        assert len(timings.find(store, methods=[digest("m")], requests=[digest("r")])) == 2


def test_a_run_finds_its_methods_at_its_setting_on_one_machine(tmp_path: Path):
    identity = {"kind": "k", "v": 1}
    methods = [
        {"label": "second", "name": "timed", "options": {"a": 1}, "identity": {}},
        {"label": "first", "name": "n", "options": {}, "identity": identity},
        {"label": "never", "name": "never", "options": {}, "identity": {"v": 3}},
    ]
    own, asked = timings.method_digest(identity), timings.request_digest("timed", {"a": 1})
    with Store(tmp_path) as store:
        number = run_of(store, {"size": "64x48", "dtype": "fp32", "order": "interleaved"}, methods)
        assert timings.of_run(store, number) == []
        for changed in (
            {}, {"median": 3e6}, {"median": 8e6, "setting": SETTING._replace(batch=4)},
            {"median": 8e6, "setting": SETTING._replace(dtype="bfloat16")},
            {"median": 8e6, "setting": SETTING._replace(size=Size(48, 64))},
            {"median": 8e6, "setting": SETTING._replace(device="cuda")},
            {"median": 8e6, "setting": SETTING._replace(mode="dispatch")},
        ):  # fmt: skip
            timings.put(store, timing(method=own, **changed))  # type: ignore[arg-type]
        timings.put(
            store, timing(method=digest("twin"), request=asked, status="failed", reason="why", samples=np.array([]))
        )
        found = timings.of_run(store, number)
        assert [(one.label, one.status) for one in found] == [("second", "failed"), ("first", "ok")]
        assert found[1].median_ms == 3.0 and np.isnan(found[0].median_ms)
        # Newer rows of another machine are not mixed with those of this one.
        timings.put(store, timing(method=own, median=7e6, machine=THERE))
        assert [one.median_ms for one in timings.of_run(store, number)] == [7.0]
        assert [one.label for one in timings.of_run(store, number, machine=HERE)] == ["second", "first"]
        assert timings.of_run(store, number, mode="dispatch")[0].median_ms == 8.0


def test_times_of_another_number_of_threads_are_no_column_with_the_others(tmp_path: Path):
    """One method that was timed alone, on fewer threads, keeps the time that it has beside the others."""
    names = ("a", "b", "c")
    methods = [{"label": name, "name": name, "options": {}, "identity": {"v": name}} for name in names]
    other = SETTING._replace(threads=SETTING.threads + 1)
    with Store(tmp_path) as store:
        number = run_of(store, {"size": "64x48", "dtype": "fp32", "order": "interleaved"}, methods)
        digests = [timings.method_digest({"v": name}) for name in names]
        for place, own in enumerate(digests):
            timings.put(store, timing(method=own, request=digest(names[place]), median=(1 + place) * 1e6))
        timings.put(store, timing(method=digests[0], request=digest("a"), median=9e6, setting=other))
        timings.put(store, timing(method=digests[1], request=digest("b"), status="failed", reason="busy", setting=other,
                                  samples=np.array([])))  # fmt: skip
        found = timings.of_run(store, number)
        assert [one.median_ms for one in found] == [1.0, 2.0, 3.0]
        for place, own in enumerate(digests):  # where all have been timed anew, these are the newest
            timings.put(store, timing(method=own, request=digest(names[place]), median=9e6, setting=other))
        assert {one.setting.threads for one in timings.of_run(store, number)} == {other.threads}


def test_a_run_without_latency_has_none_and_an_unknown_run_is_an_error(tmp_path: Path):
    with Store(tmp_path) as store:
        assert timings.of_run(store, run_of(store, None, [])) == []
        with pytest.raises(BenchError, match="no run 9"):
            timings.of_run(store, 9)

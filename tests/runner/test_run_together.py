"""Two runs at once on one results folder share the work: both end well, and nothing is done twice."""

from __future__ import annotations

from collections import Counter

from support.workplace import PLUGIN, Started, Workplace

BARRIER = """
import os, pathlib, time
pathlib.Path(f"ready-{os.getpid()}").touch()
while len(list(pathlib.Path().glob("ready-*"))) < 2:
    time.sleep(0.001)
"""
"""Two processes with this in front start their work at the same time."""
SLOW = "{method: traced, options: {milliseconds: 15}}"


def both_at_once(workplace: Workplace, *suites: str) -> list[Started]:
    barrier = workplace.write("barrier.py", BARRIER)
    return [
        workplace.start("run", suite, "--plugin", PLUGIN, "--results", workplace.results, before=barrier)
        for suite in suites
    ]


def assert_nothing_twice(workplace: Workplace) -> None:
    counts = Counter(
        (trace.method, trace.content) for trace in workplace.traced() if not trace.method.endswith(":load")
    )
    assert counts and set(counts.values()) == {1}
    assert workplace.count("claim") == 0


def test_two_runs_of_one_suite_share_its_units(workplace: Workplace) -> None:
    workplace.pairs(40)
    job = workplace.suite(f"[{SLOW}, identity]", "[psnr, ssim, psnr-pooled]")
    first, second = (process.wait() for process in both_at_once(workplace, job, job))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.out == second.out and first.out.count("40/40") == 2
    assert_nothing_twice(workplace)
    counts = {table: workplace.count(table) for table in ("restoration", "extraction", "score")}
    assert counts == {"restoration": 80, "extraction": 80, "score": 2 * 80 + 2}
    assert len({trace.pid for trace in workplace.traced()}) == 2, "one of the two did everything"


def test_two_suites_that_share_a_method_share_its_outputs(workplace: Workplace) -> None:
    workplace.pairs(30)
    one = workplace.suite(f"[{SLOW}]", "[psnr, psnr-pooled]", name="one")
    other = workplace.suite(f"[gamma, {SLOW}]", "[ssim, psnr]", name="other")
    assert [process.wait().code for process in both_at_once(workplace, one, other)] == [0, 0]
    assert_nothing_twice(workplace)
    for suite, expected in ((one, 30), (other, 60)):
        alone = workplace.run(
            suite, "--results", workplace.root / "alone", env={"TRACE_LOG": str(workplace.root / "log")}
        )
        assert workplace.table("markdown", run=suite) == alone.out
        assert alone.out.count("30/30") == expected // 30


def test_a_run_takes_over_what_a_killed_one_had_claimed(workplace: Workplace) -> None:
    workplace.pairs(40)
    job = workplace.suite(f"[{SLOW}]", "[psnr, psnr-pooled]")
    victim, heir = both_at_once(workplace, job, job)
    while len({trace.pid for trace in workplace.traced() if trace.method == "traced"}) < 2:
        assert victim.running and heir.running
    assert victim.kill().code == -9
    done = heir.wait()
    assert done.code == 0 and "40/40" in done.out, done.err
    assert workplace.count("claim") == 0
    # What the victim had in flight when it died is all that may have been tried twice.
    counts = Counter(trace.content for trace in workplace.traced() if trace.method == "traced")
    assert len(counts) == 40 and sum(counts.values()) <= 40 + 8
    again = workplace.run(job, "--results", workplace.results)
    assert "40 units, 0 worked on" in again.err and again.out == done.out

"""`kill -9` at any instant loses nothing that was written, repeats nothing that was finished, and changes no number."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from multiprocessing import Pipe
from typing import NamedTuple

import pytest
from support.workplace import PLUGIN, Started, Workplace

from bench.runner.engines.local import _last_word

METHODS = (
    "[{method: traced, options: {milliseconds: 40}}, gamma, "
    "{method: traced, options: {gain: 2.0, name: twice, milliseconds: 40}}]"
)
METRICS = "[psnr, ssim, psnr-pooled]"
TRACED = {0: "traced", 2: "twice"}
"""Which cells' methods write down what they restore, and under which name."""
IMAGES, UNITS = 18, 54
TOTALS = {"restoration": UNITS, "score": 2 * UNITS, "extraction": UNITS}
"""Rows that come up while units are worked on: two values and one feature vector each."""
KILLS = 20 if "BENCH_TEST_LONG" in os.environ else 8
EXPECTED = {**TOTALS, "score": 2 * UNITS + 3, "unit": UNITS, "run": 1, "claim": 0}
"""Rows of a finished run: with a pooled value per method."""


@pytest.fixture
def job(workplace: Workplace) -> str:
    workplace.pairs(IMAGES)
    return workplace.suite(METHODS, METRICS)


class Moment(NamedTuple):
    """What was known when a process started."""

    finished: frozenset[bytes]
    """Keys of the restorations in the store."""
    traced: int
    """Restorations that had been tried."""


def moment(workplace: Workplace) -> Moment:
    if not (workplace.results / "bench.db").is_file():
        return Moment(frozenset(), 0)
    rows = workplace.rows("SELECT key FROM restoration WHERE status='ok'")
    return Moment(frozenset(bytes(row[0]) for row in rows), len(workplace.traced()))  # type: ignore[arg-type]


def wait_for(workplace: Workplace, process: Started, table: str, rows: int) -> None:
    """Until the store holds so many rows of a table."""
    while process.running:
        try:
            if workplace.count(table) >= rows:
                return
        except sqlite3.OperationalError:  # no file or no table yet
            time.sleep(0.002)
        time.sleep(0.0005)


def assert_not_repeated(workplace: Workplace, moments: list[Moment]) -> None:
    """No process restored what was in the store when it started."""
    sql = "SELECT key, cell, hash FROM unit JOIN restoration r ON r.id=restoration JOIN content ON content.id=r.input"
    image = {bytes(key): (TRACED.get(cell), digest.hex()) for key, cell, digest in workplace.rows(sql)}  # type: ignore
    traced = [(trace.method, trace.content) for trace in workplace.traced()]
    for started in moments:
        assert {image[key] for key in started.finished}.isdisjoint(traced[started.traced :])


def assert_complete(workplace: Workplace, job: str) -> None:
    """Every row is there once, and the tables are, byte for byte, those of a run that nobody interrupted."""
    reference = workplace.root / "uninterrupted"
    done = workplace.run(job, "--results", reference, env={"TRACE_LOG": str(workplace.root / "other.log")})
    assert done.code == 0, done.err
    for results in (workplace.results, reference):
        assert {table: workplace.count(table, results) for table in EXPECTED} == EXPECTED
        assert workplace.rows("PRAGMA integrity_check", results) == [("ok",)]
    for style in ("markdown", "csv"):
        assert workplace.table(style) == workplace.table(style, reference)
    assert workplace.table("markdown").count(f"{IMAGES}/{IMAGES}") == 3
    outputs = {file.name for file in (workplace.results / "outputs").glob("*/[!.]*")}
    assert outputs == {file.name for file in (reference / "outputs").glob("*/*")}
    laid = workplace.bench("export", "--images", workplace.root / "laid", "--results", workplace.results)
    assert laid.code == 0 and sum(file.is_file() for file in (workplace.root / "laid").rglob("*")) == UNITS


def test_kills_at_random_moments_lose_and_repeat_nothing(workplace: Workplace, job: str) -> None:
    draw = random.Random(20)
    moments: list[Moment] = []
    for kill in range(KILLS):
        # Restorations, values and features in turn; the kills are spread over the whole job.
        table = list(TOTALS)[kill % 3]
        rows = 1 + kill * (TOTALS[table] - 4) // KILLS + draw.randint(0, 1)
        moments.append(moment(workplace))
        if moments[-1].finished:
            rows = max(rows, workplace.count(table) + 1)
        process = workplace.start("run", job, "--plugin", PLUGIN, "--results", workplace.results)
        wait_for(workplace, process, table, rows)
        time.sleep(draw.uniform(0, 0.004))
        done = process.kill()
        assert done.code == -9, f"it ended before it could be killed at {rows} rows of {table}: {done.err}"
    moments.append(moment(workplace))
    assert 0 < len(moments[-1].finished) < UNITS
    done = workplace.run(job, "--results", workplace.results)
    assert done.code == 0, done.err
    assert_not_repeated(workplace, moments)
    assert_complete(workplace, job)


DEATH = """
import os, signal
from bench.results import artefacts
from bench.export import rows_and_images as exports
from bench.results.claims import Claims
from bench.results.store import Store

owner, name, calls, when = os.environ["DIE_AT"].split()
owner = {"store": Store, "claims": Claims, "artefacts": artefacts, "os": os}[owner]
original, left = getattr(owner, name), int(calls)

def deadly(*given, **named):
    global left
    left -= 1
    if left == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*given, **named)
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, deadly)
"""
INSTANTS = [
    "store create_run 1 before",
    "store create_run 1 after",
    "claims take 1 after",
    "store remember 3 after",  # inside its transaction
    "artefacts write 2 after",  # the file is there, its row is not
    "os replace 3 before",  # the file is there under a temporary name
    "store put_restoration 4 after",
    "store put_score 3 before",  # the restoration is there, no value is
    "store put_score 6 after",
    "store put_extraction 4 before",
    "store put_extraction 5 after",
    "store put_units 6 before",  # everything is there but that the unit belongs to the run
    "store put_units 7 after",
    "store release 5 before",
    "store release 5 after",
]
AT_THE_END = ["store set_place 2 before", "store finish_run 1 before", "store finish_run 1 after"]


def test_a_kill_at_every_step_of_a_write_loses_and_repeats_nothing(workplace: Workplace) -> None:
    workplace.pairs(IMAGES)
    job = workplace.suite(METHODS.replace("milliseconds: 40", "milliseconds: 0"), METRICS)  # it dies by itself in time
    death = workplace.write("death.py", DEATH)
    moments: list[Moment] = []
    for instant in [*INSTANTS, *AT_THE_END]:
        moments.append(moment(workplace))
        done = workplace.start(
            "run", job, "--plugin", PLUGIN, "--results", workplace.results, env={"DIE_AT": instant}, before=death
        ).wait()
        assert done.code == -9, f"{instant}: {done}"
    done = workplace.run(job, "--results", workplace.results)
    assert done.code == 0, done.err
    assert_not_repeated(workplace, moments)
    assert list((workplace.results / "outputs").glob("*/.part-*")), "no kill left a half-written file to be ignored"
    assert_complete(workplace, job)
    freed = workplace.bench("gc", "--results", workplace.results)
    assert freed.code == 0 and not list((workplace.results / "outputs").glob("*/.part-*"))


def test_a_killed_driver_takes_its_workers_with_it(workplace: Workplace, job: str) -> None:
    import psutil

    process = workplace.start(
        "run", job, "--plugin", PLUGIN, "--workers", 2, "--results", workplace.results,
        env={"BENCH_TEST_OWN_WORKERS": "1"},
    )  # fmt: skip
    wait_for(workplace, process, "restoration", 3)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert process.kill().code == -9
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert len(workers) >= 2 and not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    assert workplace.run(job, "--results", workplace.results).code == 0
    assert_complete(workplace, job)


def test_a_worker_whose_driver_is_gone_has_no_last_word_and_prints_none():
    reading, writing = Pipe(duplex=False)
    _last_word(writing, "out of memory")
    assert reading.recv() == "out of memory"
    reading.close()
    _last_word(writing, "nobody is there")

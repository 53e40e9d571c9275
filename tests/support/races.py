"""Collections and kills at random moments of runs: what the tests try a few times and a script hundreds of times."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from support.workplace import PLUGIN, Done, Started, Workplace

KEEPS: tuple[tuple[str, ...], ...] = (("--keep", "0"), ("--keep", "1"), ())
FIRST = "[identity, gamma, {method: traced, options: {milliseconds: 5}}]"
SECOND = "[clahe, identity, {method: traced, options: {milliseconds: 5}}, gamma]"
"""Shares three methods with the first, whose rows are where its own would be."""
METRICS = "[psnr, ssim, psnr-pooled]"


class Job(NamedTuple):
    """Two suites over the same images, and the tables that nobody disturbed."""

    suites: tuple[str, str]
    tables: tuple[str, str]
    seconds: float
    """What a run takes from its start to its end."""
    template: Path
    """A results folder in which the first suite has run."""


class Outcome(NamedTuple):
    """How a trial ended."""

    equal: int
    """Runs whose table was that of the undisturbed one."""
    refused: int
    """Runs that ended with one line and exit code 2."""
    collected: bool
    """Whether gc did its work, or was refused."""


def prepare(workplace: Workplace, images: int = 4) -> Job:
    workplace.pairs(images, 48)
    suites = workplace.suite(FIRST, METRICS, name="first"), workplace.suite(SECOND, METRICS, name="second")
    tables, seconds = [], []
    for suite in suites:
        begun = time.monotonic()
        done = workplace.run(suite, "--results", workplace.root / f"alone-{suite}")
        assert done.code == 0, done.err
        seconds.append(time.monotonic() - begun)
        tables.append(done.out)
    return Job(suites, (tables[0], tables[1]), max(seconds), workplace.root / f"alone-{suites[0]}")


def start(workplace: Workplace, suite: str, results: Path, workers: int = 1) -> Started:
    return workplace.start("run", suite, "--plugin", PLUGIN, "--workers", workers, "--results", results)


def race(workplace: Workplace, job: Job, offset: float, keep: tuple[str, ...], workers: int) -> Outcome:
    """Both suites at once on a folder that has the first one's results, and gc after so many seconds."""
    results = workplace.root / "race"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(job.template, results)
    runs = [start(workplace, suite, results, workers) for suite in job.suites]
    time.sleep(offset)
    gc = workplace.bench("gc", *keep, "--results", results)
    assert gc.code == 0 or _refused(gc), gc
    equal = refused = 0
    for process, table in zip(runs, job.tables, strict=True):
        done = process.wait()
        if _refused(done):
            refused += 1
        else:
            assert done.code == 0 and done.out == table, done
            equal += 1
    assert_whole(workplace, job, results)
    return Outcome(equal, refused, gc.code == 0)


def _refused(done: Done) -> bool:
    return done.code == 2 and len(done.errors) == 1 and "Traceback" not in done.err


def lost(workplace: Workplace, results: Path) -> list[str]:
    """Outputs that a run names and that are not there."""
    sql = (
        "SELECT DISTINCT lower(hex(hash)), suffix FROM unit JOIN restoration r ON r.id=restoration "
        "JOIN content ON content.id=r.output"
    )
    return [
        f"{name}.{suffix}"
        for name, suffix in workplace.rows(sql, results)
        if not (results / "outputs" / str(name)[:2] / f"{name}.{suffix}").is_file()
    ]


def assert_whole(workplace: Workplace, job: Job, results: Path) -> None:
    """No output is lost, nothing dangles, and running both suites again gives the undisturbed tables."""
    assert lost(workplace, results) == []
    assert workplace.rows("PRAGMA foreign_key_check", results) == []
    assert workplace.rows("PRAGMA integrity_check", results) == [("ok",)]
    for suite, table in zip(job.suites, job.tables, strict=True):
        again = workplace.run(suite, "--results", results)
        assert again.code == 0 and again.out == table, again
    assert lost(workplace, results) == []
    assert (workplace.count("claim", results), workplace.count("lease", results)) == (0, 0)


def kills(workplace: Workplace, job: Job, count: int, kind: str, draw: random.Random) -> int:
    """Kill runs of the second suite at random moments until `count` were; then finish, and compare every byte.

    `kind`: `features` for one process, `workers` for two, `gc` for a collection started beside each.
    """
    results = workplace.root / f"killed-{kind}"
    killed = 0
    reach = 2.0 if kind == "workers" else 1.0
    for _ in range(8 * count):
        process = start(workplace, job.suites[1], results, 2 if kind == "workers" else 1)
        gc = None
        time.sleep(draw.uniform(0, job.seconds * reach))
        if kind == "gc" and (results / "bench.db").is_file():
            gc = workplace.start("gc", "--keep", draw.choice("01"), "--results", results)
            time.sleep(draw.uniform(0, 0.05))
        done = process.kill() if process.running else process.wait()
        if gc is not None:
            ended = gc.wait()
            assert ended.code == 0 or _refused(ended), ended
        if done.code == 0:  # it was done before it could be killed: begin anew
            assert done.out == job.tables[1], done
            shutil.rmtree(results)
            reach *= 0.7  # the first run took longer than this one does
            continue
        assert done.code == -9, done
        killed += 1
        if killed == count:
            break
    assert killed == count
    done = workplace.run(job.suites[1], "--results", results)
    assert done.code == 0 and done.out == job.tables[1], done
    assert lost(workplace, results) == []
    alone = workplace.root / f"alone-{job.suites[1]}"
    assert workplace.bench("gc", "--results", results).code == 0
    ours, theirs = (
        {file.name: file.read_bytes() for file in (folder / "outputs").glob("*/*")} for folder in (results, alone)
    )
    assert ours == theirs
    return killed

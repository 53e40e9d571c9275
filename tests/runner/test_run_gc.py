"""`bench gc` beside runs and exports: nothing live is deleted, nothing stored is lost, no value is another's."""

from __future__ import annotations

import random
import time

import pytest
from support import races
from support.workplace import PLUGIN, Workplace, assert_refused

BESIDE = """
import sys
from pathlib import Path
from bench.runner import driver
from bench.export import rows_and_images as exports
from bench.results.garbage import collect
from bench.errors import BenchError
from bench.results.store import Store

def hook(owner, name):
    original = getattr(owner, name)

    def beside(*given, **named):
        setattr(owner, name, original)
        folder = Path("results")
        try:
            with Store(folder) as store:
                print("collected", name, collect(store, folder, 0, dry_run=False), file=sys.stderr)
        except BenchError as error:
            print("refused", name, error, file=sys.stderr)
        return original(*given, **named)

    setattr(owner, name, beside)
"""
"""`hook` collects at one instant of a command."""
INSTANTS = [
    "driver, 'make_plan'", "driver._Driver, 'record'", "driver._Driver, 'work'", "driver._Driver, '_write'",
    "driver, 'aggregate_run'", "driver, 'read_cells'",
]  # fmt: skip


@pytest.fixture
def four(workplace: Workplace) -> tuple[str, str, str]:
    """A suite that has run, another that shares three methods with it, and the other's own table."""
    workplace.pairs(4)
    first = workplace.suite("[identity, gamma, clahe]", "[psnr, ssim]", name="first")
    second = workplace.suite("[agcwd, identity, gamma, clahe]", "[psnr, ssim]", name="second")
    alone = workplace.bench("run", second, "--results", workplace.root / "alone")
    assert alone.code == 0 and workplace.bench("run", first).code == 0
    return first, second, alone.out


def test_a_collection_at_any_step_of_a_run_is_refused_and_changes_nothing(
    workplace: Workplace, four: tuple[str, str, str]
) -> None:
    _, second, table = four
    hooks = "".join(f"hook({instant})\n" for instant in INSTANTS)
    done = workplace.bench("run", second, before=workplace.write("hook.py", BESIDE + hooks))
    assert done.code == 0 and done.out == table, done
    told = [line for line in done.err.splitlines() if line.startswith(("refused", "collected"))]
    assert len(told) == len(INSTANTS)
    assert all(f"{each.split()[1]} a run is working on results/bench.db (process " in each for each in told), told
    assert races.lost(workplace, workplace.results) == []
    assert workplace.bench("gc", "--keep", "1").code == 0


SLOW_SWEEP = """
import pathlib, time
from bench.results import garbage as collect
original = collect._sweep_files

def slow(*given):
    pathlib.Path("sweeping").touch()
    while not pathlib.Path("go-on").exists():
        time.sleep(0.01)
    return original(*given)

collect._sweep_files = slow
"""


def test_who_comes_while_files_are_swept_waits_and_finds_everything(
    workplace: Workplace, four: tuple[str, str, str]
) -> None:
    first, second, table = four
    gc = workplace.start("gc", "--keep", "0", before=workplace.write("slow.py", SLOW_SWEEP))
    while not (workplace.root / "sweeping").exists():
        assert gc.running
        time.sleep(0.002)
    run = workplace.start("run", second)
    while "waiting: bench gc is collecting" not in run.said():
        assert run.running
        time.sleep(0.01)
    assert_refused(workplace.bench("gc"), "bench gc is collecting in", "wait for it to end")
    assert gc.running and run.running
    (workplace.root / "go-on").touch()
    done = run.wait()
    assert gc.wait().code == 0
    assert done.code == 0 and done.out == table
    laid = workplace.bench("export", second, "--images", "laid")
    assert laid.code == 0 and "16 images" in laid.err, laid.err
    assert "no run of" in workplace.bench("table", first).err


def test_an_export_holds_a_collection_back(workplace: Workplace, four: tuple[str, str, str]) -> None:
    hook = workplace.write("hook.py", BESIDE + "hook(exports, 'images')\n")
    done = workplace.bench("export", "first", "--images", "laid", before=hook)
    assert done.code == 0 and "12 images in laid" in done.err, done.err
    assert "refused images an export is reading results/bench.db" in done.err


def test_a_number_is_never_given_to_a_second_run_or_row(workplace: Workplace, four: tuple[str, str, str]) -> None:
    _, second, _ = four
    newest = workplace.rows("SELECT max(id) FROM restoration")
    assert workplace.bench("gc", "--keep", "0").code == 0
    assert workplace.count("run") == workplace.count("restoration") == 0
    assert workplace.bench("run", second).code == 0
    assert workplace.rows("SELECT id FROM run") == [(2,)]
    assert workplace.rows("SELECT min(id) FROM restoration") > newest
    assert_refused(workplace.bench("table", "1"), "no run of '1'")


def test_a_killed_run_holds_nothing_back(workplace: Workplace) -> None:
    workplace.pairs(8)
    job = workplace.suite("[identity, {method: traced, options: {milliseconds: 60000}}]")
    run = workplace.start("run", job, "--plugin", PLUGIN)
    while not workplace.restored()["traced"]:
        assert run.running
        time.sleep(0.005)
    assert_refused(workplace.bench("gc"), "a run is working on")
    assert workplace.bench("runs").out.count("working") == 1
    run.kill()
    assert workplace.bench("gc").code == 0
    assert workplace.bench("runs").out.count("unfinished") == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_collections_at_random_moments_of_two_runs_change_no_table(workplace: Workplace, workers: int) -> None:
    job = races.prepare(workplace)
    draw = random.Random(workers)
    for keep in races.KEEPS if workers == 1 else races.KEEPS[:1]:  # starting worker processes takes seconds
        offset = draw.uniform(0, job.seconds * (workers + 0.2))
        outcome = races.race(workplace, job, offset, keep, workers)
        assert outcome.equal + outcome.refused == 2


@pytest.mark.parametrize(("kind", "count"), [("features", 2), ("workers", 1), ("gc", 2)])
def test_kills_at_random_moments_change_no_byte(workplace: Workplace, kind: str, count: int) -> None:
    job = races.prepare(workplace)
    assert races.kills(workplace, job, count, kind, random.Random(kind)) == count


# Outputs that are gone


def test_a_scored_output_whose_file_is_gone_is_made_again_by_the_next_run(
    workplace: Workplace, four: tuple[str, str, str]
) -> None:
    first, _, _ = four
    table = workplace.table("markdown", run="first")
    files = {file: file.read_bytes() for file in (workplace.results / "outputs").glob("*/*")}
    for file in files:
        file.unlink()
    refused = workplace.bench("export", "first", "--images", "laid")
    assert refused.code == 1
    assert "12 not there because their files were deleted (bench run first makes them again)" in refused.err
    plan = workplace.bench("run", first, "--plan")
    assert plan.out.splitlines()[-1].split()[:5] == ["total", "12", "0", "0", "12"], plan.out
    done = workplace.bench("run", first)
    assert done.code == 0 and done.out == table and "12 worked on" in done.err
    assert {file: file.read_bytes() for file in (workplace.results / "outputs").glob("*/*")} == files
    assert workplace.bench("export", "first", "--images", "laid").code == 0
    assert workplace.count("run") == 1 and "0 worked on" in workplace.bench("run", first).err


def test_a_copy_of_somebody_elses_output_heals_too(workplace: Workplace) -> None:
    workplace.pairs(2)
    job = workplace.suite("[{method: folder, options: {path: data/high}}]")
    assert workplace.bench("run", job).code == 0
    for file in (workplace.results / "outputs").glob("*/*"):
        file.unlink()
    assert workplace.bench("run", job).code == 0
    assert workplace.bench("export", "--images", "laid").code == 0

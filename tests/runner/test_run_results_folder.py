"""What becomes of the results folder: taken, foreign, newer, full or read-only, and a run that is interrupted."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.workplace import PLUGIN, Workplace, assert_calm, assert_refused

# Results folders


def test_a_results_path_that_is_a_file_is_refused(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite()
    taken = workplace.write("taken", "precious")
    assert_refused(workplace.bench("run", job, "--results", taken), "taken")
    assert_refused(workplace.bench("run", job, env={"BENCH_RESULTS": str(taken)}), "taken", "--results")
    assert_refused(workplace.bench("run", job, "--results", taken / "below"), "taken", "--results")
    assert taken.read_text() == "precious"


def test_a_database_that_is_something_else_is_refused_and_kept(workplace: Workplace) -> None:
    workplace.pairs(1)
    workplace.results.mkdir()
    database = workplace.results / "bench.db"
    database.write_bytes(b"my diary, not a database\n" * 100)
    for command in (["run", workplace.suite()], ["table"], ["runs"]):
        assert_refused(workplace.bench(*command), "not a database")
    assert database.read_bytes().startswith(b"my diary")


def test_a_newer_store_is_refused_and_kept(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite()
    assert workplace.bench("run", job).code == 0
    with sqlite3.connect(workplace.results / "bench.db") as database:
        database.execute("PRAGMA user_version=99")
    for command in (["run", job], ["table"], ["runs"], ["gc"]):
        assert_refused(workplace.bench(*command), "schema 99", "newer bench")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 kB. Needs the right to mount."""
    place = tmp_path / "small"
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_where_there_is_space(
    workplace: Workplace, small_disk: Path
) -> None:
    workplace.pairs(60)
    job = workplace.suite("[{method: traced, options: {milliseconds: 30}}]", "[psnr, ssim, psnr-pooled]")
    done = workplace.run(job, "--results", small_disk)
    assert_refused(done, str(small_disk), "full")
    tried = workplace.restored()["traced"]
    assert 0 < tried < 60
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    again = workplace.run(job, "--results", small_disk)
    assert_calm(again, 0)
    assert "60/60" in again.out
    # Only what was in flight when the disk was full is done twice.
    assert workplace.restored()["traced"] <= 60 + 16


def test_a_read_only_results_folder_is_refused(workplace: Workplace, small_disk: Path) -> None:
    workplace.pairs(2)
    job = workplace.suite("[identity]")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert_refused(workplace.bench("run", job, "--results", small_disk), str(small_disk), "--results")


def test_a_finished_run_can_be_read_from_a_read_only_folder(workplace: Workplace, small_disk: Path) -> None:
    workplace.pairs(2)
    printed = workplace.bench("run", workplace.suite("[identity]"), "--results", small_disk)
    assert printed.code == 0, printed.err
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    table = workplace.bench("table", "--results", small_disk)
    assert table.code == 0 and table.out == printed.out, table.err


# Interruptions


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_run_at_once_and_it_can_be_resumed(workplace: Workplace, workers: int) -> None:
    workplace.pairs(30)
    job = workplace.suite("[{method: traced, options: {milliseconds: 30}}]", "[psnr, psnr-pooled]")
    process = workplace.start("run", job, "--plugin", PLUGIN, "--workers", workers)
    while (
        not (workplace.results / "bench.db").exists()
        or workplace.restored()["traced"] < 1
        or not workplace.count("unit")
    ):
        assert process.running
        time.sleep(0.005)
    process.interrupt()
    start = time.monotonic()
    done = process.wait()
    assert time.monotonic() - start < 15
    assert_calm(done, 130)
    assert [line for line in done.err.splitlines() if line] == [
        "interrupted: what was finished is kept, run again to go on"
    ]
    again = workplace.run(job)
    assert again.code == 0 and "30/30" in again.out and workplace.count("run") == 1
    assert workplace.restored()["traced"] <= 30 + 20

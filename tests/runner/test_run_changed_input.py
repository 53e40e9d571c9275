"""Inputs that change while a run works, or behind the memo's back; and `--fresh`, which believes nothing stored."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.workplace import Workplace, photograph

DATA = "[{dataset: folder, options: {lq: data/low, gt: data/high}, label: mine}]"
CHANGE = """
import os
from pathlib import Path
from bench.methods.algorithms import tone
from bench.runner import driver
from bench.runner import worker as work

original, calls = work.Worker._load_method, []
what, times = os.environ["CHANGE"], int(os.environ["TIMES"])

def load(self, cell, *rest):
    # Between two methods: the first has restored every image, the second none.
    if cell.method.label not in calls and calls and len(calls) <= times:
        os.replace(f"spare/{len(calls)}.png", f"data/{what}/001.png")
    if cell.method.label not in calls:
        calls.append(cell.method.label)
    return original(self, cell, *rest)

work.Worker._load_method = load
"""


def spare(workplace: Workplace, number: int, seed: int) -> None:
    folder = workplace.root / "spare"
    folder.mkdir(exist_ok=True)
    Image.fromarray(photograph(64, 64, seed).astype(np.uint8)).save(folder / f"{number}.png")


@pytest.mark.parametrize("what", ["low", "high"])
def test_rows_that_rest_on_pixels_which_changed_while_the_run_worked_are_done_again(
    workplace: Workplace, what: str
) -> None:
    workplace.pairs(3)
    spare(workplace, 1, 50)
    job = workplace.suite("[gamma, clahe]", "[psnr, psnr-pooled]")
    hook = workplace.write("hook.py", CHANGE)
    done = workplace.start("run", job, before=hook, env={"CHANGE": what, "TIMES": "1"}).wait()
    assert done.code == 0, done
    assert f"data/{what}/001.png changed while the run worked: " in done.err
    after = workplace.bench("run", job, "--results", workplace.root / "after")
    assert done.out == after.out, "the table is that of the new pixels, for both methods"
    again = workplace.bench("run", job)
    assert again.out == done.out and "0 worked on" in again.err


def test_an_image_without_its_reference_has_not_changed(workplace: Workplace) -> None:
    workplace.pairs(3)
    (workplace.root / "data/high/001.png").unlink()
    job = workplace.suite("[gamma]", "[psnr, piqe]")
    for again in (False, True):
        done = workplace.bench("run", job)
        assert "changed while" not in done.err
        assert ("0 worked on" in done.err) is again


RESTLESS = """
from pathlib import Path
from PIL import Image
from bench.runner import driver
original = driver._Driver.work

def work(self, engine, todo):
    original(self, engine, todo)
    if todo:
        file = Path("data/low/001.png")
        pixels = Image.open(file).convert("RGB").point(lambda value: (value + 1) % 256)
        file.unlink()
        pixels.save(file)

driver._Driver.work = work
"""


def test_a_file_that_does_not_come_to_rest_is_a_failure_that_names_it(workplace: Workplace) -> None:
    workplace.pairs(2)
    job = workplace.suite("[gamma, identity]")
    done = workplace.start("run", job, before=workplace.write("hook.py", RESTLESS)).wait()
    assert done.code == 1 and done.out.count("| 1/2 |") == 2, done
    assert "data/low/001.png keeps changing while the run works" in done.out
    whole = workplace.bench("run", job)
    assert whole.code == 0 and whole.out.count("| 2/2 |") == 2, whole


def test_a_file_that_is_only_touched_while_the_run_works_costs_no_restoration(workplace: Workplace) -> None:
    workplace.pairs(2)
    job = workplace.suite("[gamma, identity]")
    touch = RESTLESS.partition("        pixels =")[0] + "        file.touch()\n        driver._Driver.work = original\n"
    alone = workplace.bench("run", job, "--results", workplace.root / "alone")
    done = workplace.start("run", job, before=workplace.write("hook.py", touch + "driver._Driver.work = work\n")).wait()
    assert done.code == 0 and done.out == alone.out, done
    assert workplace.count("restoration") == 4


# The memo


def replaced(file: Path, pixels: np.ndarray, how: str) -> None:
    """Other pixels under the same name, with the size and modification time of the file before."""
    before = file.stat()
    if how == "another file":
        Image.fromarray(pixels).save(file.with_suffix(".new.bmp"))
        file.with_suffix(".new.bmp").replace(file)
    else:
        Image.fromarray(pixels).save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("how", ["in place", "another file"])
@pytest.mark.parametrize("which", ["lq", "gt", "output"])
def test_an_image_replaced_with_equal_size_and_time_is_seen(workplace: Workplace, which: str, how: str) -> None:
    for index in range(2):
        pixels = photograph(32, 32, index).astype(np.uint8)
        for kind, part in (("lq", pixels // 3), ("gt", pixels), ("output", pixels - 9)):
            (workplace.root / kind).mkdir(exist_ok=True)
            Image.fromarray(part).save(workplace.root / kind / f"{index}.bmp")
    job = workplace.suite(
        "[gamma, {method: folder, options: {path: output}}]",
        datasets="[{dataset: folder, options: {lq: lq, gt: gt}, label: mine}]",
    )
    first = workplace.bench("run", job)
    replaced(workplace.root / which / "1.bmp", photograph(32, 32, 9).astype(np.uint8), how)
    second = workplace.bench("run", job)
    new = workplace.bench("run", job, "--results", workplace.root / "new")
    assert second.out == new.out != first.out


# Fresh


@pytest.mark.parametrize("workers", [1, 2])
def test_fresh_computes_everything_anew_and_mends_what_is_stored(workplace: Workplace, workers: int) -> None:
    workplace.pairs(3)
    job = workplace.suite("[traced, gamma]", "[psnr, psnr-pooled]")
    true = workplace.run(job)
    assert true.code == 0, true.err
    import sqlite3

    with sqlite3.connect(workplace.results / "bench.db") as database:
        database.execute("UPDATE score SET value=value+1")
        database.execute("UPDATE memo SET height=1")
    database.close()
    assert workplace.run(job).out != true.out
    plan = workplace.run(job, "--fresh", "--plan")
    assert plan.out.splitlines()[-1].split()[:5] == ["total", "6", "0", "0", "6"], plan.out
    fresh = workplace.run(job, "--fresh", "--workers", workers)
    assert fresh.code == 0 and fresh.out == true.out and "6 worked on" in fresh.err, fresh
    assert workplace.restored()["traced"] == 6
    assert workplace.rows("SELECT DISTINCT height FROM memo") == [(64,)]
    again = workplace.run(job)
    assert again.out == true.out and "0 worked on" in again.err


# Order


def test_the_newest_run_is_the_last_whatever_the_clock_says(workplace: Workplace) -> None:
    workplace.pairs(3)
    back = workplace.write("back.py", "import time\nnow = time.time\ntime.time = lambda: now() - 86400\n")
    first = workplace.suite("[gamma]")
    assert workplace.bench("run", first).code == 0
    workplace.suite("[gamma, identity]")
    second = workplace.bench("run", first, before=back)
    assert second.code == 0
    assert workplace.table("markdown") == workplace.table("markdown", run="suite") == second.out
    numbers = [line.split()[0] for line in workplace.bench("runs").out.splitlines()[2:]]
    assert numbers == ["2", "1"]
    # Going back to what an earlier run was asked makes a newest run of it, without any work.
    workplace.suite("[gamma]")
    third = workplace.bench("run", first)
    assert "run 3 of suite: 3 units, 0 worked on" in third.err and workplace.table("markdown") == third.out

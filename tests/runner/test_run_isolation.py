"""What strangers' code does – to its input, to the process, to itself – is its own row and nobody else's number."""

from __future__ import annotations

import csv
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.workplace import HERE, Done, Workplace, assert_calm, assert_refused

STRANGE = HERE / "strange_plugin.py"
ALWAYS = "all: true"


def run(workplace: Workplace, job: str, *more: object) -> Done:
    return workplace.bench("run", job, "--plugin", STRANGE, *more)


def mark(workplace: Workplace, name: str) -> None:
    """Turn an input's first pixel pure red."""
    path = workplace.root / "data" / "low" / f"{name}.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = (255, 0, 0)
    Image.fromarray(pixels).save(path)


def strange(what: str, more: str = "", label: str | None = None) -> str:
    options = f"what: {what}{', ' if more else ''}{more}"
    return f"{{method: strange, options: {{{options}}}, label: {label or what}}}"


def values(done: Done) -> dict[str, list[str]]:
    """Cells of the table by method."""
    rows = [[cell.strip(" *_") for cell in line.split("|")[1:-1]] for line in done.out.splitlines() if "|" in line]
    return {row[1]: row[2:] for row in rows[2:] if len(row) > 2}


def reason(done: Done, method: str) -> str:
    return next(line for line in done.out.splitlines() if re.search(rf"failed: {method}\b", line))


def test_whatever_a_method_raises_is_one_row_and_the_run_goes_on(workplace: Workplace) -> None:
    expected = {
        "system-exit": "SystemExit: 0",
        "generator-exit": "GeneratorExit",
        "bare": "Bare: raw",
        "interrupt": "KeyboardInterrupt",
        "unprintable": "Unprintable: (its message cannot be read)",
    }
    workplace.pairs(3)
    mark(workplace, "001")
    loads = [strange(what, "where: load", f"load-{what}") for what in expected]
    job = workplace.suite(f"[{', '.join([*map(strange, expected), *loads])}, identity]", "[psnr]")
    for workers in (1, 2):
        done = run(workplace, job, "--workers", workers, "--results", workplace.root / str(workers))
        assert_calm(done, 1)
        assert values(done)["identity"][-1] == "3/3"
        for what, why in expected.items():
            assert values(done)[what][-1] == "2/3" and why in reason(done, what)
            assert values(done)[f"load-{what}"][-1] == "0/3"
            assert f"method cannot be loaded: {why}" in reason(done, f"load-{what}")


def test_whatever_a_metric_raises_is_its_own_row(workplace: Workplace) -> None:
    def metric(what: str, where: str, name: str = "strange-metric") -> str:
        return f"{{{name}: {{what: {what}, where: {where}}}}}"

    workplace.pairs(2)
    ends = ("system-exit", "generator-exit", "bare", "unprintable")
    per_image = [metric(what, where) for what in ends for where in ("score", "load")]
    of_sets = [metric(what, where, "strange-set") for what in ends for where in ("extract", "aggregate")]
    done = run(workplace, workplace.suite("[identity]", f"[psnr, {', '.join([*per_image, *of_sets])}, ssim]"))
    assert_calm(done, 1)
    rows = workplace.rows("SELECT status, reason FROM score JOIN signature ON signature.id=score.signature")
    assert sum(status == "ok" for status, _ in rows) == 4, "psnr and ssim of two images"
    reasons = " ".join(str(why) for status, why in rows if status == "failed")
    for words in ("SystemExit: 0", "GeneratorExit", "Bare: raw", "Unprintable", "metric cannot be loaded"):
        assert words in reasons


@pytest.mark.parametrize("what", ["system-exit", "bare", "unprintable"])
def test_an_identity_that_cannot_be_had_is_one_clear_line(workplace: Workplace, what: str) -> None:
    workplace.pairs(1)
    done = run(workplace, workplace.suite(f"[{strange(what, 'where: identity')}, identity]"), "--plan")
    assert_refused(done, "method 'strange'", "identity() failed")


@pytest.mark.parametrize(
    ("what", "came"),
    [
        ("uint8", "uint8 tensor [1, 3, 64, 64] with values"),
        ("int64", "int64 tensor [1, 3, 64, 64] with values"),
        ("bool", "bool tensor [1, 3, 64, 64]"),
        ("complex", "complex64 tensor [1, 3, 64, 64]"),
        ("none", "NoneType"),
        ("list", "list"),
        ("without-batch", "output has shape (3, 64, 64), expected (1, 3, 64, 64)"),
        ("nan", "non-finite"),
        ("bytes-as-floats", "far outside), expected [0,1]"),
        ("minus-one-to-one", "far outside), expected [0,1]"),
        ("overshoot", None),
        ("half", None),
        ("double", None),
    ],
)
def test_an_output_of_another_kind_is_a_row_that_says_what_came(workplace: Workplace, what: str, came: str) -> None:
    workplace.pairs(2)
    mark(workplace, "001")
    done = run(workplace, workplace.suite(f"[{strange(what)}]", "[psnr]"))
    assert_calm(done, 0 if came is None else 1)
    assert values(done)[what][-1] == ("2/2" if came is None else "1/2")
    assert came is None or came in reason(done, what)


def test_what_one_metric_writes_into_its_input_reaches_no_other(workplace: Workplace) -> None:
    workplace.pairs(3)
    alone = workplace.run(workplace.suite("[gamma]", "[psnr, ssim]"), "--results", workplace.root / "alone")
    beside = run(workplace, workplace.suite("[gamma]", "[strange-metric, psnr, ssim]"))
    assert_calm(beside, 0)
    assert values(beside)["gamma"][1:] == values(alone)["gamma"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_code_does_to_the_process_changes_no_number(workplace: Workplace, workers: int) -> None:
    workplace.pairs(6)
    metrics = "[psnr, ssim, psnr-pooled]"
    alone = workplace.run(workplace.suite("[identity, gamma]", metrics), "--results", workplace.root / "alone")
    job = workplace.suite(
        f"[{strange('disturb', ALWAYS)}, {strange('disturb', 'where: load', 'loading')}, gamma]",
        "[psnr, {strange-metric: {what: disturb}}, {strange-set: {what: disturb, where: extract}}, ssim, psnr-pooled]",
    )
    done = run(workplace, job, "--workers", workers, "--results", "results")
    assert_calm(done, 0)
    found, expected = values(done), values(alone)
    for method, like in (("disturb", "identity"), ("loading", "identity"), ("gamma", "gamma")):
        ours = found[method]
        assert [ours[0], *ours[3:]] == expected[like]
    assert (workplace.root / "results" / "bench.db").is_file() and not (HERE / "results").exists()


def test_what_draws_from_global_generators_depends_neither_on_order_nor_on_process(workplace: Workplace) -> None:
    workplace.pairs(4)
    job = workplace.suite("[drawing]", "[psnr]")
    runs = [run(workplace, job, "--workers", n, "--results", workplace.root / str(n)) for n in (1, 2)]
    outputs = [sorted(file.name for file in (workplace.root / str(n) / "outputs").glob("*/*")) for n in (1, 2)]
    assert [done.code for done in runs] == [0, 0] and outputs[0] == outputs[1]


@pytest.mark.parametrize("what", ["exit", "segfault", "killed"])
def test_a_metric_that_ends_its_process_is_its_own_row(workplace: Workplace, what: str) -> None:
    workplace.pairs(2)
    done = run(workplace, workplace.suite("[identity]", f"[psnr, {{strange-metric: {{what: {what}}}}}]"))
    assert_calm(done, 1)
    assert workplace.rows("SELECT count(*) FROM restoration WHERE status='ok'") == [(2,)]
    statuses = sorted(str(row[0]) for row in workplace.rows("SELECT status FROM score"))
    assert statuses == ["failed", "failed", "ok", "ok"]


def test_what_hangs_is_a_row_that_says_for_how_long(workplace: Workplace) -> None:
    workplace.pairs(3)
    mark(workplace, "001")
    methods = f"[{strange('hang')}, {strange('hang', 'where: load', 'loading')}, identity]"
    start = time.monotonic()
    done = run(workplace, workplace.suite(methods, "[psnr]"), "--timeout", 2.5)
    assert_calm(done, 1)
    assert "timeout after 2.5 s while restoring" in reason(done, "hang") and values(done)["hang"][-1] == "2/3"
    assert "timeout after 2.5 s while loading" in done.out and values(done)["loading"][-1] == "0/3"
    assert values(done)["identity"][-1] == "3/3"
    assert time.monotonic() - start < 100


def test_a_metric_that_hangs_leaves_the_others_values(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite("[identity]", "[psnr, {strange-metric: {what: hang}}]")
    done = run(workplace, job, "--timeout", 2.5, "--workers", 2)
    assert_calm(done, 1)
    assert sorted(map(str, workplace.rows("SELECT status, reason FROM score"))) == [
        "('failed', 'timeout after 2.5 s while scoring')", "('ok', None)",
    ]  # fmt: skip


def test_a_timeout_refuses_what_only_this_process_has(workplace: Workplace) -> None:
    workplace.pairs(1)
    workplace.suite("[mine]", "[psnr]")
    script = (
        "import bench\nfrom bench.errors import BenchError\nfrom bench.methods.module import from_module\n"
        "bench.register_method('mine', lambda: from_module(lambda x: x))\n"
        "try:\n    bench.run('suite.yaml', timeout=5)\nexcept BenchError as error:\n    print('refused:', error)\n"
    )
    done = workplace.python(script)
    assert "refused: 'mine' is registered in this process alone" in done.out, done


def test_ctrl_c_while_workers_start_ends_the_run(workplace: Workplace) -> None:
    workplace.pairs(2)
    slow = workplace.write(
        "slow.py",
        "import os, signal, threading, time\n"
        "from bench.runner.engines import local\n"
        "start = local._Process.__init__\n"
        "def begin(self, *given):\n"
        "    threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    start(self, *given)\n"
        "local._Process.__init__ = begin\n",
    )
    job = workplace.suite("[identity]", "[psnr]")
    for _ in range(3):
        done = workplace.start("run", job, "--workers", 2, before=slow).wait()
        assert done.code == 130 and "interrupted" in done.err and "Traceback" not in done.err, done
    assert workplace.run(job).code == 0


def test_a_plugin_that_ends_python_is_one_clear_line(workplace: Workplace) -> None:
    workplace.pairs(1)
    plugin: Path = workplace.write("exits.py", "import sys\nsys.exit('usage: exits.py FILE')\n")
    done = workplace.bench("run", workplace.suite("[identity]"), "--plugin", plugin)
    assert_refused(done, "exits.py", "SystemExit")


@pytest.mark.parametrize(
    "body",
    ["import os\nos._exit(0)\n", "import os, bench\nbench.register_method('gone', lambda: os._exit(0))\n"],
    ids=["file", "factory"],
)
def test_a_plugin_that_ends_the_process_before_any_work_is_one_line(workplace: Workplace, body: str) -> None:
    workplace.pairs(1)
    plugin = workplace.write("gone.py", body)
    done = workplace.bench("run", workplace.suite("[gone]", "[psnr]"), "--plugin", plugin)
    assert done.code == 2 and "os._exit(0)" in done.err and len(done.err.strip().splitlines()) == 1, done


@pytest.mark.parametrize("workers", [1, 2])
def test_what_code_prints_is_in_no_result(workplace: Workplace, workers: int) -> None:
    workplace.pairs(1)
    plugin = workplace.write(
        "talks.py",
        "import os, subprocess, bench\nfrom bench.methods.base import Method\n"
        "def talk(where):\n"
        "    print('said', where, flush=True)\n"
        "    if where == 'restore':\n"
        "        os.write(1, b'said by C')\n"
        "        subprocess.run(['echo', 'said by a program'])\n"
        "class Talks(Method):\n"
        "    name = 'talks'\n"
        "    def identity(self):\n        talk('identity')\n        return {'v': 1}\n"
        "    def load(self, device, dtype):\n        talk('load')\n"
        "    def restore(self, images, seeds=None):\n        talk('restore')\n        return images\n"
        "def make():\n    talk('factory')\n    return Talks()\n"
        "talk('import')\n"
        "bench.register_method('talks', make)\n",
    )
    job, env = workplace.suite("[talks]", "[psnr]"), {"BENCH_TEST_OWN_WORKERS": "1"}
    done = workplace.bench("run", job, "--plugin", plugin, "--format", "json", "--workers", workers, env=env)
    assert_calm(done, 0)
    assert [row["n"] for row in json.loads(done.out)] == [1]
    for where in ("import", "factory", "identity", "load", "restore", "by C", "by a program"):
        assert f"said {where}" in done.err


def test_selftest_fails_a_method_that_ends_its_process(workplace: Workplace) -> None:
    plugin = workplace.write(
        "gone.py",
        "import os, bench\nfrom bench.methods.module import from_module\n"
        "bench.register_method('gone', lambda: from_module(lambda image: os._exit(0)))\n",
    )
    done = workplace.bench("selftest", "gone", "--plugin", plugin)
    assert done.code == 1 and "os._exit(0)" in done.out + done.err, done


@pytest.mark.parametrize("option", ["--timeout", "--allow-failures"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_limits_are_finite_numbers(workplace: Workplace, option: str, value: str) -> None:
    workplace.pairs(1)
    done = workplace.bench("run", workplace.suite("[identity]", "[psnr]"), option, value)
    assert done.code == 2 and "not a finite number" in done.err, done


READS = """
import json
from pathlib import Path

import numpy as np

import bench
from bench.methods.module import from_module


def lazy(images):
    return images * json.loads(Path("settings.json").read_text())["gain"]


def own(images):
    np.save("made.npy", images.numpy())
    return images * float(np.load("made.npy").max() >= 0)


FIXED = json.loads(Path("settings.json").read_text())["gain"]


def early(images):
    return images * FIXED


bench.register_method("lazy", lambda: from_module(lazy))
bench.register_method("own", lambda: from_module(own))
bench.register_method("early", lambda: from_module(early))
"""


def scores(workplace: Workplace) -> dict[str, float]:
    """By method."""
    rows = csv.DictReader(workplace.table("csv").splitlines())
    return {row["method"]: float(row["value"]) for row in rows if row["value"]}


def test_a_file_that_is_read_while_restoring_is_no_stored_result(workplace: Workplace) -> None:
    """What is read when the method is made is part of its identity; what is read later would be answered unseen."""
    workplace.pairs(2)
    workplace.write("settings.json", '{"gain": 0.5}')
    plugin = workplace.write("reads.py", READS)
    job = workplace.suite("[lazy, own, early, identity]", "[psnr]")
    done = workplace.bench("run", job, "--plugin", plugin)
    assert_calm(done, 1)
    assert "reads settings.json while it restores" in reason(done, "lazy")
    found = scores(workplace)
    assert found["own"] == found["identity"] and found["early"] < found["identity"]
    workplace.write("settings.json", '{"gain": 0.25}')
    assert workplace.bench("run", job, "--plugin", plugin).code == 1
    again = scores(workplace)
    assert again["early"] < found["early"] and again["own"] == found["own"]

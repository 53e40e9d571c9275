"""Strangers' code that hangs, or ends its process, where no worker is around it: planning, sets, `bench score`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.workplace import Done, Workplace, assert_calm, assert_refused

METRIC = """
import ctypes, os, time
from dataclasses import dataclass, field
import numpy as np
import torch
from bench.metrics.base import ImageMetric, SetMetric, Signature
from bench.metrics.view import View
from bench.catalog.registry import registry

ENDS = {
    "hang": lambda: time.sleep(600), "exit": lambda: os._exit(0), "segfault": lambda: ctypes.string_at(0),
    "c-exit": lambda: ctypes.CDLL(None)._exit(0), "none": lambda: None,
}

@dataclass(frozen=True)
class Lone(ImageMetric):
    view: View = field(default_factory=View)
    what: str = "none"
    name = "lone"
    def signature(self):
        return Signature.of("lone", [("what", self.what)])
    def score(self, restored, reference):
        if restored.mean() > 0.3:
            ENDS[self.what]()
        return restored.mean(dim=(1, 2, 3))

@dataclass(frozen=True)
class Lot(SetMetric):
    view: View = field(default_factory=View)
    what: str = "none"
    name = "lot"
    def signature(self):
        return Signature.of("lot", [("what", self.what)])
    def extractor(self):
        return Signature.of("lot-features", [])
    def extract(self, restored, reference):
        return restored.mean(dim=(1, 2, 3), keepdim=False)[:, None].numpy()
    def aggregate(self, features, references=None):
        ENDS[self.what]()
        return float(features.mean())
"""
REGISTER = """
registry("metric").register("lone", Lone, "tests", mode="FR", better="higher")
registry("metric").register("lot", Lot, "tests", mode="FR", better="higher")
"""
HASTY = Path(__file__).parent.parent / "support" / "hasty.py"
HANG = "import time\ntime.sleep(600)\n"
SEGFAULT = "import ctypes\nctypes.string_at(0)\n"
KILL = "import os\nos.kill(os.getpid(), 9)\n"


def in_factory(body: str) -> str:
    lines = body.replace("\n", "\n    ")
    return f"import bench\ndef make():\n    {lines}\nbench.register_method('gone', make)\n"


def installed(workplace: Workplace) -> Path:
    """A package that brings both metrics by entry points; the file that makes a process find it."""
    place = workplace.root / "site"
    (place / "lone-1.0.dist-info").mkdir(parents=True)
    (place / "lone_package.py").write_text(METRIC)
    (place / "lone-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lone\nVersion: 1.0\n")
    points = "[iqpir_bench.metrics]\nlone = lone_package:Lone\nlot = lone_package:Lot\n"
    (place / "lone-1.0.dist-info" / "entry_points.txt").write_text(points)
    return workplace.write("find.py", f"import sys\nsys.path.insert(0, {os.fspath(place)!r})\n")


def scored(workplace: Workplace, metric: str, *more: object) -> Done:
    """`bench score` of three images, of which the second is bright."""
    workplace.pairs(3)
    bright = workplace.root / "data" / "low" / "001.png"
    bright.write_bytes((workplace.root / "data" / "high" / "001.png").read_bytes())
    given = ["score", "data/low", "--reference", "data/high", "--metric", metric, "--format", "csv", *more]
    return workplace.bench(*given, before=installed(workplace))


@pytest.mark.parametrize("where", ["file", "factory"])
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (HANG, "timeout after 2.5 s, before any work"),
        (SEGFAULT, "killed by signal 11"),
        (KILL, "killed by signal 9"),
    ],
    ids=["hang", "segfault", "kill"],
)
def test_planning_that_does_not_come_back_is_one_line(workplace: Workplace, where: str, body: str, why: str) -> None:
    workplace.pairs(1)
    plugin = workplace.write("gone.py", body if where == "file" else in_factory(body))
    done = workplace.bench("run", workplace.suite("[gone]"), "--plugin", plugin, "--timeout", 1, before=HASTY)
    assert_refused(done, "plugin" if where == "file" else "method 'gone'", "gone.py", why)
    assert not (workplace.root / "results").exists()


def test_an_identity_that_hangs_is_one_line_of_the_plan_too(workplace: Workplace) -> None:
    workplace.pairs(1)
    plugin = Path(__file__).parent.parent / "support" / "strange_plugin.py"
    job = workplace.suite("[{method: strange, options: {what: hang, where: identity}}]")
    done = workplace.bench("run", job, "--plugin", plugin, "--timeout", 1, "--plan", before=HASTY)
    assert_refused(done, "method 'strange'", "identity()", "timeout after 2.5 s")


def test_what_hangs_in_a_worker_alone_is_one_line(workplace: Workplace) -> None:
    """The third process to read the file: after the rehearsal and the driver."""
    workplace.pairs(1)
    body = (
        "import time\nfrom pathlib import Path\n"
        f"count = Path({os.fspath(workplace.root / 'count')!r})\n"
        "count.write_text((count.read_text() if count.exists() else '') + 'x')\n"
        "if len(count.read_text()) > 2:\n    time.sleep(600)\n"
    )
    done = workplace.bench(
        "run",
        workplace.suite("[identity]"),
        "--plugin",
        workplace.write("third.py", body),
        "--timeout",
        1,
        before=HASTY,
    )
    assert done.code == 2 and "third.py" in done.errors[0] and "worker process" in done.errors[0], done


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("hang", "timeout after 2.5 s while aggregating"),
        ("exit", "os._exit(0)"),
        ("segfault", "killed by signal 11"),
        ("c-exit", "ended with exit code 0"),
    ],
)
def test_a_set_that_is_lost_while_it_adds_up_is_its_own_row(workplace: Workplace, what: str, why: str) -> None:
    workplace.pairs(2)
    plugin = workplace.write("lot.py", METRIC + REGISTER)
    job = workplace.suite("[identity]", f"[psnr, {{lot: {{what: {what}}}}}, lot]")
    limit = ("--timeout", 1) if what == "hang" else ()
    done = workplace.bench("run", job, "--plugin", plugin, *limit, before=HASTY)
    assert_calm(done, 1)
    rows = workplace.rows("SELECT status, coalesce(reason, '') FROM score ORDER BY status")
    assert [row[0] for row in rows] == ["failed", "ok", "ok", "ok"] and why in str(rows[0][1]), rows


@pytest.mark.parametrize(
    ("what", "why"),
    [("hang", "timeout after 3 s"), ("exit", "os._exit(0)"), ("segfault", "killed by signal 11")],
)
def test_a_metric_of_a_package_fails_by_image_and_leaves_the_caller(workplace: Workplace, what: str, why: str) -> None:
    done = scored(workplace, f"lone[what={what}],psnr", "--timeout", 3)
    assert_calm(done, 1)
    rows = [line.split(",") for line in done.out.splitlines()[1:]]
    assert [row[4] for row in rows if row[1] == "lone"] == ["ok", "failed", "ok"]
    assert [row[4] for row in rows if row[1] == "psnr"] == ["ok", "inf", "ok"]
    assert why in done.out


def test_a_set_of_a_package_that_is_lost_leaves_the_caller(workplace: Workplace) -> None:
    done = scored(workplace, "lot[what=segfault],lot,psnr")
    assert_calm(done, 1)
    sets = [line for line in done.out.splitlines() if ",lot," in line]
    assert "killed by signal 11" in sets[0] and ",ok," in sets[1]


def test_a_metric_of_this_process_alone_cannot_end_it(workplace: Workplace) -> None:
    workplace.pairs(2)
    script = (
        METRIC
        + REGISTER
        + (
            "import bench\n"
            "rows = bench.score('data/high', 'data/high', metrics=['lone[what=exit]', 'psnr'])\n"
            "print(sorted(rows.status), 'os._exit(0)' in ' '.join(rows.reason.dropna()))\n"
        )
    )
    done = workplace.python(script)
    assert "['failed', 'failed', 'inf', 'inf'] True" in done.out, done


@pytest.mark.parametrize("command", [["selftest", "gone"], ["validate", "suite.yaml"], ["latency", "gone"]])
@pytest.mark.parametrize("where", ["file", "factory"])
def test_commands_that_only_look_do_not_hang_either(workplace: Workplace, command: list[str], where: str) -> None:
    workplace.pairs(1)
    workplace.suite("[gone]")
    plugin = workplace.write("gone.py", HANG if where == "file" else in_factory(HANG))
    done = workplace.bench(*command, "--plugin", plugin, "--timeout", 1, before=HASTY)
    assert_refused(done, "plugin" if where == "file" else "method 'gone'", "gone.py", "timeout after 2.5 s")
    assert not (workplace.root / "results").exists()


@pytest.mark.parametrize("command", [["selftest", "gone"], ["validate", "suite.yaml"], ["latency", "gone"]])
def test_commands_that_only_look_survive_what_ends_its_process(workplace: Workplace, command: list[str]) -> None:
    workplace.pairs(1)
    workplace.suite("[gone]")
    done = workplace.bench(*command, "--plugin", workplace.write("gone.py", in_factory(SEGFAULT)))
    assert_refused(done, "method 'gone'", "killed by signal 11")


def test_a_plugin_is_read_once_and_asked_once_for_each_suite_that_is_validated(workplace: Workplace) -> None:
    workplace.pairs(1)
    workplace.suite("[told]")
    plugin = workplace.write(
        "told.py",
        "import bench\n"
        "def say(what):\n"
        "    with open('said.txt', 'a') as file: file.write(what + '\\n')\n"
        "def make():\n"
        "    say('made')\n"
        "    return bench.load_method('identity', device='cpu')\n"
        "bench.register_method('told', make)\n"
        "say('read')\n",
    )
    done = workplace.bench("validate", "suite.yaml", "suite.yaml", "--plugin", plugin)
    assert done.out.count("suite.yaml: valid") == 2, done
    assert (workplace.root / "said.txt").read_text().split() == ["read", "made", "made"]


@pytest.mark.parametrize(
    ("what", "where", "why"),
    [
        ("segfault", "load", "FAIL  load  its process was killed by signal 11"),
        ("hang", "load", "timeout after 2.5 s"),
        ("segfault", "restore", "killed by signal 11"),
    ],
)
def test_a_method_that_is_lost_in_its_selftest_is_a_failed_check(
    workplace: Workplace, what: str, where: str, why: str
) -> None:
    text = (Path(__file__).parent.parent / "support" / "strange_plugin.py").read_text()
    register = f"\nbench.register_method('lost', lambda: Strange({what!r}, {where!r}, True))\n"
    limit = ("--timeout", 1) if what == "hang" else ()
    done = workplace.bench(
        "selftest", "lost", "--plugin", workplace.write("lost.py", text + register), *limit, before=HASTY
    )
    assert_calm(done, 1)
    assert why in done.out


def test_a_method_that_hangs_while_it_is_timed_is_a_row(workplace: Workplace) -> None:
    text = (Path(__file__).parent.parent / "support" / "strange_plugin.py").read_text()
    register = "\nbench.register_method('lost', lambda: Strange('hang', 'restore', True))\n"
    plugin = workplace.write("lost.py", text + register)
    done = workplace.bench("latency", "lost", "--size", 16, "--brief", "--plugin", plugin, "--timeout", 1, before=HASTY)
    assert_calm(done, 1)
    assert "timeout after 2.5 s while restoring" in done.out

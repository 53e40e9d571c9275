"""A run on a Ray cluster: the table of one machine, whatever happens to its actors and its driver."""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.workplace import TIMEOUT, Done, Workplace, assert_calm, assert_refused

ROOT = Path(__file__).parents[2]
IMAGES = 12
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""What members of the cluster know each other by: a Ray without would do what anybody on the network says."""
PLUGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path
import torch
import bench
from bench.methods.base import Method
from bench.results import artefacts


class Logged(Method):
    '''Brightens, writes down each image, and misbehaves on those whose first pixel is pure red.'''

    def __init__(self, log: str, what: str = "", milliseconds: int = 0):
        self.name, self.log, self.what, self.milliseconds = "logged", Path(log), what, milliseconds
        self.slow = False

    def load(self, device, dtype):
        self.slow = self.what == "slow-once" and first(self.log)

    def identity(self):
        return {"plugin": "logged"}  # what it does besides changes no output

    def restore(self, images, seeds=None):
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(0.3 if self.slow else self.milliseconds / 1000)
        if bool((images[0, :, 0, 0] == torch.tensor([1.0, 0.0, 0.0])).all()):
            if self.what == "exit" or self.what == "exit-once" and first(self.log):
                os._exit(3)
            if self.what == "kill":  # as a system does that is out of memory
                os.kill(os.getpid(), signal.SIGKILL)
            if self.what == "hang":  # on a program of its own, as a command does
                subprocess.run(["sleep", "600"], cwd=self.log.parent)
            if self.what == "raise":
                raise ValueError("no such luck")
        return images * 1.5


def first(log):
    try:
        Path(f"{log}.once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def write_and_die(results, output, suffix, payload, original=artefacts.write):
    original(results, output, suffix, payload)
    if "default_worker" in sys.argv[0] and (results / "die").exists() and first(results / "die"):
        os._exit(3)


artefacts.write = write_and_die
bench.register_method("logged", Logged)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two cores on this machine."""
    if find_spec("ray") is None:
        pytest.skip("needs the extra ray: pip install 'iqpir-bench[ray]'")
    before = dict(os.environ)
    os.environ |= {**AUTHENTICATION, "RAY_worker_niceness": "0"}  # at 15 they would wait for all other tests
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [before.get("PYTHONPATH")])])
    import ray  # which looks at the environment once

    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as folder:
        context = ray.init(
            address="local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, _temp_dir=folder,
            log_to_driver=False,
        )  # fmt: skip
        yield context.address_info["gcs_address"]
        ray.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def place(workplace: Workplace) -> Workplace:
    workplace.pairs(IMAGES)
    workplace.write("plugin.py", PLUGIN)
    workplace.env |= AUTHENTICATION
    return workplace


def mark(workplace: Workplace, name: str) -> None:
    """Turn an input's first pixel pure red."""
    path = workplace.root / "data" / "low" / f"{name}.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = (255, 0, 0)
    Image.fromarray(pixels).save(path)


def suite(workplace: Workplace, what: str = "", more: str = "") -> str:
    logged = f"{{method: logged, options: {{log: {workplace.root / 'log'}, what: '{what}'{more}}}, label: logged}}"
    return workplace.suite(f"[{logged}, gamma]", "[psnr, ssim, psnr-pooled]")


def local(workplace: Workplace, job: str, *more: object) -> Done:
    results = workplace.root / "local"
    return workplace.bench("run", job, "--plugin", "plugin.py", "--results", results, *more)


def on_ray(workplace: Workplace, job: str, address: str, *more: object, before: Path | None = None) -> Done:
    asked = ("run", job, "--plugin", "plugin.py", "--engine", "ray", "--address", address)
    return workplace.bench(*asked, *more, before=before)


def outputs(results: Path) -> list[str]:
    return sorted(file.name for file in (results / "outputs").glob("*/*"))


def units(workplace: Workplace) -> int:
    """How many units a run has written down, which may not have begun."""
    try:
        return workplace.count("unit")
    except sqlite3.OperationalError:
        return 0


def restored(workplace: Workplace) -> int:
    return len((workplace.root / "log").read_text().splitlines())


def programs_in(folder: Path) -> list[str]:
    """Programs that work in a folder and are no Python."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(folder) and "python" not in process.name() and process.name() != "ray::IDLE":
                found.append(process.name())
    return found


def assert_same(workplace: Workplace, *, ended: bool = False) -> None:
    """The table, the outputs and every value are those of the local run, to the last bit.

    Only of how a worker died Ray knows less than the parent of a process. One that was `ended` may have written an
    output in its last moment, as Ray ends first what it waits for; no row names that file.
    """
    ours, theirs = workplace.results, workplace.root / "local"
    for style in ("markdown", "csv"):
        found, expected = (
            re.sub(r"worker (process|actor) [^\n]* while this unit was in its hands", "worker died", table)
            for table in (workplace.table(style, ours), workplace.table(style, theirs))
        )
        assert found == expected
    made = set(outputs(ours)) - set(outputs(theirs))
    assert set(outputs(theirs)) <= set(outputs(ours)) and len(made) <= ended
    named = {
        row[0] for row in workplace.rows("SELECT lower(hex(hash)) FROM content JOIN restoration ON output=content.id")
    }
    assert not {name.removesuffix(".png") for name in made} & named
    values = (
        "SELECT hex(content.hash), signature.text, score.status, score.value FROM score "
        "JOIN content ON content.id=score.output JOIN signature ON signature.id=score.signature ORDER BY 1, 2"
    )
    assert workplace.rows(values, ours) == workplace.rows(values, theirs) != []


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_the_table_is_that_of_one_machine(place: Workplace, address: str, shared: bool) -> None:
    """Also where nobody sees the results folder but the driver: outputs then travel to it. One of two is slow."""
    assert_calm(local(place, suite(place)), 0)
    apart = place.write(
        "apart.py",
        "import contextlib\n"
        "from pathlib import Path\n"
        "from bench.runner.engines import ray_actors\n"
        "ray_actors._token = lambda results: contextlib.nullcontext(ray_actors._Token(Path('/nowhere'), ''))\n",
    )
    job = suite(place, "slow-once")
    assert_calm(on_ray(place, job, address, "--workers", 2, before=None if shared else apart), 0)
    assert (place.root / "log.once").exists(), "a worker was slow"
    assert_same(place)
    assert not list(place.results.glob(".seen-*"))


@pytest.mark.slow
def test_outputs_that_only_the_driver_sees_are_scored_by_another_metric(place: Workplace, address: str) -> None:
    test_the_table_is_that_of_one_machine(place, address, shared=False)
    more = place.suite(
        f"[{{method: logged, options: {{log: {place.root / 'log'}, what: ''}}, label: logged}}, gamma]",
        "[psnr, ssim, gmsd]",
    )
    count = restored(place)
    assert_calm(on_ray(place, more, address, before=place.root / "apart.py"), 0)
    assert_calm(local(place, more), 0)
    assert restored(place) == count, "nothing is restored again, here or there"
    assert_same(place)


@pytest.mark.slow
def test_an_actor_that_dies_is_replaced_and_only_its_items_are_done_again(place: Workplace, address: str) -> None:
    mark(place, "003")
    assert_calm(local(place, suite(place)), 0)
    (place.root / "log").unlink()
    assert_calm(on_ray(place, suite(place, "exit-once"), address, "--workers", 2), 0)
    assert_same(place)
    assert (place.root / "log.once").exists() and IMAGES < restored(place) < 2 * IMAGES


@pytest.mark.slow
def test_an_actor_killed_after_its_write_and_before_its_answer_changes_nothing(place: Workplace, address: str) -> None:
    assert_calm(local(place, suite(place)), 0)
    place.results.mkdir()
    (place.results / "die").touch()
    assert_calm(on_ray(place, suite(place), address), 0)
    assert (place.results / "die.once").exists(), "the actor has died"
    assert_same(place)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("kill", "worker actor died ("),  # as where the system is out of memory
        ("raise", "ValueError: no such luck"),
        ("hang", "timeout after 4 s while restoring"),
    ],
)
def test_what_goes_wrong_with_an_image_is_its_row_alone(place: Workplace, address: str, what: str, why: str) -> None:
    mark(place, "005")
    limit = ("--timeout", 4) if what == "hang" else ()
    assert_calm(local(place, suite(place, what), *limit), 1)
    assert_calm(on_ray(place, suite(place, what), address, *limit), 1)
    ((status, reason),) = place.rows("SELECT status, reason FROM restoration WHERE status!='ok'")
    assert status == "failed" and str(reason).startswith(why)
    assert place.count("unit") == 2 * IMAGES
    assert_same(place, ended=what == "hang")
    assert programs_in(place.root) == [], "what a method has started ends with it"


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_where_it_was(place: Workplace, address: str) -> None:
    assert_calm(local(place, suite(place)), 0)
    (place.root / "log").unlink()
    job = suite(place, more=", milliseconds: 300")
    asked = ("run", job, "--plugin", "plugin.py", "--engine", "ray", "--address", address)
    started, end = place.start(*asked), time.monotonic() + TIMEOUT
    while started.running and units(place) < 4:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert started.running
    started.kill()
    finished = units(place)
    actors = [
        psutil.Process(int(pid)) for pid in set((place.root / "log").read_text().split()) if psutil.pid_exists(int(pid))
    ]
    assert not psutil.wait_procs(actors, timeout=30)[1], "actors end with their driver"
    tried = restored(place)
    assert_calm(on_ray(place, job, address), 0)
    assert restored(place) - tried <= IMAGES - min(finished, IMAGES) and place.count("claim") == 0
    assert_same(place)


@pytest.mark.slow
def test_two_drivers_on_a_cluster_with_room_for_one_share_the_work(place: Workplace, address: str) -> None:
    assert_calm(local(place, suite(place)), 0)
    (place.root / "log").unlink()
    asked = ("run", suite(place), "--plugin", "plugin.py", "--engine", "ray", "--address", address)
    for done in [started.wait() for started in [place.start(*asked), place.start(*asked)]]:
        assert_calm(done, 0)
    assert restored(place) == IMAGES and place.count("claim") == 0
    assert_same(place)


@pytest.mark.slow
def test_a_ray_of_the_runs_own_begins_and_ends_with_it(place: Workplace) -> None:
    if find_spec("ray") is None:
        pytest.skip("needs the extra ray: pip install 'iqpir-bench[ray]'")
    assert_calm(local(place, suite(place)), 0)
    forgotten = [*AUTHENTICATION, "RAY_ADDRESS"]
    alone = place.write("alone.py", f"import os\nfor name in {forgotten}:\n    os.environ.pop(name, None)\n")
    home = place.root / "home"
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-") as folder:
        place.env |= {"RAY_TMPDIR": folder, "HOME": str(home), "PYTHONPATH": str(ROOT)}
        asked = ("run", suite(place), "--plugin", "plugin.py", "--engine", "ray", "--workers", 2)
        assert_calm(place.bench(*asked, before=alone), 0)
        assert not list(Path(folder).iterdir())
        left = [one for one in psutil.process_iter(["cmdline"]) if folder in " ".join(one.info["cmdline"] or [])]
        assert not psutil.wait_procs(left, timeout=30)[1]
    assert not (home / ".ray").exists(), "no token that other clusters would take for theirs"
    assert_same(place)


# What is refused, and what needs no cluster


def test_what_ray_cannot_do_is_refused_in_one_line(place: Workplace) -> None:
    job = suite(place)
    none = place.write("none.py", "import sys\nsys.modules['ray'] = None\n")
    asked = ("run", job, "--plugin", "plugin.py")
    assert_refused(place.bench(*asked, "--engine", "ray", before=none), "needs the package ray", "iqpir-bench[ray]")
    assert_refused(place.bench(*asked, "--address", "auto"), "--address is for --engine ray")
    assert_refused(place.bench(*asked, "--engine", "ray", "--gpus-per-worker", 0.5), "is for --device cuda")
    timed = place.suite("[gamma]", "[psnr]", more="latency: {size: 64}", name="timed")
    assert_refused(place.bench("latency", "gamma", "--engine", "ray"), "--engine ray measures no times")
    assert_refused(place.bench("run", timed, "--engine", "ray"), "--engine ray measures no times", "bench latency")


def test_an_address_is_a_machine_of_the_cluster() -> None:
    from bench.errors import BenchError
    from bench.runner.engines.ray_actors import where

    assert [where(text) for text in ("auto", "head", "10.0.0.1:7000")] == ["auto", "head:6379", "10.0.0.1:7000"]
    with pytest.raises(BenchError, match="ray job submit"):
        where("ray://head:10001")


def test_room_counts_whole_shares_of_each_gpu_on_each_machine() -> None:
    from bench.runner.engines.ray_actors import room

    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 4.0}},
        {"Alive": True, "Resources": {"memory": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert room(nodes, 1, 0) == 11
    assert room(nodes, 2, 0.5) == 4 + 1  # four halves of two GPUs; cores for one worker
    assert room(nodes, 1, 0.6) == 2 + 3  # one on each GPU; cores for three
    assert room(nodes, 16, 0) == 0


def test_actors_that_die_before_they_work_end_the_run_only_where_none_works() -> None:
    from unittest.mock import MagicMock

    from bench.errors import BenchError
    from bench.runner.engines.ray_actors import _Actors
    from bench.runner.request import Cluster

    host, actor = _Actors(MagicMock(), MagicMock(), Cluster()), MagicMock()
    host.begun(actor)
    assert host.promising()
    for _ in range(9):  # its neighbour has the memory that they lack
        host.stillborn("low on memory")
    assert not host.promising(), "not at once"
    host.ended(actor)
    with pytest.raises(BenchError, match="does not start: low on memory"):
        host.stillborn("low on memory")
    host.begun(actor)
    assert host.promising(), "one has come up since"

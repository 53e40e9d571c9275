"""The guard around strangers' code: the process afterwards, and the calls that ran beside it."""

from __future__ import annotations

import contextlib
import gc
import locale
import logging
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import cv2
import numpy as np
import pytest
import torch

from bench.catalog.isolation import Guard, _equal, changes, exits_raised
from bench.catalog.streams import Stream, results_apart

DISTURBANCES: dict[str, Callable[[], object]] = {
    "working directory": lambda: os.chdir("/"),
    "environment": lambda: os.environ.update(STRANGE="1"),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "warnings filters": lambda: warnings.simplefilter("error"),
    "sys.stdout": lambda: sys.stdout.close(),
    "sys.stderr": lambda: setattr(sys, "stderr", None),
    "sys.path": lambda: sys.path.clear(),
    "garbage collection": gc.disable,
    "logging": lambda: logging.disable(logging.CRITICAL),
    "recursion limit": lambda: sys.setrecursionlimit(4321),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "threads of torch": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "threads of OpenCV": lambda: cv2.setNumThreads(cv2.getNumThreads() + 1),
    "determinism": lambda: torch.use_deterministic_algorithms(True),
    "matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "numpy's errors": lambda: np.seterr(all="raise"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "default device": lambda: torch.set_default_device("meta"),
    "random": random.random,
    "numpy.random": np.random.rand,
    "torch's generator": lambda: torch.rand(1),
    "benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
}


@pytest.fixture(autouse=True)
def another_locale():
    before = locale.setlocale(locale.LC_ALL)
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_a_call_does_ends_with_it_whether_it_returns_or_raises(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", (tmp_path / "said").open("w"))  # pytest's own must not be closed
    if name == "locale" and locale.setlocale(locale.LC_ALL) == "C":
        pytest.skip("there is one locale only")

    def raising() -> None:
        DISTURBANCES[name]()
        raise SystemExit(3)

    with Guard() as guard:
        before = guard._stand()
        assert guard.call("code", lambda: (DISTURBANCES[name](), 7)[1]) == 7
        with pytest.raises(SystemExit):
            guard.call("code", raising)
        after = guard._stand()
    assert _equal(before, after)
    assert changes(lambda: None) == [] and name in changes(DISTURBANCES[name])
    assert changes(lambda: None) == []


def test_the_callers_generators_stand_where_they_stood() -> None:
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    with Guard() as guard:
        drawn = [guard.call("code", lambda: (random.random(), np.random.rand(), float(torch.rand(1)))) for _ in "abc"]
    after = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    assert after == (random.random(), np.random.rand(), float(torch.rand(1)))
    assert len(set(drawn)) == 1 and drawn[0] != after


def test_a_call_beside_one_that_disturbs_gives_what_it_gives_alone() -> None:
    begun, over = threading.Event(), threading.Event()

    def disturbing() -> None:
        torch.set_default_dtype(torch.float64)
        begun.set()
        over.wait(10)

    def measured() -> torch.dtype:
        over.set()
        return torch.zeros(1).dtype

    with Guard() as guard, ThreadPoolExecutor(2) as pool:
        first = pool.submit(guard.call, "disturbing", disturbing)
        assert begun.wait(10)
        assert pool.submit(guard.call, "measured", measured).result() == torch.float32
        first.result()
    assert torch.get_default_dtype() == torch.float32


def test_what_disturbs_again_and_again_runs_alone() -> None:
    within: set[str] = set()
    met: list[str] = []

    def disturbing() -> None:
        met.extend(within)
        np.random.rand()
        time.sleep(0.002)

    def quiet() -> float:
        within.add("quiet")
        try:
            time.sleep(0.002)
            return float(torch.ones(3).sum())
        finally:
            within.discard("quiet")

    with Guard() as guard, ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            guard.call("disturbing", disturbing)
        met.clear()
        futures = [
            pool.submit(guard.call, *(("quiet", quiet) if i % 2 else ("disturbing", disturbing))) for i in range(40)
        ]
        values = {future.result() for future in futures}
    assert values == {3.0, None} and not met


@pytest.mark.parametrize("leave", [lambda: None, lambda: sys.exit(0)], ids=["returns", "exits"])
@pytest.mark.parametrize("around", ["guard", "exits"])
def test_a_process_that_is_forked_inside_ends_where_it_would_come_out(around: str, leave: Callable[[], object]) -> None:
    here = os.getpid()

    def forking() -> int:
        child = os.fork()
        if not child:
            leave()
        return child

    try:
        if around == "guard":
            child = Guard().call("code", forking)
        else:
            with exits_raised():
                child = forking()
    finally:
        if os.getpid() != here:
            os._exit(42)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.parametrize("harm", ["os.close(1)", "os.close(2)", "os.dup2(os.open(os.devnull, os.O_RDONLY), 2)"])
def test_a_file_number_that_is_closed_is_taken_by_no_other_file(harm: str) -> None:
    program = (
        "import os\nfrom bench.catalog.isolation import Guard\nfrom bench.catalog.streams import no_results_here\n"
        "no_results_here()\n"
        f"with Guard() as guard:\n    guard.call('code', lambda: {harm})\n"
        "assert os.open(os.devnull, os.O_RDONLY) > 2\nos.write(1, b'one ')\nos.write(2, b'two')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "one two")


def test_a_folder_that_is_deleted_under_a_call_fails_only_where_it_is_needed(tmp_path: Path) -> None:
    home = Path.cwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    try:
        with Guard() as guard:
            guard.call("code", lambda: (tmp_path / "gone").rmdir())
            assert guard.call("code", lambda: 7) == 7
    finally:
        os.chdir(home)


@pytest.mark.speed
def test_a_guarded_call_costs_less_than_a_hundredth_of_a_small_metric() -> None:
    from bench.catalog.registry import registry
    from bench.metrics.build import build_metric
    from bench.metrics.scorer import Scorer

    scorer = Scorer([build_metric(registry("metric").get("psnr"), {}, {})], "cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 512, 512, 3), dtype=np.uint8)

    def fastest(action: Callable[[], object], times: int) -> float:
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            action()
            taken.append(time.perf_counter() - start)
        return min(taken)

    with scorer.guard as guard:
        whole = fastest(lambda: scorer.score(*images), 50)
        assert fastest(lambda: guard.call("nothing", lambda: None), 2000) < whole / 100


def test_threads_that_keep_results_apart_together_put_standard_output_back() -> None:
    outside, first_in, second_in = sys.stdout, Event(), Event()

    def first() -> None:
        with results_apart():
            first_in.set()
            assert second_in.wait(10)

    stream = Stream("stdout")
    thread = Thread(target=first)
    thread.start()
    assert first_in.wait(10) and sys.stdout is sys.stderr and stream.is_open()
    with results_apart():
        second_in.set()
        thread.join(10)  # who came first leaves first
        assert sys.stdout is sys.stderr and Stream("stdout").is_open()
    assert sys.stdout is outside and stream.is_open()


def test_a_call_beside_another_that_prints_is_no_disturbance() -> None:
    calls, inside, done = [], Event(), Event()

    def other() -> None:
        with exits_raised():
            inside.set()
            assert done.wait(10)

    with Guard() as guard:
        thread = Thread(target=other)

        def action() -> None:
            calls.append(1)
            if len(calls) == 1:
                thread.start()
                assert inside.wait(10)

        guard.call("code", action)
        done.set()
        thread.join(10)
    assert calls == [1]

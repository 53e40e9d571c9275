"""What all tests share: claims about speed are tested only where they were asked for, never beside other work.

With `-n` (pytest-xdist) a file's tests stay in one process, since what they share is made once a process, and each
process calculates on one thread: two processes of two threads each are slower on two cores than two of one.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

COMPILED = (
    "PIL.Image", "bench.api", "bench.cli.run", "bench.metrics.kernels.windows", "bench.metrics.ssim",
    "bench.report.page", "bench.runner.steps", "cv2", "iqpir.cli.train", "matplotlib.backends.backend_agg",
    "matplotlib.pyplot", "pandas", "psutil", "scipy.stats", "torch",
)  # fmt: skip
"""Modules of which the processes that tests start import most."""

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A benchmark runs its function once unless `--benchmark-enable` is said; pytest-benchmark need not be there."""
    if config.pluginmanager.hasplugin("benchmark") and not config.getoption("benchmark_enable", default=False):
        config.option.benchmark_disable = True
    if config.pluginmanager.hasplugin("xdist") and config.option.dist == "load":
        config.option.dist = "loadfile"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the processes of pytest-xdist start."""
    if "PYTEST_XDIST_WORKER" not in os.environ and session.config.pluginmanager.hasplugin("cacheprovider"):
        assert session.config.cache is not None
        compile_once(session.config.cache.mkdir)


def compile_once(folder_of: Callable[[str], Path]) -> None:
    """Where Python is told to write no bytecode, each process compiles torch and all the rest anew, for seconds.

    They are compiled here, into a folder that every process reads from and none writes to: a plugin that a test changes
    within a second must not be taken for what it was.
    """
    torch = importlib.util.find_spec("torch")
    if not sys.dont_write_bytecode or sys.pycache_prefix is not None or torch is None or torch.origin is None:
        return
    if Path(importlib.util.cache_from_source(torch.origin)).is_file():
        return
    folder = str(folder_of("bytecode"))
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
    sys.pycache_prefix = folder
    program = f"import contextlib\nfor name in {COMPILED}:\n    with contextlib.suppress(ImportError): __import__(name)"
    if not Path(importlib.util.cache_from_source(torch.origin)).is_file():
        writing = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([sys.executable, "-c", program], env=writing, check=False)
    os.environ.update(environment)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: every core, but no more processes than memory holds, of which each needs up to two gigabytes."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // (2 << 30)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("benchmark"):
        absent = pytest.mark.skip(reason="pytest-benchmark is not installed")
        for item in items:
            if "benchmark" in getattr(item, "fixturenames", ()):
                item.add_marker(absent)
    if config.getoption("benchmark_enable", default=False):
        return
    skip = pytest.mark.skip(reason="speed is measured by tox -e benchmarks")
    for item in items:
        if "speed" in item.keywords:
            item.add_marker(skip)

"""What all tests share: claims about speed are tested only where they were asked for, never beside other work.

With `-n` (pytest-xdist) a file's tests stay in one process, since what they share is made once a process, and each
process calculates on one thread: two processes of two threads each are slower on two cores than two of one.
"""

from __future__ import annotations

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A benchmark runs its function once unless `--benchmark-enable` is said; pytest-benchmark need not be there."""
    if config.pluginmanager.hasplugin("benchmark") and not config.getoption("benchmark_enable", default=False):
        config.option.benchmark_disable = True
    if config.pluginmanager.hasplugin("xdist") and config.option.dist == "load":
        config.option.dist = "loadfile"


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

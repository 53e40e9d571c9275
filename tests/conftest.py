"""What all tests share: claims about speed are tested only where they were asked for, never beside other work."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A benchmark runs its function once unless `--benchmark-enable` is said; pytest-benchmark need not be there."""
    if config.pluginmanager.hasplugin("benchmark") and not config.getoption("benchmark_enable", default=False):
        config.option.benchmark_disable = True


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

"""What all tests share: claims about speed are tested only where they were asked for, never beside other work."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("benchmark_enable", default=False):
        return
    skip = pytest.mark.skip(reason="speed is measured by tox -e benchmarks")
    for item in items:
        if "speed" in item.keywords:
            item.add_marker(skip)

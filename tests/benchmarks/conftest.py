"""Beside every benchmark, how fast the machine itself was: a fixed piece of work, timed before and after it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest


def fixed_work() -> float:
    """Seconds of a loop that no change of this repository can make faster or slower."""
    start = time.perf_counter()
    total = 0
    for index in range(200_000):
        total += index & 7
    assert total
    return time.perf_counter() - start


@pytest.fixture(autouse=True)
def calibration(request: pytest.FixtureRequest) -> Iterator[None]:
    if "benchmark" not in request.fixturenames or not request.config.getoption("benchmark_enable", default=False):
        yield
        return
    told = request.getfixturevalue("benchmark").extra_info
    before = [fixed_work() for _ in range(7)]
    # pytest-benchmark copies what stands here when the benchmark has run; a list can still grow.
    told["calibration"] = before
    yield
    before.extend(fixed_work() for _ in range(7))

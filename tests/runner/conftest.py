"""Fixtures of the end-to-end tests; what they give is in `workplace`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.workplace import Launcher, Workplace


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    made = Launcher(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


@pytest.fixture
def workplace(tmp_path: Path, launcher: Launcher) -> Workplace:
    return Workplace(tmp_path, launcher)

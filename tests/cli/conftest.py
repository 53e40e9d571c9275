"""A working folder for commands."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The working folder: nothing fetched, no results, and the module's SUITE as mine.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    (tmp_path / "mine.yaml").write_text(request.module.SUITE, encoding="utf-8")
    return tmp_path

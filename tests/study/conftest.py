"""A run of three methods on six small photographs, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.commands import bench
from support.studies import ITEMS, METHODS, SUITE, put
from support.workplace import photograph


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody voted on."""
    root = tmp_path_factory.mktemp("study")
    for item in range(ITEMS):
        draw, high = np.random.default_rng(item), photograph(48, 64, item)
        put(root / f"high/scene{item}.png", high)
        put(root / f"low/scene{item}.png", high * 0.3 + draw.normal(4, 3, high.shape))
        for method, noise in METHODS.items():
            put(root / f"out/{method}/scene{item}.png", high + draw.normal(0, noise, high.shape))
    listed = ", ".join(f"{{method: folder, options: {{path: out/{one}}}, label: {one}}}" for one in METHODS)
    (root / "mine.yaml").write_text(SUITE.replace("METHODS", listed), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("BENCH_HOME", str(root / "home"))
        patch.delenv("BENCH_RESULTS", raising=False)
        assert bench("run", "mine.yaml") == 0
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    return tmp_path / "work"

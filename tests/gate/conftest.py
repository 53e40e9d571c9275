"""What the tests of the gate share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.gated import ITEMS, Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """Four pairs of 24×24 pixels, two methods, a finished run and its baseline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_RESULTS", raising=False)

    def output() -> tuple[str, str]:
        said = capsys.readouterr()
        return said.out, said.err

    made = Place(tmp_path, output)
    draw = np.random.default_rng(1)
    for item in ITEMS:
        high = draw.integers(60, 190, (24, 24, 3))
        made.put("high", item, high)
        made.put("low", item, high // 3)
        made.put("mine", item, high + draw.integers(-20, 21, high.shape))
    made.suite()
    assert made.run() == 0
    assert made.bench("baseline", "mine") == (0, "")
    return made

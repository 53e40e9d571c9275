"""One small run with everything that goes wrong: hostile names, a missing output, a dataset without references."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from support.reports import SUITE, Workplace

from bench.data.images import encode_png


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """The run, made once; tests that change files take a copy (`workplace`)."""
    place = Workplace(tmp_path_factory.mktemp("report"))
    rng = np.random.default_rng(7)
    for number in range(5):
        clean = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        clean[:, :64] = 120 + 20 * number  # only the right half has detail
        for folder, pixels in (("gt", clean), ("lq", clean // 2), ("made", clean // 2 + 20)):
            if folder == "made" and number == 3:
                continue
            file = place.root / folder / f"item {number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(pixels))
    (place.root / "nasty.yaml").write_text(SUITE, encoding="utf-8")
    assert place.bench("run", "nasty.yaml", "--allow-failures", "100") == 0
    return place


@pytest.fixture
def workplace(finished: Workplace, tmp_path: Path) -> Workplace:
    """A copy of the run that a test may change. Modification times are kept, so that inputs count as the same."""
    shutil.copytree(finished.root, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy/results/bench.db")) as db, db:  # as if it had run here
        db.execute("UPDATE run SET record=replace(record, ?, ?)", (str(finished.root), str(tmp_path / "copy")))
    return Workplace(tmp_path / "copy")

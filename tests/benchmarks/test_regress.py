"""The script that holds benchmarks against stored ones."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("regress", Path(__file__).with_name("regress.py"))
assert spec is not None and spec.loader is not None
regress = importlib.util.module_from_spec(spec)
spec.loader.exec_module(regress)


def store(folder: Path, number: int, rounds: dict[str, np.ndarray], cpu: str = "A", own: float = 1.0) -> None:
    info = {"system": "Linux", "python_version": "3.11.7", "cpu": {"brand_raw": cpu, "count": 2}}
    found: dict[str, Any] = {
        "machine_info": info,
        "benchmarks": [
            {"fullname": name, "stats": {"data": data.tolist()}, "extra_info": {"calibration": [own] * 3}}
            for name, data in rounds.items()
        ],
    }
    (folder / "Linux").mkdir(exist_ok=True)
    path = folder / "Linux" / f"{number:04d}_x.json"
    path.write_text(json.dumps(found), encoding="utf-8")


def times(median: float, spread: float = 0.02, count: int = 60, seed: int = 0) -> np.ndarray:
    return median * np.random.default_rng(seed).lognormal(0, spread, count)


@pytest.mark.parametrize(
    ("now", "word", "code"),
    [
        (times(1.3, seed=1), "slower", 1),
        (times(1.02, seed=1), "same", 0),
        (times(0.7, seed=1), "faster", 0),
        (times(1.16, 0.3, 20, seed=1), "inconclusive", 0),
        (times(2.0, count=4, seed=1), "inconclusive", 0),
    ],
)
def test_only_a_loss_beyond_doubt_fails(tmp_path, capsys, now, word, code):
    store(tmp_path, 1, {"t": times(1.0)})
    store(tmp_path, 2, {"t": now})
    assert regress.main([str(tmp_path)]) == code
    assert any(line.startswith(word) and " t " in line for line in capsys.readouterr().out.splitlines())


def test_many_small_losses_are_held_against_the_first_run(tmp_path, capsys):
    for number, median in enumerate((1.0, 1.1, 1.21, 1.33), 1):
        store(tmp_path, number, {"t": times(median, seed=number)})
    assert regress.main([str(tmp_path)]) == 1
    assert "0004_x.json against 0001_x.json" in capsys.readouterr().out


def test_another_machines_runs_are_no_base(tmp_path, capsys):
    assert regress.main([str(tmp_path)]) == 2
    store(tmp_path, 1, {"t": times(1.0)}, cpu="B")
    store(tmp_path, 2, {"t": times(9.0)})
    assert regress.main([str(tmp_path)]) == 0
    assert "first run on this machine" in capsys.readouterr().out


def test_a_benchmark_that_vanished_is_named(tmp_path, capsys):
    store(tmp_path, 1, {"t": times(1.0), "u": times(1.0)})
    store(tmp_path, 2, {"t": times(1.0)})
    assert regress.main([str(tmp_path)]) == 0
    assert "gone         u" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "word", "code"), [(1.05, "slower", 1), (1.4, "inconclusive", 0), (0.7, "inconclusive", 0)]
)
def test_nothing_is_concluded_where_the_machine_itself_was_slower(tmp_path, capsys, own, word, code):
    store(tmp_path, 1, {"t": times(1.0)})
    store(tmp_path, 2, {"t": times(1.4, seed=1)}, own=own)
    assert regress.main([str(tmp_path)]) == code
    assert any(line.startswith(word) for line in capsys.readouterr().out.splitlines())

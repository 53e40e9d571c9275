"""A small suite over images that the test makes, its run as a baseline, and the commands in this process."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from bench import cli

ITEMS = ("a", "b", "c", "d")
SUITE = """\
schema: 1
datasets: [{dataset: folder, options: {lq: data/low, gt: data/high}, label: data}]
methods: [identity, {method: folder, options: {path: outputs/mine}, label: Mine}]
metrics: [psnr]
"""


class Checked(NamedTuple):
    """What `bench check` said."""

    code: int
    findings: list[dict[str, Any]]
    """As `--format json` has them."""
    data: dict[str, Any]

    @property
    def failing(self) -> list[tuple[str, str, str, list[str]]]:
        """(kind, method, metric, items) of the findings that fail."""
        return [(row["kind"], row["method"], row["metric"], row["items"]) for row in self.findings if row["fails"]]

    @property
    def notes(self) -> list[tuple[str, str]]:
        return [(row["kind"], row["detail"]) for row in self.findings if not row["fails"]]


class Place:
    """The working folder of one test."""

    def __init__(self, root: Path, output: Callable[[], tuple[str, str]]) -> None:
        self.root = root
        self.baseline = root / "results/baselines/mine.json"
        self.err = ""
        self._output = output

    # Images

    def path(self, kind: str, item: str) -> Path:
        return self.root / {"low": "data/low", "high": "data/high"}.get(kind, f"outputs/{kind}") / f"{item}.png"

    def pixels(self, kind: str, item: str) -> np.ndarray:
        return np.asarray(Image.open(self.path(kind, item)), dtype=np.int64)

    def put(self, kind: str, item: str, pixels: np.ndarray) -> None:
        file = self.path(kind, item)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(file)

    def suite(self, old: str = "", new: str = "") -> None:
        (self.root / "mine.yaml").write_text(SUITE.replace(old, new) if old else SUITE, encoding="utf-8")

    # Commands

    def bench(self, *arguments: str) -> tuple[int, str]:
        """(exit code, standard output); standard error is kept in `err`."""
        self._output()
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
        out, self.err = self._output()
        return int(stop.value.code or 0), out

    def run(self, *arguments: str) -> int:
        return self.bench("run", "mine.yaml", *arguments)[0]

    def check(self, *arguments: str) -> Checked:
        code, out = self.bench("check", "mine", "--baseline", str(self.baseline), "--format", "json", *arguments)
        data = json.loads(out, parse_constant=pytest.fail)
        return Checked(code, data["findings"], data)

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the baseline file as a user would."""
        data = json.loads(self.baseline.read_text(encoding="utf-8"))
        change(data)
        self.baseline.write_text(json.dumps(data), encoding="utf-8")

    def sql(self, statement: str) -> None:
        """Change the store behind the harness's back."""
        with closing(sqlite3.connect(self.root / "results/bench.db")) as database, database:
            assert database.execute(statement).rowcount > 0

"""Every suite that ships names things that exist, on a machine that has fetched nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.fetch import assets_for
from bench.planning.bind import resolve
from bench.planning.missing import group_of
from bench.suite import definition


@pytest.mark.parametrize("name", definition.names())
def test_a_shipped_suite_is_valid_and_says_what_is_not_fetched_yet(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    resolved = resolve(definition.load(definition.find(name)))  # raises with a line per wrong name
    assert resolved.methods
    fetched = [gone for gone in resolved.missing if group_of(gone) in ("weights", "metric weights")]
    assert all("bench fetch" in gone.detail for gone in fetched)
    assert assets_for(str(definition.find(name))) or not fetched

"""Python's face: what a run returns shows itself, becomes DataFrames, and is compared and drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench
from bench.cli import main
from bench.runner.driver import Summary

SUITE = """\
schema: 1
title: Tones
datasets: [builtin-lowlight]
methods: [identity, {method: gamma, options: {gamma: %s}, label: tone}]
metrics: [psnr, ssim]
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Summary]:
    folder = tmp_path_factory.mktemp("api")
    made = []
    for name, gamma in (("one", 0.6), ("two", 0.4)):
        (folder / f"{name}.yaml").write_text(SUITE % gamma, encoding="utf-8")
        made.append(bench.run(str(folder / f"{name}.yaml"), limit=3, results=folder / "results"))
    return made


def commands(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(list(arguments))
    return capsys.readouterr().out


def test_a_summary_is_the_table_of_its_run(runs, capsys: pytest.CaptureFixture[str]):
    first, second = runs
    for run in runs:
        told = commands(capsys, "table", str(run.run), "--results", str(run.results), "--format", "markdown")
        assert run.table() == told
    assert first.table() != second.table()  # also after another run
    assert second._repr_html_().startswith("<table>") and "booktabs" in second.table("latex", ci=True)
    with pytest.raises(bench.BenchError, match="unknown format"):
        first.table("word")


def test_frames_have_signatures_and_the_numbers_of_json(runs, capsys: pytest.CaptureFixture[str]):
    run = runs[0]
    told = json.loads(commands(capsys, "table", str(run.run), "--results", str(run.results), "--format", "json"))
    cells = run.cells()
    assert list(cells["value"]) == [row["value"] for row in told] and len(cells) == 4
    assert cells["signature"].str.startswith(("psnr|", "ssim|")).all()
    means = run.frame().groupby(["method", "metric"])["value"].mean()
    for cell in cells.itertuples():
        assert means[cell.method, cell.metric] == pytest.approx(cell.value, abs=1e-12)


def test_runs_are_compared_cell_by_cell(runs):
    changes = bench.compare(*runs).set_index(["method", "metric"])
    assert list(changes.loc["identity", "verdict"]) == ["same", "same"]
    assert list(changes.loc["identity", "difference"]) == [0, 0] and changes.loc["identity", "p"].isna().all()
    first, second = (run.cells().set_index(["method", "metric"])["value"] for run in runs)
    for metric in ("psnr", "ssim"):
        row = changes.loc[("tone", metric)]
        assert row["difference"] == pytest.approx(second["tone", metric] - first["tone", metric])
        assert row["low"] <= row["difference"] <= row["high"] and row["p"] == pytest.approx(0.25)  # 2 of 2³ signs
    by_name = bench.compare(runs[0].run, "two", results=runs[0].results)
    assert list(by_name["head"]) == list(changes["head"])


def test_a_run_is_drawn_and_written(runs, tmp_path: Path):
    drawn = bench.figure("distribution", runs[0], metrics=["psnr"], output=tmp_path / "a.png")
    assert drawn.axes and (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(io.BytesIO(drawn._repr_png_())) as shown:  # what a notebook asks for
        assert shown.format == "PNG" and shown.width > 500 and len(shown.convert("L").getcolors()) > 2
    with pytest.raises(bench.BenchError, match="did you mean 'grid'"):
        bench.figure("grit", runs[0])


def test_pictures_in_place_of_folders_are_one_line():
    for given in ([np.zeros((8, 8, 3), np.uint8)], (each for each in [1])):
        with pytest.raises(bench.BenchError, match="takes folders by their names, not"):
            bench.score(given, None, metrics=["piqe"])


def test_stable_names_are_in_one_place():
    assert set(bench.__all__) == {
        "BenchError", "__version__", "compare", "figure", "load_method", "load_results", "register_method", "run",
        "score",
    }  # fmt: skip
    reference = (Path(__file__).parents[1] / "docs/reference.md").read_text(encoding="utf-8")
    assert all(name in reference for name in bench.__all__ if name != "__version__")

"""Seconds per image are those that the run stored when it made its outputs, and are not sold as latency."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from support.records import run_record

from bench.results.store import Store
from bench.results.view import RunView, read_cells
from bench.runner import steps
from bench.runner.request import Request
from bench.tables import render
from bench.tables.layout import Extras, lay_out
from bench.tables.selection import Choice, select

SUITE = """schema: 1
datasets: [builtin-lowlight]
metrics: [psnr]
methods:
  - gamma
  - auto-gamma
  - {method: unreleased, label: Stored}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three items whose times are then written by hand."""
    folder = tmp_path_factory.mktemp("spent")
    (folder / "s.yaml").write_text(SUITE)
    made = steps.run(Request(suite=str(folder / "s.yaml"), limit=3, available=True, results=str(folder / "results")))
    with sqlite3.connect(folder / "results/bench.db") as db:
        rows = db.execute(
            "SELECT unit.cell, restoration.id FROM unit JOIN restoration ON restoration.id=unit.restoration "
            "WHERE unit.run=? ORDER BY unit.cell, unit.item", (made.run,),
        ).fetchall()  # fmt: skip
        for (_, row), seconds in zip(rows, (9.0, 0.5, 0.25, 0.04, 0.06, None), strict=True):
            db.execute(
                "UPDATE restoration SET seconds=?, batch=?, threads=?, device=? WHERE id=?", (seconds, 1, 2, "cpu", row)
            )
    return folder


def read(place: Path) -> RunView:
    with Store(place / "results", writable=False) as store:
        return read_cells(store, 1)


def test_a_method_has_the_median_of_its_images(place: Path):
    data = read(place)
    rows = lay_out(data, Extras(seconds=True)).rows
    assert [(row.method, row.cells[-1].text) for row in rows] == [
        ("gamma", "0.500"), ("auto-gamma", "0.0500"), ("Stored", "–"),
    ]  # fmt: skip
    assert all(len(row.cells) == 1 for row in lay_out(data).rows)


def test_the_table_says_how_they_came_about_and_that_it_is_no_latency(place: Path):
    text = render.render(read(place), "markdown", Extras(seconds=True))
    assert "Seconds ↓" in text
    assert re.search(r"batch 1, 2 threads, cpu\).*Not a latency measurement: bench latency makes one", text)
    assert re.search(r"No seconds: Stored on builtin-lowlight: .*path", text)
    for style in ("latex", "html"):
        assert "Not a latency measurement" in render.render(read(place), style, Extras(seconds=True))


def test_they_stay_where_metrics_are_chosen(place: Path):
    chosen = select(read(place), Choice(metrics=["psnr"]), Extras(seconds=True))
    assert [row.cells[-1].text for row in lay_out(*chosen).rows] == ["0.500", "0.0500", "–"]


def test_json_has_a_row_per_method_with_the_number_of_images(place: Path):
    found = json.loads(render.render(read(place), "json", Extras(seconds=True)))
    rows = {row["method"]: row for row in found if row["metric"] == "seconds"}
    assert [(row["value"], row["n"], row["expected"]) for row in rows.values()] == [
        (0.5, 3, 3), (pytest.approx(0.05), 2, 3), (None, 0, 3),
    ]  # fmt: skip
    assert rows["Stored"]["status"] == "unavailable" and rows["Stored"]["reason"]
    assert "seconds" not in render.render(read(place), "json")


def test_they_are_not_ranked_and_the_rest_of_the_table_is_as_it_was(place: Path):
    data = read(place)
    with_seconds, without = lay_out(data, Extras(seconds=True)), lay_out(data)
    assert all(row.cells[-1].rank == 0 for row in with_seconds.rows)
    assert [row.cells[:-1] for row in with_seconds.rows] == [row.cells for row in without.rows]


def test_the_papers_seconds_stand_beside_them():
    from bench.catalog import published
    from bench.results.record import Column
    from bench.results.view import Cell, ItemScore, Seconds
    from bench.tables import beside as papers

    if not published.folder().is_dir():
        pytest.skip("results/published was deleted: git checkout results/published")
    column = Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
    label = "MiO100, group A"
    definition = {"published": "rar/efficiency", "metrics": [{"metric": "psnr"}]}
    places = [{"label": label, "name": "mio100", "items": ["i"]}]
    record = run_record("s", "T", definition, places, [{"label": "rar", "name": "rar"}])
    cells = [Cell(label, "rar", column, 1, [ItemScore("i", 0, "ok", 20.0, None)])]
    data = RunView(1, record, {}, cells, frozenset(), (), {(label, "rar"): Seconds((7.0,), frozenset({"batch 1"}))})
    table = papers.beside(data, papers.of_run(data), Extras(seconds=True))
    assert (table.rows[0].cells[-1].text, table.rows[0].cells[-1].beside) == ("7.00", " (6.29, +0.71)")
    assert {row.method: row.cells[-1].text[:7] for row in table.rows[1:]} == {
        "AutoDIR": "(14.30)", "AgenticIR": "(48.0)",
    }  # fmt: skip

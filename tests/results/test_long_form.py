"""A run in long form: the same columns and types always, and the same rows in every file format."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.export import rows_and_images
from bench.results import view
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView

NAME = 'a,"b"\n=1+1 é'
TYPES = {
    "run": "int64", "suite": "string", "dataset": "string", "method": "string", "item": "string", "repeat": "int64",
    "metric": "string", "signature": "string", "status": "string", "value": "float64", "reason": "string",
}  # fmt: skip


def run(*, of_sets: bool = True) -> RunView:
    psnr = Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
    fid = replace(psnr, label="fid", signature="fid|v:1", is_set=True)
    scores = [
        ItemScore("i0", 0, "ok", 1 / 3, None),
        ItemScore("i1", 0, "inf", math.inf, None),
        ItemScore("i2", 1, "failed", None, "because"),
        ItemScore("i3", 0, "nan", math.nan, "no number"),
    ]
    cells = [Cell("d", NAME, psnr, 4, scores)]
    if of_sets:
        cells.append(Cell("d", NAME, fid, 4, scores[:1], ItemScore("", 0, "ok", 12.5, None)))
    return RunView(3, run_record("s", "T", {}, [{"label": "d"}], [{"label": NAME}]), {}, cells, frozenset())


def test_columns_and_types_are_those_that_others_rely_on():
    for data in (run(), run(of_sets=False), run()._replace(cells=[])):
        found = view.to_frame(view.rows(data))
        assert {name: str(kind) for name, kind in found.dtypes.items()} == TYPES
        assert list(found.columns) == list(view.COLUMNS)


def test_there_is_a_row_per_item_and_one_for_a_whole_set():
    found = view.to_frame(view.rows(run()))
    assert list(found.item) == ["i0", "i1", "i2", "i3", ""]
    assert list(found.status) == ["ok", "inf", "failed", "nan", "ok"]
    assert found.value[0] == 1 / 3 and found.value[1] == math.inf and found.value[2:4].isna().all()
    assert found.reason[2] == "because" and pd.isna(found.reason[0])


def test_parquet_holds_what_load_results_returns(tmp_path: Path):
    rows_and_images.write(view.rows(run()), "parquet", tmp_path / "deep" / "x.parquet")
    found = pd.read_parquet(tmp_path / "deep" / "x.parquet")
    pd.testing.assert_frame_equal(found.astype(TYPES), view.to_frame(view.rows(run())))
    assert str(found.dtypes["value"]) == "float64" and str(found.dtypes["run"]) == "int64"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["x.parquet"]


def test_json_is_strict_and_says_what_a_number_would_have_been(tmp_path: Path):
    rows_and_images.write(view.rows(run()), "json", tmp_path / "x.json")
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [(row["value"], row["status"]) for row in rows] == [
        (1 / 3, "ok"), (None, "inf"), (None, "failed"), (None, "nan"), (12.5, "ok"),
    ]  # fmt: skip
    assert set(rows[0]) == set(TYPES) and rows[0]["method"] == NAME


def test_csv_reads_back_with_every_digit_and_any_name(tmp_path: Path):
    rows_and_images.write(view.rows(run()), "csv", tmp_path / "x.csv")
    with open(tmp_path / "x.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(TYPES)
    assert float(rows[0]["value"]) == 1 / 3 and rows[1]["value"] == "" and rows[1]["status"] == "inf"
    assert {row["method"] for row in rows} == {NAME}


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path):
    (tmp_path / "x").write_text("a file, no folder", encoding="utf-8")
    with pytest.raises(BenchError, match="cannot be written"):
        rows_and_images.write(view.rows(run()), "csv", tmp_path / "x" / "rows.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]

"""CSV of labels and names that spreadsheets would take for formulas: text stays text, numbers stay numbers."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from PIL import Image
from support.records import run_record

from bench.cli import main
from bench.export import rows_and_images
from bench.results import csv_text, view
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import render

FORMULAS = [
    '=cmd|\' /C calc\'!A0', "=1+1", "+1+1", "-1+1", "@SUM(A1:A9)", "\t=1", "\r=1", "\n=1", "=", "+", "-", "@", "-inf",
    "+abc", "--5", "=HYPERLINK(\"http://x\",\"y\")", "＝1+1", "＋1", "－1", "＠x",
]  # fmt: skip
HARMLESS = [
    "",
    "plain",
    "a=b",
    "x-1",
    "5",
    "-5",
    "+5",
    "-0.25",
    "1e-3",
    "-1.5e+10",
    "(+1.2)",
    "'quoted",
    "é",
    "–",
    "#1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_would_be_a_formula_is_text(text: str):
    assert csv_text.safe(text) == f"'{text}"


@pytest.mark.parametrize("value", [*HARMLESS, -1.5, -3, 0, None, True, float("-inf")])
def test_numbers_and_plain_text_are_as_they_are(value: object):
    assert csv_text.safe(value) is value


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def run(label: str, item: str) -> RunView:
    column = Column(label, "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
    cells = [Cell(label, label, column, 1, [ItemScore(item, 0, "ok", -1.25, None)])]
    record = run_record(label, "T", {}, [{"label": label, "items": [item]}], [{"label": label, "repeats": 1}])
    return RunView(1, record, {}, cells, frozenset())


@pytest.mark.parametrize("label", ["=1+1", "@x", "-a", "+b", '=a,"b"\n;c'])
def test_tables_and_exports_are_safe_in_every_column(label: str):
    for text in (
        render.render(run(label, label), "csv"),
        "".join(rows_and_images.text(view.rows(run(label, label)), "csv")),
    ):
        [row] = read(text)
        assert float(row["value"]) == -1.25
        kept = {name: row[name] for name in ("dataset", "method", "metric", "item", "suite") if name in row}
        assert len(kept) >= 3 and set(kept.values()) == {f"'{label}"}


def test_scores_of_a_file_with_such_a_name_are_safe(tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "=1+1.png")
    with pytest.raises(SystemExit):
        main(["score", str(tmp_path), "--metric", "piqe", "--format", "csv"])
    [row] = read(capsys.readouterr().out)
    assert row["item"] == "'=1+1" and float(row["value"]) > 0


def test_floats_keep_their_precision_and_rows_their_order():
    text = csv_text.of_rows(["a", "b"], [[1 / 3, None], [-1e-17, "x,y"]])
    assert text == 'a,b\n0.3333333333333333,\n-1e-17,"x,y"\n'

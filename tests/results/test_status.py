"""What became of a value: the first reason that holds, from what holds for a whole cell to the stored row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.records import dataset_record, method_record

from bench.metrics.outcome import Status, of_number
from bench.results.record import Column
from bench.results.status import Verdict, of_unit
from bench.results.store import Score, StoredRestoration
from bench.results.units import Unit

PSNR = Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, True, 2, None)
FID = replace(PSNR, label="fid", is_set=True, two_sets=True)
BOXES = replace(PSNR, label="ap50", fr=False, is_set=True, annotated=True)
VOTES = replace(PSNR, label="mos", fr=False, given={"m": [4.5, None]}, not_given="nobody rated it")
MADE = StoredRestoration(3, "ok", None, 7, b"o", "png", 4, 4, 0.1, "cpu", 1, 1)
UNIT = Unit("i", 0, 0, MADE, b"in", 9)
LOST = UNIT._replace(row=MADE._replace(output=None, status="failed", reason="NaN"))
ROWS = {(7, 9): Score("ok", 30.0, None), (7, 0): Score("ok", None, None), (9, 0): Score("ok", None, None)}


def verdict(column: Column, unit: Unit = UNIT, held: Mapping[Any, Score] = ROWS, **given: Any) -> Verdict:
    dataset = dataset_record("d", **{k: v for k, v in given.items() if k in ("paired", "annotation")})
    return of_unit(unit, dataset, method_record("m", unavailable=given.get("unavailable")), column, held)


@pytest.mark.parametrize(
    ("column", "given", "expected"),
    [
        (PSNR, {}, Verdict("ok", 30.0)),
        (PSNR, {"unavailable": "no weights"}, Verdict("unavailable", reason="no weights")),
        (replace(PSNR, unavailable="no pyiqa"), {}, Verdict("unavailable", reason="no pyiqa")),
        (PSNR, {"paired": False}, Verdict("n/a", reason="no GT")),
        (PSNR, {"unit": UNIT._replace(row=None)}, Verdict("pending", reason="not worked on yet: run again")),
        (PSNR, {"unit": LOST}, Verdict("failed", None, "NaN")),
        (PSNR, {"held": {}}, Verdict("pending", reason="not scored yet: run again")),
        (FID, {}, Verdict("ok")),
        (FID, {"unit": UNIT._replace(reference=0)}, Verdict("n/a", reason="no GT")),
        (FID, {"held": {**ROWS, (9, 0): Score("input", None, "damaged")}}, Verdict("input", None, "damaged")),
        (BOXES, {}, Verdict("n/a", reason="no boxes are annotated")),
        (BOXES, {"annotation": {"problems": {"i": "line 3"}}}, Verdict("input", reason="line 3")),
        (VOTES, {}, Verdict("ok", 4.5)),
        (VOTES, {"unit": UNIT._replace(position=1)}, Verdict("n/a", reason="nobody rated it")),
        (replace(VOTES, given={}), {"unit": UNIT._replace(row=None)}, Verdict("n/a", reason="nobody rated it")),
    ],
)  # fmt: skip
def test_the_first_reason_that_holds_is_told(column: Column, given: dict[str, Any], expected: Verdict):
    assert verdict(column, **given) == expected


def test_numbers_say_themselves_what_they_are():
    found = [of_number(value) for value in (1.0, float("inf"), float("-inf"), float("nan"), None)]
    assert found == [Status.OK, Status.INF, Status.INF, Status.NAN, Status.NAN]
    assert f"{Status.NOT_APPLICABLE}" == "n/a"

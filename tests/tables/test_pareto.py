"""Quality against latency: who is on the front, who has no point, a picture one can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.records import run_record

from bench.errors import BenchError
from bench.identity import digest
from bench.report import pareto_figure as picture
from bench.report import style
from bench.results.record import Column
from bench.results.timings import Timing
from bench.results.view import Cell, ItemScore, RunView
from bench.suite.setting import Setting, Size
from bench.tables import pareto

SETTING = Setting(Size(64, 64), 1, "float32", "cpu", "synchronised", 2)
# PSNR and milliseconds; by hand: b is beaten by a (as good, slower), d by c (worse, slower).
QUALITY = {"a": (20.0, 1.0), "b": (20.0, 2.0), "c": (25.0, 5.0), "d": (24.0, 6.0), "e": (26.0, 300.0)}


def column(higher: bool = True) -> Column:
    return Column("psnr", "PSNR", "psnr|v:1", "psnr|v:1", "", True, False, higher, 2, None)


def timing(label: str, milliseconds: float, **changes: object) -> Timing:
    made = Timing(
        label, label, SETTING, digest("m").hex(), {"processor": "P"}, "ok", None, np.full(11, milliseconds * 1e6),
        np.array([]), np.array([]), {}, "s", 1.0,
    )  # fmt: skip
    return made._replace(**changes)  # type: ignore[arg-type]


def run(values: dict[str, tuple[float, float]] = QUALITY, higher: bool = True) -> RunView:
    cells = [
        Cell("set", name, column(higher), 1, [ItemScore("i", 0, "ok", quality, None)])
        for name, (quality, _) in values.items()
    ]
    record = run_record("s", "Title", {}, [{"label": "set"}], [{"label": name, "name": name} for name in values])
    return RunView(3, record, {}, cells, frozenset(), [timing(name, time) for name, (_, time) in values.items()])


def on_front(found: pareto.Front) -> list[str]:
    return [point.method for point in found.points if point.front]


def test_the_front_is_who_is_not_beaten_in_both():
    found = pareto.front(run(), "PSNR")
    assert on_front(found) == ["a", "c", "e"]
    assert [point.method for point in found.points] == ["a", "b", "c", "d", "e"]
    # Where less is better, the fast and bad a is best of all.
    assert on_front(pareto.front(run(higher=False), "psnr")) == ["a"]


def test_equals_are_both_on_the_front():
    assert on_front(pareto.front(run({"a": (1, 1), "b": (1, 1)}), "psnr")) == ["a", "b"]


def test_incomplete_untimed_and_failed_methods_have_no_point_and_a_reason():
    data = run()
    cells = list(data.cells)
    cells[4] = Cell("set", "e", column(), 2, [*cells[4].scores, ItemScore("j", 0, "failed", None, "no")])
    broken = timing("c", 1, status="failed", reason="out of memory", samples=np.array([]))
    data = data._replace(cells=cells, timings=[data.timings[0], broken, *data.timings[3:]])
    found = pareto.front(data, "psnr")
    assert [point.method for point in found.points] == ["a", "d"]
    said = "\n".join(found.absent)
    assert "b: no time (not timed)" in said and "c: no time (out of memory)" in said
    assert "e on set: 1 of 2 items" in said


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(BenchError, match="did you mean 'psnr'"):
        pareto.front(run(), "psnrr")
    with pytest.raises(BenchError, match=r"has no times: write latency: \{size: 512\}"):
        pareto.front(run()._replace(timings=()), "psnr")


def test_the_table_says_who_is_on_the_front_and_what_times_rest_on():
    noisy = run()
    noisy = noisy._replace(timings=[timing("a", 1, record={"noise": ["foreign load 37%"]}), *noisy.timings[1:]])
    shown = pareto.text(pareto.front(noisy, "psnr"), "markdown", "Title")
    lines = {line.split("|")[2].strip(): line for line in shown.splitlines() if line.startswith("|")}
    assert "1.000~" in lines["a"] and "yes" in lines["a"] and "yes" not in lines["b"]
    assert "~ noisy: a: foreign load 37%" in shown and "64×64, batch 1, float32, cpu, 2 threads, n 11 to 11" in shown
    assert pareto.text(pareto.front(run(), "psnr"), "csv", "t").count("True") == 3


def test_labels_lie_inside_the_picture_and_not_on_each_other(tmp_path: Path):
    # Points as close to each other as those of a real suite.
    crowd = {f"method-{index}": (20 + index % 3 * 0.4, 1.5**index) for index in range(8)}
    with style.applied():
        drawn = picture.draw(pareto.front(run(crowd), "psnr"), style.COLUMN)
        (axis,) = drawn.axes
        boxes = [text.get_window_extent() for text in axis.texts]
        frame = axis.get_window_extent()
        style.save(drawn, tmp_path / "front.png")
        style.save(drawn, tmp_path / "front.pdf")
    assert len(boxes) == 8
    assert not any("$" in label.get_text() for label in axis.get_xticklabels())
    assert not [(i, j) for i in range(8) for j in range(i) if picture._shared(boxes[i], boxes[j]) > 0]
    assert all(picture._shared(box, frame) > 0.9 * box.width * box.height for box in boxes)
    assert (tmp_path / "front.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "front.pdf").stat().st_size > 5000

"""Rounds from a method's word to table, figure and page, with numbers that are known beforehand."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.reports import Workplace

from bench.data.images import encode_png
from bench.errors import BenchError
from bench.methods.trace import Step, Trace, read
from bench.report import figures, rounds_figure, style
from bench.report.rounds_section import judged
from bench.results import artefacts
from bench.results.store import Store
from bench.results.view import RunView, read_cells
from bench.tables.rounds import counted, fired, footer

PLUGIN = str(Path(__file__).parents[1] / "support/rounds_plugin.py")
DARK = {"a": 27 / 255, "b": 51 / 255, "c": 75 / 255}
BRIGHT = 231 / 255
"""A quarter of the distance to white is a whole level, so that nothing lies between two."""
SUITE = """\
schema: 1
title: rounds
datasets: [{dataset: folder, options: {lq: "lq/*.png", gt: "gt/*.png"}, label: pairs}]
methods:
  - identity
  - {method: halving, label: adaptive}
  - {method: halving, options: {adaptive: false}, sweep: {rounds: [1, 2]}, label: "always {rounds}"}
metrics: [psnr]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Three dark images and a bright one, whose references are white."""
    place = Workplace(tmp_path_factory.mktemp("rounds"))
    for name, level in {**DARK, "d": BRIGHT}.items():
        for folder, value in (("lq", level), ("gt", 1.0)):
            file = place.root / folder / f"{name}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(encode_png(np.full((16, 20, 3), round(255 * value), np.uint8)))
    (place.root / "rounds.yaml").write_text(SUITE)
    assert place.bench("run", "rounds.yaml", "--plugin", PLUGIN) == 0
    return place


@pytest.fixture(scope="module")
def data(finished: Workplace) -> RunView:
    with Store.reading(finished.root / "results") as store:
        return read_cells(store, 1)


def restored(level: float, rounds: int) -> int:
    """The level of 255 that so many halvings of the distance to white make, as it is saved."""
    return round(255 * (1 - (1 - round(255 * level) / 255) / 2**rounds))


def psnr(levels: list[int]) -> float:
    return float(np.mean([-20 * np.log10((255 - level) / 255) for level in levels]))


def test_rounds_are_counted_by_what_was_done(data: RunView):
    found = {method: one for _, method, one in counted(data)}
    adaptive = found["adaptive"]
    assert (adaptive.mean, adaptive.taken, adaptive.rolled_back, adaptive.n) == (9 / 4, 6 / 4, 3, 4)
    assert adaptive.reasons == {"no gain": 3, "clean": 1}
    assert found["always 2"].mean == 2 and found["identity"].mean is None


def test_repeated_restorations_are_counted_as_such(data: RunView):
    place = ("pairs", "adaptive")
    twice = [one._replace(repeat=repeat) for one in data.traces[place] for repeat in (0, 1)]
    again = data._replace(traces={**data.traces, place: twice})
    found = {method: one for _, method, one in counted(again)}
    assert (found["adaptive"].n, found["adaptive"].mean, found["adaptive"].things) == (8, 9 / 4, "restorations")
    assert found["always 1"].things == "images"
    assert any("1.50 taken per restoration; 6 of 8 restorations with one" in line for line in footer(again))


def test_the_table_has_a_column_of_rounds_and_says_how_they_ended(finished: Workplace, capsys: pytest.CaptureFixture):
    assert finished.bench("table", "rounds", "--format", "json") == 0
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out) if row["metric"] == "rounds"}
    assert (rows["adaptive"]["value"], rows["always 1"]["value"], rows["identity"]["value"]) == (2.25, 1, None)
    assert finished.bench("table", "rounds") == 0
    out = capsys.readouterr().out
    assert "1.50 taken per image; 3 of 4 images with one rolled back; ended by no gain 75 %, clean 25 %" in out


def test_scores_on_the_images_where_roll_back_fired(finished: Workplace, data: RunView, capsys: pytest.CaptureFixture):
    only = fired(data, "rollback")
    cells = {cell.method: cell for cell in only.cells}
    assert cells["adaptive"].expected == 3 and set(cells["always 1"].items) == set(DARK)
    assert cells["always 1"].value == pytest.approx(psnr([restored(level, 1) for level in DARK.values()]), abs=1e-9)
    assert "3 of 4 on pairs" in only.record.title
    assert finished.bench("table", "rounds", "--fired", "adaptive:stopping", "--format", "json") == 0
    told = capsys.readouterr()
    assert {row["expected"] for row in json.loads(told.out) if row["metric"] == "psnr"} == {4}
    assert "adaptive stopped by what was found (4 of 4 on pairs)" in told.err
    assert all(cell.expected == 0 for cell in fired(data, "always 1:rollback").cells)
    assert all(cell.expected == 4 for cell in fired(data, "always 1:filled").cells)
    assert finished.bench("table", "rounds", "--fired", "adaptive:rollback", "--seconds") == 0
    assert "seconds are of all images, not of some" in capsys.readouterr().out
    assert all(cell.expected == 0 for cell in fired(data, "adaptive:filled").cells)


@pytest.mark.parametrize(("wanted", "said"), [
    ("rolback", "no mechanism 'rolback'.*rollback"), ("identity:rollback", "'identity' tells no rounds"),
])  # fmt: skip
def test_a_mechanism_or_method_that_there_is_not(data: RunView, wanted: str, said: str):
    with pytest.raises(BenchError, match=said):
        fired(data, wanted)


def test_the_figure_sets_fixed_rounds_against_adaptive_ones(finished: Workplace, data: RunView, tmp_path: Path):
    found = {line.name: line.points for line in rounds_figure.lines(data, "pairs", "psnr", data.cells)}
    every = [*DARK.values(), BRIGHT]
    assert found["halving, fixed"] == [
        (n, pytest.approx(psnr([restored(level, n) for level in every]), abs=1e-9)) for n in (1, 2)
    ]
    assert found["adaptive"][0][0] == 2.25
    traces = [one.trace for one in data.traces["pairs", "adaptive"]]
    # Dark ones: 0, 0.2, 0.4, and 0.4 still, as the third was rolled back; the bright one stays at 0.95.
    assert rounds_figure.quality(traces) == pytest.approx([0.95 / 4, 1.55 / 4, 2.15 / 4, 2.15 / 4])
    with style.applied():
        drawn = rounds_figure.draw(data)
        titles = {axis.get_xlabel() for axis in drawn.axes}
    assert {"rounds per image", "after round", "share, by why rounds ended"} == titles
    shares = [patch.get_width() for patch in drawn.axes[-1].patches if patch.get_y() > -0.5]
    assert sorted(shares) == pytest.approx([0, 0.25, 0.75])
    assert finished.bench("figure", "rounds", "rounds", "-o", str(tmp_path / "r.png")) == 0
    assert (tmp_path / "r.png").stat().st_size > 5000


def test_settings_of_one_method_are_curves_of_their_own(data: RunView):
    """Two settings with one and two rounds are no line with two points at either."""
    methods = [
        replace(one, identity={**one.identity, "options": {**one.identity["options"], "gain": gain}})
        for one, gain in zip(data.record.methods[2:], (0.5, 0.75), strict=True)
    ]
    mixed = data._replace(record=replace(data.record, methods=[*data.record.methods[:2], *methods]))
    found = {line.name: len(line.points) for line in rounds_figure.lines(mixed, "pairs", "psnr", mixed.cells)}
    assert found == {"halving, fixed (gain 0.5)": 1, "halving, fixed (gain 0.75)": 1, "adaptive": 1}


def test_what_has_not_all_its_images_is_not_drawn_and_is_said(data: RunView):
    place = "pairs", "adaptive"
    partly = data._replace(traces={**data.traces, place: data.traces[place][:3]})
    assert "adaptive" not in {line.name for line in rounds_figure.lines(partly, "pairs", "psnr", partly.cells)}
    said = list(rounds_figure.undrawn(partly, figures.FigureChoice()))
    assert said == ["adaptive on pairs: rounds of 3 of 4 images, not drawn"]
    endless = [
        replace(cell, scores=[score._replace(value=np.inf, status="inf") for score in cell.scores])
        if cell.method == "adaptive" else cell for cell in data.cells
    ]  # fmt: skip
    said = list(rounds_figure.undrawn(data._replace(cells=endless), figures.FigureChoice()))
    assert said == ["adaptive on pairs, PSNR: infinite, not drawn"]
    assert list(rounds_figure.undrawn(data, figures.FigureChoice())) == []


def test_a_run_without_rounds_has_no_such_figure(data: RunView):
    with pytest.raises(BenchError, match="no method that tells its rounds"):
        rounds_figure.draw(data, figures.FigureChoice(methods=["identity"]))


def test_the_page_shows_the_images_between_with_the_words(finished: Workplace):
    assert finished.bench("report", "rounds", "-o", "page.html") == 0
    page = (finished.root / "page.html").read_text(encoding="utf-8")
    part = page[page.index('<section id="rounds">') :]
    part = part[: part.index("</section>")]
    assert "6 of 6 (100 %)" in part and "3 of 4" in part and "2.25" in part
    assert "low light 0.90 (high)" in part and "quality 0.20 → 0.40" in part and "better with 0.25" in part
    assert "rolled back" in part and "ended: no gain" in part
    strip = part[part.index("a · adaptive") :]
    strip = strip[: strip.index("</article>")]
    assert strip.count("<img") == 3, "the input, the image after the first round, the output; none of what was left"
    assert re.search(r"Quality after each round: 0\.00, 0\.20, 0\.40, 0\.40", strip)


def test_steps_are_true_where_the_error_falls():
    levels = [np.full((2, 2, 3), level, np.uint8) for level in (10, 60, 50, 100)]
    assert judged(levels, np.full((2, 2, 3), 100, np.uint8)) == (2, 3)


def test_gc_keeps_the_images_between_as_long_as_their_run(finished: Workplace, tmp_path: Path):
    shutil.copytree(finished.root, tmp_path / "copy")
    copy = Workplace(tmp_path / "copy")
    files = sorted((copy.root / "results/outputs").glob("*/*"))
    assert copy.bench("gc") == 0
    assert sorted((copy.root / "results/outputs").glob("*/*")) == files
    assert copy.bench("gc", "--keep", "0") == 0
    assert not list((copy.root / "results/outputs").glob("*/*"))
    with Store.reading(copy.root / "results") as store:
        assert store._rows("SELECT count(*) FROM trace")[0][0] == store._rows("SELECT count(*) FROM stage")[0][0] == 0


def test_a_finished_run_keeps_its_rounds(finished: Workplace):
    assert finished.bench("run", "rounds.yaml", "--plugin", PLUGIN) == 0
    with Store.reading(finished.root / "results") as store:
        told = read_cells(store, 1).traces["pairs", "adaptive"]
        assert [len(one.pictures) for one in told] == [1, 1, 1, 0] and all(one.seconds is not None for one in told)


def test_a_method_that_tells_of_other_images_fails(tmp_path: Path, capsys: pytest.CaptureFixture):
    place = Workplace(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: builtin-lowlight, options: {side: 32}}]\n"
        "methods: [{method: halving, options: {wrong: true}}]\nmetrics: [psnr]\n"
    )
    assert place.bench("run", "s.yaml", "--plugin", PLUGIN, "--limit", "1") == 1
    assert place.bench("table", "s") == 0
    assert "tells how 0 images came about, of 1" in capsys.readouterr().out


def test_who_is_to_be_told_is_told_what_was_done_and_fails_where_nobody_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    place = Workplace(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: builtin-composite, options: {side: 32}},"
        " {dataset: builtin-lowlight, options: {side: 32}}]\nmethods: [parrot]\nmetrics: [psnr]\n"
    )
    assert place.bench("run", "s.yaml", "--plugin", PLUGIN, "--limit", "11") == 1
    with Store.reading(tmp_path / "results") as store:
        data = read_cells(store, 1)
        for unit in data.units["builtin-composite", "parrot"]:
            assert unit.row is not None and unit.row.output_hash is not None
            assert unit.row.suffix == "png"
            pixels = artefacts.read(tmp_path / "results", unit.row.output_hash, "png")
            assert pixels is not None
            assert pixels.max() == pixels.min() == 10 * len(unit.item.partition("/")[0].split("_"))
    cell = next(cell for cell in data.cells if cell.dataset == "builtin-lowlight")
    assert cell.n == 0 and "has to be told" in str(cell.reason)


def test_a_stored_trace_is_read_as_it_was_and_a_damaged_one_is_none():
    trace = Trace((Step("accepted", "haze", "t", 0.5, float("nan"), 0.75, 0.1),), "limit")
    back = read(trace.text())
    assert back is not None and back.steps[0] == Step("accepted", "haze", "t", 0.5, None, 0.75, 0.1)
    later = trace.text().replace('"version": 1', '"version": 2')
    for text in ("", "[]", "{}", later, trace.text().replace("accepted", "acepted"), '{"version": 1, "steps": [3]}'):
        assert read(text) is None

"""Figures for papers: fonts that embed, the right pictures and numbers in the right places, one line for a mistake."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from support.reports import NASTY, Workplace

from bench.report import charts, figures, grid, style
from bench.report.crops import Window, exact, find_window, thumbnail
from bench.results import view
from bench.results.pictures import Pictures, shown_pixels
from bench.results.store import Store
from bench.results.view import Cell, RunView


@pytest.fixture(scope="module")
def data(finished: Workplace) -> RunView:
    with Store(finished.root / "results", writable=False) as store:
        return view.read_cells(store, view.find_run(store, "nasty"))


def inflated(raw: bytes) -> bytes:
    """A PDF with its compressed streams readable."""
    out = [raw]
    for found in re.finditer(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL):
        try:
            out.append(zlib.decompress(found[1]))
        except zlib.error:
            continue
    return b"\n".join(out)


@pytest.mark.parametrize(
    ("kind", "arguments"), [("grid", ["--metric", "psnr", "--items", "1"]), ("distribution", []), ("sweep", [])]
)
def test_a_figure_is_a_pdf_with_its_fonts_inside(finished: Workplace, kind: str, arguments: list[str]):
    for name in ("one.pdf", "two.pdf"):
        assert finished.bench("figure", kind, "nasty", *arguments, "-o", f"figures/{kind}-{name}") == 0
    raw = (finished.root / f"figures/{kind}-one.pdf").read_bytes()
    assert raw == (finished.root / f"figures/{kind}-two.pdf").read_bytes()
    text = inflated(raw)
    assert b"/FontFile2" in text
    assert b"/Type3" not in text


def test_a_png_is_as_wide_as_asked_for(finished: Workplace):
    from PIL import Image

    for width, inches in (("page", style.PAGE), ("column", style.COLUMN)):
        arguments = ("--width", width, "-d", "pairs", "--metric", "psnr", "-o", f"{width}.png")
        assert finished.bench("figure", "distribution", "nasty", *arguments) == 0
        size = Image.open(finished.root / f"{width}.png").size
        assert size[0] == pytest.approx(inches * style.DPI, rel=0.03)


def test_a_grid_shows_the_pixels_in_the_order_of_the_table(finished: Workplace):
    from PIL import Image

    arguments = ["-d", "pairs", "-m", "identity", "-m", NASTY, "--item", "item 0", "--crop", "64,0,32,32"]
    assert finished.bench("figure", "grid", "nasty", *arguments, "-o", "grid.png") == 0
    drawn = np.asarray(Image.open(finished.root / "grid.png").convert("RGB")).astype(float)
    columns = np.array_split(np.arange(drawn.shape[1]), 4)
    lq, gt = finished.pixels("lq/item 0.png"), finished.pixels("gt/item 0.png")
    # The left half of every picture is one gray; a row through its upper part crosses it.
    row = drawn[round(drawn.shape[0] * 0.2)]
    grays = [np.median(row[column[len(column) // 8 : len(column) // 3]]) for column in columns]
    assert grays[0] == pytest.approx(lq[0, 0, 0], abs=1) and grays[1] == pytest.approx(lq[0, 0, 0], abs=1)
    assert grays[2] > grays[1] and grays[3] == pytest.approx(gt[0, 0, 0], abs=1)
    assert (drawn == np.array([255, 45, 45])).all(axis=2).any()  # the first box's colour


def test_a_method_called_gt_has_a_column_of_its_own(finished: Workplace, data: RunView):
    """And what is below the reference's column is no method's value."""
    renamed = [replace(one, label="GT") if one.label == "Mine" else one for one in data.record.methods]
    cells = [replace(cell, method="GT") if cell.method == "Mine" else cell for cell in data.cells]
    units = {(dataset, "GT" if label == "Mine" else label): each for (dataset, label), each in data.units.items()}
    data = data._replace(record=replace(data.record, methods=renamed), cells=cells, units=units)
    choice = figures.FigureChoice(["pairs"], ["identity", "GT"], ["psnr"])
    with Store(finished.root / "results", writable=False) as store, style.applied():
        drawn = grid.draw(data, Pictures(store, data, finished.root / "results"), choice, ["item 0"])
    heads = [text for text in drawn.texts if text.get_text() in ("LQ", "identity", "GT")]
    places = {round(text.get_position()[0], 3) for text in heads}
    assert len(heads) == len(places) == 4
    values = [text.get_position()[0] for text in drawn.texts if text.get_text().startswith("PSNR")]
    assert len(values) == 2 and max(values) < max(places)
    assert list(grid.undrawn(data, choice)) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grid", "nasty", "-o", "x.gif"], "a figure ends in pdf, png, svg, not 'gif'"),
        (["grid", "nasty", "-o", "x.pdf", "--item", "itm 0"], "no item 'itm 0' in pairs, no references; did you mean"),
        (["grid", "nasty", "-o", "x.pdf", "--crop", "1,2,3"], "'1,2,3' is not LEFT,TOP,WIDTH,HEIGHT in pixels"),
        (["grid", "nasty", "-o", "x.pdf", "--crop", "120,0,32,32"], "is not inside a picture of 128×96"),
        (["distribution", "nasty", "-o", "x.pdf", "--metric", "pnsr"], "no metric 'pnsr' in this run; did you mean"),
        (["sweep", "nasty", "-o", "x.pdf", "--option", "score"], "sweeps no number called 'score'"),
        (["grid", "nasty", "-o", "nasty.yaml/x.pdf", "--items", "1"], "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(
    finished: Workplace, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    assert finished.bench("figure", *arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err and len(shown.err.splitlines()) == 1 and not shown.out


def test_a_sweep_is_a_line_per_dataset_over_the_swept_values(data: RunView):
    (family,) = figures.families(data)
    assert (family.name, family.option) == ("Bright", "gamma")
    assert family.points == [(0.8, "Bright g=0.8"), (1.5, "Bright g=1.5"), (2.0, "Bright g=2.0")]
    with style.applied():
        drawn = figures.sweep(data, figures.FigureChoice(metrics=["psnr"]))
    (axis,) = drawn.axes
    (line,) = axis.get_lines()  # the other dataset has no references
    values = {c.method: c.value for c in data.cells if (c.dataset, c.column.label) == ("pairs", "psnr")}
    assert list(line.get_xdata()) == [0.8, 1.5, 2.0]
    assert list(line.get_ydata()) == [values[label] for _, label in family.points]
    assert axis.get_ylabel() == "PSNR ↑"


def test_a_mean_that_is_not_of_all_items_is_no_point_of_a_sweep_and_is_said(data: RunView):
    cells = [replace(c, expected=c.expected + 1) if c.method == "Bright g=1.5" else c for c in data.cells]
    choice = figures.FigureChoice(metrics=["psnr"])
    with style.applied():
        drawn = figures.sweep(data._replace(cells=cells), choice)
    (line,) = drawn.axes[0].get_lines()
    assert list(line.get_xdata()) == [0.8, 2.0]
    count = next(c.n for c in cells if c.method == "Bright g=1.5" and c.value is not None)
    (said,) = figures.undrawn(data._replace(cells=cells), choice, "sweep")
    assert said == f"Bright g=1.5 on pairs, PSNR: of {count} of {count + 1} items, not drawn"


def test_what_a_distribution_leaves_out_is_said(data: RunView):
    def infinite(cell: Cell, count: int) -> Cell:
        scores = [s._replace(status="inf", value=math.inf) if n < count else s for n, s in enumerate(cell.scores)]
        return replace(cell, scores=scores)

    named = ("Bright g=0.8", "Bright g=1.5")
    choice = figures.FigureChoice(datasets=["pairs"], methods=named, metrics=["psnr"])
    whole = next(c for c in data.cells if (c.dataset, c.method, c.column.label) == ("pairs", named[0], "psnr"))
    assert list(figures.undrawn(data, choice, "distribution")) == []
    counts = {named[0]: 1, named[1]: whole.n}
    cells = [infinite(c, counts.get(c.method, 0)) if c.column.label == "psnr" else c for c in data.cells]
    assert list(figures.undrawn(data._replace(cells=cells), choice, "distribution")) == [
        f"{named[0]} on pairs, PSNR: of {whole.n} values 1 infinite, not drawn",
        f"{named[1]} on pairs, PSNR: {whole.n} infinite and fewer than two finite values, not drawn",
    ]


def test_a_label_is_never_read_as_mathematics(data: RunView):
    with style.applied():
        drawn = figures.distribution(data, figures.FigureChoice(metrics=["ssim"]))
        drawn.canvas.draw()
    labels = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
    assert style.plain_text(NASTY, 24) in labels
    assert style.plain_text("a\nb$_x$") == "a b$_x$"


def test_settings_of_matplotlib_are_put_back():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style.applied():
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert dict(matplotlib.rcParams) == before


def test_colours_differ_in_brightness_or_hue_for_colour_blind_readers():
    """Every two of the first six stay apart after the loss of one kind of cone (Viénot, Brettel and Mollon 1999)."""
    losses = {
        "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in style.COLOURS[:6]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for matrix in losses.values():
        seen = (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
        apart = [np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[i + 1 :]]
        assert min(apart) > 0.08


def test_the_detail_is_where_the_reference_has_detail_and_methods_differ():
    rng = np.random.default_rng(1)
    flat = np.full((100, 160, 3), 128, dtype=np.uint8)
    texture = flat.copy()
    texture[20:50, 100:130] = rng.integers(0, 256, (30, 30, 3))
    window = find_window([flat, texture], texture)
    top, left, height, width = window.box(100, 160)
    assert 10 <= top <= 50 and 90 <= left <= 130 and height == width == 22
    assert find_window([], None) == Window(0.39, 0.39, 0.22, 0.22)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (37, 41)])
def test_a_window_stays_inside_any_picture(shape: tuple[int, int]):
    pixels = np.zeros((*shape, 3), dtype=np.uint8)
    for window in (find_window([pixels], pixels), Window(0.9, 0.9, 0.5, 0.5), Window(0, 0, 1e-6, 1e-6)):
        cut = window.cut(pixels)
        assert cut.size and cut.shape[0] <= shape[0] and cut.shape[1] <= shape[1]


def test_what_is_shown_of_deeper_pixels_is_rounded_once():
    assert shown_pixels(np.array([0, 128, 257, 65535], dtype=np.uint16)).tolist() == [0, 0, 1, 255]
    floats = np.array([-1.0, 0.5, 2.0, np.nan], dtype=np.float32)
    assert shown_pixels(floats).tolist() == [0, 128, 255, 0]


def test_pictures_of_a_page_have_the_sizes_that_they_name():
    pixels = np.zeros((900, 450, 3), dtype=np.uint8)
    assert thumbnail(pixels, 300)[1:] == (150, 300)
    assert thumbnail(pixels[:20, :10], 300)[1:] == (10, 20)
    assert exact(pixels[:100, :100])[1:] == (100, 100)
    assert exact(pixels, 200)[1:] == (90, 180)


def test_a_chart_is_a_drawing_with_every_value_and_no_stranger():
    values = {NASTY: [1.0, 2.0, 3.0, math.inf], "b": [2.0] * 5, "many": [n / 100 for n in range(300)], "none": []}
    root = ElementTree.fromstring(charts.strips("PSNR <on> d", values, 2, {"b": 1}))
    assert root.attrib["aria-label"] == "PSNR <on> d"
    groups = {group.find("text").text[:4]: group for group in root.findall("g")}  # type: ignore[union-attr, index]
    assert len(groups) == 4 and not root.findall(".//script")
    first = groups[NASTY[:4]]
    assert len(first.findall("circle")) == 3 and "1 not finite" in (first.find("title").text or "")  # type: ignore[union-attr]
    assert "median 2.00, quartiles 1.50 to 2.50" in (first.find("title").text or "")  # type: ignore[union-attr]
    assert len(groups["many"].findall("polygon")) == 1 and not groups["many"].findall("circle")
    assert not groups["none"].findall("rect")
    places = [float(dot.attrib["cx"]) for group in groups.values() for dot in group.findall("circle")]
    assert all(132 <= place <= 520 for place in places)
    assert charts.strips("t", {"a": []}, 2, {}) == ""


def test_a_folder_for_a_figure_is_made(finished: Workplace):
    assert finished.bench("figure", "distribution", "nasty", "--metric", "psnr", "-o", "deep/er/x.svg") == 0
    root = ElementTree.parse(finished.root / "deep/er/x.svg").getroot()
    assert root.tag.endswith("svg")
    assert not list(Path(finished.root / "deep/er").glob(".part*"))

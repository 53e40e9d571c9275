"""LaTeX tables compile as printed, whatever stands in a label, and balance where no LaTeX is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from support.records import run_record

from bench.catalog import published
from bench.results.record import Column
from bench.results.view import Cell, ItemScore, RunView
from bench.tables import paper as papers
from bench.tables import render
from bench.tables.latex import FALLBACK, tex, tex_value
from bench.tables.layout import Extras

NASTY = 'a_b & 50% #1 {x} ~^\\ $y$ `q` "z" <u>|v| -- é ↑ 中 ά 🙂\nnewline'
ENGINES = ("pdflatex", "xelatex", "lualatex")


def column(label: str, *, better: bool = True, digits: int = 2) -> Column:
    return Column(label, label.upper(), f"{label}|space:rgb|v:1", f"{label}|v:1", "", True, False, better, digits, None)


def cell(dataset: str, method: str, col: Column, values: list[float | str]) -> Cell:
    scores = [
        ItemScore(f"i{n}", 0, value, None, f"{NASTY} {value}")
        if isinstance(value, str)
        else ItemScore(f"i{n}", 0, "ok", value, None)
        for n, value in enumerate(values)
    ]
    return Cell(dataset, method, col, len(scores), scores)


def run(cells: list[Cell], names: dict[str, str] | None = None, title: str = "T") -> RunView:
    datasets = [{"label": name, "items": range(3)} for name in dict.fromkeys(one.dataset for one in cells)]
    methods = [{"label": m, "name": (names or {}).get(m, "folder")} for m in dict.fromkeys(c.method for c in cells)]
    return RunView(1, run_record("s", title, {}, datasets, methods), {}, cells, frozenset({"cpu"}))


def small() -> RunView:
    return run([cell("d", "a", column("psnr"), [1.0, 2.0])])


def nasty() -> RunView:
    up, down = column("psnr"), column("lp_ips%", better=False, digits=4)
    return run(
        [
            cell(dataset, method, col, values)
            for dataset in (NASTY, "[b] second")
            for method, values in ((NASTY, [1.0, 2.0, -3.0]), ("sci", [2.0, "failed", 1.0]), ("[x]", ["n/a"] * 3))
            for col in (up, down)
        ],
        {"sci": "sci-medium"},
        NASTY,
    )


def wide() -> RunView:
    columns = [column(f"metric-{n}", digits=3) for n in range(14)]
    return run([cell("d", f"method {m}", col, [m + 0.5, 1.0, 2.0]) for m in range(3) for col in columns])


TABLES = {
    "one cell": lambda: render.render(small(), "latex"),
    "nasty labels": lambda: render.render(nasty(), "latex", Extras(venue=True)),
    "wide, with intervals and tests": lambda: render.render(wide(), "latex", Extras(True, "method 0")),
    "a paper's table": lambda: papers.render_alone("iqpfr/table2", "latex"),
    "the paper's longest table": lambda: papers.render_alone("iqpir/table1", "latex"),
}


def text_of(shape: str) -> str:
    if "paper" in shape and not published.folder().is_dir():
        pytest.skip("results/published was deleted: git checkout results/published")
    return TABLES[shape]()


def document(text: str) -> str:
    needed = re.search(r"\\usepackage\{[\w,]+\}", text)
    assert needed, "the first line says which packages the table needs"
    return f"\\documentclass{{article}}\n{needed[0]}\n\\begin{{document}}\n{text}\\end{{document}}\n"


@pytest.mark.parametrize("shape", TABLES)
def test_it_balances(shape: str):
    text = "\n".join(line for line in text_of(shape).splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\(?:textbackslash|text\w+)\{\}", "", text)
    plain = re.sub(r"\\[&%#_{}$]", "", plain)
    depth = 0
    for sign in plain:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", plain):
        assert kind == "begin" or stack.pop() == name
        if kind == "begin":
            stack.append(name)
    assert not stack
    assert all(line.count("$") % 2 == 0 for line in plain.splitlines())
    rows = [line for line in plain.splitlines() if line.endswith(r"\\")]
    spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert spec and {row.count("&") for row in rows} == {len(spec[1]) - 1}
    assert not re.search(r"(?<!\\)[#_^~]", re.sub(r"\$[^$]*\$|~(?=\S)", "", plain))
    assert not re.search(r"%(?!$)", plain, re.MULTILINE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", TABLES)
def test_it_compiles_as_printed(shape: str, engine: str, tmp_path: Path):
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} on this machine")
    if engine != "pdflatex" and shape != "nasty labels":
        pytest.skip("one shape is enough for the engines that know Unicode")
    (tmp_path / "t.tex").write_text(document(text_of(shape)), encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "t.pdf").is_file()
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", done.stdout)]
    assert not [points for points in wide if points > 40], done.stdout


def test_what_a_reader_sees_is_the_label(tmp_path: Path):
    if shutil.which("pdflatex") is None or shutil.which("pdftotext") is None:
        pytest.skip("no pdflatex or no pdftotext on this machine")
    label = "ab & 50% #1 {x} ~^\\ $y$ <u>|v| é"  # an underscore of these fonts is a line, no letter
    (tmp_path / "t.tex").write_text(document(render.render(run([cell("d", label, column("psnr"), [-3.0])]), "latex")))
    subprocess.run(["pdflatex", "-interaction=batchmode", "t.tex"], cwd=tmp_path, capture_output=True, check=True)
    subprocess.run(["pdftotext", "-layout", "t.pdf", "t.txt"], cwd=tmp_path, check=True)
    seen = re.sub(r"\s", "", unicodedata.normalize("NFC", (tmp_path / "t.txt").read_text(encoding="utf-8")))
    assert re.sub(r"\s", "", label) in seen.replace("˜", "~").replace("ˆ", "^")


def long(letters: int) -> RunView:
    """A run whose one failure has a reason without a blank, as addresses and paths are."""
    data = small()
    reason = "https://example.org/" + "/".join(["0123456789abcdef" * 5, "a_b--c" * 9])
    lost = ItemScore("i2", 0, "failed", None, (reason + " ") * (letters // len(reason) + 1))
    (one,) = data.cells
    return data._replace(cells=[Cell(one.dataset, one.method, one.column, 3, [*one.scores, lost])])


@pytest.mark.parametrize("letters", [100, 9000])
def test_long_notes_neither_leave_the_line_nor_the_page(letters: int, tmp_path: Path):
    text = render.render(long(letters), "latex")
    assert (r"Notes to Table~\thetable" in text) == (letters == 9000)
    seen = text.replace(r"\allowbreak{}", "").replace(r"\_", "_").replace("{}", "")
    assert "0123456789abcdef" * 5 in seen and "a_b--c" * 9 in seen
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    (tmp_path / "t.tex").write_text(document(text))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout and "Float too large" not in done.stdout


def test_hyphens_stay_hyphens_and_negative_numbers_get_a_minus():
    assert tex("a--b---c – d") == "a-{}-b-{}-{}-c -- d"
    assert tex_value("-3.00 (-0.25, p=0.1) x-1") == "$-$3.00 ($-$0.25, p=0.1) x-1"


def test_a_letter_that_pdflatex_lacks_is_its_number_there():
    assert tex("中") == rf"{FALLBACK} 中\else\texttt{{U+4E2D}}\fi{{}}"
    assert tex("e\u0301") == "é"
    assert "pdfLaTeX prints numbers" in render.render(nasty(), "latex")
    assert "pdfLaTeX prints numbers" not in render.render(small(), "latex")


def test_venues_are_a_column_where_the_catalogue_knows_one():
    text = render.render(nasty(), "latex")
    assert "Dataset & Method & Venue & " in text and "& CVPR 2022 &" in text
    assert "Venue" not in render.render(nasty(), "latex", Extras(venue=False))
    assert "Venue" not in render.render(small(), "latex")
    assert "Venue" not in render.render(nasty(), "markdown")
    for style in ("markdown", "html"):
        shown = render.render(nasty(), style, Extras(venue=True))
        assert "Venue" in shown and "CVPR 2022" in shown


def test_a_label_is_typeset_as_one_column():
    """The dataset's name spans its rows, and best and second are marked on the value alone."""
    text = render.render(wide(), "latex", Extras(ci=True))
    assert r"\multirow{3}{*}{d}" in text
    assert re.search(r"\\textbf\{1\.\d{3}\}\{\\scriptsize \[", text)

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
from bench.tables.layout import PLAIN, Extras
from bench.tables.wording import short_venue

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


def three_sets() -> RunView:
    """Three datasets, as a paper has them side by side."""
    columns = [column("PSNR"), column("SSIM", digits=3), column("FID", better=False), column("LPIPS", better=False)]
    return run(
        [
            cell(dataset, f"Method {m}", col, [m / 10 + 0.5, 0.75, 0.25 * (m + 1)])
            for dataset in ("LOL-v1", "LOL-v2-real", "LOL-v2-synthetic")
            for m in range(6)
            for col in columns
        ]
    )


def styled(data: RunView, extras: Extras = PLAIN, **asked: str) -> str:
    return render.render(data, render.Style("latex", **asked), extras)


TABLES = {
    "one cell": lambda: styled(small()),
    "nasty labels": lambda: styled(nasty(), Extras(venue=True), notes="full", width="text"),
    "wide, with intervals and tests": lambda: styled(wide(), Extras(True, "method 0")),
    "datasets side by side": lambda: styled(three_sets(), layout="columns"),
    "in one column": lambda: styled(three_sets(), Extras(True, "Method 0"), layout="columns", width="column"),
    "names in brackets": lambda: styled(run([cell("d", m, column("psnr"), [1.0]) for m in ("[x]", "*", "[2pt]")])),
    "on a page of one column": lambda: styled(three_sets(), layout="methods", width="text"),
    "a paper's table": lambda: papers.render_alone("iqpfr/table2", "latex"),
    "the paper's longest table": lambda: papers.render_alone("iqpir/table1", "latex"),
}


def text_of(shape: str) -> str:
    if "paper" in shape and not published.folder().is_dir():
        pytest.skip("results/published was deleted: git checkout results/published")
    return TABLES[shape]()


NARROW = r"\documentclass[10pt]{article}"
TWO_COLUMNS = (
    "\\documentclass[10pt,twocolumn]{article}\n"
    "\\usepackage[letterpaper,textwidth=6.875in,textheight=8.875in,columnsep=0.3125in]{geometry}"
)
"""The page of the conferences, in the wider letters that are LaTeX's own."""


def document(*tables: str, head: str = TWO_COLUMNS) -> str:
    needed = dict.fromkeys(name for text in tables for name in re.findall(r"\\usepackage\{([\w,]+)\}", text))
    assert needed, "the first line says which packages the table needs"
    uses = "\n".join(rf"\usepackage{{{names}}}" for names in needed)
    body = "\n\\clearpage\n".join(tables)
    return f"{head}\n{uses}\n\\begin{{document}}\n{body}\\end{{document}}\n"


def compiled(engine: str, text: str, folder: Path) -> str:
    """The log of a document that compiles with nothing out of its place."""
    (folder / "t.tex").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=folder, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "t.pdf").is_file()
    told = re.findall(r"(?:Overfull \\hbox|Float too large).*", done.stdout)
    assert not told, "; ".join(told)
    return done.stdout


@pytest.mark.parametrize("shape", TABLES)
def test_it_balances(shape: str):
    text = "\n".join(line for line in text_of(shape).splitlines() if not line.startswith(("%", r"\providecommand")))
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
    for columns, body in re.findall(
        r"\\begin\{tabular\}\{@\{\}((?:[lr]|p\{100pt\})+)@\{\}\}(.*?)\\end\{tabular\}", plain, re.DOTALL
    ):
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        spans = [sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", row)) for row in rows]
        assert {row.count("&") + more for row, more in zip(rows, spans, strict=True)} == {
            len(re.sub(r"\{\w+\}", "", columns)) - 1
        }
    assert not re.search(r"(?<!\\)[#_^~]", re.sub(r"\$[^$]*\$|~(?=\S)", "", plain))
    assert not re.search(r"%(?!$)", plain, re.MULTILINE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", TABLES)
def test_it_compiles_as_printed(shape: str, engine: str, tmp_path: Path):
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} on this machine")
    if engine != "pdflatex" and shape != "nasty labels":
        pytest.skip("one shape is enough for the engines that know Unicode")
    text = text_of(shape)
    head = NARROW if shape in ("nasty labels", "on a page of one column") else TWO_COLUMNS
    compiled(engine, document(text, head=head), tmp_path)


def lowest(pdf: Path) -> float:
    """Points that the lowest word of a document is high."""
    subprocess.run(["pdftotext", "-bbox", pdf.name, "words.html"], cwd=pdf.parent, check=True)
    found = re.findall(r'yMin="([\d.]+)" xMax="[\d.]+" yMax="([\d.]+)"', (pdf.parent / "words.html").read_text())
    assert len(found) > 100
    return min(float(low) - float(high) for high, low in found)


def test_nothing_in_a_paper_of_two_columns_is_below_seven_points(tmp_path: Path):
    """The tables that a student needs: plain, with intervals and tests, and the paper's."""
    if shutil.which("pdflatex") is None or shutil.which("pdftotext") is None:
        pytest.skip("no pdflatex or no pdftotext on this machine")
    plain = styled(three_sets(), layout="columns")
    sure = styled(three_sets(), Extras(True, "Method 0"), layout="columns")
    tables = [plain, sure, *([text_of("the paper's longest table")] if published.folder().is_dir() else [])]
    compiled("pdflatex", document(*tables), tmp_path)
    assert lowest(tmp_path / "t.pdf") >= 7.0
    assert all(r"\begin{table*}" in text for text in tables)
    assert not any("resizebox" in text or "tiny" in text for text in tables)


def test_a_table_that_has_no_room_is_split_between_datasets_or_metrics():
    def panels(text: str) -> list[list[str]]:
        return [re.findall(r"\\multicolumn\{\d\}\{c\}\{([^}]*)\}", part) for part in text.split(r"\toprule")[1:]]

    narrow = styled(three_sets(), layout="columns", width="column")
    assert panels(narrow) == [["LOL-v1"], ["LOL-v2-real"], ["LOL-v2-synthetic"]]
    assert panels(styled(three_sets(), layout="columns", width="page")) == [
        ["LOL-v1", "LOL-v2-real", "LOL-v2-synthetic"]
    ]
    halves = styled(wide()).split(r"\toprule")[1:]
    counts = [max(row.count("&") for row in half.splitlines()) for half in halves]
    assert len(counts) > 1 and max(counts) - min(counts) <= 1
    assert sum(counts) == 14  # every metric stands once; the method's name is one column of each


def test_many_rows_go_on_in_a_further_float(tmp_path: Path):
    data = run([cell(f"set {d}", f"m{m}", column("psnr"), [m + 1.0]) for d in range(9) for m in range(9)])
    text = styled(data)
    assert text.count(r"\begin{table}") > 1 and text.count("(continued)") == text.count(r"\begin{table}") - 1
    if shutil.which("pdflatex") is not None:
        compiled("pdflatex", document(text), tmp_path)


def test_short_notes_keep_the_legend_and_leave_the_rest_to_comments():
    text = styled(three_sets(), Extras(True, "Method 0"), layout="columns")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"\item" in body and "bootstrap interval" in body and "differs from Method 0" in body
    assert "space:rgb" not in body and "% PSNR: PSNR|space:rgb|v:1" in text
    bare = styled(three_sets(), Extras(True, "Method 0"), layout="columns", notes="none")
    assert r"\item" not in bare and r"\tablemark" not in bare
    assert "space:rgb" in styled(three_sets(), notes="full").split(r"\begin{tablenotes}")[1].replace(
        r"\allowbreak{}", ""
    )


def test_what_a_reader_sees_is_the_label(tmp_path: Path):
    if shutil.which("pdflatex") is None or shutil.which("pdftotext") is None:
        pytest.skip("no pdflatex or no pdftotext on this machine")
    label = "&5%#1{x}~^\\ $y$<u>|v|é"  # an underscore of these fonts is a line, no letter
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
    text = styled(long(letters), notes="full")
    assert (r"Notes to Table~\thetable" in text) == (letters == 9000)
    seen = text.replace(r"\allowbreak{}", "").replace(r"\_", "_").replace("{}", "")
    assert "0123456789abcdef" * 5 in seen and "a_b--c" * 9 in seen
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine")
    compiled("pdflatex", document(text, head=NARROW), tmp_path)


def test_hyphens_stay_hyphens_and_negative_numbers_get_a_minus():
    assert tex("a--b---c – d") == "a-{}-b-{}-{}-c -- d"
    assert tex_value("-3.00 (-0.25, p=0.1) x-1") == "$-$3.00 ($-$0.25, p=0.1) x-1"


def test_a_letter_that_pdflatex_lacks_is_its_number_there():
    assert tex("中") == rf"{FALLBACK} 中\else\texttt{{U+4E2D}}\fi{{}}"
    assert tex("e\u0301") == "é"
    assert "pdfLaTeX prints numbers" in render.render(nasty(), "latex")
    assert "pdfLaTeX prints numbers" not in render.render(small(), "latex")


def test_venues_are_a_column_where_the_catalogue_knows_one():
    text = render.render(nasty(), "latex", Extras(venue=True))
    assert "Venue" not in text, "one of three is too few"
    known = run(
        [cell(d, m, column("psnr"), [1.0]) for d in "de" for m in ("a", "b")], {"a": "sci-medium", "b": "rave-paired"}
    )
    text = styled(known)
    assert "Dataset & Method & Venue & " in text and "& CVPR22 &" in text and "& ECCV24 &" in text
    assert "Venue" not in styled(known, Extras(venue=False))
    assert "Venue" not in styled(small())
    assert "Venue" not in render.render(nasty(), "markdown")
    for style in ("markdown", "html"):
        shown = render.render(nasty(), style, Extras(venue=True))
        assert "Venue" in shown and "CVPR 2022" in shown


@pytest.mark.parametrize(
    ("venue", "short"),
    [("CVPR 2022", "CVPR22"), ("NeurIPS 2023", "NeurIPS23"), ("ICCV Workshops 2013", "ICCV13"),
     ("arXiv:2503.09294", "arXiv25"), ("IEEE Signal Processing Letters 17(5) 2010", ""), ("", "")],
)  # fmt: skip
def test_venues_are_as_short_as_in_papers(venue: str, short: str):
    assert short_venue(venue) == short


def test_a_label_is_typeset_as_one_column():
    """The dataset's name spans its rows, intervals have lines of their own, and marks stand on the value alone."""
    two = run([cell(d, m, column("psnr"), [1.0, v]) for d in "de" for m, v in (("a", 2.0), ("b", 3.0))])
    text = styled(two, Extras(ci=True))
    assert r"\multirow{4}{*}{d}" in text
    assert re.search(r"\\textbf\{2\.00\} \\\\\n & +& \{\\fontsize\{8\}\{9\.5\}\\selectfont \[1\.00, 3\.00\]\}", text)

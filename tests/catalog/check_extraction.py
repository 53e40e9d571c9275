"""A second reading of the papers' tables, by program: what it finds in the papers' text is held against the CSV files.

    BENCH_TEST_PAPERS=FOLDER python tests/published/check_extraction.py

The folder holds the two papers as text: iqpir-paper.txt (tables as tab-separated lines, marks as `<b>`) and
iqpfr-paper.txt (tables as the lines of a page, column after column, damaged in places). Nothing of `bench` is used.
"""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

PUBLISHED = Path(__file__).resolve().parents[2] / "results" / "published"

Key = tuple[str, str, str, str]
"""paper/table, dataset, method, metric"""


class Read(NamedTuple):
    """What the text says of one cell."""

    value: str
    marked: bool = False
    """Best or second best in the paper's print."""
    damaged: bool = False
    """The decimal point had to be put back."""


_METRICS = {
    "topiq-g": "topiq-g", "musiq-g": "musiq-g", "musiq-k": "musiq-k", "musiq-a": "musiq-a", "arniqa": "arniqa",
    "mdfs": "mdfs", "q-align": "q-align", "clip-iqa": "clip-iqa", "psnr": "psnr", "ssim": "ssim", "fid": "fid",
    "biqe": "biqe", "lpips": "lpips", "uciqe": "uciqe", "uiqm": "uiqm", "inference time (ms)": "inference-ms",
    "gain": "gain",
}  # fmt: skip
_SETS = {
    "lfw-test": "lfw-test", "lfw test": "lfw-test", "webphoto-test": "webphoto-test", "webphoto test": "webphoto-test",
    "wider-test": "wider-test", "wider test": "wider-test", "lol-v1": "lol-v1", "lol-v2-real": "lol-v2-real",
    "lol-v2-synthetic": "lol-v2-synthetic", "uieb": "uieb", "baid": "baid", "bamd": "baid", "mean": "mean",
}  # fmt: skip
_CLASSES = ["Bicycle", "Boat", "Bottle", "Bus", "Car", "Cat", "Chair", "Cup", "Dog", "Motor", "People", "Table", "Mean"]


def _clean(text: str) -> str:
    """Without emphasis, arrows and citations."""
    text = re.sub(r"\$\\(up|down)arrow\$|</?[bi]>|</?em>", "", text)
    return re.sub(r"\s*\[\d+\]$", "", text.strip()).strip()


def _block(text: str, start: str) -> list[list[str]]:
    """Lines with tabs below a caption, split into cells."""
    after = text.split(start, 1)[1]
    found: list[list[str]] = []
    for line in after.splitlines()[1:]:
        if "\t" in line:
            found.append(line.rstrip().split("\t") if not line.startswith("\t") else line.split("\t"))
        elif found and line.strip():
            break
    return found


def _cell(raw: str) -> Read | None:
    bare = _clean(raw).replace("%", "").strip()
    return Read(bare, "<b>" in raw) if re.fullmatch(r"[+-]?\d+(\.\d+)?", bare) else None


def read_iqpir(text: str) -> tuple[dict[Key, Read], list[str]]:
    """Cells of tables 1 to 10, and the lines that could not be read."""
    cells: dict[Key, Read] = {}
    lost: list[str] = []

    def put(table: str, dataset: str, method: str, metric: str, raw: str) -> None:
        cell = _cell(raw)
        if cell is None:
            if _clean(raw) not in ("—", ""):
                lost.append(f"iqpir/{table} {dataset} {method} {metric}: {raw!r}")
        else:
            cells[f"iqpir/{table}", dataset, method, metric] = cell

    header, *rows = _block(text, "Table 1. Results")
    metrics = [_METRICS[_clean(name).casefold()] for name in header[2:]]
    dataset = ""
    for row in rows:
        dataset = _SETS.get(_clean(row[0]).casefold(), dataset)
        for metric, raw in zip(metrics, row[2:], strict=True):
            put("table1", dataset, _clean(row[1]), metric, raw)

    for table in ("table2", "table3", "table4"):
        first, second, *rows = _block(text, f"Table {table[-1]}. Results")
        sets = [_SETS[_clean(name).casefold()] for name in first[2:] if name.strip()]
        metrics = [_METRICS[_clean(name).casefold()] for name in second if name.strip()]
        for row in rows:
            for index, raw in enumerate(row[2:]):
                put(table, sets[index // 4], _clean(row[0]), metrics[index], raw)

    header, *rows = _block(text, "Table 5. Break down")
    metrics = [_METRICS[_clean(name).casefold()] for name in header[4:]]
    for row in rows:
        for metric, raw in zip(metrics, row[4:], strict=True):
            put("table5", "webphoto-test", row[0], metric, raw)

    _, header, *rows = _block(text, "Table 6. User study")
    half = header.index("Methods", 1)
    for row in rows:
        for table, at in (("table6a", 0), ("table6b", half)):
            for offset in range(1, 5):
                name = _SETS[_clean(header[at + offset].replace("*", "")).casefold()]
                put(table, name, _clean(row[at]), "rating", row[at + offset])

    for table in ("table7", "table8", "table9"):
        header, *rows = _block(text, f"Table {table[-1]}. Effect")
        dataset = ""
        for row in rows:
            dataset = _SETS.get(_clean(row[0]).casefold(), dataset)
            for method, raw in zip(header[2:], row[2:], strict=True):
                put(table, dataset, _clean(method), _METRICS[_clean(row[1]).casefold()], raw)

    header, *rows = _block(text, "Table 10. Low-light")
    assert header[1:] == _CLASSES
    for row in rows:
        for name, raw in zip(_CLASSES, row[1:], strict=True):
            put("table10", "exdark", _clean(row[0]), f"ap/{name.casefold()}", raw)
    return cells, lost


_FACES = ["topiq-g", "musiq-g", "musiq-k", "musiq-a", "arniqa", "mdfs", "q-align", "clip-iqa"]
_SHAPE = {  # decimals of a column, where a lost point has to be put back
    "musiq-a": 2, "q-align": 2, "psnr": 2, "ssim": 4, "uiqm": 3, "topiq-g": 3, "musiq-g": 3, "musiq-k": 2, "arniqa": 3,
    "mdfs": 2, "clip-iqa": 3, "uranker": 4, "uciqe": 4, "fid": 2,
}  # fmt: skip


def _number(raw: str, metric: str) -> Read:
    """A number of a column; one without its point gets it back by the column's decimals."""
    if "." in raw:
        return Read(raw)
    places = _SHAPE[metric]
    digits = raw.rjust(places + 1, "0")
    return Read(f"{digits[:-places]}.{digits[-places:]}", damaged=True)


def read_iqpfr(text: str) -> tuple[dict[Key, Read], list[str]]:
    """Cells of tables 1 to 8, and the lines that could not be read."""
    cells: dict[Key, Read] = {}
    lost: list[str] = []
    lines = text.splitlines()

    def put(table: str, dataset: str, method: str, metrics: list[str], values: list[str]) -> None:
        if len(values) != len(metrics):
            lost.append(f"iqpfr/{table} {dataset} {method}: {' '.join(values)}")
            return
        for metric, raw in zip(metrics, values, strict=True):
            if raw.endswith("."):
                lost.append(f"iqpfr/{table} {dataset} {method} {metric}: {raw}")
            else:
                cells[f"iqpfr/{table}", dataset, method, metric] = _number(raw, metric)

    def faces(table: str, dataset: str, line: str) -> None:
        found = re.match(r"(.*?)\s*(?:\(?\[\d+\]|\[\d+\])?[\s|]+(?=\d)", re.sub(r"\(\[|\[\(", "[", line))
        if found is None or re.search(r"[a-z]{4}.*\d.*[a-z]{4}", line[found.end() :]):
            return
        name = re.sub(r"[\[(]+\d+[\])]+|\[|\(", "", found.group(1)).strip()
        name = re.sub(r"^(LEW|WebPhoto|WIDER\.?)-Test\s+", "", name)
        name = name.replace("Interlem", "Interlcm")  # as one reads in the paper's other places
        rest = line[found.end() :].replace("|", " ")
        gains = re.findall(r"\(\+\s*([\d.]+)\)", rest)
        values = re.sub(r"\(\+[^)]*\)", " ", rest).split()
        put(table, dataset, name, _FACES, values)
        if gains:
            for metric, gain in zip(_FACES, gains, strict=True):
                cells[f"iqpfr/{table}", dataset, name, f"{metric}/increment"] = Read(f"+{gain}")

    start = next(n for n, line in enumerate(lines) if line.startswith("Datasets Methods TOPIQ-G"))
    stop = next(n for n, line in enumerate(lines) if line.startswith("Table 1."))
    body = [line for line in lines[start + 1 : stop] if line.strip()]
    assert len(body) == 30, len(body)
    for number, line in enumerate(body):  # a dataset's name stands beside its middle row; ten rows each
        faces("table1", ("lfw-test", "webphoto-test", "wider-test")[number // 10], line)

    start = next(n for n, line in enumerate(lines) if re.match(r"Methods TOPIQ-Gt\s", line))
    stop = next(n for n, line in enumerate(lines) if line.startswith("Table 2."))
    for line in lines[start + 1 : stop]:
        if line.strip():
            faces("table2", "celeba-test", line)

    for method in ("CodeFormer", "DAEFR", "IQPFR"):
        found = re.search(rf"^{method} (\d\.\d\d) (\d+)%", text, re.MULTILINE)
        if found is None:
            lost.append(f"iqpfr/table3 {method}")
            continue
        for metric, value in zip(("average-score", "top-1-percent"), found.groups(), strict=True):
            cells["iqpfr/table3", "real-faces-60", method, metric] = Read(value)

    stop = next(n for n, line in enumerate(lines) if line.startswith("Table 4."))
    rows = [
        found.groups() for line in lines[stop - 6 : stop] if (found := re.search(r"(0\.\d{3}) (\d\d\.\d\d)$", line))
    ]
    for name, values in zip(("(a)", "(b)", "(c)", "(d)"), rows, strict=True):  # their letters are damaged
        put("table4", "webphoto-test", name, ["topiq-g", "musiq-k"], list(values))

    found = re.search(r"^Quality (0\.\d+) (0\.\d+)$", text, re.MULTILINE)
    for name, value in zip(("Continuous", "Discrete"), found.groups() if found else (), strict=True):
        cells["iqpfr/table5", "unstated", name, "quality"] = Read(value)

    for line in lines:
        row = re.match(r"(PUIE-Net\+?|NU2Net\+?) \|\s+([\d.\s]+)$", line)
        if row:
            put("table6", "uieb", row[1], ["psnr", "ssim", "uranker", "uciqe", "uiqm"], row[2].split())
        row = re.match(r"(\d+ \+ (?:Addition|Attention)) ([\d.\s]+)$", line)
        if row:
            put("table7", "celeba-test", row[1], _FACES[:4], row[2].split())

    start = next(n for n, line in enumerate(lines) if line.startswith("Table 8."))
    rows8 = [line for line in lines[start : start + 14] if re.match(r"(AdalN|AdaIN|Add) [\d. ]+$", line)]
    assert len(rows8) == 6, rows8
    for number, line in enumerate(rows8):
        name, *values = line.split()
        dataset = ("lfw-test", "webphoto-test", "wider-test")[number // 2]
        put("table8", dataset, "Add" if name == "Add" else "AdaIN", [*_FACES[:4], "fid"], values)
    return cells, lost


def read_papers(folder: Path) -> tuple[dict[Key, Read], list[str]]:
    """Every cell of both papers that could be read, and what could not."""
    cells, lost = read_iqpir((folder / "iqpir-paper.txt").read_text(encoding="utf-8"))
    more, also = read_iqpfr((folder / "iqpfr-paper.txt").read_text(encoding="utf-8"))
    return cells | more, lost + also


def read_csvs() -> dict[Key, tuple[str, str]]:
    """(value, doubt) of every line of the CSV files of the two papers."""
    held: dict[Key, tuple[str, str]] = {}
    for file in sorted(PUBLISHED.glob("iqp*.csv")):
        with file.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                key = (f"{row['paper']}/{row['table']}", row["dataset"], row["method"], row["metric"])
                held[key] = (row["value"], row["doubt"])
    return held


def differences(cells: dict[Key, Read], held: dict[Key, tuple[str, str]]) -> list[str]:
    """One line per cell where the two readings differ, or that only one of them has."""
    found: list[str] = []
    for key in sorted(cells.keys() | held.keys()):
        ours, theirs = held.get(key, ("–", "")), cells.get(key, Read("–"))
        if ours[0] != theirs.value:
            found.append(f"{' '.join(key)}: table {ours[0]}, text {theirs.value}")
        elif theirs.damaged and "decimal point" not in ours[1]:
            found.append(f"{' '.join(key)}: the text has no decimal point, and doubt does not say so")
    return found


if __name__ == "__main__":
    papers = os.environ.get("BENCH_TEST_PAPERS")
    if not papers:
        sys.exit("name the folder of the papers' text in BENCH_TEST_PAPERS")
    read, unread = read_papers(Path(papers))
    print("\n".join([*(f"not read: {line}" for line in unread), *differences(read, read_csvs())]))
    print(f"{len(read)} cells read")

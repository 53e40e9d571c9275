"""Every suite of a paper's table, run over its datasets in miniature: the official folders with a few images each.

One image of each does not decode. Two methods that need nothing stand beside the suite's own, one metric beside its
metrics; every cell then has a value or says why it has none, and the tables compile as LaTeX where there is one.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bench.catalog.registry import registry
from bench.data.images import encode_png
from bench.results.store import Store
from bench.results.view import RunView, read_cells
from bench.runner import steps
from bench.runner.request import Request
from bench.suite import definition
from bench.tables import beside, render
from bench.tables.layout import Extras, lay_out

FACES = ["0143.png", "Aaron_Peirsol_0001_00.PNG", "00024_02.png"]
PAIRS = ["1", "22", "23"]
CDD11 = [
    "low", "haze", "rain", "snow", "low_haze", "low_rain", "low_snow", "haze_rain", "haze_snow", "low_haze_rain",
    "low_haze_snow",
]  # fmt: skip
EACH = {"cdd-11": 2}
"""How many images of a group there are, where there are many groups: three unless said."""
MIXTURES = {"A": "d2/rain+haze", "B": "d2/haze+noise", "C": "d3/rain+noise+low resolution"}
LISTS = {
    "uieb/splits/uie_test_list.txt": "1_img_.png\n22_img_.png\n23_img_.png\n",
    "exdark/imageclasslist.txt": "Name | Class | Light | In/Out | Train/Val/Test\n"
    + "".join(f"2015_0{number}.jpg {number} 1 1 3\n" for number in (1, 2, 3)),
}
FILES: dict[str, tuple[list[str], list[str]]] = {
    "lol-v1": ([f"lol-v1/eval15/low/{n}.png" for n in PAIRS], [f"lol-v1/eval15/high/{n}.png" for n in PAIRS]),
    "lol-v2-real": (
        [f"lol-v2/LOLv2/Real_captured/Test/Low/low0069{n}.png" for n in range(3)],
        [f"lol-v2/LOLv2/Real_captured/Test/Normal/normal0069{n}.png" for n in range(3)],
    ),
    "lol-v2-synthetic": (
        [f"lol-v2/LOLv2/Synthetic/Test/Low/r{n}t.png" for n in PAIRS],
        [f"lol-v2/LOLv2/Synthetic/Test/Normal/r{n}t.png" for n in PAIRS],
    ),
    "uieb": ([f"uieb/raw-890/{n}_img_.png" for n in PAIRS], [f"uieb/reference-890/{n}_img_.png" for n in PAIRS]),
    "baid": (
        ["baid/test/resize_input/0151.png", "baid/test/resize_input/0152(1).png", "baid/test/resize_input/0152(2).png"],
        ["baid/test/resize_gt/0151.png", "baid/test/resize_gt/0152.png"],
    ),
    "lfw-test": ([f"lfw-test/{name}" for name in FACES], []),
    "webphoto-test": ([f"webphoto-test/{name}" for name in FACES], []),
    "wider-test": ([f"wider-test/{name}" for name in FACES], []),
    "celebchild-test": ([f"celebchild-test/{name}" for name in FACES], []),
    "real-faces-60": ([f"real-faces-60/{name}" for name in FACES], []),
    "ffhq": ([f"ffhq/images512x512/00000/{n:05d}.png" for n in range(3)], []),
    "celeba-test": (
        [f"celeba-test/celeba_512_validation_lq/{n:08d}.png" for n in range(3)],
        [f"celeba-test/celeba_512_validation/{n:08d}.png" for n in range(3)],
    ),
    "exdark": (
        [f"exdark/ExDark/{name}" for name in ("Bicycle/2015_01.JPG", "Boat/2015_02.png", "Bottle/2015_03.jpg")],
        [],
    ),
    "udc": ([f"udc/LQ/{n}.png" for n in PAIRS], [f"udc/HQ/{n}.png" for n in PAIRS]),
    "euvp": (
        [f"euvp-test/test_samples/Inp/test_p{n}_.jpg" for n in PAIRS],
        [f"euvp-test/test_samples/GTr/test_p{n}_.jpg" for n in PAIRS],
    ),
    "cdd-11": (
        [f"cdd-11/CDD-11_test/{mixture}/{n:05d}.png" for mixture in CDD11 for n in range(EACH["cdd-11"])],
        [f"cdd-11/CDD-11_test/clear/{n:05d}.png" for n in range(EACH["cdd-11"])],
    ),
    "mio100": (
        [f"mio100/LQ/{mixture}/{n:03d}.png" for mixture in MIXTURES.values() for n in range(3)],
        [f"mio100/HQ/{n:03d}.png" for n in range(3)],
    ),
}  # fmt: skip
FILES["uieb-890"] = FILES["uieb"]
FILES |= dict.fromkeys(("mio100-a", "mio100-b", "mio100-c"), FILES["mio100"])
OF_PAPERS = [
    name for name in definition.names()
    if all(one.dataset in FILES for one in definition.load(definition.find(name)).suite.datasets)
]  # fmt: skip
BROKEN = b"\x89PNG\r\n\x1a\nnothing more"


@cache
def photograph(seed: int) -> bytes:
    """48×40, smooth with some noise, a PNG whatever its file is called."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:40, 0:48]
    waves = np.sin(rows / (3 + seed % 4)) * np.cos(columns / 5)
    channels = [110 + 70 * waves + 15 * index + random.normal(0, 8, waves.shape) for index in range(3)]
    return encode_png(np.clip(np.stack(channels, axis=2), 0, 255).astype(np.uint8))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home/data"


def lay(home: Path, dataset: str) -> None:
    """A dataset of a few images, whose first input (or first reference, where references are measured) is broken."""
    inputs, references = FILES[dataset]
    for number, file in enumerate([*inputs, *references]):
        path = home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BROKEN if number % EACH.get(dataset, 3) == 0 and file in inputs else photograph(number))
    for file, text in LISTS.items():
        if file.startswith(f"{inputs[0].partition('/')[0]}/"):
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(text)


def run(name: str, home: Path) -> RunView:
    """The suite with two more methods and one more metric; no times are taken."""
    path = definition.find(name).resolve()
    given = definition.load(path).suite.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    known = {method.get("label", method["method"]) for method in given["methods"]}
    methods = [*given["methods"], {"method": "gamma", "label": "plain tone"}]
    if not known & {"identity", "GT", "Baseline", "LQ"}:
        methods.append({"method": "identity"})
    metrics = [{one["metric"]: {**one.get("options", {}), **({"label": one["label"]} if "label" in one else {})}}
               for one in given["metrics"]]  # fmt: skip
    if not any("uciqe" in one for one in metrics):
        metrics.append({"uciqe": {}})
    for dataset in {one["dataset"] for one in given["datasets"]}:
        lay(home, dataset)
    text = {"schema": 1, "include": str(path), "methods": methods, "metrics": metrics, "latency": None}
    Path("mini.yaml").write_text(json.dumps(text))
    summary = steps.run(Request(suite="mini.yaml", available=True, results="results"))
    with Store(Path("results"), writable=False) as store:
        return read_cells(store, summary.run)


def test_every_suite_of_a_table_is_here() -> None:
    tables = {name for name in definition.names() if definition.load(definition.find(name)).suite.published}
    assert tables <= set(OF_PAPERS) and {"gt-quality", "score-sweep", "face-color"} <= set(OF_PAPERS)
    assert len(OF_PAPERS) >= 24


def tables_of(data: RunView) -> Iterator[str]:
    """The run's table in LaTeX with all that can stand in it, and beside its paper's."""
    base = next(method.label for method in data.record.methods if method.name == "identity")
    yield render.render(data, "latex")
    yield render.render(data, "latex", Extras(ci=True, against=base, seconds=True))
    if data.record.definition.get("published") is not None:
        yield beside.render_beside(data, "latex")
        yield beside.render_beside(data, "latex", Extras(ci=True, against=base, seconds=True))


def compile_latex(tables: list[str]) -> None:
    """Compile each as it is printed, as one document. What is far too wide or too high has run off the page."""
    needed = {line for table in tables for line in re.findall(r"\\usepackage\{[\w,]+\}", table)}
    body = "\n\\clearpage\n".join(tables)
    Path("t.tex").write_text(
        "\\documentclass[10pt,twocolumn]{article}\n"
        "\\usepackage[letterpaper,textwidth=6.875in,textheight=8.875in,columnsep=0.3125in]{geometry}\n"
        + "\n".join(needed)
        + f"\n\\begin{{document}}\n{body}\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0 and Path("t.pdf").is_file(), done.stdout[-3000:]
    wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", done.stdout)
    assert not [points for points in wide if float(points) > 1], wide
    assert "Float too large" not in done.stdout, done.stdout[-3000:]


@pytest.mark.parametrize("name", OF_PAPERS)
def test_every_cell_has_a_value_or_says_why_not(name: str, home: Path) -> None:
    data = run(name, home)
    assert [dataset.items for dataset in data.record.datasets if not dataset.items] == []
    for cell in data.cells:
        assert (cell.value is not None) or cell.reason, (cell.dataset, cell.method, cell.column.label)
        assert cell.complete or cell.reason
    ours = {method.label for method in data.record.methods if method.name in ("identity", "gamma")}
    assert len(ours) >= 2
    shown = {(row.dataset, row.method) for row in lay_out(data).rows}
    assert shown == {(cell.dataset, cell.method) for cell in data.cells}
    # What runs here runs on all but the broken image, which is named.
    for cell in data.cells:
        if cell.method in ours and cell.column.label == "uciqe":
            whole = "GT" in cell.dataset or (name == "iqpfr-codebook")
            assert cell.n == cell.expected - (not whole), (cell.dataset, cell.method)
            if not whole:
                (failed,) = [score for score in cell.scores if score.status == "input"]
                assert "is damaged" in str(failed.reason) or "PNG" in str(failed.reason)
    if shutil.which("pdflatex") is not None:
        compile_latex(list(tables_of(data)))
    assert len(data.record.datasets) == len({dataset.label for dataset in data.record.datasets})


def test_the_miniatures_are_official_sets() -> None:
    assert all(registry("dataset").get(name).fields["kind"] == "official" for name in FILES)

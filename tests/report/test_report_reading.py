"""How a page is read: pixels as they are, folded on a phone, tables taken elsewhere, runs beside each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.reports import Workplace

from bench.report import gallery
from bench.results.store import Store
from bench.results.view import read_cells

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PHONE = """
const says = {height: document.documentElement.scrollHeight};
says.open = document.querySelectorAll("details.item[open]").length;
let taken = "";
document.execCommand = () => { taken = document.activeElement.value; return true; };
const copy = [...document.querySelectorAll(".copy button")].slice(0, 2);
const wait = () => new Promise((done) => setTimeout(done, 300));
(async () => {
  const clipboard = {writeText: (text) => { taken = text; return Promise.resolve(); }};
  Object.defineProperty(navigator, "clipboard", {value: clipboard});
  copy[0].click(); await wait(); says.csv = taken;
  copy[1].click(); await wait(); says.latex = taken;
  document.querySelector(".item .tools button:nth-child(2)").click();
  const image = document.querySelector(".stage img");
  await wait();
  says.shown = image.getBoundingClientRect().width; says.natural = image.naturalWidth;
  document.title = JSON.stringify(says);
})();
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_on_a_phone_it_is_folded_and_pictures_and_tables_are_taken_as_they_are(finished: Workplace, tmp_path: Path):
    text = re.sub(r"<meta http-equiv=[^>]*>", "", finished.page(name="phone.html"))
    (tmp_path / "try.html").write_text(text.replace("</body>", f"<script>{PHONE}</script></body>"), encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=6000", "--dump-dom",
         "--window-size=500,900", f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "try.html").as_uri()],
        capture_output=True, text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[-2000:]
    says = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert says["height"] < 6000 and says["open"] == 1
    header, *rows = says["csv"].strip().split("\n")
    assert header.startswith("Method,") and "PSNR" in header and len(rows) >= 2
    assert {row.count(",") for row in rows if '"' not in row} <= {header.count(",")}
    assert (
        says["latex"].startswith(r"\begin{tabular}{l") and r"\textbf{" in says["latex"] and r"\toprule" in says["latex"]
    )
    assert says["natural"] == 128 and says["shown"] == 128  # a pixel of the picture is one of the screen


def test_a_picture_that_fits_keeps_its_own_pixels(finished: Workplace):
    widths = set(re.findall(r'class="full" src="[^"]*" width="(\d+)" height="(\d+)"', finished.page(name="own.html")))
    assert widths == {("128", "96")}


def test_the_input_has_the_values_of_whoever_left_it_as_it_was(finished: Workplace):
    text = finished.page(name="input.html")
    shots = re.findall(r'<figure class="(\w+)">\s*<figcaption><b>(.*?)</b>.*?</figure>', text, re.DOTALL)
    parts = re.findall(r'<figure class="lq">.*?</figure>', text, re.DOTALL)
    assert parts and shots
    assert any("<dl>" in part for part in parts) is any(label == "identity" for _, label in shots)


def pairs(folder: Path, *names: str, count: int = 3) -> None:
    draw = np.random.default_rng(3)
    for name in names:
        (folder / name).mkdir()
        for number in range(count):
            Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


MINE = "schema: 1\ndatasets: [{dataset: folder, options: {lq: lq, gt: gt}, label: mine}]\n"


def test_the_input_has_no_values_of_another_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A method whose second repeat leaves the input as it is was shown by its first one's values."""
    from support.commands import bench

    monkeypatch.chdir(tmp_path)
    pairs(tmp_path, "lq", "gt", "other")
    (tmp_path / "m.yaml").write_text(
        f"{MINE}methods: [{{method: folder, label: mem, repeats: [{{path: other}}, {{path: lq}}]}}, identity]\n"
        "metrics: [psnr]\n"
    )
    assert bench("run", "m.yaml", "-q") == 0 and bench("report", "m", "-o", "m.html") == 0
    with Store.reading(tmp_path / "results") as store:
        data = read_cells(store, 1)
    assert {gallery.unchanged(data, "mine", item) for item in data.record.datasets[0].items} == {"identity"}
    for number in range(3):
        first, second = (Image.open(tmp_path / name / f"{number}.png") for name in ("lq", "gt"))
        error = np.square(np.asarray(first, float) - np.asarray(second, float)).mean()
        part = (tmp_path / "m.html").read_text(encoding="utf-8").split('<figure class="lq">')[number + 1]
        assert f"{10 * np.log10(255**2 / error):.2f}" in part.split("</figure>")[0]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (4, 4), (5, 5), (6, 5), (100, 5)])
def test_as_many_items_are_shown_as_are_asked_for(finished: Workplace, count: int, shown: int):
    with Store.reading(finished.root / "results") as store:
        data = read_cells(store, 1)
    dataset = next(one for one in data.record.datasets if one.label == "pairs")
    assert len(gallery.choose(data, dataset, count)) == shown


def test_numbers_that_cannot_be_compared_have_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from support.commands import bench

    monkeypatch.chdir(tmp_path)
    pairs(tmp_path, "lq", "gt")
    for name, metric in (("rgb", "psnr"), ("y", "{psnr: {space: y, label: psnr}}")):
        (tmp_path / f"{name}.yaml").write_text(f"{MINE}methods: [identity]\nmetrics: [{metric}, piqe]\n")
        assert bench("run", f"{name}.yaml", "-q") == 0
    assert bench("report", "rgb", "y", "-o", "both.html") == 0
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)]
    (row,) = [row for row in rows if row and row[-1].startswith("incomparable")]
    assert row[-4] and row[-3] and not row[-2]


def test_two_runs_are_one_page_with_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from support.commands import bench

    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(3)
    for name in ("lq", "gt"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    text = "schema: 1\ndatasets: [{dataset: folder, options: {lq: lq, gt: gt}, label: mine}]\nmetrics: [psnr]\n"
    for name, gamma in (("one", 1.5), ("two", 2.5)):
        methods = f"[identity, {{method: gamma, options: {{gamma: {gamma}}}, label: tone}}]"
        (tmp_path / f"{name}.yaml").write_text(f"{text}methods: {methods}\n")
        assert bench("run", f"{name}.yaml", "-q") == 0
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    assert bench("report", "one", "two", "-o", "both.html", "--open") == 0
    assert opened == [(tmp_path / "both.html").as_uri()]
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "two run 2 against one run 1" in page and "tone (two run 2)" in page
    verdicts = re.findall(r'<th scope="row">mine</th><td class="text">(\w+)</td>.*?<td class="text">(\w+)', page)
    rows = dict(
        re.findall(r'<td class="text">(identity|tone)</td>.*?<td class="text">(same|better|worse|undecided)', page)
    )
    assert verdicts and rows["identity"] == "same" and rows["tone"] in ("better", "worse", "undecided")


def test_a_heavy_png_is_made_lighter_at_the_same_size(tmp_path: Path):
    from bench.report import style

    noise = np.random.default_rng(0).random((600, 800, 3))
    with style.applied():
        drawn = style.figure(style.PAGE, 5)
        drawn.add_subplot().imshow(noise, interpolation="nearest")
        style.save(drawn, tmp_path / "a.png")
        drawn.savefig(tmp_path / "plain.png", bbox_inches="tight", pad_inches=0.02)
    with Image.open(tmp_path / "a.png") as light, Image.open(tmp_path / "plain.png") as plain:
        assert light.size == plain.size and round(light.info["dpi"][0]) == style.DPI
        before, after = (np.asarray(one.convert("RGB"), dtype=float) for one in (plain, light))
    assert (tmp_path / "a.png").stat().st_size < 0.6 * (tmp_path / "plain.png").stat().st_size
    assert np.abs(before.mean(axis=(0, 1)) - after.mean(axis=(0, 1))).max() < 2

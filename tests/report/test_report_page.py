"""The page of a run: complete, self-contained, safe with any name, and honest about what is gone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.reports import NASTY, TITLE, Workplace

VOID = {"meta", "link", "img", "br", "input", "rect", "line", "circle", "polygon"}


class Page(HTMLParser):
    """Elements with their attributes and text; nesting must close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.setdefault(self._open[-1], []).append(data.strip())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(finished: Workplace) -> str:
    return finished.page(name="shared.html")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_is_loaded_from_anywhere(text: str, page: Page):
    for _, attributes in page.elements:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    (style,), (script,) = page.texts["style"], page.texts["script"]
    assert "@import" not in style
    assert all(address.startswith(("url(data:", 'url("data:')) for address in re.findall(r"url\([^)]{0,10}", style))
    assert not re.search(r"\b(fetch|XMLHttpRequest|import|eval|innerHTML)\b", script)
    assert not re.search(r"https?://", re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL))


def test_its_policy_lets_only_its_own_script_and_style_run(text: str, page: Page):
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for tag in ("script", "style"):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert inner
        digest = base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in page.elements)


def test_names_are_shown_and_never_run(text: str, page: Page):
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert all(image["src"].startswith("data:image/") for image in page.all("img") if "src" in image)
    assert page.texts["title"][0] == TITLE and page.texts["h1"] == [TITLE]
    assert NASTY in page.texts["th"] and NASTY in page.texts["b"]


def test_the_tables_hold_every_cell_with_ranks_and_reasons(text: str, page: Page):
    assert page.texts["caption"] == ["pairs", "no references"]
    rows = page.texts["th"]
    for method in ("identity", NASTY, "Bright g=0.8", "Mine"):
        assert rows.count(method) >= 2
    gaps = [cell for cell in page.all("td") if "gap" in cell.get("class", "")]
    assert {cell["title"] for cell in gaps} >= {"n/a: no GT"}
    assert any("item 3" in cell["title"] for cell in gaps)
    marks = [link["href"].removeprefix("#") for link in page.all("a") if link["href"].startswith("#why-")]
    notes = {item["id"] for item in page.all("li") if "id" in item}
    assert len(marks) == len(gaps) and set(marks) == notes
    assert sum("best" in cell.get("class", "").split() for cell in page.all("td")) == 2  # PSNR and SSIM of the pairs
    assert any(line.startswith("PSNR: psnr|space:rgb") for line in page.texts["li"])


def test_cells_sort_by_the_stored_value(finished: Workplace, page: Page, capsys: pytest.CaptureFixture[str]):
    assert finished.bench("table", "nasty", "--format", "json") == 0
    values = [row["value"] for row in json.loads(capsys.readouterr().out) if row["value"] is not None]
    shown = [float(cell["data-sort"]) for cell in page.all("td") if "." in cell.get("data-sort", "")]
    assert sorted(shown) == sorted(values)


def picture(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_a_detail_is_pixel_for_pixel_and_where_the_detail_is(finished: Workplace, page: Page):
    crops = {image["alt"]: picture(image["src"]) for image in page.all("img") if image.get("class") == "crop"}
    boxes = {rect["x"]: rect for rect in page.all("rect") if "class" not in rect}
    assert float(next(iter(boxes))) > 45  # percent: the left half is flat
    shown = [name for name in crops if name.startswith("Detail of GT")]
    assert len(shown) == 4
    for name in shown:
        item = name.rpartition(", ")[2]
        reference, crop = finished.pixels(f"gt/{item}.png"), crops[name]
        windows = np.lib.stride_tricks.sliding_window_view(reference, crop.shape)
        assert (windows == crop).all(axis=(3, 4, 5)).any()
        assert crops[f"Detail of LQ, {item}"].shape == crop.shape
        assert np.array_equal(crops[f"Detail of identity, {item}"], crops[f"Detail of LQ, {item}"])


def test_overviews_show_what_was_measured(finished: Workplace, page: Page):
    full = {image["alt"]: picture(image["src"]) for image in page.all("img") if image.get("class") == "full"}
    shown = full["GT, item 0"].astype(float)
    assert shown.shape == (96, 128, 3)
    assert abs(shown.mean() - finished.pixels("gt/item 0.png").mean()) < 3
    assert "GT, item 0" in full and "LQ, item 0" in full


def test_failures_are_listed_with_their_reason(text: str):
    section = text[text.index('id="failures"') : text.index('id="provenance"')]
    assert "item 3" in section and "Mine" in section and "PSNR, SSIM" in section
    assert "looked for item 3.*" in section and "no GT" in section


def test_best_and_worst_items_are_those_of_the_values(text: str, finished: Workplace):
    import bench

    frame = bench.load_results(finished.root / "results")
    own = frame[(frame.dataset == "pairs") & (frame.method == "identity") & (frame.metric == "psnr")]
    best = own.sort_values("value", ascending=False).item.iloc[0]
    section = text[text.index('id="extremes"') : text.index('id="distributions"')]
    first = re.search(r'scope="row">identity</th><td class="text"><ul>.*?</li>', section, re.DOTALL)
    assert first and best in first[0]


def test_provenance_names_versions_device_and_suite(text: str):
    section = text[text.index('id="provenance"') :]
    for expected in ("numpy", "torch", "cpu", "psnr|space:rgb", "recommended/rgb", "method: folder", "bench"):
        assert expected in section


def test_a_page_is_made_alike_twice(finished: Workplace, text: str):
    assert finished.page(name="again.html") == text


def test_pictures_keep_to_their_budget(finished: Workplace):
    small = finished.page("--budget", "0.3", "--items", "5", name="small.html")
    assert "no more fit into" in small
    assert len(small.encode()) < 500_000
    none = finished.page("--items", "0", name="none.html")
    assert 'id="pictures"' not in none and 'id="results"' in none


def test_deleted_outputs_are_said_to_be(workplace: Workplace):
    shutil.rmtree(workplace.root / "results" / "outputs")
    text = workplace.page()
    assert "outputs were deleted since the run: bench run makes them again" in text
    assert "the output was deleted: bench run makes it again" in text
    assert 'alt="GT, item 0"' in text and 'alt="identity, item 0"' not in text


def test_a_changed_reference_is_not_shown_as_the_one_that_was_measured(workplace: Workplace):
    shutil.copy(workplace.root / "gt/item 1.png", workplace.root / "gt/item 0.png")
    text = workplace.page()
    assert "gt/item 0.png has changed since the run" in text
    assert 'alt="GT, item 0"' not in text and 'alt="GT, item 1"' in text


def test_a_dataset_that_is_gone_leaves_everything_else(workplace: Workplace):
    shutil.rmtree(workplace.root / "lq")
    text = workplace.page()
    assert "the dataset is not on this machine" in text
    assert 'alt="identity, item 0"' in text and 'alt="LQ, item 0"' not in text and ">PSNR ↑<" in text


def test_from_another_folder_the_pictures_are_found_where_the_run_was_made(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The suite's paths are relative, it is not found from there, and a folder there has a name that it uses."""
    other = tmp_path / "other"
    (other / "lq").mkdir(parents=True)
    shutil.copy(workplace.root / "lq/item 1.png", other / "lq/item 0.png")
    monkeypatch.setenv("BENCH_RESULTS", str(workplace.root / "results"))
    text = Workplace(other).page()
    assert 'alt="LQ, item 0"' in text and 'alt="GT, item 0"' in text and "not on this machine" not in text
    shutil.rmtree(workplace.root / "lq")
    text = Workplace(other).page()
    assert 'alt="LQ, item 0"' not in text and "lq/item 0.png has changed since the run" in text


def test_paths_relative_to_the_suites_folder_are_found_from_another_folder(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The run is made in one folder with a suite of a second, and told of in a third."""
    first, third = tmp_path / "first", tmp_path / "third"
    first.mkdir()
    third.mkdir()
    monkeypatch.setenv("BENCH_RESULTS", str(first / "results"))
    run = ("run", str(workplace.root / "nasty.yaml"), "--limit", "1", "--allow-failures", "100")
    assert Workplace(first).bench(*run) == 0
    text = Workplace(third).page()
    assert 'alt="LQ, item 0"' in text and 'alt="GT, item 0"' in text and "not on this machine" not in text


def test_a_run_that_is_not_there_is_one_line(finished: Workplace, capsys: pytest.CaptureFixture[str]):
    assert finished.bench("report", "nastie") == 2
    assert "did you mean 'nasty'?" in capsys.readouterr().err
    assert finished.bench("report", "-o", "nasty.yaml/x.html") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_page_lies_with_the_results_unless_told_otherwise(workplace: Workplace, capsys: pytest.CaptureFixture[str]):
    assert workplace.bench("report", "--items", "0") == 0
    assert capsys.readouterr().out.strip() == "results/reports/nasty-1.html"
    assert (workplace.root / "results/reports/nasty-1.html").is_file()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000",
    "--enable-logging=stderr",
)  # fmt: skip

TRY = """
const says = {};
const table = document.querySelector("table.sortable");
const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
says.before = names();
const head = [...table.tHead.rows[0].cells].find((cell) => cell.textContent.startsWith("PSNR"));
head.querySelector("button").click();
says.after = names();
says.sort = head.getAttribute("aria-sort");
const item = document.querySelector(".item"), frame = item.querySelector(".frame");
frame.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
says.zoom = [...item.querySelectorAll(".pic")].map((pic) => pic.style.transform);
item.querySelectorAll(".tools button")[1].click();
const range = item.querySelector(".compare input");
range.value = 25;
range.dispatchEvent(new Event("input"));
says.cut = item.querySelectorAll(".stage img")[1].style.clipPath;
says.pictures = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
says.wide = document.documentElement.scrollWidth <= window.innerWidth;
document.title = JSON.stringify(says);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_it_without_a_complaint(finished: Workplace, text: str, tmp_path: Path):
    log = tmp_path / "net.json"
    done = subprocess.run(
        [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--dump-dom",
         "--window-size=500,900", (finished.root / "shared.html").as_uri()],
        capture_output=True, text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    assert 'class="scripted"' in done.stdout
    assert "CONSOLE" not in done.stderr
    asked = set(re.findall(r'"url":"([a-z]+://[^/"]*)', log.read_text(errors="replace")))
    # The browser looks for updates of itself; the page names no host at all.
    own = re.compile(r"(file|chrome[a-z-]*|https?://([a-z0-9-]+\.)*(google|googleapis|gstatic)\.com$)")
    assert not [url for url in asked if not own.match(url)]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_sorting_zoom_and_slider_work_in_a_browser(text: str, tmp_path: Path):
    changed = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"<script>{TRY}</script></body>")
    (tmp_path / "try.html").write_text(changed, encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", "--window-size=500,900",
         (tmp_path / "try.html").as_uri()],
        capture_output=True, text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title
    says = json.loads(title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert sorted(says["before"]) == sorted(says["after"]) and says["before"] != says["after"]
    assert says["sort"] == "descending"
    assert len(says["zoom"]) > 4 and set(says["zoom"]) == {"scale(4)"}
    assert says["cut"].replace("px", "") == "inset(0 75% 0 0)"
    assert says["pictures"] and says["wide"]

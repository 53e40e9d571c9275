"""What a page and a figure weigh, the input's own values, and colours that can be read on dark screens."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.commands import bench

from bench.errors import BenchError
from bench.report import drawing, style

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = """
const last = [...document.querySelectorAll("details.item")].at(-1);
const says = {height: document.documentElement.scrollHeight, wide: document.documentElement.scrollWidth};
says.folded = !last.closest("details.more").open;
location.hash = last.id;
setTimeout(() => {
  says.followed = last.open && last.closest("details.more").open;
  document.title = JSON.stringify(says);
}, 500);
"""
SUITE = "schema: 1\ndatasets: [{dataset: folder, options: {lq: lq, gt: gt}, label: mine}]\nmetrics: [psnr]\n"


def pairs(root: Path, count: int, side: int) -> None:
    """Photographs of scikit-image, each another part, and darker inputs."""
    from skimage import data

    whole = data.astronaut()
    for name in ("lq", "gt"):
        (root / name).mkdir()
    step = (whole.shape[0] - side) // max(1, int(count**0.5))
    for number in range(count):
        row, column = divmod(number, int(count**0.5) or 1)
        top, left = min(row * step, whole.shape[0] - side), column * step
        part = whole[top : top + side, left : left + side]
        Image.fromarray(part).save(root / "gt" / f"{number:03}.png", compress_level=1)
        Image.fromarray(part // 2).save(root / "lq" / f"{number:03}.png", compress_level=1)


@pytest.mark.slow
def test_a_page_of_400_photographs_weighs_less_than_15_mb_and_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    pairs(tmp_path, 100, 256)
    (tmp_path / "many.yaml").write_text(SUITE + "methods: [identity, {method: gamma, options: {gamma: 0.5}}]\n")
    assert bench("run", "many.yaml", "-q") == 0
    assert bench("report", "many", "-o", "page.html", "--items", "100") == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="full"') == 400  # input, two methods and reference of each
    assert (tmp_path / "page.html").stat().st_size < 15e6
    assert text.count('loading="lazy"') == 2 * text.count('class="full"')
    if CHROMIUM is not None:
        says = phone(tmp_path, text)
        assert says["height"] < 6000 and says["wide"] <= 500 and says["folded"] and says["followed"]


def phone(folder: Path, text: str) -> dict[str, Any]:
    """What a narrow window says of a page, before and after a link to its last item is followed."""
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"<script>{PHONE}</script></body>")
    (folder / "try.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom",
         "--window-size=500,900", f"--user-data-dir={folder / 'profile'}", (folder / "try.html").as_uri()],
        capture_output=True, text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout, re.DOTALL)
    assert title, done.stderr[-2000:]
    says: dict[str, Any] = json.loads(title[1])
    return says


@pytest.mark.parametrize("methods", ["[gamma]", "[gamma, identity]"])
def test_below_an_input_stand_its_own_values_or_how_to_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: str
):
    monkeypatch.chdir(tmp_path)
    for name, level in (("lq", 100), ("gt", 120)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(tmp_path / name / "a.png")
    (tmp_path / "mine.yaml").write_text(f"{SUITE}methods: {methods}\n")
    assert bench("run", "mine.yaml", "-q") == 0
    assert bench("report", "mine", "-o", "page.html") == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    (figure,) = re.findall(r'<figure class="lq">.*?</figure>', text, re.DOTALL)
    psnr = f"{20 * math.log10(255 / 20):.2f}"
    assert (f">{psnr}</dd>" in figure) is ("identity" in methods)
    assert ("name identity among the suite&#39;s methods" in figure) is ("identity" not in methods)


def test_an_input_that_cannot_be_scored_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name, side in (("lq", 16), ("gt", 32)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(tmp_path / name / "a.png")
    (tmp_path / "mine.yaml").write_text(f"{SUITE}methods: [identity]\n")
    bench("run", "mine.yaml", "-q", "--allow-failures", "1")
    assert bench("report", "mine", "-o", "page.html") == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    (figure,) = re.findall(r'<figure class="lq">.*?</figure>', text, re.DOTALL)
    assert re.search(r'<div title="[^"]*16[^"]*32[^"]*"><dt>PSNR</dt><dd>failed</dd>', figure)


# Colours


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    text = colour.removeprefix("#")
    text = "".join(2 * sign for sign in text) if len(text) == 3 else text
    parts = [int(text[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def schemes() -> dict[str, dict[str, str]]:
    css = (importlib.resources.files("bench.report") / "assets/page.css").read_text(encoding="utf-8")
    dark = "".join(re.findall(r"@media\(prefers-color-scheme:dark\)\{(.*?\})\}", css))
    light = re.sub(r"@media\(prefers-color-scheme:dark\)\{.*?\}\}", "", css)

    def named(text: str) -> dict[str, str]:
        found = dict(re.findall(r"--(\w+):(#[0-9a-f]+)", text))
        return found | dict(re.findall(r"\.(s\d)\{color:(#[0-9a-f]+)\}", text))

    return {"light": named(light), "dark": named(light) | named(dark)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_are_seen_on_light_and_on_dark_screens(scheme: str):
    colours = schemes()[scheme]
    assert (luminance(colours["paper"]) < 0.05) is (scheme == "dark")
    weak = [
        f"{ink} on {ground}: {contrast(colours[ink], colours[ground]):.2f}"
        for ground, inks in (
            ("paper", ("ink", "soft", "accent")), ("wash", ("ink", "soft", "accent")),
            ("best", ("ink", "soft")), ("warn", ("ink",)),
        )
        for ink in inks
        if contrast(colours[ink], colours[ground]) < 4.5  # WCAG AA for text
    ]  # fmt: skip
    weak += [name for name in map("s{}".format, range(8)) if contrast(colours[name], colours["paper"]) < 3]
    assert weak == []


def test_every_ink_of_the_page_comes_from_the_scheme():
    """A colour written into a rule would stay as it is on a dark screen."""
    css = (importlib.resources.files("bench.report") / "assets/page.css").read_text(encoding="utf-8")
    rules = re.sub(r":root\{[^}]*\}|\.s\d\{[^}]*\}", "", css)
    # The slider's divider lies on photographs, white with a black shadow.
    assert re.findall(r"[^}]*#[0-9a-f]{3,6}[^}]*\}", re.sub(r"\.divider\{[^}]*\}", "", rules)) == []


# Figures


def test_no_png_weighs_more_than_a_megabyte_and_what_it_cost_is_said(tmp_path: Path):
    noise = np.random.default_rng(0).random((1500, 2100, 3))
    with style.applied():
        drawn = style.figure(style.PAGE, 5)
        drawn.add_subplot().imshow(noise, interpolation="nearest")
        said = style.save(drawn, tmp_path / "a.png")
        assert style.save(drawn, tmp_path / "a.pdf") == ""
    assert (tmp_path / "a.png").stat().st_size <= 1_000_000
    with Image.open(tmp_path / "a.png") as image:
        dpi = round(image.info["dpi"][0])
        assert abs(image.width / dpi - style.PAGE) < 0.4  # in print as large as it was drawn
        assert len(image.getcolors() or []) <= 64 and dpi < style.DPI
    assert f"{dpi} dpi instead of 300" in said and "64 colours" in said and ".pdf" in said


def test_a_light_png_has_all_its_colours_and_nothing_is_said(tmp_path: Path):
    with style.applied():
        drawn = style.figure()
        drawn.add_subplot().plot([0, 1], [0, 1])
        assert style.save(drawn, tmp_path / "a.png") == ""
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode in ("RGB", "RGBA") and round(image.info["dpi"][0]) == style.DPI


def test_what_no_step_makes_light_enough_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(style, "_LARGEST_PNG", 100)
    with style.applied():
        drawn = style.figure()
        drawn.add_subplot().plot([0, 1], [0, 1])
        with pytest.raises(BenchError, match=r"a megabyte: take \.pdf"):
            style.save(drawn, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_photograph_is_averaged_down_to_the_resolution_of_print_and_never_enlarged():
    board = np.zeros((1200, 2400, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    small = style.fitted(board, 2.0)
    # Every pixel stands for a patch of black and white alike; taking the nearest one would leave either.
    assert small.shape == (300, 600, 3) and np.abs(small.astype(float) - 127.5).max() < 12
    assert style.fitted(board[:, :600], 2.0).shape == (1200, 600, 3)


def test_photographs_in_a_pdf_have_the_resolution_of_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(1)
    for name in ("lq", "gt"):
        (tmp_path / name).mkdir()
        coarse = Image.fromarray(draw.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        coarse.resize((1600, 1200)).save(tmp_path / name / "a.png", compress_level=1)
    (tmp_path / "large.yaml").write_text(f"{SUITE}methods: [identity]\n")
    assert bench("run", "large.yaml", "-q") == 0
    assert bench("figure", "grid", "large", "-o", "grid.pdf", "--crop", "20,10,1500,1150") == 0
    raw = (tmp_path / "grid.pdf").read_bytes()
    objects = [one for one in re.findall(rb"\d+ 0 obj\s*(<<.*?)stream", raw, re.DOTALL) if b"/Subtype /Image" in one]
    widths = [int(found[1]) for one in objects if (found := re.search(rb"/Width (\d+)", one))]
    assert len(widths) >= 6  # three pictures, and a detail of each
    most = math.ceil(style.PAGE / 3 * style.DPI)
    assert max(widths) <= most
    # matplotlib takes the nearest pixel of what is larger; so nothing larger may be given to it.
    asked = drawing.Asked("grid", boxes=((20, 10, 1500, 1150),))
    drawn = drawing.draw(asked, "large", tmp_path / "results")
    assert max(image.get_array().shape[1] for axis in drawn.axes for image in axis.images) <= most

"""What `bench list`, `info` and `validate` say of methods: how each comes to run, and why one does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import bench

from bench.data.images import encode_png

SUITE = """\
schema: 1
datasets: [builtin-lowlight]
methods: [identity, mirnet, waveface]
metrics: [psnr]
"""


def test_methods_are_listed_with_their_route_licence_size_and_venue(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("list", "methods", "--task", "low-light", "--format", "json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows["cue"]) == ["name", "task", "status", "licence", "parameters", "venue"]
    assert [rows["cue"][key] for key in ("status", "parameters", "venue")] == ["runs", 257129, "ICCV 2023"]
    assert [rows["gsad"][key] for key in ("status", "licence")] == ["command", "none stated"]
    assert rows["hvi-cidnet"]["status"] == "download"
    assert "dr2" not in rows


def test_info_says_in_one_line_why_a_method_does_not_run_here(folder: Path, capsys: pytest.CaptureFixture[str]):
    said = {}
    for name in ("mirnet", "waveface", "sci-medium", "identity"):
        assert bench("info", name) == 0
        said[name] = yaml.safe_load(capsys.readouterr().out)
    assert said["mirnet"]["cannot run here"].startswith("mirnet runs in its official repository: git clone https://")
    assert said["waveface"]["cannot run here"].startswith("waveface exists as outputs only")
    assert said["sci-medium"]["cannot run here"].endswith("bench fetch sci-medium")
    assert "cannot run here" not in said["identity"]
    assert [said[name]["status"] for name in said] == ["command", "results-only", "runs", "runs"]


def test_validate_names_what_cannot_run_here_and_is_content(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("validate", "mine.yaml") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mine.yaml: 2 things it needs are not on this machine:"
    assert lines[1].startswith("  programs        mirnet – a clone and a python each, as bench info mirnet says; ")
    assert any(line.startswith("  outputs         waveface – ") for line in lines)


def test_fetch_says_what_a_person_has_to_bring(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("fetch", "mirnet") == 0
    assert capsys.readouterr().err.startswith("mirnet runs in its official repository: git clone https://")
    assert bench("fetch", "identity") == 0
    assert capsys.readouterr().err == "identity needs no files\n"


PLUGIN = """\
import torch
import bench
from bench.methods.module import from_module


class Root(torch.nn.Module):
    def forward(self, images):
        return images.clamp(0, 1).sqrt()


bench.register_method("NAME", lambda: from_module(Root()))
"""


@pytest.fixture
def own(folder: Path) -> Path:
    """A suite of one dark photograph with its reference, and plugins whose methods it does not name.

    Two, since a process reads each once.
    """
    draw = np.random.default_rng(4)
    for part, most in (("low", 60), ("high", 256)):
        (folder / part).mkdir()
        (folder / part / "1.png").write_bytes(encode_png(draw.integers(0, most, (16, 20, 3), dtype=np.uint8)))
    for name in ("square-root", "root"):
        (folder / f"{name}.py").write_text(PLUGIN.replace("NAME", name), encoding="utf-8")
    (folder / "two.yaml").write_text(
        "schema: 1\ndatasets: [{dataset: folder, options: {lq: low, gt: high}, label: one}]\n"
        "methods: [identity, gamma]\nmetrics: [psnr]\n",
        encoding="utf-8",
    )
    return folder


def test_a_method_of_a_plugin_is_a_row_of_any_suite(own: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("two.yaml", "-m", "identity", "-m", "square-root", "--plugin", "square-root.py")
    assert bench("run", *arguments) == 0
    capsys.readouterr()
    assert bench("table", "two", "--format", "json") == 0
    values = {row["method"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    low, high = (np.asarray(Image.open(own / part / "1.png"), np.float64) for part in ("low", "high"))
    error = np.mean((np.rint(255 * np.sqrt(low / 255)) - high) ** 2)
    assert list(values) == ["identity", "square-root"]
    assert values["square-root"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)


@pytest.mark.parametrize(("name", "remedy"), [("clahe", "a suite of yours"), ("square-rot", "--plugin FILE")])
def test_another_method_than_the_suites_is_refused_with_what_helps(
    name: str, remedy: str, own: Path, capsys: pytest.CaptureFixture[str]
):
    assert bench("run", "two.yaml", "-m", name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no method {name!r} in this suite" in line and remedy in line


def test_init_takes_methods_beside_folders(own: Path, capsys: pytest.CaptureFixture[str]):
    chosen = ("-m", "clahe", "-m", "root", "--plugin", "root.py")
    assert bench("init", "--lq", "low", "--gt", "high", *chosen, "-o", "new.yaml") == 0
    assert yaml.safe_load((own / "new.yaml").read_text("utf-8"))["methods"] == ["identity", "clahe", "root"]
    assert capsys.readouterr().err.endswith("bench run new.yaml --plugin root.py\n")
    assert bench("init", "--lq", "low", "-m", "clahee", "-o", "other.yaml") == 2
    assert "did you mean 'clahe'" in capsys.readouterr().err and not (own / "other.yaml").exists()


@pytest.mark.parametrize(
    ("words", "remedy"),
    [(("run", "low"), "low is a folder, not a suite: bench init"), (("help",), "--help has them all")],
)
def test_a_wrong_word_is_told_what_was_meant(words: tuple[str, ...], remedy: str, own: Path, capsys):
    assert bench(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert remedy in line


@pytest.mark.parametrize("wrong", [("--metric", "psnrr"), ("--metric", "psnr[spacee=y]"), ("-m", "clahee")])
def test_init_leaves_the_folder_as_it_was_where_it_is_refused(wrong: tuple[str, str], own: Path, capsys):
    assert bench("init", "--lq", "low", "--gt", "high", *wrong, "-o", "new.yaml") == 2
    assert not (own / "new.yaml").exists()
    before = (own / "two.yaml").read_bytes()
    assert bench("init", "--lq", "low", "--gt", "high", *wrong, "-o", "two.yaml", "--force") == 2
    assert (own / "two.yaml").read_bytes() == before


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cuda:99"])
def test_score_refuses_a_device_that_is_not_here(device: str, own: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("score", "low", "--reference", "high", "--device", device) == 2
    assert device in capsys.readouterr().err


def test_init_writes_metrics_with_options_as_suites_have_them(own: Path, capsys: pytest.CaptureFixture[str]):
    chosen = "ssim,psnr[space=y,crop=4]"
    assert bench("init", "--lq", "low", "--gt", "high", "--metric", chosen, "-o", "new.yaml") == 0
    written = yaml.safe_load((own / "new.yaml").read_text("utf-8"))
    assert written["metrics"] == ["ssim", {"psnr": {"space": "y", "crop": 4}}]

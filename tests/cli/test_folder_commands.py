"""From folders to a table without a file, to a suite, to a citation, and from several runs to one table."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.commands import bench

import bench as package
from bench.data.images import encode_png

SUITE = """\
schema: 1
title: T
datasets: [builtin-lowlight]
methods: [identity, gamma]
metrics: [psnr]
"""
HABITS = {"ours": "{}", "their-net": "{}_their-net", "prefixed": "out_{}", "plain": "{plain}"}
NOISE = {"ours": 2.0, "their-net": 8.0, "prefixed": 16.0, "plain": 4.0}
COUNT = 5


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.clip(pixels, 0, 255).astype(np.uint8)))


@pytest.fixture
def outputs(folder: Path) -> Path:
    """Five references, inputs that are darker, and outputs in four folders with four habits of naming."""
    rng = np.random.default_rng(7)
    for n in range(COUNT):
        name = f"{11 * n + 2:04d}"
        image = np.floor(rng.normal(120, 40, (24, 32, 3)))
        write(folder / f"gt/{name}.png", image)
        write(folder / f"low/{name}.png", image * 0.3)
        for method, habit in HABITS.items():
            shown = habit.format(name, plain=int(name))
            write(folder / f"outputs/{method}/{shown}.png", image + NOISE[method])
    return folder


def mse_psnr(noise: float) -> float:
    return 20 * np.log10(255 / noise)


def table(text: str) -> dict[str, list[str]]:
    rows = [
        [part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return {row[0]: row[1:] for row in rows}


def test_four_folders_with_four_habits_are_a_table_by_one_command(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("score", "outputs/*", "--reference", "gt", "--metric", "psnr,ssim") == 0
    shown = capsys.readouterr()
    rows = table(shown.out)
    assert list(rows)[1:] == ["ours", "plain", "prefixed", "their-net"]
    for method, noise in NOISE.items():
        # Clipping at black and white takes a little of what was added.
        assert float(re.sub(r"[*<>u/]", "", rows[method][0])) == pytest.approx(mse_psnr(noise), abs=0.1)
    assert rows["ours"][0].startswith("**") and rows["plain"][0].startswith("<u>")
    assert "their-net: 0002_their-net ↔ 0002: pattern '{id}_their-net'" in shown.err
    assert "prefixed: out_0002 ↔ 0002: pattern 'out_{id}'" in shown.err
    assert not list(outputs.glob("results*"))


def test_they_are_tested_and_typeset_as_a_runs_methods(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("score", "outputs/ours", "outputs/plain", "--reference", "gt", "--metric", "psnr")
    assert bench(*arguments, "--paired-with", "ours", "--ci", "--format", "latex") == 0
    text = capsys.readouterr().out
    assert r"\begin{threeparttable}" in text and "differs from ours" in text and "[" in text
    assert text.count(r"\begin{tabular}{@{}lr@{}}") == 1
    assert bench(*arguments, "--paired-with", "oars") == 2
    assert "no folder 'oars' here; did you mean 'ours'?" in capsys.readouterr().err


def test_listings_name_the_folder_of_each_row(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("score", "outputs/*", "--reference", "gt", "--metric", "psnr", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 4 * COUNT and {row["method"] for row in rows} == set(HABITS)
    assert bench("score", "outputs/*", "--reference", "gt", "--metric", "psnr", "--format", "csv") == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["method"] for line in lines] == [row["method"] for row in rows]
    frame = package.score("outputs/*", reference="gt", metrics=["psnr"])
    assert sorted(frame["value"]) == sorted(row["value"] for row in rows)
    assert list(frame.columns)[:3] == ["method", "item", "metric"]


def test_a_missing_output_is_counted_and_never_ranked(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "outputs/ours/0002.png").unlink()
    assert bench("score", "outputs/*", "--reference", "gt", "--metric", "psnr") == 1
    shown = capsys.readouterr()
    assert "(4/5)" in table(shown.out)["ours"][0] and table(shown.out)["plain"][0].startswith("**")
    assert "ours: 1 reference has no image" in shown.err


def test_frames_of_one_name_in_two_folders_are_items_of_their_own(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The usual layout of videos. The mean is over four frames, whatever they are called."""
    noise = {"day/0001": 2.0, "day/0002": 4.0, "day/0003": 8.0, "night/0001": 64.0}
    for name, more in noise.items():
        write(outputs / f"frames/gt/{name}.png", np.full((16, 16, 3), 100.0))
        write(outputs / f"frames/mine/{name}.png", np.full((16, 16, 3), 100.0 + more))
    asked = ("score", "frames/mine", "--reference", "frames/gt", "--metric", "psnr,psnr-pooled", "--ci")
    assert bench(*asked, "--format", "markdown") == 0
    shown = capsys.readouterr().out
    single, _, pooled = table(shown)["mine"]
    assert float(single) == pytest.approx(np.mean([mse_psnr(more) for more in noise.values()]), abs=0.005)
    assert float(pooled) == pytest.approx(mse_psnr(float(np.sqrt(np.mean(np.square([*noise.values()]))))), abs=0.005)
    assert "repeats" not in shown and "Means over 4 items" in shown


def test_a_subset_is_not_ranked_against_the_whole(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its two worst images a method is no better, it is of fewer images."""
    for n in range(COUNT):
        write(outputs / f"outputs/ours/{11 * n + 2:04d}.png", np.full((24, 32, 3), 10.0 * n))
        write(outputs / f"outputs/part/{11 * n + 2:04d}.png", np.full((24, 32, 3), 10.0 * n))
    for n in (3, 4):
        (outputs / f"outputs/part/{11 * n + 2:04d}.png").unlink()
    asked = ("score", "outputs/ours", "outputs/part", "outputs/plain", "--reference", "gt", "--metric", "psnr")
    assert bench(*asked, "--subset", "--format", "markdown") == 0
    shown = capsys.readouterr().out
    assert "(3/5) [a]" in table(shown)["part"][0] and not re.search(r"[*<]", table(shown)["part"][0])
    assert table(shown)["plain"][0].startswith("**") and "[a] unavailable: part on gt: no image of it" in shown


def test_folders_without_an_image_in_common_are_not_tested(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("score", "outputs/ours", "outputs/their-net", "--metric", "piqe")
    assert bench(*asked, "--paired-with", "ours") == 2
    said = capsys.readouterr().err
    assert "their-net and ours have no image in common (0002_their-net, 0002)" in said and "--id" in said
    assert bench(*asked, "--paired-with", "ours", "--id", "([0-9]+)") == 0


def test_the_base_of_a_test_may_be_named_as_it_was_given(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("score", "outputs/ours", "outputs/plain", "--reference", "gt", "--metric", "psnr", "--format", "markdown")
    assert bench(*asked, "--paired-with", "outputs/ours") == 0
    assert "differs from ours" in capsys.readouterr().out


def test_a_pattern_says_what_cannot_be_found_out(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, path in enumerate(sorted((outputs / "outputs/ours").iterdir())):
        path.rename(path.with_name(f"{path.stem}_{'abcde'[n] * 3}.png"))
    assert bench("score", "outputs/ours", "--reference", "gt", "--metric", "psnr") == 2
    assert "--pattern '{id}_out'" in capsys.readouterr().err
    assert bench("score", "outputs/ours", "--reference", "gt", "--metric", "psnr", "--pattern", "{id}_*") == 0
    assert "5 / 5" in capsys.readouterr().out
    assert bench("score", "outputs/ours", "--reference", "gt", "--metric", "psnr", "--pattern", "{id}_none") == 2
    assert "pattern '{id}_none': " in capsys.readouterr().err


def test_files_of_a_shell_are_answered_with_the_quotes(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(str(path) for path in (outputs / "outputs/ours").iterdir())
    assert bench("score", *files, "--reference", "gt") == 2
    assert "put the pattern into quotes" in capsys.readouterr().err
    assert bench("score", "outputs/ours/*.png", "--reference", "gt", "--metric", "psnr") == 0
    assert bench("score", "outputs/ours", "outputs/ours", "--reference", "gt") == 2


def test_a_suite_is_written_for_folders_and_runs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("init", "--lq", "low", "--gt", "gt", "--outputs", "outputs/*", "-o", "new.yaml")
    assert bench(*arguments) == 0
    text = (outputs / "new.yaml").read_text()
    assert 'pattern: "{id}_their-net.*"' in text and 'pattern: "out_{id}.*"' in text
    assert re.search(r"  # - \{method: folder, options: \{path: \"outputs/plain\"\}.*rename them", text)
    assert bench(*arguments) == 2
    assert "new.yaml is there already" in capsys.readouterr().err
    assert bench("run", "new.yaml") == 0
    capsys.readouterr()
    assert bench("table", "new", "-m", "ours", "--metric", "psnr", "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["value"] == pytest.approx(mse_psnr(NOISE["ours"]), abs=0.1) and row["n"] == COUNT


def test_inputs_and_references_of_other_names_are_paired_too(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (outputs / "low").iterdir():
        path.rename(path.with_name(f"low{path.name}"))
    for path in (outputs / "gt").iterdir():
        path.rename(path.with_name(f"normal{path.name}"))
    assert bench("init", "--lq", "low", "--gt", "gt", "--outputs", "outputs/prefixed", "-o", "new.yaml") == 0
    assert bench("run", "new.yaml") == 0
    assert "| 5/5 |" in capsys.readouterr().out


def test_a_run_is_cited_in_one_line_and_bibtex(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SUITE.replace("gamma]", "lime]").replace("[psnr]", "[psnr, ssim]")
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    assert bench("run", "mine.yaml", "--limit", "1") == 0
    capsys.readouterr()
    assert bench("cite", "mine") == 0
    line, blank, *entries = capsys.readouterr().out.splitlines()
    assert "psnr|space:rgb|range:u8|crop:0|gtmean:no|v:1" in line and "builtin-lowlight (1 image)" in line and not blank
    bibtex = "\n".join(entries)
    assert bibtex.count("@") == 3 and "author = {Guo and Li and Ling}" in bibtex
    assert "journal = {IEEE Transactions on Image Processing}" in bibtex and "year = {2004}" in bibtex
    assert bibtex.count("{") == bibtex.count("}")


def test_runs_of_two_stores_are_joined_where_they_agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "mine.yaml", "--limit", "2") == 0
    other = SUITE.replace("gamma]", "clahe]").replace("[psnr]", "[psnr, ssim]")
    (folder / "other.yaml").write_text(other, encoding="utf-8")
    assert bench("run", "other.yaml", "--limit", "2", "--results", "theirs") == 0
    capsys.readouterr()
    assert bench("leaderboard", "mine", "theirs:other", "--format", "json") == 0
    rows = {(row["method"], row["metric"]): row for row in json.loads(capsys.readouterr().out)}
    assert {method for method, _ in rows} == {"identity", "gamma", "clahe", "identity (other run 1 of theirs)"}
    assert rows["clahe", "psnr"]["value"] is not None and rows["gamma", "ssim"]["value"] is None
    assert "mine run 1 does not measure ssim" in rows["gamma", "ssim"]["reason"]
    assert rows["identity", "psnr"]["value"] == rows["identity (other run 1 of theirs)", "psnr"]["value"]


def test_what_does_not_agree_is_a_gap_with_its_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "mine.yaml", "--limit", "2") == 0
    luma = SUITE.replace("[psnr]", "[{psnr: {space: y, label: psnr}}]").replace("gamma", "clahe")
    (folder / "luma.yaml").write_text(luma, encoding="utf-8")
    assert bench("run", "luma.yaml", "--limit", "2") == 0
    (folder / "more.yaml").write_text(SUITE.replace("gamma", "lime"), encoding="utf-8")
    assert bench("run", "more.yaml", "--limit", "3") == 0
    capsys.readouterr()
    assert bench("leaderboard", "mine", "luma", "more") == 0
    text = capsys.readouterr().out
    assert "psnr of luma run 2 has space:y instead of space:rgb" in text
    assert "more run 3 has 3 items of builtin-lowlight, mine run 1 2, of which" in text
    assert "identity (luma run 2)" in text and "identity (more run 3)" in text  # a number left out would be a claim
    assert {"gamma", "clahe", "lime"} <= {line.split("|")[2].strip() for line in text.splitlines() if "|" in line}


def test_numbers_against_other_references_are_no_leaderboard_and_no_comparison(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(COUNT):
        write(outputs / f"gt2/{11 * n + 2:04d}.png", np.full((24, 32, 3), 120.0))
    for name, reference, method in (("first", "gt", "ours"), ("second", "gt2", "plain"), ("third", "gt2", "ours")):
        (outputs / f"{name}.yaml").write_text(
            f"schema: 1\ndatasets: [{{dataset: folder, label: mine, options: {{lq: low, gt: {reference}}}}}]\n"
            f"methods: [{{method: folder, label: {method}, options: {{path: outputs/ours}}}}]\nmetrics: [psnr, piqe]\n",
            encoding="utf-8",
        )
        assert bench("run", f"{name}.yaml") == 0
    capsys.readouterr()
    assert bench("leaderboard", "first", "second", "--format", "json") == 0
    rows = {(row["method"], row["metric"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["ours", "psnr"]["value"] is not None and rows["plain", "psnr"]["value"] is None
    assert "5 references of mine are other images" in rows["plain", "psnr"]["reason"]
    assert bench("leaderboard", "first", "third", "--format", "json") == 0
    rows = {(row["method"], row["metric"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["ours (third run 3)", "psnr"]["value"] is None
    assert "5 references of mine are other images" in rows["ours (third run 3)", "psnr"]["reason"]
    assert bench("compare", "first", "third", "--format", "json") == 0
    found = {row["metric"]: row for row in json.loads(capsys.readouterr().out)}
    assert (found["psnr"]["verdict"], found["psnr"]["detail"]) == ("incomparable", "5 of 5 references differ")
    assert found["piqe"]["verdict"] == "same"  # which needs none


def test_runs_without_a_common_dataset_are_no_leaderboard(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "mine.yaml", "--limit", "1") == 0
    (folder / "other.yaml").write_text(SUITE.replace("builtin-lowlight", "builtin-backlit"), encoding="utf-8")
    assert bench("run", "other.yaml", "--limit", "1") == 0
    capsys.readouterr()
    assert bench("leaderboard", "mine", "other") == 2
    assert "have no dataset in common" in capsys.readouterr().err

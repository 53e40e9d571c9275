"""What a command does when little is said: help, plans, lists; and that a refusal names the remedy that fits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import bench

from iqpir.cli import main as iqpir_main

SUITE = "schema: 1\ndatasets: [builtin-lowlight]\nmethods: [identity, gamma]\nmetrics: [psnr]\n"


def iqpir(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        iqpir_main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def photographs(folder: Path) -> Path:
    draw = np.random.default_rng(1)
    (folder / "photos").mkdir()
    for name in ("a", "b"):
        coarse = draw.integers(0, 120, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC).save(folder / "photos" / f"{name}.png")
    return folder / "photos"


def suite(folder: Path, text: str) -> str:
    (folder / "own.yaml").write_text("schema: 1\n" + text)
    return "own.yaml"


@pytest.mark.parametrize(("program", "group"), [(bench, ()), (iqpir, ()), (bench, ("study",)), (iqpir, ("train",))])
def test_a_command_alone_is_its_help(program, group: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert program(*group) == 0
    alone_said = capsys.readouterr()
    assert program(*group, "--help") == 0
    assert alone_said.out == capsys.readouterr().out and "Commands:" in alone_said.out and not alone_said.err


@pytest.mark.parametrize(("program", "group", "near"), [(bench, "study", "serve"), (iqpir, "train", "restorer")])
def test_a_wrong_subcommand_is_told_the_nearest(program, group: str, near: str, capsys: pytest.CaptureFixture[str]):
    assert program(group, f"{near}x") == 2
    assert f"did you mean {near!r}?" in capsys.readouterr().err
    assert program(group, "zzz") == 2
    assert f"{group} --help has them all" in capsys.readouterr().err


@pytest.mark.parametrize("spelling", ["-v", "-V", "--version"])
def test_the_version_by_any_of_its_usual_options(spelling: str, capsys: pytest.CaptureFixture[str]):
    assert bench(spelling) == 0
    assert capsys.readouterr().out.startswith("bench, version ")


def test_run_alone_lists_suites_that_run_here_first(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("run") == 2
    said = capsys.readouterr()
    lines = said.out.splitlines()[2:]
    assert lines[0].startswith("quickstart") and "runs here" in lines[0]
    last_ready = max(place for place, line in enumerate(lines) if "runs here" in line)
    assert all("runs here" in line for line in lines[: last_ready + 1]) and len(lines) > last_ready + 1
    assert said.err.startswith("error: which suite?")


@pytest.mark.parametrize("word", ["--plan", "--dry-run"])
def test_a_plan_is_made_whatever_is_missing(word: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    name = suite(
        folder, "datasets: [builtin-lowlight, lol-v1]\nmethods: [identity, hvi-cidnet]\nmetrics: [psnr, fid]\n"
    )
    assert bench("run", name, word, "-v") == 0
    said = capsys.readouterr().out
    rows = {
        tuple(line.split()[:2]): line.split()[2:7] for line in said.splitlines() if line.startswith(("built", "lol"))
    }
    assert rows["builtin-lowlight", "identity"] == ["6", "0", "0", "6", "0"]
    assert rows["builtin-lowlight", "hvi-cidnet"] == ["6", "0", "0", "0", "6"]
    assert rows["lol-v1", "identity"] == ["15", "0", "0", "0", "15"]  # the official test set has 15 pairs
    assert "bench fetch lol-v1" in said and "bench fetch hvi-cidnet --pin" in said and "bench fetch fid" in said
    assert "to download: " in said and not (folder / "results").exists()


def test_a_plan_says_which_files_block_it_and_what_outputs_take(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "lq").mkdir()
    (folder / "outputs").mkdir()
    for number in range(3):
        Image.new("RGB", (100, 50)).save(folder / "lq" / f"{number}.png")
    Image.new("RGB", (100, 50)).save(folder / "outputs" / "0.png")
    name = suite(
        folder,
        "datasets: [{dataset: folder, options: {lq: lq}, label: mine}]\n"
        "methods: [gamma, {method: folder, options: {path: outputs}, label: theirs}]\nmetrics: [piqe]\n",
    )
    assert bench("run", name, "--plan") == 0
    said = capsys.readouterr().out
    gamma, theirs = (
        next(line for line in said.splitlines() if f" {method} " in line) for method in ("gamma", "theirs")
    )
    assert gamma.split()[2:7] == ["3", "0", "0", "3", "0"] and gamma.endswith("≤ 0.1 MB")  # 3 × 100 × 50 × 3 = 45 kB
    assert theirs.split()[2:7] == ["3", "0", "0", "1", "2"] and theirs.endswith(" 0")
    assert "blocked: 1 × mine: " in said and "1" in said.split("blocked: 1 × mine: ")[1]
    assert bench("run", name, "--plan", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(job["method"], job["restore"], job["blocked"], job["bytes"]) for job in told["jobs"]] == [
        ("gamma", 3, 0, 45000), ("theirs", 1, 2, 0),
    ]  # fmt: skip
    assert sum(each["count"] for each in told["blocked"]) == 2 and told["missing"] == []
    assert bench("run", name, "--plan", "--format", "latex") == 2
    assert "no format 'latex': take --format json or markdown" in capsys.readouterr().err


def test_a_plan_of_a_wrong_request_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        bench("run", suite(folder, "datasets: [builtin-lowlight]\nmethods: [gama]\nmetrics: [psnr]\n"), "--plan") == 2
    )
    assert "did you mean 'gamma'" in capsys.readouterr().err


def test_a_plan_says_that_the_device_is_not_here(folder: Path, capsys: pytest.CaptureFixture[str]):
    own = suite(folder, "datasets: [builtin-lowlight]\nmethods: [identity]\nmetrics: [psnr]\n")
    assert bench("run", own, "--plan", "--device", "cuda:99") == 0
    said = capsys.readouterr().out
    assert "identity" in said and "device 'cuda:99' is not on this machine" in said.splitlines()[-1]
    assert bench("run", own, "--plan", "--device", "tpu") == 2
    assert "unknown device 'tpu'" in capsys.readouterr().err


def test_a_suite_that_lacks_only_a_permission_is_not_told_to_fetch(folder: Path, capsys: pytest.CaptureFixture[str]):
    method = "{method: command, options: {argv: [cp, '{input_file}', '{output_file}']}, label: copy}"
    name = suite(folder, f"datasets: [builtin-lowlight]\nmethods: [{method}]\nmetrics: [psnr]\n")
    assert bench("run", name) == 2
    said = capsys.readouterr().err
    assert f"bench run {name} --allow-commands" in said
    assert "fetch" not in said and "--available" not in said


@pytest.mark.parametrize("command", [("validate",), ("run",), ("run", "--plan")])
def test_an_unknown_method_is_told_of_plugins(command: tuple[str, ...], folder: Path, capsys):
    name = suite(folder, "datasets: [builtin-lowlight]\nmethods: [my-own-net]\nmetrics: [psnr]\n")
    assert bench(command[0], name, *command[1:]) == 2
    assert "--plugin FILE.py" in capsys.readouterr().err


def test_sizes_that_differ_are_told_the_option_and_its_values(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name, size in (("out", (40, 40)), ("gt", (48, 40))):
        (folder / name).mkdir()
        Image.new("RGB", size, (9, 90, 200)).save(folder / name / "a.png")
    assert bench("score", "out", "--reference", "gt", "--metric", "psnr") == 1
    said = capsys.readouterr().out
    assert "option resize" in said and "pil-bicubic" in said
    assert bench("score", "out", "--reference", "gt", "--metric", "psnr[resize=pil-bicubic]") == 0


@pytest.mark.parametrize("given", ["gone", "gone/", "gone/*.png", "gone/**/*.jpg", "gone/below"])
def test_a_folder_that_is_not_there_does_not_exist(given: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("score", given, "--metric", "piqe") == 2
    assert "does not exist" in capsys.readouterr().err


def test_runs_with_nothing_in_common_are_refused_without_a_table(folder: Path, capsys: pytest.CaptureFixture[str]):
    for number, method in enumerate(("gamma", "identity")):
        name = f"s{number}.yaml"
        (folder / name).write_text(f"schema: 1\ndatasets: [builtin-lowlight]\nmethods: [{method}]\nmetrics: [psnr]\n")
        assert bench("run", name, "--limit", "1") == 0
    capsys.readouterr()
    assert bench("compare", "1", "2") == 2
    said = capsys.readouterr()
    assert not said.out and said.err == (
        "error: 1 and 2: nothing in common: methods gamma in the one, identity in the other\n"
    )


def test_info_prints_every_entry_a_key_a_line(capsys: pytest.CaptureFixture[str]):
    assert bench("info", "folder") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("name: folder") == 2 and "is a: dataset" in lines and "is a: method" in lines


def test_restore_needs_no_weights_to_be_named(photographs: Path, folder: Path):
    assert iqpir("restore", "photos", "plain") == 0
    assert iqpir("restore", "photos", "named", "--weights", "iqpir-tiny") == 0
    for name in ("a.png", "b.png"):
        assert (folder / "plain" / name).read_bytes() == (folder / "named" / name).read_bytes()
        assert (folder / "plain" / name).read_bytes() != (photographs / name).read_bytes()


def test_assess_needs_no_download_and_the_papers_members_have_a_name(photographs: Path, capsys):
    assert iqpir("assess", "photos") == 0
    said = capsys.readouterr().out
    assert "bench:piqe" in said and "iqpir:iqpir-tiny-quality" in said
    assert iqpir("assess", "photos", "--prior", "papers") == 2
    said = capsys.readouterr().err
    assert "musiq-g" in said and "topiq_nr-face-v1" in said and "without --prior papers" in said
    assert iqpir("assess", "photos", "--prior", "papers", "--member", "bench:piqe") == 2


def test_a_stage_is_trained_in_silence_too(folder: Path, capsys):
    (folder / "quality.yaml").write_text("steps: 2\nbatch: 2\n")
    assert iqpir("train", "quality", "quality.yaml") == 0
    assert "steps" in capsys.readouterr().err
    for words in (("train", "quality", "-q"), ("train", "-q", "quality")):
        assert iqpir(*words, "quality.yaml", "-o", "again.safetensors") == 0
        said = capsys.readouterr()
        assert "again.safetensors" in said.out and not said.err

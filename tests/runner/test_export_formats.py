"""A run in other tools' formats, each held against that tool's own reader where it has one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import bench

import bench as package
from iqpir.weights import _HOME

SUITE = """\
schema: 1
title: Three pairs
datasets:
  - {dataset: folder, options: {lq: low, gt: high}, label: mine, protocol: recommended/rgb}
methods:
  - identity
  - {method: gamma, label: "Gamma: 2.2/é"}
  - {method: folder, options: {path: outputs}, label: theirs}
metrics: [psnr, ssim, piqe]
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which one method's outputs equal their references, so that its PSNR is infinite."""
    folder = tmp_path_factory.mktemp("formats")
    draw = np.random.default_rng(5)
    for name in ("low", "high", "outputs"):
        (folder / name).mkdir()
    for number in range(3):
        high = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(high).save(folder / "high" / f"{number}.png")
        Image.fromarray(high).save(folder / "outputs" / f"{number}.png")
        Image.fromarray(high // 3).save(folder / "low" / f"{number}.png")
    (folder / "mine.yaml").write_text(SUITE, encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert bench("run", "mine.yaml") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ran)
    return ran


@pytest.fixture
def means(here: Path) -> dict[tuple[str, str], float]:
    """(method, metric) → the mean of the finite rows that `bench.load_results` gives, where all are finite."""
    frame = package.load_results("results/bench.db")
    grouped = frame.groupby(["method", "metric"])["value"].mean()
    return {key: value for key, value in grouped.items() if math.isfinite(value)}


def test_a_run_is_loaded_by_its_number_as_a_number_or_as_text(here):
    newest = package.load_results("results")
    for named in (1, "1"):
        assert newest.equals(package.load_results("results", named))
    with pytest.raises(package.BenchError, match="no run of '7'"):
        package.load_results("results", 7)


def test_every_eval_ever_has_a_record_per_method_with_signatures_and_intervals(here, means, tmp_path, capsys):
    assert bench("export", "mine", "--format", "eee", "-o", str(tmp_path)) == 0
    assert "1 of 9 cells have no finite value" in capsys.readouterr().err  # the infinite PSNR
    records = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("data/mine/*/*/*.json")]
    found = {}
    for record in records:
        for result in record["evaluation_results"]:
            config = result["metric_config"]
            name = config["metric_parameters"] and config["metric_kind"]
            found[record["model_info"]["name"], name] = result["score_details"]["score"]
            assert config["lower_is_better"] is (name == "piqe") and config["metric_id"].split("|")[0] == name
            interval = result["score_details"]["uncertainty"]["confidence_interval"]
            assert interval["lower"] <= result["score_details"]["score"] <= interval["upper"]
    assert found == pytest.approx(means) and len(found) == 8
    rows = hashlib.sha256((tmp_path / "rows.csv").read_bytes()).hexdigest()
    assert {record["source_metadata"]["additional_details"]["rows_sha256"] for record in records} == {rows}
    first = sorted(tmp_path.glob("data/**/*.json"))
    assert bench("export", "mine", "--format", "eee", "-o", str(tmp_path)) == 0
    assert sorted(tmp_path.glob("data/**/*.json")) == first  # the same run has the same names


def test_every_eval_ever_is_accepted_by_its_own_validator(here: Path, tmp_path: Path):
    pytest.importorskip("every_eval_ever")
    assert bench("export", "mine", "--format", "eee", "-o", str(tmp_path)) == 0
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.glob("data/**/*.json"))
    command = [sys.executable, "-m", "every_eval_ever", "validate", "--format", "json", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and '"warnings": []' in done.stdout.replace("\n", ""), done.stdout


def test_croissant_is_loaded_by_mlcroissant_with_every_row(here: Path, tmp_path: Path):
    import mlcroissant

    assert bench("export", "mine", "--format", "croissant", "-o", str(tmp_path)) == 0
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    rows = list(dataset.records("rows"))
    frame = package.load_results("results/bench.db")
    assert len(rows) == len(frame)
    finite = frame[frame["status"] == "ok"]["value"]
    told = [row["rows/value"] for row in rows if row["rows/status"] == b"ok"]
    assert told == pytest.approx(list(finite))
    (file,) = json.loads((tmp_path / "croissant.json").read_text())["distribution"]
    assert file["sha256"] == hashlib.sha256((tmp_path / "rows.csv").read_bytes()).hexdigest()


def test_the_hub_reads_a_card_per_method(here: Path, means: dict[tuple[str, str], float], tmp_path: Path):
    from huggingface_hub import ModelCard

    assert bench("export", "mine", "--format", "hub", "-o", str(tmp_path)) == 0
    found = {}
    for file in tmp_path.glob("*/README.md"):
        card = ModelCard.load(file)
        for result in card.data.eval_results or []:
            assert str(result.metric_config).split("|")[0] == result.metric_type and result.dataset_name == "mine"
            found[card.data.model_name, result.metric_type] = result.metric_value
    assert found == pytest.approx(means)


def test_methods_whose_labels_a_file_cannot_hold_keep_a_card_and_a_record_each(here: Path, tmp_path: Path):
    labels = ["Gamma 0.5", "Gamma (0.5)", "方法一", "方法二"]
    each = (f'{{method: gamma, label: "{label}", options: {{gamma: {1 + n}}}}}' for n, label in enumerate(labels))
    methods = ", ".join(each)
    suite = SUITE[: SUITE.index("methods:")] + f"methods: [{methods}]\nmetrics: [psnr]\n"
    Path("alike.yaml").write_text(suite, encoding="utf-8")
    kept = ("--results", str(tmp_path / "results"))
    assert bench("run", "alike.yaml", *kept) == 0
    assert bench("export", "alike", "--format", "hub", "-o", str(tmp_path / "hub"), *kept) == 0
    cards = [file.read_text(encoding="utf-8") for file in (tmp_path / "hub").glob("*/README.md")]
    assert sorted(label for card in cards for label in labels if f"# {label}\n" in card) == sorted(labels)
    assert bench("export", "alike", "--format", "eee", "-o", str(tmp_path / "eee"), *kept) == 0
    records = [json.loads(file.read_text(encoding="utf-8")) for file in (tmp_path / "eee").glob("data/*/*/*/*.json")]
    assert len({record["evaluation_id"] for record in records}) == len({r["model_info"]["id"] for r in records}) == 4


def test_bencher_gets_benchmarks_with_measures_and_their_bounds(here: Path, means, tmp_path: Path, capsys):
    assert bench("export", "mine", "--format", "bmf") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    values = {}
    for benchmark, measures in found.items():
        dataset, _, method = benchmark.partition("/")
        assert dataset == "mine"
        for measure, metric in measures.items():
            assert set(metric) <= {"value", "lower_value", "upper_value"}  # all that the format has
            assert metric.get("lower_value", -math.inf) <= metric["value"] <= metric.get("upper_value", math.inf)
            values[method, measure] = metric["value"]
    assert values == pytest.approx(means)
    assert bench("export", "mine", "--format", "bmf", "-o", str(tmp_path / "a.json")) == 0
    assert json.loads((tmp_path / "a.json").read_text()) == found


def test_a_mean_over_what_did_not_fail_is_no_number_of_a_method(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").mkdir()
    for number in range(2):
        (tmp_path / "some" / f"{number}.png").write_bytes((here / "low" / f"{number}.png").read_bytes())
    suite = SUITE.replace("path: outputs", f"path: {tmp_path / 'some'}")
    (tmp_path / "part.yaml").write_text(suite.replace("lq: low, gt: high", f"lq: {here}/low, gt: {here}/high"))
    results = ("--results", str(tmp_path / "results"))
    assert bench("run", str(tmp_path / "part.yaml"), *results) == 1  # one output is not there
    capsys.readouterr()
    assert bench("export", "part", "--format", "bmf", "-o", "-", *results) == 0
    shown = capsys.readouterr()
    assert set(json.loads(shown.out)) == {"mine/identity", "mine/Gamma: 2.2/é"}
    assert "3 cells have a value of fewer items than expected: left out" in shown.err
    assert bench("export", "part", "--format", "hub", "-o", str(tmp_path / "hub"), *results) == 0
    text = (tmp_path / "hub/theirs/README.md").read_text(encoding="utf-8")
    assert "model-index" not in text and "2/3" in text
    assert "model-index" in (tmp_path / "hub/identity/README.md").read_text(encoding="utf-8")
    assert not Path("-").exists()


@pytest.mark.parametrize("style", ["eee", "hub", "croissant"])
def test_a_form_of_several_files_needs_a_folder(style: str, here: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("export", "mine", "--format", style) == 2
    assert "--output DIR" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(_HOME.glob("*.md")), ids=lambda file: file.stem)
def test_checkpoints_that_come_along_have_cards_with_results(file: Path):
    from huggingface_hub import ModelCard

    card = ModelCard.load(file)
    assert card.data.model_name == file.stem and card.data.license == "apache-2.0"
    text = card.text.replace("**", "")
    for result in card.data.eval_results or pytest.fail("no results"):
        assert f"{result.metric_value:.2f}" in text  # the card's text says the same


def test_the_citation_file_has_what_its_format_requires():
    data = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(data)  # CFF 1.2.0, required keys
    assert data["cff-version"] == "1.2.0" and data["type"] == "software" and data["license"] == "Apache-2.0"
    assert data["version"] == package.__version__ and all(author.get("name") for author in data["authors"])

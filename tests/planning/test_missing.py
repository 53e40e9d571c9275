"""What is missing is said on one screen, and what is there runs with the rest as rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.planning.bind import resolve
from bench.planning.missing import screen
from bench.suite import definition

TEXT = """schema: 1
datasets: [builtin-lowlight, lol-v1, baid, {dataset: builtin-backlit, label: b}]
methods:
  - identity
  - hvi-cidnet
  - gsad
  - waveface
  - iqpir
  - iqpir-ablation-a
  - {method: gamma, datasets: [b], label: Tone}
  - {method: clahe, datasets: [builtin-lowlight], label: Tone}
metrics: [psnr, ssim, fid, topiq-g]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(TEXT)
    return tmp_path


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_what_is_missing_is_grouped_by_who_brings_it_with_each_name_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "mine.yaml") == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: mine.yaml: 9 things it needs are not on this machine:"
    begins = {line[:18].strip(): line[18:] for line in said[1:-1] if line[2] != " "}
    assert begins == {
        "datasets": "bench fetch lol-v1",
        "data by hand": "bench fetch baid prints the steps for a person",
        "weights": "bench fetch hvi-cidnet --pin",
        "weights by hand": "bench fetch iqpir says from where and whereto",
        "metric weights": "bench fetch fid topiq-g",
        "programs": begins["programs"],
        "outputs": begins["outputs"],
        "training": begins["training"],
    }
    assert begins["programs"].startswith("gsad – a clone and a python each, as bench info gsad says")
    assert begins["outputs"].startswith("waveface – ") and begins["training"].startswith("iqpir-ablation-a – ")
    assert said[-1].endswith("bench fetch mine.yaml; run what is there: bench run mine.yaml --available")
    assert len(said) <= 24 and max(map(len, said)) <= 125


def test_every_shipped_suite_fits_one_screen_on_an_empty_machine() -> None:
    for name in definition.names():
        missing = resolve(definition.load(definition.find(name))).missing
        assert not missing or len(screen(name, missing).splitlines()) <= 24, name


def test_what_is_missing_is_a_row_with_its_reason_and_the_rest_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["-m", "identity", "-m", "gsad", "-m", "Tone", "--limit", "1", "--available", "--format", "json"]
    assert bench("run", "mine.yaml", *asked) == 0
    cells = json.loads(capsys.readouterr().out)
    found = {(cell["dataset"], cell["method"], cell["metric"]): cell for cell in cells}
    assert len(found) == len(cells) == 4 * (3 + 2 + 2 + 3)
    assert all((cell["value"] is not None) is (cell["reason"] is None) for cell in cells)
    assert found["lol-v1", "identity", "psnr"]["reason"].startswith("dataset 'lol-v1' is not below")
    assert found["lol-v1", "identity", "psnr"]["status"] == "unavailable"
    assert "official repository" in found["b", "gsad", "psnr"]["reason"]
    assert "bench fetch fid" in found["b", "identity", "fid"]["reason"]
    assert found["b", "Tone", "psnr"]["value"] != found["builtin-lowlight", "Tone", "psnr"]["value"]
    # Each line of the label did its own dataset: gamma by its own name gives the same value.
    assert bench("run", "mine.yaml", "-m", "gamma", "-d", "b", "--limit", "1", "--available", "--format", "json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert [cell["value"] for cell in alone if cell["metric"] == "psnr"] == [found["b", "Tone", "psnr"]["value"]]


def test_a_suite_that_shares_its_name_with_a_dataset_is_fetched_by_its_file() -> None:
    missing = resolve(definition.load(definition.find("baid"))).missing
    assert (
        screen("baid", missing)
        .splitlines()[-1]
        .startswith(f"what a machine can bring: bench fetch {definition.find('baid')};")
    )
    assert "bench fetch bfr;" in screen("bfr", missing)


def test_a_run_of_nothing_is_refused_with_the_same_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("run", "mine.yaml", "-d", "baid", "--available") == 2
    said = capsys.readouterr().err
    assert "no dataset of it is on this machine" in said and "bench fetch baid prints" in said


def test_a_wrong_protocol_of_a_missing_dataset_is_still_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(TEXT.replace("lol-v1,", "{dataset: lol-v1, protocol: reti-dif/lol},"))
    assert bench("validate", "mine.yaml") == 2
    assert "mine.yaml:2: unknown protocol 'reti-dif/lol'; did you mean 'reti-diff/lol'?" in capsys.readouterr().err


def test_boxes_are_no_matter_for_data_without_annotations(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        "schema: 1\ndatasets: [builtin-lowlight]\ndetection: {detector: yolox-nano}\n"
        "methods: [identity]\nmetrics: [psnr, ap50]\n"
    )
    assert bench("run", "mine.yaml", "--limit", "1", "--format", "json") == 0
    psnr, boxes = json.loads(capsys.readouterr().out)
    assert psnr["value"] is not None and (boxes["status"], boxes["reason"]) == ("n/a", "no boxes are annotated")


def test_a_folder_with_images_of_another_part_alone_is_a_missing_dataset(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = folder / "home/data/lol-v1/eval15/low"
    low.mkdir(parents=True)
    (low / "2.png").write_bytes(b"of the training part")
    assert bench("run", "mine.yaml", "-m", "identity", "--limit", "1", "--available") == 0
    assert "dataset 'lol-v1': none of its 15 images is below" in capsys.readouterr().out

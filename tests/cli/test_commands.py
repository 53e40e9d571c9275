"""Commands: results on standard output, everything else on standard error, one line for a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import bench

SUITE = """\
schema: 1
datasets: [builtin-lowlight]
methods: [identity, gamma]
metrics: [psnr]
"""


def test_a_plan_says_what_would_be_done_and_writes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("run", "mine.yaml", "--plan", "--limit", "2") == 0
    assert [line.split()[:4] for line in capsys.readouterr().out.splitlines() if "gamma" in line] == [
        ["builtin-lowlight", "gamma", "2", "0"]
    ]
    assert not (folder / "results").exists()


def test_a_run_prints_its_table_and_a_second_one_the_same(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert bench("run", "mine.yaml", "--limit", "2") == 0
    first = capsys.readouterr()
    assert "4 worked on" in first.err
    assert bench("run", "mine.yaml", "--limit", "2") == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "0 worked on" in second.err
    assert bench("table", "mine") == 0
    assert capsys.readouterr().out == first.out

    assert bench("runs", "--format", "json") == 0
    assert [(row["run"], row["state"], row["units"]) for row in json.loads(capsys.readouterr().out)] == [
        (1, "finished", 4)
    ]

    assert bench("export", "mine", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 4
    assert bench("table", "--format", "json") == 0
    table = json.loads(capsys.readouterr().out)
    for cell in table:
        values = [row["value"] for row in rows if row["method"] == cell["method"]]
        assert cell["value"] == pytest.approx(sum(values) / len(values), abs=1e-12)

    assert bench("export", "mine", "--images", "out") == 0
    assert sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.png")) == sorted(
        f"builtin-lowlight/{row['method']}/{row['item']}.png" for row in rows
    )
    assert bench("gc", "--dry-run") == 0
    assert "0 rows, 0 files" in capsys.readouterr().out
    assert bench("gc", "--keep", "0") == 0
    assert "deleted 1 runs" in capsys.readouterr().out
    assert not list(Path("results").rglob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "mine.yaml", "-m", "gama"], "no method 'gama' in this suite; did you mean 'gamma'?"),
        (["run", "nowhere.yaml"], "no suite file nowhere.yaml"),
        (["rnu", "mine.yaml"], "no command 'rnu'; did you mean 'run'?"),
        (["run", "mine.yaml", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "mine.yaml", "--format", "markdwn"], "did you mean 'markdown'?"),
        (["run", "mine.yaml", "--plugin", "none.py"], "no plugin file none.py"),
        (["table"], "no results at"),
        (["info", "pnsr"], "nothing is called 'pnsr'; did you mean 'psnr'?"),
        (["list", "metods"], "'metods'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    assert bench(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_validate_names_every_mistake_with_its_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "bad.yaml").write_text(SUITE.replace("gamma", "gama").replace("psnr", "pnsr"), encoding="utf-8")
    assert bench("validate", "mine.yaml", "bad.yaml") == 2
    shown = capsys.readouterr()
    assert "mine.yaml: valid (1 dataset, 2 methods, 2 jobs, 1 metric)" in shown.out
    assert "bad.yaml:3: unknown method 'gama'; did you mean 'gamma'?" in shown.err
    assert "bad.yaml:4: unknown metric 'pnsr'; did you mean 'psnr'?" in shown.err


def test_missing_weights_are_told_with_the_command_that_brings_them(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "net.yaml").write_text(SUITE.replace("gamma", "sci-medium"), encoding="utf-8")
    assert bench("run", "net.yaml", "--limit", "1") == 2
    said = capsys.readouterr().err
    assert "  weights         bench fetch sci-medium" in said
    assert "bench fetch sci-medium" in said
    assert bench("run", "net.yaml", "--limit", "1", "--available") == 0
    shown = capsys.readouterr()
    assert "unavailable: sci-medium on builtin-lowlight" in shown.out
    assert "1 unavailable" in shown.err


def test_mistakes_are_all_named_even_when_no_dataset_can_be_bound(folder: Path, capsys: pytest.CaptureFixture[str]):
    text = SUITE.replace("[builtin-lowlight]", "[{dataset: folder, options: {lq: none/*.png}}]").replace("psnr", "pnsr")
    (folder / "bad.yaml").write_text(text, encoding="utf-8")
    assert bench("run", "bad.yaml") == 2
    said = capsys.readouterr().err
    assert "bad.yaml:2: none/*.png: the folder " in said
    assert "bad.yaml:4: unknown metric 'pnsr'; did you mean 'psnr'?" in said

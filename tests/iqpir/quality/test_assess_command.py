"""`iqpir assess` from the outside: what it writes and prints, and one line for a mistake."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bench
from iqpir import cli

MIRROR = os.environ.get("BENCH_TEST_MIRROR")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def iqpir(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_photographs_are_scored_as_bench_scores_them(home: Path, photographs: Path, capsys: pytest.CaptureFixture[str]):
    assert iqpir("assess", photographs, "--member", "bench:uciqe", "--member", "bench:piqe", "-o", "out") == 0
    printed = capsys.readouterr().out
    assert "bench:piqe ↓" in printed
    assert "bench:uciqe ↑" in printed
    assert "HQ+ (score > 0.9)" in printed

    expected = bench.score(photographs, metrics=["uciqe", "piqe"])
    values = {(row.item, row.metric): row.value for row in expected.itertuples()}
    rows = table(Path("out"))
    assert len(rows) == 7
    for row in rows:
        item = Path(row["imagename"]).with_suffix("").as_posix()
        for metric in ("uciqe", "piqe"):
            known = next(value for (name, of), value in values.items() if of == metric and item.endswith(name))
            assert float(row[f"bench:{metric}"]) == pytest.approx(known, rel=1e-6)

    for name in ("distribution", "contact-sheet"):
        with Image.open(Path("out") / f"{name}.png") as image:
            assert image.width == 2100  # 7 inches at 300 dots
            assert np.asarray(image.convert("L")).std() > 1
        assert (Path("out") / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_a_prior_brings_its_members(home: Path, photographs: Path, capsys: pytest.CaptureFixture[str]):
    assert iqpir("assess", photographs, "--member", "bench:uciqe", "--bins", 4, "-o", "first") == 0
    first = capsys.readouterr().out
    assert iqpir("assess", photographs, "--prior", "first/statistics.json", "-o", "second") == 0
    assert capsys.readouterr().out == first.replace("first", "second")
    assert Path("first/scores.csv").read_bytes() == Path("second/scores.csv").read_bytes()


def test_with_a_prior_the_summary_has_these_images_scores(home: Path, photographs: Path, capsys):
    assert iqpir("assess", photographs, "--member", "bench:uciqe", "-o", "first") == 0
    names = sorted(file.name for file in photographs.iterdir())[:2]
    Path("few").mkdir()
    for name in names:
        shutil.copy(photographs / name, Path("few") / name)
    capsys.readouterr()
    assert iqpir("assess", "few", "--prior", "first/statistics.json", "-o", "second") == 0
    out = capsys.readouterr().out
    with (Path("second") / "scores.csv").open(newline="", encoding="utf-8") as file:
        raw = [float(row["bench:uciqe"]) for row in csv.DictReader(file)]
    line = next(line for line in out.splitlines() if line.startswith("bench:uciqe")).split()
    assert line[2:6] == [str(len(raw)), f"{min(raw):.4f}", f"{max(raw):.4f}", f"{sum(raw) / len(raw):.4f}"]
    prior = json.loads(Path("first/statistics.json").read_text(encoding="utf-8"))["members"][0]
    ranged = f"{prior['minimum']:.4f} to {prior['maximum']:.4f}"
    assert f"normalised by the prior's ranges: bench:uciqe {ranged}" in out


def test_an_unreadable_image_is_exit_code_1(home: Path, photographs: Path, capsys: pytest.CaptureFixture[str]):
    (photographs / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert iqpir("assess", photographs, "--member", "bench:uciqe") == 1
    assert "no score: 1 of 8 images" in capsys.readouterr().out
    [row] = [row for row in table(Path("results/assess/photographs")) if row["imagename"] == "broken.png"]
    assert row["reason"]


def test_a_folder_without_one_good_image_still_gets_its_table(home: Path, capsys: pytest.CaptureFixture[str]):
    folder = home / "bad"
    folder.mkdir()
    (folder / "broken.png").write_bytes(b"")
    assert iqpir("assess", folder, "--member", "bench:uciqe", "-o", "out") == 1
    assert table(Path("out"))[0]["reason"] == "empty file (0 bytes)"
    assert not Path("out/distribution.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "--member", "bench:piqe"], "none does not exist; a folder of images is needed"),
        (["home-of-nothing", "--member", "bench:piqe"], "home-of-nothing holds no image"),
        (["PHOTOS", "--member", "bench:pique"], "did you mean 'piqe'"),
        (["PHOTOS", "--member", "bench:psnr"], "psnr compares with a reference"),
        (["PHOTOS", "--member", "bench:fid"], "a member scores one image alone"),
        (["PHOTOS", "--member", "bunch:piqe"], "no provider 'bunch'; did you mean 'bench'"),
        (["PHOTOS", "--member", "bench:piqe", "--member", "bench:piqe"], "member 'bench:piqe' is asked for twice"),
        (["PHOTOS", "--member", "bench:piqe", "--device", "toaster"], "unknown device 'toaster'"),
        (["PHOTOS", "--prior", "none.json"], "none.json: cannot be read"),
        (["PHOTOS", "--batch", "0"], "'--batch'"),
        (["PHOTOS", "--member", "bench:niqe"], "niqe needs weights/niqe/modelparameters.mat"),
        (["PHOTOS", "--member", "bench:niqe"], "bench fetch niqe"),
        (["PHOTOS", "--prior", "papers"], "bench fetch topiq_nr-face-v1"),
        (["PHOTOS", "--prior", "papers"], "without --prior papers the members need no download"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    home: Path, photographs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    (home / "home-of-nothing").mkdir()
    given = [str(photographs) if argument == "PHOTOS" else argument for argument in arguments]
    assert iqpir("assess", *given) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.slow
def test_a_metric_of_pyiqa_without_its_weights_names_the_file_and_downloads_nothing(home: Path, photographs: Path):
    """In a process of its own: pyiqa remembers where its files are when it is imported."""
    files = {"cnniqa": "CNNIQA", "topiq_nr-face-v1": "topiq_nr_gfiqa_res50-d76bf1ae.pth"}
    program = (
        "import socket\n"
        "def refuse(*_, **__): raise AssertionError('the network was asked')\n"
        "socket.create_connection = refuse\n"
        "from iqpir.cli import main\n"
        f"for member in {list(files)!r}:\n"
        "    try:\n"
        f"        main(['assess', {str(photographs)!r}, '--member', member])\n"
        "    except SystemExit as stop:\n"
        "        print(member, stop.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{member} 2" for member in files], done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for line, (member, file) in zip(told, files.items(), strict=True):
        assert f"member {member!r}: it needs {file}" in line
        assert f"bench fetch {member}" in line


@pytest.mark.slow
def test_a_native_metric_of_pyiqa_can_be_a_member(photographs: Path):
    import torch

    from iqpir.quality.scorers import load_scorer

    scorer = load_scorer("piqe")
    assert scorer.lower_better
    pyiqa = pytest.importorskip("pyiqa")
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = [float(pyiqa.create_metric("piqe")(one[None])) for one in image]
    np.testing.assert_allclose(scorer(image), expected, rtol=1e-6)


def test_importing_the_package_and_its_command_brings_no_torch():
    program = "import sys, iqpir, iqpir.cli, iqpir.quality.prior, iqpir.quality.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder with faces and parameters")
def test_the_clean_face_is_above_the_median_of_real_low_quality_ones(home: Path):
    from bench.fetch.fetch import fetch
    from bench.folder_scores import ask

    needed = [asset for one in ask(["niqe", "brisque"]) for asset in one.metric.assets()]
    fetch(needed, mirror=Path(str(MIRROR)), progress=False, say=lambda _: None)
    faces = Path(str(MIRROR)) / "data" / "faces"
    assert iqpir("assess", faces, "--member", "bench:niqe", "--member", "bench:brisque", "-o", "out", "--batch", 4) == 0
    rows = table(Path("out"))
    assert len(rows) == 32
    score = {row["imagename"]: float(row["score"]) for row in rows}
    assert score["ffhq-gt/00000000.png"] > np.median(list(score.values()))
    best = min(rows, key=lambda row: float(row["bench:niqe"]))
    assert float(best["bench:niqe normalised"]) == max(float(row["bench:niqe normalised"]) for row in rows)

"""`iqpir restore` and `iqpir assess --degradations` with a system of RAR."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from iqpir.checkpoint import save_checkpoint
from iqpir.cli.assess import command as assess
from iqpir.cli.rar import RARRestorer, described
from iqpir.cli.restore import command as restore
from iqpir.errors import IQPIRError
from iqpir.image_files import decode, to_tensor
from iqpir.rar import RAR, LoopOptions
from iqpir.rar.kinds import CLEAN, DEGRADATIONS


@pytest.fixture
def weights(system: RAR, tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(system, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    for name, seed in (("a.png", 0), ("deep/b.png", 1)):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 30, 3)).astype(np.uint8)
        cv2.imwrite(str(place / name), pixels)
    return place


def run(command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_restored_as_python_restores_it_and_its_rounds_are_written(
    system: RAR, weights: Path, folder: Path, tmp_path: Path
):
    out, trace = tmp_path / "out", tmp_path / "sub" / "trace.csv"
    assert run(restore, folder, out, "--weights", weights, "--rounds", 2, "--trace", trace).return_value == 0
    found = rows(trace)
    assert {row["image"] for row in found} == {"a.png", "deep/b.png"}
    for name in ("a.png", "deep/b.png"):
        given = to_tensor(decode((folder / name).read_bytes()))
        expected = system(given[None], LoopOptions(rounds=2))
        assert np.array_equal(
            decode((out / name).read_bytes()),
            (expected.image[0].permute(1, 2, 0) * 255).round().numpy().astype(np.uint8),
        )
        own = [row for row in found if row["image"] == name]
        assert [row["verdict"] for row in own] == [each.verdict for each in expected.traces[0].rounds]
        assert float(own[0]["quality"]) == pytest.approx(expected.traces[0].rounds[0].quality, rel=1e-4)
        assert [row["filled"] for row in own] == [str(each.filled) for each in expected.traces[0].rounds]
        assert {*DEGRADATIONS, CLEAN} <= own[0].keys() and own[-1]["reason"] == expected.traces[0].reason


def test_going_on_keeps_the_rounds_of_what_was_done(weights: Path, folder: Path, tmp_path: Path):
    out, trace = tmp_path / "out", tmp_path / "trace.csv"
    run(restore, folder, out, "--weights", weights, "--trace", trace)
    (out / "a.png").unlink()
    run(restore, folder, out, "--weights", weights, "--trace", trace, "--keep")
    assert {row["image"] for row in rows(trace)} == {"a.png", "deep/b.png"}


def test_rounds_of_an_earlier_version_are_kept_and_those_of_what_is_done_again_replaced(
    weights: Path, folder: Path, tmp_path: Path
):
    out, trace = tmp_path / "out", tmp_path / "trace.csv"
    run(restore, folder, out, "--weights", weights, "--trace", trace)
    before = rows(trace)
    columns = [name for name in before[0] if name != "filled"]
    with trace.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(before)
    (out / "a.png").unlink()
    run(restore, folder, out, "--weights", weights, "--trace", trace, "--keep", "--rounds", 0)
    assert rows(trace) == [{**row, "filled": ""} for row in before if row["image"] == "deep/b.png"]


@pytest.mark.parametrize(
    "content", [b"item,note\n1,mine\n", b"\xff\xfe\x00binary", b"", b"image,round\na.png,1,2,3\n"], ids=repr
)
@pytest.mark.parametrize("options", [[], ["--keep"]])
def test_a_table_that_is_no_trace_is_left_as_it_is(
    content: bytes, options: list[str], weights: Path, folder: Path, tmp_path: Path
):
    trace = tmp_path / "notes.csv"
    trace.write_bytes(content)
    with pytest.raises(IQPIRError, match=r"name another file|cannot be read as a trace"):
        run(restore, folder, tmp_path / "out", "--weights", weights, "--trace", trace, *options)
    assert trace.read_bytes() == content and not (tmp_path / "out").exists()


def test_a_trace_does_not_take_the_place_of_weights(weights: Path, folder: Path, tmp_path: Path):
    before = weights.read_bytes()
    with pytest.raises(IQPIRError, match=r"no \.csv file"):
        run(restore, folder, tmp_path / "out", "--weights", weights, "--trace", weights)
    assert weights.read_bytes() == before


def test_a_flat_coloured_image_without_a_round_keeps_its_colour(weights: Path, tmp_path: Path):
    (tmp_path / "flat").mkdir()
    cv2.imwrite(str(tmp_path / "flat" / "a.png"), np.full((24, 24, 3), (60, 20, 200), np.uint8))
    run(restore, tmp_path / "flat", tmp_path / "out", "--weights", weights, "--rounds", 0)
    assert (cv2.imread(str(tmp_path / "out" / "a.png")) == (60, 20, 200)).all()


def test_one_tint_is_not_made_gray_by_a_round(system: RAR):
    """Neither by the rule for gray photographs, whose channels differ by nothing but by a constant here."""
    plane = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)) * 0.5
    tinted, gray = plane + torch.tensor([0.3, 0.2, 0.0])[:, None, None], plane.expand(-1, 3, -1, -1)
    system.eval()
    for given, spread in ((tinted, True), (gray, False)):
        restorer = RARRestorer(system, 1, True, "cpu")
        restorer.options = LoopOptions(rounds=1, adaptive=False)
        made = restorer.restore(given)
        assert restorer.traces[0].taken == 1
        assert bool((made.amax(dim=1) - made.amin(dim=1)).max() > 1e-3) is spread


def test_an_image_that_fails_leaves_the_others_their_rounds(weights: Path, folder: Path, tmp_path: Path):
    (folder / "bad.png").write_bytes((folder / "a.png").read_bytes()[:200])
    trace = tmp_path / "trace.csv"
    assert run(restore, folder, tmp_path / "out", "--weights", weights, "--trace", trace).return_value == 1
    assert {row["image"] for row in rows(trace)} == {"a.png", "deep/b.png"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out/a.png", "is an image"), ("in.jpg", "is an image"), ("out", "is a folder"),
        ("file/t.csv", "cannot be written"),
    ],
)  # fmt: skip
def test_a_trace_takes_the_place_of_no_image_and_is_tried_before_the_work(
    name: str, said: str, weights: Path, folder: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("no folder")
    if name == "out":
        (tmp_path / "out").mkdir()
    with pytest.raises(IQPIRError, match=said):
        run(restore, folder, tmp_path / "out", "--weights", weights, "--trace", tmp_path / name)
    assert not (tmp_path / "out/a.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--score", "0.9"], "--score has no effect"), (["--adain"], "--adain has no effect"),
        (["--fit", "native"], "--fit has no effect"), (["--alpha", "1"], "--alpha has no effect"),
        (["--fidelity", "0"], "--fidelity has no effect"), (["--dtype", "bfloat16"], "leave it out"),
    ],
)  # fmt: skip
def test_options_without_effect_are_refused(options: list[str], said: str, weights: Path, folder: Path, tmp_path: Path):
    with pytest.raises(IQPIRError, match=said):
        run(restore, folder, tmp_path / "out", "--weights", weights, *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--rounds", "2"], ["--trace", "t.csv"]])
def test_rounds_are_for_rar_alone(options: list[str], folder: Path, tmp_path: Path):
    with pytest.raises(IQPIRError, match="no system of RAR"):
        run(restore, folder, tmp_path / "out", "--weights", "iqpir-tiny", *options)


def test_a_system_that_does_not_come_along_is_said_to_be_made_by_training(folder: Path, tmp_path: Path):
    with pytest.raises(IQPIRError, match=r"configs/rar-tiny\.yaml"):
        run(restore, folder, tmp_path / "out", "--weights", "rar-none")
    with pytest.raises(IQPIRError, match=r"configs/rar-tiny\.yaml"):
        run(assess, folder, "--degradations", "--weights", "rar-none")


def test_what_is_wrong_with_each_image_is_named(system: RAR, weights: Path, folder: Path, tmp_path: Path):
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "told"
    ended = run(assess, folder, "--degradations", "--weights", weights, "-o", out)
    assert ended.return_value == 1
    found = {row["image"]: row for row in rows(out / "degradations.csv")}
    assert found.keys() == {"a.png", "bad.png", "deep/b.png"} and found["bad.png"]["status"].startswith("failed: ")
    with torch.no_grad():
        seen = system.assess(system.encode(to_tensor(decode((folder / "a.png").read_bytes()))[None]))
    odds = seen.logits[0].sigmoid()
    assert [float(found["a.png"][name]) for name in DEGRADATIONS] == pytest.approx(odds.tolist(), rel=1e-4)
    assert float(found["a.png"]["severity haze"]) == pytest.approx(float(seen.severity[0, 1]), rel=1e-4)
    assert "a.png: " in ended.output and "quality" in ended.output


def test_an_ensembles_options_are_not_taken_with_it(weights: Path, folder: Path):
    with pytest.raises(IQPIRError, match="--bins is for"):
        run(assess, folder, "--degradations", "--weights", weights, "--bins", 3)
    for option, value in (("--threshold", 0), ("--batch", 1)):
        with pytest.raises(IQPIRError, match=f"{option} is for an ensemble"):
            run(assess, folder, "--degradations", "--weights", weights, option, value)
    with pytest.raises(IQPIRError, match="goes with --degradations"):
        run(assess, folder, "--weights", weights)


def test_images_are_described_in_words():
    odds = {**dict.fromkeys(DEGRADATIONS, 0.1), CLEAN: 0.2}
    severity = dict.fromkeys(DEGRADATIONS, 0.5)
    assert (
        described({**odds, "noise": 0.7, "haze": 0.93}, {**severity, "haze": 0.7})
        == "haze 0.93 (high), noise 0.70 (medium)"
    )
    assert described({**odds, CLEAN: 0.8}, severity) == "clean 0.80"
    assert described({**odds, "noise": 0.7, CLEAN: 0.8}, severity) == "noise 0.70 (medium), clean 0.80"
    assert described({**odds, "snow": 0.14, "haze": 0.4, CLEAN: 0.8}, severity) == "perhaps snow 0.14, clean 0.80"
    assert described({**odds, "rain": 0.3}, severity, hidden=0.3) == "nothing named, clean 0.20"
    assert described(odds, severity) == "nothing named, clean 0.20"

"""Names of exported files: as long as a file system takes, told apart, and never half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from support.workplace import Workplace, assert_refused

from bench import files
from bench.errors import BenchError
from bench.export import rows_and_images


def size(name: str) -> int:
    return len(os.fsencode(name))


@pytest.mark.parametrize("stem", ["x" * 251, "ü" * 125, "界" * 83, "🙂" * 62])
def test_a_name_of_255_bytes_is_kept_as_it_is(stem: str):
    assert rows_and_images.safe_name(stem, ".png") == stem + ".png" and 250 < size(stem + ".png") <= 255


@pytest.mark.parametrize("stem", ["x" * 252, "ü" * 200, "界" * 90, "🙂" * 100, "\udcff" * 300])
def test_a_longer_name_is_cut_and_told_apart(stem: str):
    one, other = rows_and_images.safe_name(f"a/{stem}1", "#2.png"), rows_and_images.safe_name(f"a/{stem}2", "#2.png")
    assert one != other and one.startswith("a/") and one.endswith("#2.png")
    assert all(size(part) <= 255 for part in one.split("/"))
    folder, name = rows_and_images.safe_name(f"{stem}/b", ".png").split("/")
    assert size(folder) <= 255 and name == "b.png"
    assert size(rows_and_images.one_folder(f"{stem}/b")) <= 255


def test_a_file_of_the_longest_name_is_written_and_leaves_nothing_else(tmp_path: Path):
    target = tmp_path / ("n" * 251 + ".csv")
    files.put(target, b"rows")
    assert target.read_bytes() == b"rows" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(BenchError, match="cannot be written"):
        files.put(tmp_path / ("n" * 252 + ".csv"), b"rows")


def test_images_with_the_longest_names_are_exported(workplace: Workplace) -> None:
    names = ["x" * 251, "ü" * 125 + "y", "plain"]
    for index, name in enumerate(names):
        workplace.pair(name, seed=index)
    job = workplace.suite("[{method: noisy, seeds: 2}, identity]")
    assert workplace.run(job).code == 0
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 0 and done.err.strip() == "9 images in laid", done
    laid = workplace.root / "laid/mine"
    assert {file.stem for file in (laid / "identity").iterdir()} == set(names)
    assert len(list((laid / "noisy").iterdir())) == 6
    # One file that cannot be written does not keep the others back.
    for file in laid.rglob("*.png"):
        file.unlink()
    (laid / "identity/plain.png").mkdir()
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 1 and "8 images in laid, 1 not written: laid/mine/identity/plain.png: " in done.err, done
    assert sorted(file.suffix for file in laid.rglob("*") if file.is_file()) == [".png"] * 8


def test_names_that_meet_are_refused_before_anything_is_written(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite(
        "[identity]",
        datasets="[{dataset: folder, options: {lq: data/low, gt: data/high}, label: 'a:b'}, "
        "{dataset: folder, options: {lq: data/low, gt: data/high}, label: 'a?b'}]",
    )
    assert workplace.bench("run", job).code == 0
    assert_refused(workplace.bench("export", "--images", "laid"), "two items would be written to laid/a_b/identity")
    assert not (workplace.root / "laid").exists()


def test_a_folder_that_is_a_file_is_one_line(workplace: Workplace) -> None:
    workplace.pair("a")
    assert workplace.bench("run", workplace.suite()).code == 0
    Image.new("RGB", (2, 2)).save(workplace.root / "laid.png")
    done = workplace.bench("export", "--images", "laid.png/below")
    assert done.code == 1 and "1 not written" in done.err and "Traceback" not in done.err

"""Names of exported files: as long as a file system takes, told apart, and never half written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image
from support.workplace import Workplace

from bench import files
from bench.errors import BenchError
from bench.export import names


def size(name: str) -> int:
    return len(os.fsencode(name))


@pytest.mark.parametrize("stem", ["x" * 251, "ü" * 125, "界" * 83, "🙂" * 62])
def test_a_name_of_255_bytes_is_kept_as_it_is(stem: str):
    assert names.safe_name(stem, ".png") == stem + ".png" and 250 < size(stem + ".png") <= 255


@pytest.mark.parametrize("stem", ["x" * 252, "ü" * 200, "界" * 90, "🙂" * 100, "\udcff" * 300])
def test_a_longer_name_is_cut_and_told_apart(stem: str):
    one, other = names.safe_name(f"a/{stem}1", "#2.png"), names.safe_name(f"a/{stem}2", "#2.png")
    assert one != other and one.startswith("a/") and one.endswith("#2.png")
    assert all(size(part) <= 255 for part in one.split("/"))
    folder, name = names.safe_name(f"{stem}/b", ".png").split("/")
    assert size(folder) <= 255 and name == "b.png"
    assert size(names.one_folder(f"{stem}/b")) <= 255


def test_a_file_of_the_longest_name_is_written_and_leaves_nothing_else(tmp_path: Path):
    target = tmp_path / ("n" * 251 + ".csv")
    files.put(target, b"rows")
    assert target.read_bytes() == b"rows" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(BenchError, match="cannot be written"):
        files.put(tmp_path / ("n" * 252 + ".csv"), b"rows")


def test_images_with_the_longest_names_are_exported(workplace: Workplace) -> None:
    stems = ["x" * 251, "ü" * 125 + "y", "plain"]
    for index, name in enumerate(stems):
        workplace.pair(name, seed=index)
    job = workplace.suite("[{method: noisy, seeds: 2}, identity]")
    assert workplace.run(job).code == 0
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 0 and done.err.strip() == "9 images in laid", done
    laid = workplace.root / "laid/mine"
    assert {file.stem for file in (laid / "identity").iterdir()} == set(stems)
    assert len(list((laid / "noisy").iterdir())) == 6
    # One file that cannot be written does not keep the others back.
    for file in laid.rglob("*.png"):
        file.unlink()
    (laid / "identity/plain.png").mkdir()
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 1 and "8 images in laid, 1 not written: laid/mine/identity/plain.png: " in done.err, done
    assert sorted(file.suffix for file in laid.rglob("*") if file.is_file()) == [".png"] * 8


SAME = [
    ["???", ":::", "***", '"<>', "\x01\x02\x03", "\\\\\\"],  # each became three underscores
    ["?", "_", ".", "/", "\x7f", " ? "],
    ["..", "__", "::"],
    ["a/b", "a//b", "/a/b", "a/b/", "a/ b"],
    ["e\u0301", "\xe9"],
    ["Photo", "photo", "PHOTO"],
    ["nul", "_nul", "NUL.x", "_NUL.x"],
    ["a#2", "a"],
    ["a", "a.png/b", "a.png/b.png/c", "a.png/b.png"],
    ["a ", "a", "a.", "a_"],
]


@pytest.mark.parametrize("items", SAME)
def test_names_that_would_meet_are_told_apart_and_named_in_a_table(tmp_path: Path, items: list[str]):
    units = [names.NamedOutput("data", "method", item, repeat) for item in items for repeat in (0, 1)]
    laid = names.laid_out(units, [".png"] * len(units))
    assert len({name.casefold() for name in laid}) == len(units)
    for name in laid:  # any one of them can be written beside the others
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(exist_ok=False)
        assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve() / "data/method")
    names.write_table(tmp_path, dict(zip(laid, units, strict=True)), dict.fromkeys(laid, ".png"))
    table = json.loads((tmp_path / names.NAMES).read_text()) if (tmp_path / names.NAMES).exists() else {}
    for name, unit in zip(laid, units, strict=True):
        repeat = f"#{unit.repeat + 1}" if unit.repeat else ""
        told = names.NamedOutput(**table[name]) if name in table else None
        assert told == unit or (told is None and name == f"data/method/{unit.item}{repeat}.png")


def test_a_name_does_not_depend_on_what_else_is_exported():
    units = [names.NamedOutput("data", "method", item) for item in ("??", "x", "\udce9")]
    together = names.laid_out(units, [".png"] * 3)
    assert together == [names.laid_out([unit], [".png"])[0] for unit in units]
    assert together[1] == "data/method/x.png"


def test_labels_that_would_meet_are_different_folders():
    assert len({names.one_folder(label) for label in ("a:b", "a?b", "a_b", "a/b", "a//b")}) == 5


def test_a_table_of_names_keeps_what_it_said_and_overwrites_nothing_else(tmp_path: Path):
    for item in ("?", "*"):
        unit = names.NamedOutput("data", "method", item)
        (name,) = names.laid_out([unit], [".png"])
        names.write_table(tmp_path, {name: unit}, {name: ".png"})
    assert {one["item"] for one in json.loads((tmp_path / names.NAMES).read_text()).values()} == {"?", "*"}
    (tmp_path / names.NAMES).write_text("[1]")
    with pytest.raises(BenchError, match="is not what an export wrote"):
        names.write_table(tmp_path, {name: unit}, {name: ".png"})
    assert (tmp_path / names.NAMES).read_text() == "[1]"


def test_outputs_of_labels_that_meet_are_all_exported(workplace: Workplace) -> None:
    workplace.pairs(1)
    job = workplace.suite(
        "[identity]",
        datasets="[{dataset: folder, options: {lq: data/low, gt: data/high}, label: 'a:b'}, "
        "{dataset: folder, options: {lq: data/low, gt: data/high}, label: 'a?b'}]",
    )
    assert workplace.bench("run", job).code == 0
    done = workplace.bench("export", "--images", "laid")
    assert done.code == 0 and done.err.strip() == "2 images in laid", done
    told = json.loads((workplace.root / "laid" / names.NAMES).read_text())
    assert {one["dataset"] for one in told.values()} == {"a:b", "a?b"}
    assert all((workplace.root / "laid" / file).is_file() for file in told)


def test_a_folder_that_is_a_file_is_one_line(workplace: Workplace) -> None:
    workplace.pair("a")
    assert workplace.bench("run", workplace.suite()).code == 0
    Image.new("RGB", (2, 2)).save(workplace.root / "laid.png")
    done = workplace.bench("export", "--images", "laid.png/below")
    assert done.code == 1 and "1 not written" in done.err and "Traceback" not in done.err

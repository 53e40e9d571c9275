"""Folders as datasets: patterns, suffix case, links, splits, and the one line when nothing fits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench.data.folder import folder, paired
from bench.data.image_files import list_images
from bench.data.images import encode_png
from bench.data.pairing import check_sizes
from bench.errors import BenchError, ImageError

PNG = encode_png(np.zeros((4, 6, 3), np.uint8))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names: str, raw: bytes = PNG) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(raw)


def names(path: str, base: Path | None = None) -> list[str]:
    return [file.name for file in list_images(path, base).files]


def test_a_folder_means_all_its_images_at_every_level(place: Path) -> None:
    write("in/b.png", "in/a.JPEG", "in/deep/er/c.tif", "in/notes.txt", "in/.hidden.png", "in/.git/x.png", "in/._a.png")
    assert names("in") == ["a.JPEG", "b.png", "deep/er/c.tif"]


def test_an_empty_path_is_not_the_working_directory(place: Path) -> None:
    write("a.png")
    for given in ({"lq": ""}, {"lq": ".", "gt": ""}, {"lq": ".", "split": ""}):
        with pytest.raises(BenchError, match="a path is empty"):
            folder("d", None, **given)  # type: ignore[arg-type]
    assert names(".") == ["a.png"]


def test_a_pattern_matches_like_a_shell_but_ignores_the_case_of_suffixes(place: Path) -> None:
    write("in/a.jpg", "in/b.JPG", "in/c.png", "in/deep/d.jpg")
    assert names("in/*.jpg") == ["a.jpg", "b.JPG"]
    assert names("in/?.png") == ["c.png"]
    assert names("in/[bc].*") == ["b.JPG", "c.png"]
    assert names("in/**/*.jpg") == ["a.jpg", "b.JPG", "deep/d.jpg"]
    assert names("*/deep/*.jpg") == ["in/deep/d.jpg"]
    assert names("in/**") == ["a.jpg", "b.JPG", "c.png", "deep/d.jpg"]


def test_a_pattern_in_the_middle_keeps_the_part_in_the_id(place: Path) -> None:
    write("s/1/low/a.png", "s/2/low/a.png")
    assert [item.id for item in folder("d", None, lq="s/*/low/*.png").items] == ["1/low/a", "2/low/a"]


def test_existing_names_with_wildcard_signs_are_meant_literally(place: Path) -> None:
    write("set[1]/a.png", "one [x].png")
    assert names("set[1]") == ["a.png"]
    assert names("one [x].png") == ["one [x].png"]


def test_links_that_loop_do_not_repeat_or_hang(place: Path) -> None:
    write("in/a.png", "in/sub/b.png")
    Path("in/sub/up").symlink_to("..")
    Path("in/self").symlink_to(".")
    Path("in/loop").symlink_to("loop")
    assert names("in") == ["a.png", "sub/b.png"]
    assert names("in/**/*.png") == ["a.png", "sub/b.png"]


def test_a_linked_folder_is_followed(place: Path) -> None:
    write("elsewhere/a.png", "in/b.png")
    Path("in/more").symlink_to("../elsewhere")
    assert names("in") == ["b.png", "more/a.png"]


def test_broken_links_stay_as_items_that_fail(place: Path) -> None:
    write("in/a.png")
    Path("in/b.png").symlink_to("nowhere")
    Path("in/c.png").symlink_to("c.png")
    dataset = folder("d", None, lq="in")
    assert [item.id for item in dataset.items] == ["a", "b", "c"]
    for item in dataset.items[1:]:
        assert item.lq is not None
        with pytest.raises(ImageError):
            item.lq.stamp()


def test_a_folder_with_an_images_name_is_not_an_image(place: Path) -> None:
    write("in/a.png", "in/odd.png/b.png")
    assert names("in/*.png") == ["a.png"]


def test_paths_are_looked_for_below_the_suite_file_too(place: Path) -> None:
    write("suites/data/a.png", "suites/set[1]/a.png")
    (place / "work").mkdir()
    os.chdir("work")
    assert names("data/*.png", place / "suites") == ["a.png"]
    assert names("set[1]", place / "suites") == ["a.png"]
    source = folder("d", place / "suites", lq="data").items[0].lq
    assert source is not None and source.stamp().locator.split("?")[0] == str(place / "suites/data/a.png")


def test_sources_are_absolute_even_when_the_base_is_not(place: Path) -> None:
    write("suites/data/a.png")
    source = folder("d", Path("suites"), lq="data").items[0].lq
    assert source is not None and Path(source.stamp().locator).is_absolute()


@pytest.mark.parametrize("pattern", ["gone/*.png", "gone", "in/*.bmp", "/gone/**/x.png"])
def test_nothing_matching_names_the_pattern_and_the_places(place: Path, pattern: str) -> None:
    write("in/a.png")
    with pytest.raises(BenchError) as caught:
        folder("d", place / "suites", lq=pattern)
    message = str(caught.value)
    assert pattern in message and "\n" not in message
    if not pattern.startswith("/"):
        tried = pattern.removesuffix("/*.png")  # where its folder is not there, that is what is said
        assert str(place / tried) in message and str(place / "suites" / tried) in message


def test_files_that_are_no_images_are_told_from_nothing(place: Path) -> None:
    write("in/a.txt", "in/b.npy")
    with pytest.raises(BenchError, match=r"2 files match but none is an image \(\.npy, \.txt\)"):
        list_images("in/*")


def test_pairs_by_name(place: Path) -> None:
    write("low/1.png", "low/2.png", "high/1.png", "high/2.png", "high/3.png")
    dataset = folder("mine", None, lq="low/*.png", gt="high/*.png", scale=1)
    assert dataset.name == "mine" and dataset.paired
    assert [(item.id, item.gt is not None) for item in dataset.items] == [("1", True), ("2", True)]
    assert list(dataset.notes) == ["1 GT file has no LQ file: 3.png"]


def test_without_gt_the_data_are_lq_only(place: Path) -> None:
    write("low/1.png")
    assert not folder("mine", None, lq="low").paired


def test_the_same_id_option_serves_both_sides(place: Path) -> None:
    write("low/low1.png", "high/high1.png")
    dataset = folder("d", None, lq="low", gt="high", id="(?:low|high)([0-9]+)")
    assert dataset.items[0].id == "1" and dataset.items[0].gt is not None


def test_sides_that_share_no_id_are_an_error_with_the_remedy(place: Path) -> None:
    write("low/low1.png", "high/high1.png")
    with pytest.raises(BenchError, match=r"'low1'.*lq_id"):
        folder("d", None, lq="low", gt="high")


def test_two_single_files_belong_together_whatever_their_names(place: Path) -> None:
    write("out.png", "truth.png")
    dataset = paired("out.png", Path("truth.png"))
    assert [item.id for item in dataset.items] == ["out"]
    assert dataset.items[0].gt is not None


def test_paired_takes_folders_and_patterns(place: Path) -> None:
    write("restored/a.jpg", "gt/a.png")
    dataset = paired("restored", "gt/*.png")
    assert dataset.paired and dataset.items[0].lq is not None and dataset.items[0].lq.where.endswith("a.jpg")
    assert not paired("restored", None).paired


def test_a_split_file_names_a_part(place: Path) -> None:
    write("in/1.png", "in/2.png", "in/3.png")
    write("test.txt", raw="\ufeff3.png\r\n\r\n1\r\nmissing.png\r\n".encode())
    dataset = folder("d", None, lq="in", split="test.txt")
    assert [(item.id, item.problem is None) for item in dataset.items] == [("3", True), ("1", True), ("missing", False)]
    assert dataset.notes[0].startswith("1 of 3 items cannot be paired")


@pytest.mark.parametrize("raw, reason", [(b"", "lists nothing"), (b"\xff\xfe\x00", "UTF-8"), (None, "No such file")])
def test_an_unusable_split_is_an_error(place: Path, raw: bytes | None, reason: str) -> None:
    write("in/1.png")
    if raw is not None:
        write("test.txt", raw=raw)
    with pytest.raises(BenchError, match=reason):
        folder("d", None, lq="in", split="test.txt")


def test_a_scale_below_one_is_an_error(place: Path) -> None:
    write("in/1.png")
    with pytest.raises(BenchError, match="scale"):
        folder("d", None, lq="in", scale=0)


def test_size_differences_are_found_from_headers_alone(place: Path) -> None:
    write("low/1.png", "high/2.png", "low/2.png")
    write("high/1.png", raw=encode_png(np.zeros((8, 6, 3), np.uint8))[:100])  # only a header
    dataset = folder("d", None, lq="low", gt="high")
    assert check_sizes(dataset.items, dataset.scale) == ["1: LQ 6×4 and GT 6×8 differ in size"]
    assert dataset.items[0].lq is not None and dataset.items[0].gt is not None


def test_odd_names_become_printable_ids(place: Path) -> None:
    write("in/line\nbreak.png", "in/größe.png", "in/" + os.fsdecode(b"caf\xe9") + ".png")
    ids = [item.id for item in folder("d", None, lq="in").items]
    assert sorted(ids) == sorted(["line\\nbreak", "größe", "caf\\udce9"])
    assert all(identity.encode() for identity in ids)  # can be stored and printed

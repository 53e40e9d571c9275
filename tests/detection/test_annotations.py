"""Annotations: both formats, names as publishers write them, and every broken file named with its line."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.catalog.registry import registry
from bench.data.annotations import AnnotationSource
from bench.data.build import build_dataset
from bench.data.images import FileSource
from bench.data.items import Item
from bench.errors import BenchError, MissingFile

MIRROR = os.environ.get("BENCH_TEST_MIRROR")
needs_mirror = pytest.mark.skipif(not MIRROR, reason="BENCH_TEST_MIRROR names no folder of official files")
CLASSES = ["Cat", "Dog", "People"]
HEADER = "% bbGt version=3\n"


def items(folder: Path, *names: str, size: tuple[int, int] = (40, 20)) -> list[Item]:
    """Images of `size` (width, height) and their items; ids lose the suffix."""
    found = []
    for name in names:
        place = folder / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(place, format="png")
        found.append(Item(name.rpartition(".")[0], FileSource(place)))
    return found


def source(folder: Path, form: str = "bbgt", **more: object) -> AnnotationSource:
    given = {"format": form, "path": str(folder / "labels"), "classes": CLASSES, **more}
    return AnnotationSource.of("mine", given, None)


def label(folder: Path, name: str, text: str | bytes) -> None:
    place = folder / "labels" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode() if isinstance(text, str) else text)


def test_a_bbgt_file_gives_left_top_width_height_as_corners(tmp_path: Path):
    label(tmp_path, "Cat/a.png.txt", HEADER + "Cat 3 4 10 6 0 0 0 0 0 0 0\npeople -1 0 5.5 7 0 0 0 0 0 0 0\n")
    read = source(tmp_path).read(items(tmp_path, "a.png"))
    assert read.boxes["a"].corners.tolist() == [[3, 4, 13, 10], [-1, 0, 4.5, 7]]
    assert read.boxes["a"].classes.tolist() == [0, 2]
    assert read.sizes == {"a": (20, 40)} and not read.problems


def test_a_yolo_file_gives_parts_of_the_sides_as_pixels(tmp_path: Path):
    label(tmp_path, "train/a.txt", "1 0.5 0.5 0.25 0.5\r\n")
    read = source(tmp_path, "yolo").read(items(tmp_path, "a.png"))
    assert read.boxes["a"].corners.tolist() == [[15, 5, 25, 15]]


@pytest.mark.parametrize(
    ("image", "annotation"),
    [("2015_01.JPEG", "2015_01.JPEG.txt"), ("2015_01.JPG", "2015_01.jpg.txt"), ("2015_01.jpg", "2015_01.png.txt")],
)
def test_suffixes_and_letter_case_need_not_agree(tmp_path: Path, image: str, annotation: str):
    label(tmp_path, annotation, HEADER + "Dog 0 0 2 2 0 0 0 0 0 0 0\n")
    assert list(source(tmp_path).read(items(tmp_path, image)).boxes) == ["2015_01"]


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("bbgt", "", "labels/a.png.txt:1: the file is empty"),
        ("bbgt", "Cat 1 2 3 4\n", "labels/a.png.txt:1: a bbGt file begins with '% bbGt version=3'"),
        ("bbgt", HEADER, "labels/a.png.txt:1: no box in it; write them in, or say empty: background"),
        ("bbgt", HEADER + "Cat 1 2 3\n", "labels/a.png.txt:2: 4 columns, needs 5"),
        (
            "bbgt",
            HEADER + "Cat 1 2 3 4\nDoge 1 2 3 4\n",
            "a.png.txt:3: unknown class 'Doge'; did you mean 'Dog'",
        ),
        ("bbgt", HEADER + "Cat 1 2 x 4\n", "labels/a.png.txt:2: '1 2 x 4' are not four numbers"),
        ("bbgt", HEADER + "Cat 1 2 0 4\n", "labels/a.png.txt:2: '1 2 0 4' is no box"),
        ("bbgt", HEADER + "Cat 1 2 nan 4\n", "labels/a.png.txt:2: '1 2 nan 4' is no box"),
        ("bbgt", b"\xff\xfe\x00", "labels/a.png.txt:1: not a text file"),
        ("yolo", "3 0.5 0.5 0.1 0.1\n", "labels/a.png.txt:1: class '3' is not a number from 0 to 2"),
        ("yolo", "0 50 0.5 0.1 0.1\n", "labels/a.png.txt:1: '50 0.5 0.1 0.1' are not parts"),
        (
            "yolo",
            "0 0.5 0.5 0.1 0.1\n0 0.2 0.1 0.6 0.1 0.6 0.4 0.2 0.4\n",
            "a.png.txt:2: 9 columns are a polygon or a rot",
        ),
        ("yolo", "0 0.2 0.1 0.6 0.1 0.6 0.4\n", "a.png.txt:1: 7 columns are a polygon or a rotated box of 3 corners"),
        ("yolo", "0 0.2 0.1 0.6 0.1 0.6 0.4 0.2\n", "a.png.txt:1: 8 columns; a box has 5, or 6 with a score"),
        ("yolo", "0 0.5 0.5 0.1 0.1 1.57\n", "a.png.txt:1: 1.57 is no score from 0 to 1"),
        ("yolo", "0 0.5 0.5 0.1 0.1 nan\n", "a.png.txt:1: nan is no score from 0 to 1"),
        ("yolo", "0 0.5 0.5 0.1 0.1 high\n", "a.png.txt:1: '0.5 0.5 0.1 0.1 high' are not 5 numbers"),
        (
            "bbgt",
            HEADER + "Cat 1 2 3 4 0 0 0 0 0 0 30\n",
            "a.png.txt:2: the box is turned by 30 degrees: give boxes, or",
        ),
        ("bbgt", HEADER + "Cat 1_0 2 3 4\n", "a.png.txt:2: '1_0 2 3 4' are not four numbers"),
        ("yolo", "0 0_1 0.5 0.2 0.2\n", "a.png.txt:1: '0_1 0.5 0.2 0.2' are not four numbers"),
        ("yolo", "0 ٠.5 0.5 0.2 0.2\n", "a.png.txt:1: '٠.5 0.5 0.2 0.2' are not four numbers"),
        ("yolo", "٠ 0.5 0.5 0.2 0.2\n", "a.png.txt:1: class '٠' is not a number from 0 to 2"),
        ("yolo", "9" * 5000 + " 0.5 0.5 0.2 0.2\n", "99…' is not a number from 0 to 2"),
        ("yolo", "0 1e400 0.5 0.2 0.2\n", "a.png.txt:1: 'inf 0.5 0.2 0.2' is no box"),
        ("yolo", "0 0.5 0.5 0.25 0.5\n" * 55189, "a.png.txt: larger than 1048576 bytes"),
        ("bbgt", HEADER + "Cat 1 2 3 4 5 6\n", "a.png.txt:2: 7 columns; a bbGt row has 12, or the first 5"),
    ],
)
def test_a_broken_or_empty_file_is_its_items_problem_with_file_and_line(tmp_path: Path, form, text, said):
    label(tmp_path, "a.png.txt", text)
    label(tmp_path, "b.txt", HEADER + "Cat 1 2 3 4\n" if form == "bbgt" else "0 0.5 0.5 0.1 0.1\n")
    read = source(tmp_path, form).read(items(tmp_path, "a.png", "b.png", "c.png"))
    assert said in read.problems["a"]
    assert list(read.boxes) == ["b"]  # the others are read all the same
    assert "c: needs one annotation file below" in read.problems["c"]
    assert any(said in note for note in read.notes)


ONE = "0 0.5 0.5 0.1 0.1\n"


@pytest.mark.parametrize(
    ("labels", "ids", "fit", "said"),
    [
        (["x.txt"], ["a/x", "b/x"], [], {"a/x": "x.txt fits b/x as well", "b/x": "x.txt fits a/x as well"}),
        (["a/x.txt"], ["a/x", "b/x"], ["a/x"], {"b/x": "found none"}),
        (["p/cam/x.txt"], ["p/cam/x", "q/cam/x"], ["p/cam/x"], {"q/cam/x": "found none"}),
        (["p/cam/x.txt", "q/cam/x.txt"], ["p/cam/x", "q/cam/x"], ["p/cam/x", "q/cam/x"], {}),
        (["cam/x.txt"], ["p/cam/x", "x"], ["p/cam/x"], {"x": "cam/x.txt fits p/cam/x as well"}),
        (["train/x.txt"], ["test/x"], ["test/x"], {}),  # one file and one image of that name, whatever the folders
        (["x.txt", "a/x.txt"], ["a/x", "b/x"], ["a/x", "b/x"], {}),
        (["A/x.txt", "b/x.txt"], ["x"], [], {"x": "found A/x.txt, b/x.txt"}),
    ],
)
def test_no_image_gets_the_boxes_of_another_one_of_its_name(tmp_path: Path, labels, ids, fit, said):
    for name in labels:
        label(tmp_path, name, ONE)
    read = source(tmp_path, "yolo").read(items(tmp_path, *(f"{each}.png" for each in ids)))
    assert list(read.boxes) == fit and read.problems.keys() == said.keys()
    assert all(part in read.problems[item] for item, part in said.items())


def test_a_score_behind_a_yolo_box_does_not_move_it(tmp_path: Path):
    label(tmp_path, "a.txt", "1 0.5 0.5 0.25 0.5 0.875\n")
    assert source(tmp_path, "yolo").read(items(tmp_path, "a.png")).boxes["a"].corners.tolist() == [[15, 5, 25, 15]]


def test_polygons_and_turned_boxes_are_taken_by_the_box_around_them_where_that_is_said(tmp_path: Path):
    """By hand: corners in an image of 40×20; a box of 4×2 about (10, 10) that stands on end after 90 degrees."""
    label(tmp_path, "a.txt", "0 0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5\n1 0 0 0.5 0 0.25 0.5\n2 0.5 0.5 0.25 0.5\n")
    read = source(tmp_path, "yolo", shapes="box").read(items(tmp_path, "a.png"))
    np.testing.assert_allclose(read.boxes["a"].corners, [[4, 2, 36, 18], [0, 0, 20, 10], [15, 5, 25, 15]])
    label(tmp_path, "a.txt", HEADER + "Cat 8 9 4 2 0 0 0 0 0 0 90\nDog 8 9 4 2 0 0 0 0 0 0 -180\n")
    read = source(tmp_path, shapes="box").read(items(tmp_path, "a.png"))
    np.testing.assert_allclose(read.boxes["a"].corners, [[9, 8, 11, 12], [8, 9, 12, 11]], atol=1e-12)


def test_what_a_bbgt_file_says_to_ignore_is_ignored(tmp_path: Path):
    label(tmp_path, "a.txt", HEADER + "Cat 1 2 3 4 0 0 0 0 0 1 0\nCat 1 2 3 4 1 0 0 0 0 0 0\n")
    assert source(tmp_path).read(items(tmp_path, "a.png")).boxes["a"].ignored.tolist() == [True, False]


def test_an_empty_file_is_background_where_that_is_said(tmp_path: Path):
    label(tmp_path, "a.txt", "")
    read = source(tmp_path, "yolo", empty="background").read(items(tmp_path, "a.png"))
    assert len(read.boxes["a"].corners) == 0 and not read.problems


def test_the_digest_is_of_the_whole_annotation_and_changes_with_a_box(tmp_path: Path):
    label(tmp_path, "a.txt", HEADER + "Cat 1 2 3 4\n")
    label(tmp_path, "b.txt", HEADER + "Cat 1 2 3 4\n")
    both = items(tmp_path, "a.png", "b.png")
    whole = source(tmp_path).read(both)
    assert source(tmp_path).read(both[:1]).digest == whole.digest
    label(tmp_path, "b.txt", HEADER + "Cat 1 2 3 5\n")
    assert source(tmp_path).read(both[:1]).digest != whole.digest


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "voc"}, "format 'voc' is not one of bbgt, yolo"),
        ({"clases": []}, "unknown key 'clases'; did you mean 'classes'"),
        ({"classes": ["Cat", "cat"]}, "classes is a list of different names"),
        ({"path": 5}, "name the folder or zip with path"),
        ({"path": None}, "name the folder or zip with path"),
        ({"path": ""}, "a path is empty"),
        ({"shapes": "bow"}, "shapes 'bow' is neither fail nor box"),
        ({"empty": "skip"}, "empty 'skip' is neither fail nor background"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path: Path, given, said):
    with pytest.raises(BenchError, match=said) as caught:
        source(tmp_path, **{"form": "bbgt", **given}) if "format" not in given else AnnotationSource.of(
            "mine", {"path": "x", "classes": CLASSES, **given}, None
        )
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_archives_are_named(tmp_path: Path):
    with pytest.raises(MissingFile, match="bench fetch mine"):
        source(tmp_path).read([])
    (tmp_path / "labels").write_bytes(b"no zip")
    with pytest.raises(BenchError, match=r"annotations .*labels cannot be read"):
        source(tmp_path).read([])


def exdark(form: str, path: Path) -> AnnotationSource:
    classes = registry("dataset").get("exdark").fields["annotations"]["classes"]
    return AnnotationSource.of("exdark", {"format": form, "path": str(path), "classes": classes}, None)


@needs_mirror
def test_exdark_is_read_in_both_formats_and_they_agree():
    folder = Path(str(MIRROR)) / "data" / "exdark"
    eight = [Item(file.stem, FileSource(file)) for file in sorted((folder / "images").iterdir())]
    native = exdark("bbgt", folder / "ExDark_Annno.zip").read(eight)
    yolo = exdark("yolo", folder / "Exdark_YOLO_labels.zip").read(eight)
    assert len(native.boxes) == len(yolo.boxes) == 8
    assert sum(len(boxes.corners) for boxes in native.boxes.values()) == 23
    for item, boxes in native.boxes.items():
        assert boxes.classes.tolist() == yolo.boxes[item].classes.tolist()
        assert np.allclose(boxes.corners, yolo.boxes[item].corners, atol=2e-3)  # YOLO's have six decimals


@needs_mirror
def test_all_of_exdarks_annotations_are_sound_but_one_that_is_empty():
    folder = Path(str(MIRROR)) / "data" / "exdark"
    with zipfile.ZipFile(folder / "ExDark_Annno.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".txt")]
    some = FileSource(folder / "images" / "2015_00003.png")
    every = [Item(name.removeprefix("ExDark_Annno/").rpartition(".")[0].rpartition(".")[0], some) for name in names]
    read = exdark("bbgt", folder / "ExDark_Annno.zip").read(every)
    assert (len(every), len(read.boxes)) == (7363, 7362)
    assert read.problems["Motorbike/2015_05894"].startswith(
        "ExDark_Annno.zip/ExDark_Annno/Motorbike/2015_05894.jpg.txt:1: no box in it"
    )
    counts = np.bincount(np.concatenate([boxes.classes for boxes in read.boxes.values()]))
    assert counts.tolist() == [1120, 1389, 1593, 706, 2927, 909, 2377, 1656, 1018, 1072, 7460, 1483]


def test_a_folder_of_ones_own_takes_annotations_and_a_limit_keeps_them(tmp_path: Path):
    items(tmp_path, "a.png", "b.png")
    label(tmp_path, "a.txt", "0 0.5 0.5 0.1 0.1\n")
    given = {
        "lq": str(tmp_path / "images"),
        "annotations": {"format": "yolo", "path": str(tmp_path / "labels"), "classes": CLASSES},
    }
    dataset = build_dataset(registry("dataset").get("folder"), given, None).limited(1)
    assert dataset.annotations is not None and list(dataset.annotations.read(dataset.items).boxes) == ["a"]
    with pytest.raises(BenchError, match="annotations are a mapping"):
        build_dataset(registry("dataset").get("folder"), {**given, "annotations": "labels"}, None)

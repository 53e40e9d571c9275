"""Outputs on disk: found by id, never outside the folder, never by guess."""

import pytest

from bench.catalog.registry import registry
from bench.errors import BenchError, ItemError
from bench.methods.build import build_method
from bench.methods.folder import FolderMethod


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def method(tmp_path, **options):
    return FolderMethod("mine", str(tmp_path), **options)


def test_an_output_is_found_by_id_with_any_image_suffix(tmp_path):
    touch(tmp_path, "1.png", "2.JPG")
    assert method(tmp_path).locate("d", "1") == tmp_path / "1.png"
    assert method(tmp_path).locate("d", "2") == tmp_path / "2.JPG"


def test_an_id_with_folders_names_subfolders(tmp_path):
    touch(tmp_path, "low/0001.png", "high/0001.png")
    assert method(tmp_path).locate("d", "low/0001") == tmp_path / "low/0001.png"


def test_an_id_that_begins_another_is_not_ambiguous(tmp_path):
    touch(tmp_path, "a.png", "a.b.png", "ab.png", "a.txt")
    assert method(tmp_path).locate("d", "a") == tmp_path / "a.png"
    assert method(tmp_path).locate("d", "a.b") == tmp_path / "a.b.png"


def test_wildcard_signs_in_an_id_stand_for_themselves(tmp_path):
    touch(tmp_path, "a[1].png", "a1.png", "0152(2).png", "x*.png", "xy.png")
    assert method(tmp_path).locate("d", "a[1]") == tmp_path / "a[1].png"
    assert method(tmp_path).locate("d", "0152(2)") == tmp_path / "0152(2).png"
    assert method(tmp_path).locate("d", "x*") == tmp_path / "x*.png"


def test_a_pattern_may_decorate_the_id(tmp_path):
    touch(tmp_path, "7_out.png", "7_out_final.png", "7.png")
    assert method(tmp_path, pattern="{id}_out.png").locate("d", "7") == tmp_path / "7_out.png"


def test_a_star_stands_for_anything_between(tmp_path):
    touch(tmp_path, "7_x4_final.png", "8_x4_final.png")
    assert method(tmp_path, pattern="{id}_*_final.png").locate("d", "7") == tmp_path / "7_x4_final.png"


def test_two_candidates_are_an_error_that_names_them(tmp_path):
    touch(tmp_path, "1.png", "1.jpg")
    with pytest.raises(ItemError, match=r"2 outputs of mine for '1'.*1\.jpg, 1\.png"):
        method(tmp_path).locate("d", "1")


def test_a_missing_output_says_what_was_looked_for(tmp_path):
    with pytest.raises(ItemError, match=rf"no output of mine for 'q': looked for q\.\* in {tmp_path}"):
        method(tmp_path).locate("d", "q")


def test_a_missing_subfolder_is_an_item_error(tmp_path):
    with pytest.raises(ItemError, match="cannot be listed"):
        method(tmp_path).locate("d", "low/1")


@pytest.mark.parametrize("bad", ["../1", "a/../../1", "/etc/passwd", "..", "", "..\\1", "a\0b"])
def test_an_id_never_leaves_the_folder(tmp_path, bad):
    touch(tmp_path, "1.png")
    (tmp_path / "in").mkdir()
    with pytest.raises(ItemError, match="would leave the folder"):
        method(tmp_path / "in").locate("d", bad)


def test_a_dataset_label_never_leaves_the_folder(tmp_path):
    with pytest.raises(ItemError, match="would leave the folder"):
        FolderMethod("mine", str(tmp_path / "{dataset}")).locate("../x", "1")


def test_the_dataset_chooses_the_folder(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png")
    mine = FolderMethod("mine", str(tmp_path / "{dataset}"))
    assert mine.locate("b", "1") == tmp_path / "b/1.png"


def test_substituted_values_are_not_substituted_again(tmp_path):
    touch(tmp_path, "{dataset}.png")
    assert method(tmp_path).locate("d", "{dataset}") == tmp_path / "{dataset}.png"


def test_a_path_relative_to_the_suite_file_is_found(tmp_path, monkeypatch):
    touch(tmp_path, "suite/out/1.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert FolderMethod("mine", "out", base=tmp_path / "suite").locate("d", "1") == tmp_path / "suite/out/1.png"


def test_an_output_written_later_is_seen(tmp_path):
    mine = method(tmp_path)
    with pytest.raises(ItemError):
        mine.locate("d", "1")
    touch(tmp_path, "1.png")
    assert mine.locate("d", "1") == tmp_path / "1.png"


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BenchError, match="there is no folder"):
        method(tmp_path / "nope")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("same.png", "must hold {id}"),
        ("{item}.png", "may hold only"),
        ("*/{id}.png", "only in the file name"),
        ("../{id}.png", "leaves the folder"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(tmp_path, pattern, message):
    with pytest.raises(BenchError, match=message):
        method(tmp_path, pattern=pattern)


def test_the_catalogue_entry_requires_a_path(tmp_path):
    entry = registry("method").get("folder")
    with pytest.raises(BenchError, match="option 'path' is required"):
        build_method(entry, {}, None)
    assert build_method(entry, {"path": str(tmp_path), "scale": 4}, None).scale == 4


def test_the_identity_holds_no_path_so_that_moved_outputs_keep_their_scores(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert method(tmp_path / "a").identity() == method(tmp_path / "b").identity()

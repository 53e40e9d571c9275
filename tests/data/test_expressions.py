"""Regular expressions of users: what Python's `re` takes is taken, and none can keep the tool busy for ever."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from bench.data.expressions import compiled
from bench.data.folder import folder, paired
from bench.data.image_files import list_images
from bench.errors import BenchError
from bench.methods.folder import _expression

LONG = "a" * 60 + "b"


@pytest.mark.parametrize(
    "text", ["(a+)+$", "(a*)*$", "(a|aa)+$", "(a|a)*$", "((a+)b?)+$", "(.*)*x", r"(\w+\s?)*$", "(a?){60}a{60}$"]
)
def test_what_would_take_for_ever_is_refused_with_its_name_or_found_in_time(text: str) -> None:
    start = time.process_time()
    try:
        compiled(text, "id").search(LONG + "!")
    except BenchError as error:
        assert "takes more than 1 s" in str(error) and LONG in str(error) and "id: " in str(error)
    assert time.process_time() - start < 10


@pytest.mark.parametrize("text", ["(a|aa)+$", "(?:a|a)*([0-9])$"])
def test_what_is_tried_in_ever_more_ways_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match=r"lq_id: .* takes more than 1 s on 'a+b!?': repeats"):
        compiled(text, "lq_id").search(LONG)


@pytest.mark.parametrize(
    ("text", "why"),
    [("(", "is not a regular expression"), ("[z-a]", "bad character range"), ("a{2,1}", "is not a regular expression"),
     ("(?P<n>a)(?P<n>b)", "redefinition"), ("(" * 400 + ")" * 400, None), ("x" * 1001, "1000 is the most"),
     ("(?<=a+)b", "look-behind")],
)  # fmt: skip
def test_what_is_no_expression_is_one_line(text: str, why: str | None) -> None:
    try:
        compiled(text, "id")
    except BenchError as error:
        assert "\n" not in str(error) and (why is None or why in str(error))
    else:
        assert why is None


@pytest.mark.parametrize(
    "text", ["low([0-9]+)", r"(\d{3})_(?:x|y)", "^(.*?)_s[0-9]+$", r"([^/]+)/(\w+)$", "(?i)LOW(.)"]
)
@pytest.mark.parametrize("name", ["low007", "123_x", "face_s12", "a/b_c", "ünï/low9", "", "LoWz"])
def test_names_are_read_as_python_reads_them(text: str, name: str) -> None:
    found, expected = compiled(text, "id").search(name), re.search(text, name)
    assert (found and found.groups()) == (expected and expected.groups())


def images(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(b"\x89PNG")
    return place


def test_an_id_that_is_in_no_name_is_said_with_a_name_and_the_expression(tmp_path: Path) -> None:
    lq, gt = images(tmp_path / "lq", "low_1.png", "low_2.png"), images(tmp_path / "gt", "1.png", "2.png")
    for call in (lambda: paired(lq, None, id="x([0-9])"), lambda: paired(lq, gt, id="_([0-9])")):
        with pytest.raises(BenchError, match=r"finds no id in any name of .* .2 files., such as '(low_)?1'") as caught:
            call()
        assert "([0-9])" in str(caught.value)
    with pytest.raises(BenchError, match=r"gt_id: 'n\(.\)' finds no id"):
        folder("mine", None, lq=str(lq), gt=str(gt), lq_id="_(.)", gt_id="n(.)")
    assert [item.id for item in paired(lq, gt, id="([0-9])").items] == ["1", "2"]


def test_many_wildcards_are_matched_in_time(tmp_path: Path) -> None:
    deep = "/".join("abcdefghij")
    images(tmp_path, f"{deep}/x.png")
    start = time.process_time()
    assert len(list_images(tmp_path / "/".join(["**"] * 30) / "*.png").files) == 1
    assert re.fullmatch(_expression(["", *["a"] * 12, "b"], any_suffix=False), "a" * 250) is None
    assert time.process_time() - start < 2


@pytest.mark.parametrize("pattern", ["x_*.*", "x_*_y*.*", "*a*b*", "x*", "*", "x_1.*", "*.*", "*x.*", "a*a*a"])
@pytest.mark.parametrize("name", ["x_1.png", "x_1_y2.png", "aab.b", "x_1.b.png", "x", "", "aXaYa", "aa", "ax.x.png"])
def test_wildcards_mean_what_they_did_with_every_way_tried(pattern: str, name: str) -> None:
    parts = pattern.split("*")
    any_suffix = len(parts) > 1 and parts[-1] == "" and parts[-2].endswith(".")
    plain = ".*".join(map(re.escape, parts[:-1])) + ("[^.]*" if any_suffix else ".*" + re.escape(parts[-1]))
    expected = re.fullmatch(plain if len(parts) > 1 else re.escape(parts[0]), name)
    assert bool(re.fullmatch(_expression(parts, any_suffix), name)) == bool(expected)

"""A set of references has one of each item, however many outputs are held against it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.toy_features import DIMENSIONS, command, fid_of, photographs, suite, value, vectors


def mmd(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Gretton et al. (2012), eq. 3, with the kernel of KID, sum by sum."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / DIMENSIONS + 1) ** 3)

    def within(points: np.ndarray) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in ours for y in theirs]
    return within(ours) + within(theirs) - 2 * sum(across) / len(across)


def values(capsys) -> dict[str, float]:
    """Of the newest run, by signature's name, with every digit."""
    code, out, err = command(capsys, "table", "--format", "json")
    assert code == 0, err
    return {row["signature"].partition("|")[0]: row["value"] for row in json.loads(out)}


@pytest.fixture
def folders(toy):
    photographs("a", 8, 0)
    photographs("b", 8, 1)
    for number in (1, 2):
        photographs(f"out{number}", 8, 3 + number)


def test_repeats_do_not_repeat_the_references(folders, capsys):
    group = "{method: folder, label: both, repeats: [{path: out1}, {path: out2}]}"
    code, _, err = command(capsys, "run", suite("rep", "[kid, fid]", f"[{group}]"))
    assert code == 0, err
    found = values(capsys)
    outputs, references = np.concatenate([vectors("out1"), vectors("out2")]), vectors("b")
    assert found["kid"] == pytest.approx(mmd(outputs, references), abs=1e-6)
    assert found["fid"] == pytest.approx(fid_of(outputs, references), rel=1e-6)
    twice = np.concatenate([references, references])
    assert abs(mmd(outputs, twice) - mmd(outputs, references)) > 0.01, "the test would not see it"


def test_copies_of_a_reference_that_items_of_their_own_have_count(folders, capsys):
    """As in a folder of references that others' commands are given."""
    for number in range(4):
        shutil.copyfile(f"b/{number:02d}.png", f"b/{number + 4:02d}.png")
    code, _, err = command(capsys, "run", suite("scenes", "[kid]"))
    assert code == 0, err
    expected = mmd(vectors("a"), vectors("b"))
    assert values(capsys)["kid"] == pytest.approx(expected, abs=1e-6)
    assert value("a", "b", "kid") == pytest.approx(expected, abs=1e-6)  # bench score


def test_a_set_that_lacks_an_output_says_how_many_entered(folders, capsys):
    Path("out2/03.png").unlink()
    group = "{method: folder, label: both, repeats: [{path: out1}, {path: out2}]}"
    assert command(capsys, "run", suite("gap", "[kid, psnr]", f"[{group}]"))[0] == 1
    outputs = np.concatenate([vectors("out1"), vectors("out2")])
    assert values(capsys)["kid"] == pytest.approx(mmd(outputs, vectors("b")), abs=1e-6)
    _, out, _ = command(capsys, "table")
    assert "(15/16 outputs)" in out and "(7/8)" in out  # of the mean of images, which is of whole items

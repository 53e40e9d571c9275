"""A run with a command as method: what it restores is scored, what it fails at is a row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.workplace import Workplace

SCRIPT = """
import sys
from pathlib import Path
from PIL import Image

for file in sorted(Path(sys.argv[1]).iterdir()):
    image = Image.open(file)
    if image.getpixel((0, 0)) == (255, 0, 0):
        sys.exit("no red images, please")
    image.point(lambda level: min(255, 3 * level)).save(Path(sys.argv[2]) / file.name)
    with open("calls.txt", "a") as log:
        log.write("one\\n")
"""
METHODS = (
    "[{method: command, label: ours, options: {repo: clone, python: " + sys.executable + ", "
    "argv: ['{python}', run.py, '{input}', '{output}']}}]"
)


def git(repo: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(repo), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def clone(workplace: Workplace) -> Path:
    place = workplace.root / "clone"
    place.mkdir()
    (place / "run.py").write_text(SCRIPT, encoding="utf-8")
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "first")
    return place


def test_one_failing_item_is_one_failure_row_and_the_others_are_scored(workplace: Workplace, clone: Path):
    for seed, name in enumerate(("a b", "größe ✓", "red", "plain")):
        workplace.pair(name, 24, seed=seed)
    red = np.asarray(Image.open(workplace.root / "data/low/red.png")).copy()
    red[0, 0] = (255, 0, 0)
    Image.fromarray(red).save(workplace.root / "data/low/red.png")
    done = workplace.bench("run", workplace.suite(METHODS), "--batch", "4", "--allow-commands")
    assert done.code == 1, done.err
    rows = {row["item"]: row for row in workplace.export()}
    assert rows["red"]["status"] == "failed" and rows["red"]["value"] is None
    assert "ended with exit code 1: no red images, please" in str(rows["red"]["reason"])
    for item in ("a b", "größe ✓", "plain"):
        low, high = (
            np.asarray(Image.open(workplace.root / f"data/{kind}/{item}.png"), float) for kind in ("low", "high")
        )
        error = np.mean((np.minimum(255, 3 * low) - high) ** 2)
        assert rows[item]["value"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)


def test_running_again_starts_no_process_until_the_repository_changes(workplace: Workplace, clone: Path):
    workplace.pairs(2, 24)
    suite = workplace.suite(METHODS)
    for _ in range(2):
        assert workplace.bench("run", suite, "--allow-commands").code == 0
    assert len((clone / "calls.txt").read_text().split()) == 2
    (clone / "run.py").write_text(SCRIPT + "# another version\n", encoding="utf-8")
    assert workplace.bench("run", suite, "--allow-commands").code == 0
    assert len((clone / "calls.txt").read_text().split()) == 4


def test_a_suite_alone_starts_nothing(workplace: Workplace, clone: Path):
    workplace.pairs(2, 24)
    suite = workplace.suite(METHODS[:-1] + ", identity]")
    done = workplace.bench("run", suite)
    assert done.code == 2 and "starts a program" in done.err and "--allow-commands" in " ".join(done.err.split())
    done = workplace.bench("run", suite, "--available")
    assert done.code == 0 and "--allow-commands" in done.out, done
    assert not (clone / "calls.txt").exists()


def test_outputs_saved_as_jpeg_have_a_footnote_in_the_table(workplace: Workplace) -> None:
    workplace.pairs(3, 32)
    (workplace.root / "out").mkdir()
    for number, suffix in enumerate(("jpg", "png", "jpg")):
        with Image.open(workplace.root / f"data/low/{number:03d}.png") as image:
            image.save(workplace.root / f"out/{number:03d}.{suffix}")
    done = workplace.bench("run", workplace.suite("[identity, {method: folder, options: {path: out}, label: Mine}]"))
    line = "Mine on mine: 2 JPEG of 3 files: compressed with loss, so scores are of the compressed files"
    assert done.code == 0 and line in done.out and done.out.count("compressed with loss") == 1
    assert line in workplace.table("html")

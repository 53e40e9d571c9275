"""Every command in the documents is one that there is, with options that it has, and each that a test can run is run.

`support/documents.py` says which are run, and of every other why not. A page's commands work in a folder with
photographs, their references, and outputs of four habits of naming; most find a suite `mine` there as well. The first
page finds no such thing: what a newcomer needs stands on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image
from support import documents
from support.documents import PAGES, ROOT, words_of
from support.workplace import Done, Launcher

from bench.cli import group as bench_group
from iqpir.cli import group as iqpir_group

SUITE = """\
schema: 1
title: My photographs
datasets: [{dataset: folder, options: {lq: photos/low, gt: photos/high}, label: mine}]
methods:
  - identity
  - {method: folder, options: {path: outputs/mine}, label: Mine}
  - {method: folder, options: {path: outputs/theirs}, label: Theirs}
metrics: [psnr, ssim]
"""
LIMIT = 580.0
"""Seconds for a command; on a busy machine the gallery's run takes minutes."""
HABITS = {"mine": "{}", "theirs": "{}", "cidnet": "out_{}", "retinexformer": "{}_retinexformer"}


def problems(words: list[str]) -> Iterator[str]:
    """What is wrong with the words of a command: an unknown command, or an option that it does not have."""
    root: click.Command = {"bench": bench_group, "iqpir": iqpir_group}[words[0]]
    context = click.Context(root, info_name=words[0])
    rest = words[1:]
    while isinstance(root, click.Group) and rest and not rest[0].startswith("-"):
        name, rest = rest[0], rest[1:]
        if re.fullmatch(r"[A-Z|]+", name):  # a word that stands for several
            return
        if name not in root.list_commands(context):
            yield f"no command {name!r}"
            return
        found = root.get_command(context, name)
        assert found is not None
        root, context = found, click.Context(found, info_name=name, parent=context)
    options = {text for parameter in root.params for text in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    for word in rest:
        text = word.strip("[]").partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*|-[a-z]", text) and text not in options:
            yield f"{context.info_name} has no option {text}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_ones_that_there_are(page: str):
    wrong = []
    for command in [*documents.run_lines(page), *documents.resting_lines(page), *documents.inline(page)]:
        try:
            wrong += [f"{command}: {what}" for words in words_of(command) for what in problems(words)]
        except ValueError as error:  # quotes that do not close
            wrong.append(f"{command}: {error}")
    assert wrong == []


def test_what_is_not_run_has_its_reason():
    lines = [line for page in PAGES for line in documents.resting_lines(page)]
    assert [line for line in lines if not any(re.fullmatch(one, line) for one in documents.NOT_RUN)] == []
    idle = [one for one in documents.NOT_RUN if not any(re.fullmatch(one, line) for line in lines)]
    assert idle == []  # a reason for nothing


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    started = Launcher(tmp_path_factory.mktemp("commands"))
    yield started
    started.close()


def furnish(folder: Path, page: str) -> None:
    """What the page speaks of: photographs, outputs, files that it asks for, and a suite for all but the first page."""
    draw = np.random.default_rng(2)
    for number in range(1, 4):
        name = f"{number:04d}"
        high = Image.fromarray(draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((208, 200))
        kinds = [("photos/high", name, 1.0), ("photos/low", name, 0.3)]
        kinds += [(f"outputs/{one}", habit.format(name), 0.6 + len(one) / 40) for one, habit in HABITS.items()]
        for place, named, factor in kinds:
            (folder / place).mkdir(parents=True, exist_ok=True)
            high.point(lambda value, factor=factor: int(value * factor)).save(folder / place / f"{named}.png")
    if page != "docs/index.md":
        (folder / "suites").mkdir()
        (folder / "suites/mine.yaml").write_text(SUITE, encoding="utf-8")
    (folder / "docs").symlink_to(ROOT / "docs", target_is_directory=True)
    (folder / "iqpir_command.py").write_text("from iqpir.cli import main\n\nmain()\n", encoding="utf-8")
    for file, text in documents.files(page).items():
        (folder / file).write_text(text, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if documents.run_lines(page)])
def test_commands_run(page: str, tmp_path: Path, launcher: Launcher):
    if page in documents.SLOW and "BENCH_TEST_DOCS" not in os.environ:
        pytest.skip("takes minutes: set BENCH_TEST_DOCS")
    furnish(tmp_path, page)
    for line in [*documents.PREPARED.get(page, []), *documents.run_lines(page)]:
        for words in words_of(line):
            done = carried_out(words, tmp_path, launcher)
            allowed = (0, 1) if words[:2] == ["bench", "explain"] else (0,)  # 1: the two numbers differ
            assert done.code in allowed, f"{line}\n{done.out[-800:]}{done.err[-800:]}"
            assert "Traceback" not in done.err, f"{line}\n{done.err}"


@pytest.mark.slow
def test_the_page_of_python_runs(tmp_path: Path, launcher: Launcher):
    [text] = [text for language, text in documents.fences("docs/python.md") if language == "python"]
    script = tmp_path / "page.py"
    script.write_text(text, encoding="utf-8")
    done = launcher.start([], tmp_path, outside(tmp_path), None, script).wait(LIMIT)
    assert done.code == 0, done.err[-800:]
    assert "\\begin{tabular}" in done.out  # what its third line prints


def outside(folder: Path) -> dict[str, str]:
    return {"BENCH_HOME": str(folder / "home"), "BENCH_RESULTS": str(folder / "results"), "OMP_NUM_THREADS": "1"}


def carried_out(words: list[str], folder: Path, launcher: Launcher) -> Done:
    script = folder / "iqpir_command.py" if words[0] == "iqpir" else None
    return launcher.start(words[1:], folder, outside(folder), None, script).wait(LIMIT)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("bench run quickstart --plann", ["run has no option --plann"]),
        ("bench table mine --ci | less", []),
        ("bench tabel", ["no command 'tabel'"]),
        ("iqpir train all configs/tiny.yaml -z", ["all has no option -z"]),
        ("bench score 'outputs/*' --reference gt   # a remark with --nothing", []),
    ],
)
def test_a_wrong_word_is_noticed(command: str, wrong: list[str]):
    assert [what for words in words_of(command) for what in problems(words)] == wrong


def test_there_is_something_to_run():
    assert sum(len(documents.run_lines(page)) for page in PAGES) >= 50


def test_a_newcomers_two_ways_are_short():
    """Folders to table and report, and a module to a row: fewer than ten commands and files each, on the first page."""
    text = documents.text_of("docs/index.md")
    for title in ("Folders of outputs to a table for a paper", "A method of your own"):
        section = text.split(f"## {title}\n")[1].split("\n## ")[0]
        blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        assert 0 < sum(len(block.splitlines()) for block in blocks) + section.count("```python") < 10

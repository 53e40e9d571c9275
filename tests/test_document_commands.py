"""Every command in the documents is one that there is, with options that it has; those of `console` blocks are run.

Commands that need a GPU, hours or somebody's files stand in indented blocks, where their words are held against the
commands' own options. A `console` block works in a folder with photographs, outputs, a suite and a plugin, as the
pages describe them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from bench.cli import group as bench_group
from iqpir.cli import group as iqpir_group

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
SUITE = """\
schema: 1
datasets: [{dataset: folder, options: {lq: photos/low, gt: photos/high}, label: mine}]
methods: [identity, brighten]
metrics: [psnr]
"""
PLUGIN = """\
import torch
import bench
from bench.methods.module import from_module


class Brighten(torch.nn.Module):
    def forward(self, images):
        return images.clamp(1e-4, 1) ** 0.45


bench.register_method("brighten", lambda: from_module(Brighten()))
"""


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")


def commands(page: str) -> Iterator[str]:
    """Commands in code: indented, in a fence, or between single quotes of code that begin with one."""
    for line in text_of(page).splitlines():
        told = re.match(r"(?: {4,}|\$ )(?:\$ )?((?:bench|iqpir) \S.*)", line)
        if told:
            yield told[1]
    for inline in re.findall(r"`((?:bench|iqpir) [a-z]+ [^`]+)`", text_of(page)):
        yield inline.replace("\n", " ")


def words_of(command: str) -> list[list[str]]:
    """The words of each command of a line; comments, pipes and redirections end one."""
    found = []
    for part in re.split(r"&&|;|\|(?= )", re.split(r"\s{2,}#|\s#\s", command)[0]):
        part = re.split(r"\s>>?\s|\s<", part)[0].strip()
        if part.startswith(("bench ", "iqpir ")):
            # Two blanks or more stand before a remark.
            found.append(shlex.split(re.split(r"\s{3,}", part)[0], comments=True))
    return found


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
    for command in commands(page):
        try:
            wrong += [f"{command}: {what}" for words in words_of(command) for what in problems(words)]
        except ValueError as error:  # quotes that do not close
            wrong.append(f"{command}: {error}")
    assert wrong == []


def console(page: str) -> list[str]:
    """The lines of a page's `console` blocks, in order."""
    blocks = re.findall(r"^ *```console\n(.*?)^ *```", text_of(page), re.DOTALL | re.MULTILINE)
    return [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines() if "$ " in line]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the pages speak of: photographs, two folders of outputs, a suite, a plugin."""
    draw = np.random.default_rng(2)
    for number in range(3):
        high = Image.fromarray(draw.integers(0, 256, (16, 20, 3), dtype=np.uint8)).resize((80, 64))
        for place, factor in (("photos/high", 1), ("photos/low", 0.3), ("outputs/mine", 0.9), ("outputs/theirs", 0.7)):
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            high.point(lambda value, factor=factor: int(value * factor)).save(tmp_path / place / f"{number}.png")
    (tmp_path / "mine.yaml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "my_method.py").write_text(PLUGIN, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if console(page)])
def test_console_blocks_run(page: str, folder: Path):
    outside = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_HOME": str(folder / "home")}
    outside.pop("BENCH_RESULTS", None)
    for line in console(page):
        for words in words_of(line):
            command = [sys.executable, "-m", *words]
            done = subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, check=False)
            allowed = (0, 1) if words[:2] == ["bench", "explain"] else (0,)  # 1: the two numbers differ
            assert done.returncode in allowed, f"{line}\n{done.stdout[-800:]}{done.stderr[-800:]}"


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
    assert sum(len(console(page)) for page in PAGES) >= 10
    assert sum(1 for page in PAGES for _ in commands(page)) > 80

"""What the documents' blocks of code hold: commands that are run, others with the reason why not, files.

A fence of `sh` is run, line by line, and so are the lines of `console` fences that begin with `$`. A command in an
indented block is not; `NOT_RUN` says why, for each. A fence whose first line is a comment with a file's name is that
file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]

NOT_RUN = {
    r"(\S*python3 -m venv|pip install) .*": "installs packages; .ci/run does what the README says, on a clean checkout",
    r"pytest .*|\.ci/run\b.*": "runs these tests",
    r"bench run mine --engine ray.*": "starts a cluster; tests/runner/test_run_ray.py has one",
    r"ray (up|exec) .*|sbatch .*|bench run mine --shard \$SLURM_.*": "needs a cluster",
    r"bench fetch .*": "downloads",
    r"bench (run|table) lol .*": "needs data that only a person can have downloaded",
    r"bench run rar-composite .*": "needs data that only a person can have downloaded",
    r"python tests/benchmarks/number_differs.py .*": "needs the networks of the line above it",
    r"iqpir train .*": "trains for hours; tests/iqpir has every stage in small",
    r"bench run results/train/.*|bench (table|figure \w+) ablation-tiny .*": "needs what such a training leaves",
    r"iqpir assess faces --member bench:niqe .*": "needs what the line above it downloads",
    r"iqpir (restore|assess) .*--weights .*": "needs weights that do not come along",
    r"bench (run|table|report|figure rounds) rar-lite\b.*": "takes minutes; tests/methods runs what the suite names",
    r"bench study (serve|add|report) .*|bench table mine +# Rating .*": "needs people; tests/study has their votes",
    r"bench agreement .*": "needs people's opinions; tests/study has some",
}
"""Commands of indented blocks → why no test runs them."""

PREPARED = {
    "docs/papers.md": ["bench run quickstart --limit 1 -d builtin-lowlight -m identity -m gamma -m clahe"],
    "docs/figures.md": ["bench run quickstart --limit 3 -d builtin-lowlight -m identity -m gamma -m clahe"],
}
"""Page → what its reader has done before."""

SLOW = ("docs/figures.md", "docs/latency.md")
"""Pages whose commands take minutes: run where BENCH_TEST_DOCS is set."""

_PROGRAMS = r"(?:bench|iqpir|python3?|pip|pytest|ray|sbatch|tox|\.ci/run|\.venv/\S+)"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")


def fences(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of each fence, without the indentation of a list that it stands in."""
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^ *```", text_of(page), re.DOTALL | re.MULTILINE):
        yield found[2], re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE)


def run_lines(page: str) -> list[str]:
    """The commands that are run, in order."""
    lines: list[str] = []
    for language, text in fences(page):
        if language == "sh":
            lines += [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        elif language == "console":
            lines += [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return lines


def resting_lines(page: str) -> list[str]:
    """Commands of indented blocks, which are not run."""
    outside = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [found[1] for found in re.finditer(rf"^ {{4,}}(?:\$ )?({_PROGRAMS}(?:\s.*)?)$", outside, re.MULTILINE)]


def inline(page: str) -> list[str]:
    """Commands between single quotes of code."""
    return [found.replace("\n", " ") for found in re.findall(r"`((?:bench|iqpir) [a-z]+ [^`]+)`", text_of(page))]


def files(page: str) -> dict[str, str]:
    """Files that a reader is asked to write: name → text."""
    return {
        named[1]: text
        for language, text in fences(page)
        if language in ("python", "yaml") and (named := re.match(r"# ([\w-]+\.(?:py|yaml))\n", text))
    }


def words_of(line: str) -> list[list[str]]:
    """The words of each command of a line; comments, pipes and redirections end one."""
    found = []
    for part in re.split(r"&&|;|\|(?= )", re.split(r"\s{2,}#|\s#\s", line)[0]):
        part = re.split(r"\s>>?\s|\s<", part)[0].strip()
        if part.startswith(("bench ", "iqpir ")):
            # Two blanks or more stand before a remark.
            found.append(shlex.split(re.split(r"\s{3,}", part)[0], comments=True))
    return found

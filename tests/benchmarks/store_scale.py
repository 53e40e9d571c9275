"""What a store of a million scores costs its users: processor time and peak memory of each command, beside its target.

A tenth of the store is measured as well, so that growth shows. With --write the figures become a section of a document.

python tests/benchmarks/store_scale.py [--items 10000] [--folder DIR] [--write docs/performance.md]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import scores_store

from bench import provenance

HEADING = "## A store of a million scores"
METHODS = METRICS = 10


class Figure(NamedTuple):
    """A command, and what it may cost on the full store."""

    name: str
    arguments: tuple[str, ...]
    seconds: float | None
    """Of processor time, at most."""
    megabytes: float | None = None
    """At most, at its peak."""


FIGURES = (
    Figure("a finished run asked for again", ("run", "suite.yaml"), 5, 250),
    Figure("`bench run --plan`", ("run", "suite.yaml", "--plan"), 5),
    Figure("`bench table`", ("table",), 3),
    Figure("`bench table --ci`", ("table", "--ci"), 6),
    Figure("`bench runs`", ("runs",), 0.3),
    Figure("`bench check --trust-files`", ("check", "--trust-files"), 6),
    Figure("`bench export --format csv`", ("export", "--format", "csv", "-o", "rows.csv"), None),
)


class Cost(NamedTuple):
    """What a command took."""

    seconds: float
    megabytes: float


def cost(folder: Path, arguments: Sequence[str]) -> Cost:
    """Run `bench ARGUMENTS` on a folder's results. Raises for one that fails."""
    environment = {**os.environ, "BENCH_RESULTS": str(folder / "results")}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
            stderr=said,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        assert process.returncode == 0, f"bench {' '.join(arguments)}: {said.read().decode()[-500:]}"
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def ready(folder: Path, items: int) -> Path:
    """A folder with so many items, their scores, a finished run and its baseline; made where it is not there."""
    if not (folder / "results" / "baselines").is_dir():
        if not (folder / "suite.yaml").is_file():
            scores_store.make(folder, items, METHODS, METRICS)
        cost(folder, ("run", "suite.yaml"))
        cost(folder, ("baseline", "suite"))
    return folder


def measured(folder: Path, figures: Sequence[Figure]) -> list[Cost]:
    """In the order of the figures; each is told as it comes."""
    found = []
    for figure in figures:
        found.append(cost(folder, figure.arguments))
        print(f"{folder.name}: {figure.name}: {found[-1].seconds:.2f} s, {found[-1].megabytes:.0f} MB", file=sys.stderr)
    return found


def table(items: int, full: Sequence[Cost], tenth: Sequence[Cost]) -> str:
    """Markdown: every figure beside its target."""
    scores = items * METHODS * METRICS
    lines = [
        f"| on {scores:,} scores | processor | target | peak memory | target | on a tenth |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for figure, cost, less in zip(FIGURES, full, tenth, strict=True):
        seconds = "–" if figure.seconds is None else f"≤ {figure.seconds:g} s"
        memory = "–" if figure.megabytes is None else f"≤ {figure.megabytes:g} MB"
        lines.append(
            f"| {figure.name} | {_judged(cost.seconds, figure.seconds, '.2f')} s | {seconds} "
            f"| {_judged(cost.megabytes, figure.megabytes, '.0f')} MB | {memory} "
            f"| {less.seconds:.2f} s, {less.megabytes:.0f} MB |"
        )
    return "\n".join(lines)


def _judged(value: float, most: float | None, form: str) -> str:
    text = format(value, form)
    return text if most is None or value <= most else f"**{text}**"


def section(items: int, text: str) -> str:
    """What a document says of it."""
    return (
        f"{HEADING}\n\n{items:,} items × {METHODS} methods × {METRICS} metrics, every output a file; processor time "
        f"of the whole command, start-up included, on {provenance.processor()}. What misses its target is bold. "
        f"Made by `python tests/benchmarks/store_scale.py --write docs/performance.md`.\n\n{text}\n"
    )


def put(document: Path, text: str, heading: str = HEADING) -> None:
    """Replace the section in a document, or add it."""
    old = document.read_text(encoding="utf-8") if document.exists() else "# Performance\n"
    pattern = re.compile(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    found = pattern.search(old)
    new = old[: found.start()] + text + ("\n" if old[found.end() :] else "") + old[found.end() :] if found else ""
    document.write_text(new or f"{old.rstrip()}\n\n{text}", encoding="utf-8")


def main() -> None:
    """Measure, print, and write where that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="Where the stores are kept for the next time.")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Make the figures a section of this document.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        full = measured(ready(folder / "full", given.items), FIGURES)
        tenth = measured(ready(folder / "tenth", given.items // 10), FIGURES)
    text = table(given.items, full, tenth)
    print(text)
    if given.write is not None:
        put(given.write, section(given.items, text))


if __name__ == "__main__":
    main()

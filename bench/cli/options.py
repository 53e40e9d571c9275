"""Options that several commands take, each said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from bench.cli import names
from bench.cli.number_types import FiniteRange
from iqpir.terminal import on_terminal

plugins = click.option("--plugin", "plugins", multiple=True, help="A Python file that registers methods; repeatable.")
device = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
results = click.option(
    "--results", type=click.Path(file_okay=False), help="Results folder (BENCH_RESULTS, else ./results)."
)
allow_commands = click.option(
    "--allow-commands",
    is_flag=True,
    help="Let methods start the programs, and import from the clones, that a suite names.",
)


def usual_style() -> str:
    """The format of a table nobody has asked a format of: for people in a window, for programs and files elsewhere."""
    return "terminal" if on_terminal() else "markdown"


def timeout(what: str) -> Callable[[Any], Any]:
    """`--timeout`, and what happens to whatever takes longer."""
    return click.option("--timeout", type=FiniteRange(min=0, min_open=True), metavar="SECONDS", help=what)


only_datasets = click.option(
    "-d",
    "--dataset",
    "datasets",
    multiple=True,
    metavar="D",
    help="Only this dataset, or pattern of labels.",
    shell_complete=names.datasets,
)
only_methods = click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    metavar="M",
    help="Only this method, or pattern of labels.",
    shell_complete=names.methods,
)


def only_metrics(told: str) -> Callable[[Any], Any]:
    """`--metric`, repeatable, with its help."""
    return click.option("--metric", "metrics", multiple=True, metavar="X", help=told, shell_complete=names.metrics)


layout = click.option(
    "--layout",
    metavar="FORM",
    help="rows, columns (datasets side by side), methods (across) or paper (as the suite's). Default: the suite's.",
)
style = click.option(
    "--format",
    "style",
    callback=lambda context, option, given: given or usual_style(),
    metavar="FORMAT",
    shell_complete=names.formats,
    help="markdown, latex, csv, html, json or terminal.  [default: terminal in a window, markdown on a pipe]",
)
notes = click.option(
    "--notes", metavar="HOW", help="full, short (what signs mean) or none. Default: full, in LaTeX short."
)
width = click.option(
    "--width",
    default="auto",
    show_default=True,
    metavar="ROOM",
    help="LaTeX: column or page of a two-column paper, auto: as needed, or text of a paper with one column.",
)

"""The `bench` command. A command's module is imported when it is called, so that `bench --help` is instant."""

from __future__ import annotations

import click

from bench.errors import BenchError
from iqpir.console import LazyGroup, carry_out

# name → one-line help; the module of that name in this package holds `command`.
COMMANDS = {
    "run": "Restore and score a suite; run again to resume.",
    "score": "Score folders of images, with or without references.",
    "init": "Write a suite for folders of inputs, references and outputs.",
    "table": "Print a run as markdown, LaTeX, CSV, HTML or JSON.",
    "leaderboard": "Join runs into one table where they agree.",
    "cite": "Say for a paper how a run's numbers were made.",
    "latency": "Time methods side by side, every sample kept.",
    "report": "Write a run as one HTML page: tables, pictures, failures.",
    "study": "Ask people: make a study of a run, take votes, say what they say.",
    "agreement": "Say how far each metric agrees with people.",
    "figure": "Draw a run for a paper: pictures, distributions, sweeps, ascents.",
    "compare": "Compare two runs item by item, with paired tests.",
    "baseline": "Write down what a run gave, for later runs to be held against.",
    "check": "Hold a run against a baseline; exit code 1 names what changed.",
    "explain": "Say why two numbers differ.",
    "merge": "Join results folders, such as those of shards, into one.",
    "runs": "List the runs of the results folder.",
    "list": "List methods, datasets, metrics, protocols or suites.",
    "info": "Say everything about one method, dataset, metric or protocol.",
    "validate": "Check suites: every key, method, dataset, metric and protocol.",
    "fetch": "Bring the weights and data that a suite or name needs.",
    "export": "Write a run's rows, or its images, for other tools.",
    "selftest": "Check a method against generated images.",
    "completion": "Print the script by which a shell completes names.",
    "doctor": "Say what is installed, cached and missing.",
    "gc": "Delete what no run names.",
}


@click.group(cls=LazyGroup, package=__name__, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-v", "-V", "--version", package_name="iqpir-bench", prog_name="bench")
def group() -> None:
    """Compare image restorers: every number carries its signature, and running again resumes.

    \b
    bench run quickstart          restore and score photographs that ship along
    bench table --format latex    the newest run as a LaTeX table
    """


def main(arguments: list[str] | None = None) -> None:
    """Entry point: exit code 0 all scored, 1 something failed, 2 the request is wrong."""
    carry_out(group, arguments, (BenchError,))

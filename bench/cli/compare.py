"""`bench compare BASE HEAD`: two runs, or a run and a baseline, item by item."""

from __future__ import annotations

import click

from bench.cli import options


@click.command()
@click.argument("base")
@click.argument("head")
@click.option(
    "--fail-on",
    "words",
    multiple=True,
    metavar="WORD",
    help="Exit with 1 on any, worse or a kind of finding; repeatable.",
)
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
@options.results
def command(base: str, head: str, words: tuple[str, ...], style: str, results: str | None) -> int:
    """Compare two runs, cell by cell, with a paired test over the items they share.

    BASE and HEAD are run numbers or suites (their newest run), DIR:RUN for a run in another results folder, or
    baseline files. --fail-on asks what bench check asks, with BASE as the baseline; what it finds is told on
    standard error. Exit code 1 as well where no cell has a value on both sides, so that nothing was compared.
    """
    from bench.gate import arguments, findings
    from bench.gate.summary import render
    from bench.tables import compare

    fatal = findings.kinds(words or ["none"])
    first, second = arguments.of(base, results), arguments.of(head, results)
    changes = compare.changes(first.cells, second.cells)
    click.echo(compare.render(changes, style), nl=False)
    compared = any(change.compared for change in changes)
    if not compared:
        click.echo("nothing was compared: no cell has a comparable value on both sides", err=True)
    if not fatal:
        return int(not compared)
    found = findings.compare(first.snapshot, second.snapshot)
    click.echo(render(found, first, second, fatal, "text"), err=True, nl=False)
    return int(not compared or bool(found.failing(fatal)))

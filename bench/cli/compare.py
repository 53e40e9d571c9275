"""`bench compare BASE HEAD`: two runs, or a run and a baseline, item by item."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench compare 3 4                          two runs of ./results
    bench compare ../main/results:lol lol      another results folder against this one
    bench compare ci/numbers.json mine --fail-on worse"""
)
@click.argument("base", shell_complete=names.suites)
@click.argument("head", shell_complete=names.suites)
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
    standard error. Exit code 2 where no cell has a value on both sides, so that nothing can be compared.
    """
    from bench.errors import BenchError
    from bench.gate import arguments, findings
    from bench.gate.summary import render
    from bench.tables import compare

    fatal = findings.kinds(words or ["none"])
    first, second = arguments.of(base, results), arguments.of(head, results)
    others = findings.other_images(first.snapshot, second.snapshot)
    apart = {
        place: [compare.Apart(one.detail, bool(one.method), one.kind != "drift") for one in told]
        for place, told in others.items()
    }
    changes = compare.changes(first.cells, second.cells, apart)
    if any(change.shared for change in changes):
        click.echo(compare.render(changes, style), nl=False)
    if not any(change.compared for change in changes):
        raise BenchError(f"{base} and {head}: {compare.why_nothing(changes)}")
    if not fatal:
        return 0
    found = findings.compare(first.snapshot, second.snapshot)
    click.echo(render(found, first, second, fatal, "text"), err=True, nl=False)
    return int(bool(found.failing(fatal)))

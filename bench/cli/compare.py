"""`bench compare BASE HEAD`: two runs item by item."""

from __future__ import annotations

import click

VERDICTS = ("same", "better", "worse", "undecided", "new", "vanished", "incomparable", "incomplete")


@click.command()
@click.argument("base")
@click.argument("head")
@click.option(
    "--fail-on", "fatal", multiple=True, type=click.Choice(VERDICTS), help="Exit with 1 on this verdict; repeatable."
)
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
@click.option("--results", type=click.Path(file_okay=False), help="Results folder (BENCH_RESULTS, else ./results).")
def command(base: str, head: str, fatal: tuple[str, ...], style: str, results: str | None) -> int:
    """Compare two runs, cell by cell, with a paired test over the items they share.

    BASE and HEAD are run numbers or suites (their newest run), or DIR:RUN for a run in another results folder.
    """
    from pathlib import Path

    from bench import paths
    from bench.store import Store
    from bench.tables import compare, frame

    def read(name: str) -> frame.RunData:
        folder, _, run = name.rpartition(":")
        with Store(Path(folder) if folder else paths.results(results), writable=False) as store:
            return frame.read_cells(store, frame.find_run(store, run or None))

    found = compare.changes(read(base), read(head))
    click.echo(compare.render(found, style), nl=False)
    return int(any(change.verdict in fatal for change in found))

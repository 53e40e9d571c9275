"""`bench cite`: how a run's numbers were made, for a paper."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench cite                                 the newest run: how its numbers were made, and BibTeX
    bench cite lol > numbers.tex"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@options.results
def command(run: str | None, results: str | None) -> int:
    """Print the line and the BibTeX that a paper needs to say how a run's numbers were made."""
    from bench import paths
    from bench.results import view
    from bench.results.store import Store
    from bench.tables import citation

    with Store.reading(paths.results(results)) as store:
        data = view.read_cells(store, view.find_run(store, run))
    click.echo(citation.cite(data), nl=False)
    return 0

"""`bench leaderboard`: several runs as one table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import names, options

if TYPE_CHECKING:
    from bench.tables.leaderboard import Entered


@click.command(
    epilog="""\b
    bench leaderboard lol 12                       two runs of ./results
    bench leaderboard lol ../theirs/results:lol    with one of another store"""
)
@click.argument("runs", nargs=-1, required=True, metavar="SUITE|RUN...", shell_complete=names.suites)
@options.only_datasets
@options.only_methods
@options.only_metrics("Only this metric, or pattern.")
@options.style
@options.layout
@options.notes
@options.width
@click.option("--ci", is_flag=True, help="Bootstrap intervals of the means.")
@click.option("--paired-with", "against", metavar="METHOD", help="Test every method against this one, item by item.")
@options.results
def command(runs: tuple[str, ...], style: str, ci: bool, against: str | None, results: str | None, **asked: Any) -> int:
    """Join runs into one table where signatures and items agree, and say where they do not.

    RUN is a suite, whose newest run it is, or a number; FOLDER:RUN is one of another results folder.
    """
    from bench.tables import leaderboard, render
    from bench.tables.layout import Extras
    from bench.tables.selection import Choice, split_metrics

    joined = leaderboard.join([entered(text, results) for text in runs])
    choice = Choice(asked["datasets"], asked["methods"], split_metrics(asked["metrics"]))
    look = render.Style(style, asked["layout"], asked["notes"], asked["width"], choice)
    click.echo(render.render(joined, look, Extras(ci, against)), nl=False)
    return 0


def entered(text: str, results: str | None) -> Entered:
    from bench import paths
    from bench.results import view
    from bench.results.store import FILE_NAME, Store
    from bench.tables.leaderboard import Entered

    folder, colon, name = text.rpartition(":")
    elsewhere = bool(colon) and (paths.results(folder) / FILE_NAME).is_file()
    place, name = (paths.results(folder), name) if elsewhere else (paths.results(results), text)
    with Store.reading(place) as store:
        data = view.read_cells(store, view.find_run(store, name or None))
    where = f" of {folder}" if elsewhere else ""
    return Entered(f"{data.record.suite} run {data.number}{where}", data)

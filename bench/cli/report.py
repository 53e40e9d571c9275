"""`bench report`: a run as one HTML page."""

from __future__ import annotations

import click

from bench.cli import names, options
from bench.cli.number_types import FiniteRange
from iqpir.console import say


@click.command(
    epilog="""\b
    bench report                               the newest run, as results/reports/SUITE-RUN.html
    bench report lol --open                    in the browser
    bench report lol -o page.html --items 8"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="The page (RESULTS/reports/SUITE-RUN.html).")
@click.option("--items", type=click.IntRange(0), default=4, show_default=True, help="Items shown of each dataset.")
@click.option("--budget", type=FiniteRange(0.1), default=12, show_default=True, help="Megabytes of pictures.")
@options.results
def command(run: str | None, output: str | None, items: int, budget: float, results: str | None) -> int:
    """Write the newest run of a suite, a run by its number, or the newest of all as a page that needs no network.

    It holds the tables, pictures with details and a slider, best and worst items, distributions, failures and where
    every number comes from. Its path is printed.
    """
    from pathlib import Path

    from bench import files, paths
    from bench.export import names
    from bench.report import page
    from bench.results import leases, view

    folder = paths.results(results)
    with leases.reading(folder) as store:
        data = view.read_cells(store, view.find_run(store, run))
        made = page.render(store, data, folder, page.PageOptions(items, round(budget * 1e6)))
    name = names.one_folder(data.record.suite, f"-{data.number}.html")
    target = Path(output) if output is not None else folder / "reports" / name
    files.put(target, made.html.encode("utf-8"))
    say(f"{len(made.html.encode()) / 1e6:.1f} MB, {made.pictures} pictures")
    click.echo(str(target))
    return 0

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
    bench report lol -o page.html --items 8
    bench report lol ../main/results:lol       two runs on one page, with what differs"""
)
@click.argument("runs", nargs=-1, metavar="[SUITE|RUN]...", shell_complete=names.suites)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="The page (RESULTS/reports/SUITE-RUN.html).")
@click.option("--items", type=click.IntRange(0), default=4, show_default=True, help="Items shown of each dataset.")
@click.option("--budget", type=FiniteRange(0.1), default=12, show_default=True, help="Megabytes of pictures.")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@options.results
def command(
    runs: tuple[str, ...], output: str | None, items: int, budget: float, show: bool, results: str | None
) -> int:
    """Write the newest run of a suite, a run by its number, or the newest of all as a page that needs no network.

    It holds the tables, pictures with details and a slider, best and worst items, distributions, failures and where
    every number comes from. Its path is printed. Of several runs (DIR:RUN is one of another results folder): the table
    that they make together, and each against the first.
    """
    from pathlib import Path

    from bench import files, paths
    from bench.export import names as names_of
    from bench.report import page
    from bench.results import leases, view

    folder = paths.results(results)
    if len(runs) > 1:
        from bench.cli.leaderboard import entered

        made = page.render_several([entered(text, results) for text in runs])
        name = names_of.one_folder("-".join(text.replace(":", "-") for text in runs), ".html")
    else:
        with leases.reading(folder) as store:
            data = view.read_cells(store, view.find_run(store, next(iter(runs), None)))
            made = page.render(store, data, folder, page.PageOptions(items, round(budget * 1e6)))
        name = names_of.one_folder(data.record.suite, f"-{data.number}.html")
    target = Path(output) if output is not None else folder / "reports" / name
    files.put(target, made.html.encode("utf-8"))
    say(f"{len(made.html.encode()) / 1e6:.1f} MB, {made.pictures} pictures")
    click.echo(str(target))
    if show:
        import webbrowser

        if not webbrowser.open(target.resolve().as_uri()):
            say(f"no browser was found here: open {target} in one")
    return 0

"""`bench table`: print a run."""

from __future__ import annotations

import click


@click.command()
@click.argument("run", required=False, metavar="[SUITE|RUN]")
@click.option("--format", "style", default="markdown", show_default=True, help="markdown, latex, csv, html or json.")
@click.option("--ci", is_flag=True, help="Bootstrap intervals of the means.")
@click.option("--paired-with", "against", metavar="METHOD", help="Test every method against this one, item by item.")
@click.option("--common-items", is_flag=True, help="Only items that every method has a value for.")
@click.option("--results", type=click.Path(file_okay=False), help="Results folder (BENCH_RESULTS, else ./results).")
def command(run: str | None, style: str, ci: bool, against: str | None, common_items: bool, results: str | None) -> int:
    """Print the newest run of a suite, a run by its number, or the newest of all."""
    from bench import paths
    from bench.store import Store
    from bench.tables import frame, layout, render

    with Store(paths.results(results), writable=False) as store:
        data = frame.read_cells(store, frame.find_run(store, run))
    shown = layout.common_items(data) if common_items else data
    click.echo(render.render(shown, style, layout.Extras(ci, against)), nl=False)
    return 0

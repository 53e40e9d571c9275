"""`bench table`: print a run."""

from __future__ import annotations

import click

from bench.cli import options


@click.command()
@click.argument("run", required=False, metavar="[SUITE|RUN|PAPER/TABLE]")
@click.option("--format", "style", default="markdown", show_default=True, help="markdown, latex, csv, html or json.")
@click.option("--ci", is_flag=True, help="Bootstrap intervals of the means.")
@click.option("--paired-with", "against", metavar="METHOD", help="Test every method against this one, item by item.")
@click.option("--common-items", is_flag=True, help="Only items that every method has a value for.")
@click.option(
    "--fired", metavar="[METHOD:]WHAT", help="Only images on which its rollback, kept, stopping or repeat fired."
)
@click.option("--seconds", is_flag=True, help="What the run spent per image; bench latency measures instead.")
@click.option("--gain/--no-gain", default=None, help="Mean gain of a method over its base; as the suite says.")
@click.option(
    "--increments/--no-increments", default=None, help="Gain over the base behind each value; as the suite says."
)
@click.option("--venue/--no-venue", default=None, help="Where each method was published; in LaTeX unless refused.")
@click.option("--pareto", metavar="METRIC", help="This metric against latency: who is beaten in both, and who is not.")
@click.option("--published", "beside", is_flag=True, help="With the paper's values, or PAPER/TABLE on its own.")
@options.results
def command(
    run: str | None,
    style: str,
    ci: bool,
    against: str | None,
    common_items: bool,
    fired: str | None,
    seconds: bool,
    gain: bool | None,
    increments: bool | None,
    venue: bool | None,
    pareto: str | None,
    beside: bool,
    results: str | None,
) -> int:
    """Print the newest run of a suite, a run by its number, or the newest of all.

    With --published, a table of a paper such as iqpir/table2 is printed as well; without an argument and without runs,
    the names of those tables.
    """
    from bench import paths
    from bench.results import view
    from bench.results.store import FILE_NAME, Store
    from bench.tables import layout, paper, render, rounds
    from bench.tables import pareto as fronts

    key = run if beside and paper.is_key(run) else None
    if key is not None or (beside and run is None and not (paths.results(results) / FILE_NAME).is_file()):
        if ci or against or common_items or fired or pareto or seconds or gain or increments:
            raise click.UsageError(
                "--ci, --paired-with, --common-items, --fired, --seconds, --gain, --increments and --pareto need a "
                "run: a paper prints no single values"
            )
        click.echo(paper.contents(style) if key is None else paper.render_alone(key, style), nl=False)
        return 0

    with Store.reading(paths.results(results)) as store:
        data = view.read_cells(store, view.find_run(store, run))
    shown = rounds.fired(data, fired) if fired is not None else data
    shown = layout.common_items(shown) if common_items else shown
    if pareto is not None:
        if ci or against or beside or seconds or gain or increments:
            raise click.UsageError(
                "--pareto is a table of its own, without --ci, --paired-with, --seconds, --gain, --increments and "
                "--published"
            )
        click.echo(fronts.text(fronts.front(shown, pareto), style, data.record.title or data.record.suite), nl=False)
        return 0
    show = paper.render_beside if beside else render.render
    click.echo(show(shown, style, layout.Extras(ci, against, venue, seconds, gain, increments)), nl=False)
    return 0

"""`bench table`: print a run."""

from __future__ import annotations

from typing import Any

import click

from bench.cli import names, options

_STYLED = ("layout", "notes", "width")
_OF_A_RUN = ("ci", "against", "common_items", "fired", "seconds", "gain", "increments", "pareto", "formulas")
"""Options that need the values of single images, which a paper does not print."""


@click.command(
    epilog="""\b
    bench table                                     the newest run
    bench table mine -d test -m ours -m 'sci*'      some of it, in this order
    bench table mine --ci --paired-with ours        with intervals and tests
    bench table lol --published --format latex      beside the paper's values, for a paper
    bench table iqpir/table2 --published            a paper's table on its own"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN|PAPER/TABLE]", shell_complete=names.tables)
@options.only_datasets
@options.only_methods
@options.only_metrics("Only this metric or pattern; gain, seconds too.")
@options.style
@options.layout
@options.notes
@options.width
@click.option("--ci", is_flag=True, help="Bootstrap intervals of the means.")
@click.option("--paired-with", "against", metavar="METHOD", help="Test every method against this one, item by item.")
@click.option("--common-items", is_flag=True, help="Only items that every method has a value for.")
@click.option(
    "--fired", metavar="[METHOD:]WHAT", help="Only images on which rollback, kept, filled, stopping or repeat fired."
)
@click.option("--seconds", is_flag=True, help="What the run spent per image; bench latency measures instead.")
@click.option(
    "--formula", "formulas", multiple=True, metavar="NAME", help="A challenge's composite score; bench list formulas."
)
@click.option("--gain/--no-gain", default=None, help="Mean gain of a method over its base; as the suite says.")
@click.option(
    "--increments/--no-increments", default=None, help="Gain over the base behind each value; as the suite says."
)
@click.option("--venue/--no-venue", default=None, help="Where each method was published; in LaTeX unless refused.")
@click.option("--pareto", metavar="METRIC", help="This metric against latency: who is beaten in both, and who is not.")
@click.option("--published", "beside", is_flag=True, help="With the paper's values, or PAPER/TABLE on its own.")
@click.option("--all-published", is_flag=True, help="With the paper's other datasets and metrics as well.")
@click.option("--rank-published", is_flag=True, help="Best and second best among the paper's rows as well.")
@options.results
def command(run: str | None, style: str, results: str | None, **asked: Any) -> int:
    """Print the newest run of a suite, a run by its number, or the newest of all.

    With --published, a table of a paper such as iqpir/table2 is printed as well; without an argument and without runs,
    the names of those tables.
    """
    from bench import paths
    from bench.results.store import FILE_NAME
    from bench.tables import beside, layout, paper, render
    from bench.tables import pareto as fronts
    from bench.tables.selection import Choice, split_metrics

    published = bool(asked["beside"] or asked["all_published"] or asked["rank_published"])
    choice = Choice(asked["datasets"], asked["methods"], split_metrics(asked["metrics"]))
    look = render.Style(style, choice=choice, **{name: asked[name] for name in _STYLED})
    key = run if published and paper.is_key(run) else None
    if key is not None or (published and run is None and not (paths.results(results) / FILE_NAME).is_file()):
        if any(asked[name] for name in _OF_A_RUN):
            raise click.UsageError(
                "--ci, --paired-with, --common-items, --fired, --seconds, --gain, --increments and --pareto need a "
                "run: a paper prints no single values"
            )
        click.echo(paper.contents(style) if key is None else paper.render_alone(key, look), nl=False)
        return 0

    shown = _run(run, results, asked["fired"], bool(asked["common_items"]))
    if style in ("csv", "json"):  # which have no room to say of which images they are
        for line in ([shown.record.title] if asked["fired"] else []) + [line for _, line in shown.remarks]:
            click.echo(line, err=True)
    if asked["pareto"] is not None:
        if published or any(asked[name] for name in ("ci", "against", "seconds", "gain", "increments")) or choice:
            raise click.UsageError(
                "--pareto is a table of its own, without -d, -m, --metric, --ci, --paired-with, --seconds, --gain, "
                "--increments and --published"
            )
        front = fronts.front(shown, asked["pareto"])
        click.echo(fronts.text(front, style, shown.record.title or shown.record.suite), nl=False)
        return 0
    extras = layout.Extras(
        asked["ci"], asked["against"], asked["venue"], asked["seconds"], asked["gain"], asked["increments"],
        formulas=asked["formulas"], all_published=asked["all_published"], rank_published=asked["rank_published"],
    )  # fmt: skip
    show = beside.render_beside if published else render.render
    click.echo(show(shown, look, extras), nl=False)
    return 0


def _run(run: str | None, results: str | None, fired: str | None, common: bool) -> Any:
    """The run that is asked for, on the items that are."""
    from bench import paths
    from bench.results import view
    from bench.results.store import Store
    from bench.tables import layout, rounds

    with Store.reading(paths.results(results)) as store:
        data = view.read_cells(store, view.find_run(store, run))
    shown = rounds.fired(data, fired) if fired is not None else data
    return layout.common_items(shown) if common else shown

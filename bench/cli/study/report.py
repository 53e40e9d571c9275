"""`bench study report [RUN]`: what people said of a run's outputs."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import options


@click.command(
    epilog="""\b
    bench study report user-study
    bench study report user-study -o votes         and everything as CSV files"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]")
@click.option("--output", "-o", type=click.Path(file_okay=False, path_type=Path), help="Votes as CSV files, here.")
@click.option("--criterion", default="", help="Only votes on this criterion.")
@click.option("--study", default="", metavar="ID", help="Only votes of this study.")
@click.option("--format", "style", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True)
@options.results
def command(run: str | None, output: Path | None, criterion: str, study: str, style: str, results: str | None) -> int:
    """Say what people said of a run's outputs: scores with intervals, who was left out and why, agreement, bias, power.

    With -o the votes are written as pairs.csv, ratings.csv and rankings.csv (one row each), p910.csv (rows stimuli,
    columns people) and sessions.csv.
    """
    from bench import paths
    from bench.errors import BenchError
    from bench.results import view
    from bench.results.store import Store
    from bench.study import exports, text
    from bench.study.summary import summarise

    folder = paths.results(results)
    with Store.reading(folder) as store:
        data = view.read_cells(store, view.find_run(store, run))
    summary = summarise(data, folder, criterion, study)
    if not summary.datasets:
        out = [f"{one.observer}: {'; '.join(one.reasons)}" for one in summary.sessions]
        told = f"all {len(out)} sessions were left out ({' | '.join(out[:3])})" if out else "nobody voted"
        raise BenchError(f"{told} on the outputs of run {data.number}: bench study make, then bench study add")
    if output is not None:
        for file in exports.write(summary, data, output):
            click.echo(str(file), err=True)
    click.echo(text.as_json(summary) if style == "json" else text.render(summary), nl=False)
    return 0

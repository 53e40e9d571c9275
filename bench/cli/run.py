"""`bench run`: restore and score a suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import names, options
from bench.cli.number_types import FiniteRange
from iqpir.console import is_verbose, say

if TYPE_CHECKING:
    from bench.runner.request import Keep


@click.command(
    epilog="""\b
    bench run                                      which suites can run on this machine
    bench run quickstart                           restore, score, print the table
    bench run lol --plan                           what runs, what is missing and what brings it
    bench run lol --available --limit 3 -m 'sci*'  a first look at what is here
    bench run quickstart --plugin my_method.py -m identity -m mine     a method of your own as a row beside another"""
)
@click.argument("suite", required=False, shell_complete=names.suites)
@click.option(
    "--method",
    "-m",
    "methods",
    multiple=True,
    help="Only this method (name or label); repeatable. One that --plugin registers need not be the suite's.",
    shell_complete=names.methods,
)
@click.option(
    "--dataset",
    "-d",
    "datasets",
    multiple=True,
    help="Only this dataset (name or label); repeatable.",
    shell_complete=names.datasets,
)
@click.option("--limit", type=click.IntRange(min=1), help="At most this many items per dataset, spread evenly.")
@options.device
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images restored at once.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Worker processes.  [default: 1; with --engine ray, as many as there is room for]",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where they are: on this machine, or on those of a Ray cluster.",
)
@click.option(
    "--address",
    metavar="auto|HOST",
    help="The cluster of --engine ray: this machine's, or that whose head is HOST.  [default: one for this run alone]",
)
@click.option("--cpus-per-worker", type=click.IntRange(min=1), help="Cores of a worker of --engine ray.  [default: 1]")
@click.option(
    "--gpus-per-worker",
    type=FiniteRange(min=0, max=1, min_open=True),
    help="Share of a GPU of a worker of --engine ray.  [default: 1 with --device cuda]",
)
@click.option("--shard", metavar="I/N", help="Do the I-th of N parts of the work, into a --results of its own.")
@click.option(
    "--keep-outputs",
    "keep",
    type=click.Choice(["all", "failed", "none"]),
    default="all",
    show_default=True,
    help="Outputs that stay on disk once they are scored: scores stay valid without. failed: those that lack a value.",
)
@options.timeout("Longest that restoring or scoring an image, or loading a method, may take; then it is a failed row.")
@click.option("--plan", "--dry-run", "plan", is_flag=True, help="Say what would be done, and stop.")
@options.plugins
@click.option("--available", is_flag=True, help="Run what is on this machine; the rest are rows with their reason.")
@options.allow_commands
@click.option("--no-latency", is_flag=True, help="Do not time the methods of a suite with latency:.")
@click.option("--fresh", is_flag=True, help="Compute everything anew, whatever is stored.")
@click.option("--fresh-latency", is_flag=True, help="Time the methods again, for a suite with latency:.")
@click.option("--commercial-safe", is_flag=True, help="Refuse what is not known to be free for commercial use.")
@click.option(
    "--allow-failures",
    type=FiniteRange(min=0),
    default=0.0,
    show_default=True,
    help="Failed units that still give exit code 0; below 1, a fraction of all.",
)
@options.results
@options.style
def command(
    suite: str | None,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    limit: int | None,
    device: str,
    batch: int,
    workers: int | None,
    engine: str,
    address: str | None,
    cpus_per_worker: int | None,
    gpus_per_worker: float | None,
    shard: str | None,
    keep: Keep,
    timeout: float | None,
    plan: bool,
    plugins: tuple[str, ...],
    available: bool,
    allow_commands: bool,
    no_latency: bool,
    fresh: bool,
    fresh_latency: bool,
    commercial_safe: bool,
    allow_failures: float,
    results: str | None,
    style: str,
) -> int:
    """Restore and score a suite, then print its table.

    SUITE is a YAML file or the name of one (bench list suites). Finished work is never done twice: running again
    resumes. Exit code 0: all scored; 1: more failures than allowed; 2: the request is wrong.
    """  # fmt: skip
    if suite is None:
        return _suites()
    from bench.planning.plan import Shard
    from bench.progress import bar
    from bench.runner import steps
    from bench.runner.request import Request, cluster_of
    from bench.tables import render

    cluster = cluster_of(engine, device, address, cpus_per_worker, gpus_per_worker)
    request = Request(
        suite=suite, methods=methods, datasets=datasets, limit=limit, device=device, batch=batch,
        workers=workers or (1 if cluster is None else 0), cluster=cluster,
        results=results, plugins=plugins, available=available, commercial_safe=commercial_safe,
        allow_commands=allow_commands, fresh=fresh, fresh_latency=fresh_latency, latency=not no_latency,
        timeout=timeout, shard=None if shard is None else Shard.parse(shard), keep=keep,
    )  # fmt: skip
    render.check_style(style)
    if plan:
        from bench.runner.forecast import render_plan

        click.echo(render_plan(request, fresh=fresh or fresh_latency, every=is_verbose(), style=style), nl=False)
        return 0
    progress = bar("units", total=0)
    progress.set_description_str("planning")
    try:
        summary, data = steps.take(request, progress, say, say if is_verbose() else None)
    except KeyboardInterrupt as stop:
        raise click.Abort from stop
    finally:
        progress.leave = bool(progress.n)  # of a request that is refused, an empty bar tells nothing
        progress.close()
    click.echo(render.render(data, style), nl=False)
    told = f"run {summary.run} of {summary.suite}: {summary.units} units, {summary.worked} worked on"
    told += f" in {summary.seconds:.1f} s"
    told += f", {summary.failed} failed" if summary.failed else ""
    told += f", {summary.unavailable} unavailable" if summary.unavailable else ""
    say(told)
    allowed = allow_failures * summary.expected if 0 < allow_failures < 1 else allow_failures
    return 1 if summary.failed > allowed else 0


def _suites() -> int:
    """Which suites there are, those that this machine has everything for first. Exit code 2: none was asked for."""
    from bench.planning.readiness import listing

    click.echo(listing(), nl=False)
    remedy = "bench run NAME, or a YAML file; bench init writes one for folders of yours"
    click.echo(f"error: which suite? {remedy}", err=True)
    return 2

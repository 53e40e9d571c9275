"""`bench latency`: how long methods take."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import names, options
from bench.cli.number_types import FiniteRange
from bench.errors import BenchError
from iqpir.console import say


@click.command(
    epilog="""\b
    bench latency gamma,clahe --size 256                two methods side by side
    bench latency lol --device cuda --dtype fp16        the methods of a suite
    bench latency iqpir-tiny --samples 20 --raw samples.csv"""
)
@click.argument("what", metavar="SUITE|METHOD,...", shell_complete=names.timed)
@click.option("--size", help="Side, or HxW, in pixels; several with commas.  [default: the suite's, else 512]")
@click.option("--dtype", help="float32, bf16 or fp16.  [default: the suite's, else float32]")
@click.option("--batch", default="1", show_default=True, help="Images per call; several with commas.")
@options.device
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch on the CPU.  [default: all cores]")
@click.option("--order", type=click.Choice(["interleaved", "sequential"]), help="Turns of one call, or of all calls.")
@click.option("--dispatch", is_flag=True, help="Do not wait for the device before the clock stops.")
@click.option("--samples", type=click.IntRange(min=1), help="Stop after so many samples, whatever the rules say.")
@click.option("--seconds", type=FiniteRange(min=0), help="Stop after so many seconds of a method's own time.")
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="For every method; repeatable.")
@click.option("--brief", is_flag=True, help="Without the stages of the whole job and the count of operations.")
@click.option("--raw", type=click.Path(dir_okay=False), help="Write every sample to this CSV file as well.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", hidden=True)
@options.plugins
@options.timeout("Longest that loading a method, or restoring an image, may take; then it has failed.")
@options.allow_commands
@options.results
@options.style
def command(
    what: str,
    size: str | None,
    dtype: str | None,
    batch: str,
    device: str,
    threads: int | None,
    order: str | None,
    dispatch: bool,
    samples: int | None,
    seconds: float | None,
    given: tuple[str, ...],
    brief: bool,
    raw: str | None,
    engine: str,
    plugins: tuple[str, ...],
    timeout: float | None,
    allow_commands: bool,
    results: str | None,
    style: str,
) -> int:
    """Time methods side by side, each in a fresh process, and keep every sample.

    Unless told otherwise, a method is measured until it has 64 samples and 10 s, or a relative spread below 0.5 %, or
    60 s, and the table says which. A method whose weights are missing, and whose network is known, is timed with
    random ones and named so. Exit code 1: a method failed; its row has the reason.
    """
    from bench import paths
    from bench.catalog.rehearsal import Elsewhere, load_rehearsed
    from bench.latency import selection, session
    from bench.machine import check_device
    from bench.results import timings
    from bench.results.store import Store
    from bench.suite.setting import Rules
    from bench.tables import latency_table as tables
    from bench.tables import render

    if engine != "local":
        raise BenchError("--engine ray measures no times, which are of one machine with nothing beside")
    render.check_style(style)
    load_rehearsed(plugins, timeout)
    asked = selection.understand(what)
    check_device(device)
    job = session.TimingJob(
        subjects=selection.with_options(asked.subjects, given),
        settings=selection.settings(
            size or asked.size, batch, dtype or asked.dtype, device, "dispatch" if dispatch else "synchronised", threads
        ),
        rules=Rules.asked(samples, seconds),
        order="sequential" if (order or asked.order) == "sequential" else "interleaved",
        plugins=tuple(str(Path(plugin).resolve()) for plugin in plugins),
        commands=allow_commands,
        details=not brief,
        timeout=timeout,
    )
    with Elsewhere("looking at methods", plugins, timeout) as elsewhere:
        elsewhere.ask(selection.check, job.subjects, allow_commands)
    table = tables.check_published(asked.published)
    found: list[timings.Timing] = []
    with Store(paths.results(results)) as store:

        def write(timing: timings.Timing) -> None:
            timings.put(store, timing)
            found.append(timing)

        try:
            session.measure(job, write, say)
        except KeyboardInterrupt as stop:
            raise click.Abort from stop
    # Rows come setting by setting, or method by method: a reader compares methods.
    ranked = sorted(found, key=lambda timing: job.settings.index(timing.setting))
    if raw is not None:
        Path(raw).write_text(tables.raw(ranked), encoding="utf-8")
    notes = [f"{label}: outputs that exist already, nothing to time." for label in asked.skipped]
    click.echo(tables.text(tables.lines(ranked, table), style, f"Latency: {asked.title}", notes, table), nl=False)
    return 0 if all(timing.ok for timing in found) else 1

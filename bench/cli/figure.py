"""`bench figure`: a run as a figure for a paper."""

from __future__ import annotations

import click

from bench.cli import names, options


def _box(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[tuple[int, int, int, int]]:
    found = []
    for text in given:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(part.isdecimal() for part in parts):
            raise click.BadParameter(f"{text!r} is not LEFT,TOP,WIDTH,HEIGHT in pixels", context, option)
        left, top, width, height = map(int, parts)
        found.append((left, top, width, height))
    return found


@click.command(
    epilog="""\b
    bench figure grid mine -o grid.pdf --items 3 --crop 40,60,64,64
    bench figure distribution mine -o spread.png --metric ssim
    bench figure sweep score-sweep -o sweep.svg
    bench figure pareto mine -o pareto.pdf --metric psnr"""
)
@click.argument("kind", type=click.Choice(["grid", "distribution", "sweep", "pareto", "rounds", "ascent"]))
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--output", "-o", type=click.Path(dir_okay=False), required=True, help="A .pdf, .png or .svg file.")
@click.option(
    "--dataset",
    "-d",
    "datasets",
    multiple=True,
    help="Only this dataset; again for more.",
    shell_complete=names.datasets,
)
@click.option(
    "--method", "-m", "methods", multiple=True, help="Only this method; again for more.", shell_complete=names.methods
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Only this metric; in a grid, written below its pictures.",
    shell_complete=names.metrics,
)
@click.option("--item", "items", multiple=True, help="grid: this item, or DATASET/ITEM; again for more.")
@click.option(
    "--items", "count", type=click.IntRange(1), default=2, show_default=True, help="grid, ascent: so many a dataset."
)
@click.option("--crop", "boxes", multiple=True, callback=_box, metavar="X,Y,W,H", help="grid: enlarge this part.")
@click.option("--option", help="sweep: the swept option on the axis, where there are several.")
@click.option(
    "--prior",
    default="iqpir-tiny-quality",
    show_default=True,
    metavar="FILE",
    help="ascent: what is climbed, of iqpir train quality.",
)
@click.option("--width", type=click.Choice(["column", "page"]), default="page", show_default=True)
@options.results
def command(
    kind: str,
    run: str | None,
    output: str,
    datasets: tuple[str, ...],
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    items: tuple[str, ...],
    count: int,
    boxes: list[tuple[int, int, int, int]],
    option: str | None,
    prior: str,
    width: str,
    results: str | None,
) -> int:
    """Draw a run for a paper, with fonts embedded and colours that colour-blind readers tell apart.

    \b
    grid           items down, LQ, methods and GT across, a detail of each enlarged
    distribution   how the values of single items spread
    sweep          a metric against an option that the suite sweeps, such as score
    pareto         a metric (--metric, one) against latency, for a suite with latency:
    ascent         an IQPIR (--method, one) climbs a prior: its latents, and its codes (IQPIR, Fig. 7)
    rounds         metrics against rounds, fixed and adaptive; quality after each; why rounds ended
    """
    from pathlib import Path

    from bench import paths
    from bench.report import drawing
    from iqpir.console import say

    target = Path(output)
    asked = drawing.Asked(kind, datasets, methods, metrics, items, count, tuple(boxes), option, prior, width)
    drawing.draw(asked, run, paths.results(results), target, note=say)
    click.echo(str(target))
    return 0

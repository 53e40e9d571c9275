"""`bench export`: a run's rows or images for other tools."""

from __future__ import annotations

import click

from bench.cli import names, options
from iqpir.console import say


@click.command(
    epilog="""\b
    bench export mine --format csv -o rows.csv       a row per image and metric
    bench export mine --images outputs               DATASET/METHOD/ITEM.png
    bench export exdark --detections boxes --draw pictures"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--images", type=click.Path(file_okay=False), help="Lay outputs out here as DATASET/METHOD/ITEM.png.")
@click.option("--detections", type=click.Path(file_okay=False), help="COCO JSON of what the detector found, here.")
@click.option("--draw", type=click.Path(file_okay=False), help="Pictures here, with what was found drawn over them.")
@click.option("--format", "style", type=click.Choice(["csv", "json", "parquet"]), help="Rows per item and metric.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File for the rows (needed for parquet).")
@options.results
def command(
    run: str | None,
    images: str | None,
    detections: str | None,
    draw: str | None,
    style: str | None,
    output: str | None,
    results: str | None,
) -> int:
    """Write the rows of a run (CSV unless said otherwise), or its images, or what a detector found in them."""
    from pathlib import Path

    from bench import paths
    from bench.errors import BenchError
    from bench.export import rows_and_images
    from bench.results import leases, view

    folder = paths.results(results)
    with leases.reading(folder, say) as store:
        number = view.find_run(store, run)
        data = view.read_cells(store, number)
        missing = 0
        if images is not None:
            told = rows_and_images.images(data, folder, Path(images))
            say(told.line(Path(images), data.record.suite))
            missing += not told.complete
        if detections is not None or draw is not None:
            from bench.export import coco as found

            if detections is not None:
                files, lost = found.export(store, data, Path(detections))
                say(f"{files} files in {detections}, {lost} outputs without detections")
                missing += lost
            if draw is not None:
                files, lost = found.draw(store, data, folder, Path(draw))
                again = f" (bench run {data.record.suite} makes them again)" if lost else ""
                say(f"{files} pictures in {draw}, {lost} outputs not there{again}")
                missing += lost
    if style is None and (images, detections, draw) != (None, None, None):
        return 0 if not missing else 1
    style = style or "csv"
    if style == "parquet" and output is None:
        raise BenchError("parquet is a binary format: name a file with --output FILE")
    if output is None:
        click.echo(rows_and_images.text(data, style), nl=False)
    else:
        rows_and_images.write(data, style, Path(output))
    return 0

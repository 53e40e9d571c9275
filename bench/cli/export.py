"""`bench export`: a run's rows or images for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import options

if TYPE_CHECKING:
    from bench.results.store import Store


@click.command()
@click.argument("run", required=False, metavar="[SUITE|RUN]")
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

    if style == "parquet" and output is None:
        raise BenchError("parquet is a binary format: name a file with --output FILE")
    folder = paths.results(results)
    with leases.reading(folder, lambda line: click.echo(line, err=True)) as store:
        number = view.find_run(store, run)
        missing = 0
        if (images, detections, draw) == (None, None, None) or style is not None:
            _rows(store, number, style or "csv", output)
        if (images, detections, draw) == (None, None, None):
            return 0
        data = view.read_cells(store, number)
        if images is not None:
            told = rows_and_images.images(data, folder, Path(images))
            click.echo(told.line(Path(images), data.record.suite), err=True)
            missing += not told.complete
        if detections is not None or draw is not None:
            from bench.export import coco as found

            if detections is not None:
                files, lost = found.export(store, data, Path(detections))
                click.echo(f"{files} files in {detections}, {lost} outputs without detections", err=True)
                missing += lost
            if draw is not None:
                files, lost = found.draw(store, data, folder, Path(draw))
                again = f" (bench run {data.record.suite} makes them again)" if lost else ""
                click.echo(f"{files} pictures in {draw}, {lost} outputs not there{again}", err=True)
                missing += lost
    return 0 if style is not None or not missing else 1


def _rows(store: Store, number: int, style: str, output: str | None) -> None:
    """A run's rows, read while they are written out: a run may have more of them than fit into memory."""
    from pathlib import Path

    from bench.export import rows_and_images
    from bench.results import view

    if output is None:
        for piece in rows_and_images.text(view.stream(store, number), style):
            click.echo(piece, nl=False)
    else:
        rows_and_images.write(view.stream(store, number), style, Path(output))

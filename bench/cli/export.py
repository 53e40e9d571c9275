"""`bench export`: a run's rows or images for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import names, options
from iqpir.console import say

if TYPE_CHECKING:
    from bench.results.store import Store
    from bench.results.view import RunView

FORMATS = ("csv", "json", "parquet", "eee", "hub", "bmf", "croissant")
_FOLDERS = ("eee", "hub", "croissant")


@click.command(
    epilog="""\b
    bench export mine --format csv -o rows.csv       a row per image and metric
    bench export mine --images outputs               DATASET/METHOD/ITEM.png
    bench export mine --format eee -o eee            then, in eee: every_eval_ever validate data/*/*/*/*.json
    bench export exdark --detections boxes --draw pictures

    csv, json, parquet: a row per item and metric. bmf: Bencher Metric Format, for tracking in CI. Into a folder:
    eee, Every Eval Ever, a record per method; hub, a model card with model-index per method; croissant, the rows as a
    dataset."""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--images", type=click.Path(file_okay=False), help="Lay outputs out here as DATASET/METHOD/ITEM.png.")
@click.option("--detections", type=click.Path(file_okay=False), help="COCO JSON of what the detector found, here.")
@click.option("--draw", type=click.Path(file_okay=False), help="Pictures here, with what was found drawn over them.")
@click.option("--format", "style", type=click.Choice(FORMATS), help="Rows, or another tool's form; see below.")
@click.option("--output", "-o", type=click.Path(), help="File for the rows, or folder of eee, hub and croissant.")
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
    output = None if output == "-" else output
    folder = paths.results(results)
    with leases.reading(folder, say) as store:
        number = view.find_run(store, run)
        missing = 0
        alone = (images, detections, draw) == (None, None, None)
        foreign = style if style in (*_FOLDERS, "bmf") else None
        if foreign is None and (alone or style is not None):
            _rows(store, number, style or "csv", output)
        if alone and foreign is None:
            return 0
        data = view.read_cells(store, number)
        if foreign is not None:
            created = next(row.created for row in store.runs() if row.id == number)
            _foreign(data, foreign, created, output)
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


def _foreign(data: RunView, style: str, created: float, output: str | None) -> None:
    """The run in a form of another tool."""
    from pathlib import Path

    from bench import files
    from bench.errors import BenchError, counted, having
    from bench.export import bencher, croissant, every_eval_ever, facts, hub

    lost = facts.left_out(data)
    if lost == len(data.cells):
        raise BenchError(f"run {data.number} has no finite value to export (bench table says why)")
    if lost and style != "croissant":  # whose rows are all of a run's
        say(f"{lost} of {len(data.cells)} cells have no finite value and are left out")
    parts = facts.parts(data)
    if parts and style in ("bmf", "hub"):
        where = "" if style == "bmf" else " but for the table of the card"
        say(f"{having(parts, 'cell')} a value of fewer items than expected: left out{where}")
    elif parts and style == "eee":
        say(f"{having(parts, 'cell')} a value of fewer items than expected: their details say of how many")
    if style == "bmf":
        made = bencher.text(data)
        if output is None:
            click.echo(made, nl=False)
        else:
            files.put(Path(output), made.encode())
        return
    if output is None:
        raise BenchError(f"{style} is several files: name a folder with --output DIR")
    if style == "croissant":
        say(str(croissant.write(data, created, Path(output))))
        return
    written = {"eee": every_eval_ever, "hub": hub}[style].write(data, created, Path(output))
    say(f"{counted(len(written), 'file')} in {output}")

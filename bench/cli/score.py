"""`bench score`: score any folder of images."""

from __future__ import annotations

import click

from bench.cli import options


@click.command(epilog='Options of a metric stand in brackets: --metric "psnr[space=y,crop=4],ssim"')
@click.argument("restored")
@click.option("--reference", metavar="GT", help="Folder, file or glob of references; pairs are made by file name.")
@click.option("--id", "pattern", metavar="REGEX", help="What of a name is its id, in a group; for both sides.")
@click.option("--metric", "metrics", multiple=True, help="Names, comma-separated; repeatable. Default: psnr,ssim.")
@click.option("--protocol", help="Named view and options (bench list protocols). Default: recommended/rgb.")
@click.option("--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--per-item", is_flag=True, help="In the table, one line per image as well.")
@click.option("--device", default="cpu", show_default=True, help="Where learned metrics run.")
@click.option("--subset", is_flag=True, help="Leave references without an image out; they count as missing otherwise.")
@click.option("--threads", type=click.IntRange(min=1), help="Images at once. Default: the number of cores.")
@options.timeout("Longest that a metric of another package may take for an image; then it is a failed row.")
def command(
    restored: str,
    reference: str | None,
    pattern: str | None,
    metrics: tuple[str, ...],
    protocol: str | None,
    style: str,
    per_item: bool,
    device: str,
    subset: bool,
    threads: int | None,
    timeout: float | None,
) -> int:
    """Score the images of RESTORED, against --reference where a metric needs one. Touches no store."""
    from bench import folder_scores
    from bench.progress import bar

    specs = [spec for text in metrics or ("psnr,ssim",) for spec in folder_scores.split_specs(text)]
    asked = folder_scores.ask(specs, protocol)
    dataset = folder_scores.pairs(restored, reference, asked, id=pattern, subset=subset)
    for note in dataset.notes:
        click.echo(note, err=True)
    lost = folder_scores.missing(dataset)
    if lost:
        click.echo(f"{lost} references have no image; --subset leaves them out", err=True)
    with bar("images", len(dataset.items)) as shown:
        rows = list(
            folder_scores.run(asked, dataset, device=device, threads=threads, advance=shown.update, timeout=timeout)
        )
    notes = folder_scores.footnotes(dataset)
    if style != "table":
        for line in notes:
            click.echo(line, err=True)
    click.echo(folder_scores.render(rows, asked, style, per_item=per_item, notes=notes), nl=False)
    return folder_scores.exit_code(rows)

"""`bench score`: score folders of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench.cli import names, options
from iqpir.console import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.folder_scores import Asked
    from bench.folder_scores.comparison import OutputFolder

FORMATS = ("table", "json", "csv", "markdown", "latex", "html", "terminal")


@click.command(
    epilog="""\b
    bench score outputs/mine --reference gt --metric psnr,ssim      one folder
    bench score 'outputs/*' --reference gt --format latex           a row for each folder
    bench score a b c --reference gt --paired-with c --ci           with tests and intervals

    Options of a metric stand in brackets: --metric "psnr[space=y,crop=4],ssim\""""
)
@click.argument("restored", nargs=-1, required=True)
@click.option("--reference", metavar="GT", help="Folder, file or glob of references; pairs are made by file name.")
@click.option("--id", "expression", metavar="REGEX", help="What of a name is its id, in a group; for both sides.")
@click.option("--pattern", metavar="NAME", help="Names of the outputs, such as '{id}_out'; else it is found out.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Names, comma-separated; repeatable. Default: psnr,ssim.",
    shell_complete=names.metrics,
)
@click.option(
    "--protocol",
    help="Named view and options (bench list protocols). Default: recommended/rgb.",
    shell_complete=names.protocols,
)
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--per-item", is_flag=True, help="In the table of one folder, one line per image as well.")
@click.option("--ci", is_flag=True, help="Bootstrap intervals of the means; not in json and csv of single images.")
@click.option("--paired-with", "against", metavar="FOLDER", help="Test every folder against this one, item by item.")
@options.notes
@options.width
@click.option("--device", default="cpu", show_default=True, help="Where learned metrics run.")
@click.option("--subset", is_flag=True, help="Leave references without an image out; they count as missing otherwise.")
@click.option("--threads", type=click.IntRange(min=1), help="Images at once. Default: the number of cores.")
@options.timeout("Longest that a metric of another package may take for an image; then it is a failed row.")
def command(restored: tuple[str, ...], metrics: tuple[str, ...], protocol: str | None, **given: Any) -> int:
    """Score the images of RESTORED, against --reference where a metric needs one. Touches no store.

    RESTORED is a folder, a file or a pattern of files; several folders, or a pattern of folders in quotes, are compared
    with a row each.
    """
    from bench import folder_scores
    from bench.folder_scores import comparison

    specs = [spec for text in metrics or ("psnr,ssim",) for spec in folder_scores.split_specs(text)]
    asked = folder_scores.ask(specs, protocol)
    several = comparison.folders(restored)
    tables = given["style"] not in ("table", "json", "csv") or given["ci"] or given["against"]
    if not several and len(restored) == 1 and not tables:
        return _one(restored[0], asked, **given)
    if given["per_item"]:
        raise click.UsageError("--per-item is of one folder's table; --format csv has every image of all")
    return _several(several or comparison.alone(restored), asked, protocol, **given)


def _one(restored: str, asked: Sequence[Asked], **given: Any) -> int:
    from bench import folder_scores
    from bench.errors import having
    from bench.progress import bar

    dataset = folder_scores.pairs(
        restored, given["reference"], asked, id=given["expression"], pattern=given["pattern"], subset=given["subset"]
    )
    for note in dataset.notes:
        say(note)
    lost = folder_scores.missing(dataset)
    if lost:
        say(f"{having(lost, 'reference')} no image; --subset leaves them out")
    with bar("images", len(dataset.items)) as shown:
        rows = list(
            folder_scores.run(
                asked, dataset, device=given["device"], threads=given["threads"], advance=shown.update,
                timeout=given["timeout"],
            )
        )  # fmt: skip
    notes = folder_scores.footnotes(dataset)
    if given["style"] != "table":
        for line in notes:
            say(line)
    text = folder_scores.render(rows, asked, given["style"], per_item=given["per_item"], notes=notes)
    click.echo(text, nl=False)
    return folder_scores.exit_code(rows)


def _several(wanted: Sequence[OutputFolder], asked: Sequence[Asked], protocol: str | None, **given: Any) -> int:
    from bench.folder_scores import comparison, exit_code
    from bench.progress import bar
    from bench.tables import render
    from bench.tables.layout import Extras

    against = comparison.against(given["against"], wanted)
    style = options.usual_style() if given["style"] == "table" else given["style"]
    look = render.Style(style, notes=given["notes"], width=given["width"], plain=True)
    with bar("images", total=0) as shown:
        found = comparison.compare(
            asked, wanted, given["reference"], id=given["expression"], pattern=given["pattern"],
            subset=given["subset"], tested=against, device=given["device"], threads=given["threads"],
            timeout=given["timeout"], note=say, expect=shown.reset, advance=shown.update,
        )  # fmt: skip
    if given["style"] in ("json", "csv"):
        click.echo(comparison.listing(found, given["style"]), nl=False)
    else:
        data = comparison.view(asked, found, given["reference"], protocol)
        click.echo(render.render(data, look, Extras(ci=given["ci"], against=against)), nl=False)
    return exit_code([row for one in found for row in one.rows])

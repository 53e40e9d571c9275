"""`iqpir assess`: score a folder of images by an ensemble of no-reference metrics."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="""\b
    iqpir assess photos                            two members that need no download
    iqpir assess faces --prior papers              the papers' ensemble; bench fetch says how its weights come here
    iqpir assess new --prior results/assess/faces/statistics.json    on the scale of another folder
    iqpir assess photos --degradations             what is wrong with each image

    bench list metrics names the members, bench fetch NAME brings their weights."""
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="NAME",
    help="A metric of the ensemble, repeatable: bench:NAME or NAME of pyiqa. Default: bench:piqe and "
    "iqpir:iqpir-tiny-quality.",
)
@click.option(
    "--prior",
    "prior_file",
    metavar="FILE|papers",
    help="statistics.json of another folder: normalise by its range, with its members. papers: the papers' face "
    "ensemble, bench:musiq-g and bench:topiq_nr-face-v1.",
)
@click.option("--bins", type=click.IntRange(min=1), help="Bins of the score. Default: 10, or the prior's.")
@click.option("--threshold", type=float, help="HQ+ is a score greater than this. Default: 0.9, or the prior's.")
@click.option("--batch", type=click.IntRange(min=1), help="Images of one size at once. Default: 1.")
@click.option("--device", default="cpu", show_default=True, help="Where learned metrics run.")
@click.option("--degradations", is_flag=True, help="Name what is wrong with each image, by RAR's assessor.")
@click.option("--weights", metavar="FILE", help="With --degradations: a system of RAR. Default: rar-tiny.")
@click.option("-o", "--out", metavar="OUT", help="Folder of the results. Default: results/assess/NAME-OF-FOLDER.")
def command(
    folder: Path,
    members: tuple[str, ...],
    prior_file: str | None,
    bins: int | None,
    threshold: float | None,
    batch: int | None,
    device: str,
    degradations: bool,
    weights: str | None,
    out: str | None,
) -> int:
    """Score the images of FOLDER by an ensemble of no-reference metrics, and put each in a bin.

    Writes OUT/scores.csv, statistics.json, distribution.png|pdf and contact-sheet.png|pdf. Run again to resume.
    With --degradations: says what each image suffers from instead, and writes OUT/degradations.csv.
    """
    from iqpir.console import say
    from iqpir.errors import IQPIRError, shown
    from iqpir.image_files import list_images
    from iqpir.progress import bar
    from iqpir.quality import report
    from iqpir.quality.assess import assess
    from iqpir.quality.figures import contact_sheet, distribution
    from iqpir.quality.prior import QualityPrior
    from iqpir.quality.scorers import DEFAULT_MEMBERS, PAPERS, PAPERS_MEMBERS, load_scorers

    where = Path(out) if out else Path("results") / "assess" / (folder.resolve().name or "root")
    if weights is not None and not degradations:
        raise IQPIRError("--weights goes with --degradations: an ensemble has members instead")
    if degradations:
        from iqpir.cli.rar import assess_folder

        given = {
            "--member": members or None, "--prior": prior_file, "--bins": bins, "--threshold": threshold,
            "--batch": batch,
        }  # fmt: skip
        if beside := [option for option, value in given.items() if value is not None]:
            raise IQPIRError(f"{beside[0]} is for an ensemble's scores, not for --degradations: leave it out")
        return assess_folder(folder, weights or "rar-tiny", device, where)
    listing = list_images(folder)
    if listing.note:
        say(listing.note)
    papers = prior_file == PAPERS
    if papers and members:
        raise IQPIRError("--prior papers has members of its own: leave --member out")
    prior = QualityPrior.load(prior_file) if prior_file and not papers else None
    usual = PAPERS_MEMBERS if papers else DEFAULT_MEMBERS
    try:
        scorers = load_scorers(members or (prior.names if prior else usual), device)
    except IQPIRError as error:
        if not papers:
            raise
        raise IQPIRError(f"{error}; without --prior papers the members need no download") from error
    with bar("images", len(listing.images)) as shown_bar:

        def progress(done: int, count: int) -> None:
            shown_bar.total = count
            shown_bar.update(done - shown_bar.n)

        found = assess(
            folder, scorers, where, prior=prior, bins=bins, threshold=threshold, batch=batch or 1, progress=progress
        )
    click.echo(report.summary(found))
    if found.scored.any():
        for name in report.flat(found):
            click.echo(f"note: {name} gives all images one score, which normalises to 0", err=True)
        distribution(found, where)
        contact_sheet(found, where)
    click.echo(f"written to {shown(where)}")
    return 1 if found.reasons else 0

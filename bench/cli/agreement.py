"""`bench agreement [RUN]`: how far metrics agree with people."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli import names, options
from iqpir.console import say


@click.command(
    epilog="""\b
    bench agreement user-study                                       metrics of a run against the votes on its outputs
    bench agreement user-study -o agreement.pdf                      and as a figure
    bench agreement --opinions dmos.csv --images images --metric niqe,piqe"""
)
@click.argument("run", required=False, metavar="[SUITE|RUN]", shell_complete=names.suites)
@click.option("--opinions", type=click.Path(path_type=Path), help="A set's file of images and scores, without a run.")
@click.option("--images", type=click.Path(path_type=Path), help="Its images.")
@click.option("--references", type=click.Path(path_type=Path), help="Its references, for metrics that compare.")
@click.option("--metric", "metrics", multiple=True, help="With --opinions: psnr,ssim or psnr[crop=4]. Repeatable.")
@click.option("--protocol", help="With --opinions: as of bench score.")
@click.option("--lower-is-better", "lower", is_flag=True, help="With --opinions: of scores such as DMOS proper.")
@click.option("--logistic", is_flag=True, help="PLCC after VQEG's logistic, as papers on IQA print it.")
@click.option("--study", default="", metavar="ID", help="Of a run: only votes of this study.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A figure: .pdf, .png or .svg.")
@click.option(
    "--format", "style", type=click.Choice(["markdown", "csv", "json"]), default="markdown", show_default=True
)
@options.device
@options.results
def command(
    run: str | None,
    opinions: Path | None,
    images: Path | None,
    references: Path | None,
    metrics: tuple[str, ...],
    protocol: str | None,
    lower: bool,
    logistic: bool,
    study: str,
    output: Path | None,
    style: str,
    device: str,
    results: str | None,
) -> int:
    """Say for each metric how far it agrees with people: SROCC, PLCC, and pairs in which it prefers what they prefer.

    Of a run, its columns are held against the votes on its outputs (bench study). With --opinions, metrics are held
    against a published set: TID2013's mos_with_names.txt, KADID-10k's dmos.csv (there a higher score is better), lines
    of name and score as PIPAL has them, or any CSV with columns image and mos.
    """
    from bench import folder_scores, paths
    from bench.errors import BenchError
    from bench.report import agreement_figure
    from bench.report import style as figures
    from bench.results import view
    from bench.results.store import Store
    from bench.study import agreement
    from bench.tables import agreement as numbers

    if output is not None:
        figures.suffix_of(output)
    if opinions is not None:
        if images is None or run is not None:
            raise click.UsageError("--opinions FILE needs --images DIR, and no run")
        asked = [spec for text in metrics for spec in folder_scores.split_specs(text)] or ["psnr", "ssim"]
        found = agreement.of_opinions(
            opinions, images, references, asked, lower=lower, protocol=protocol, device=device, logistic=logistic
        )
    else:
        if images is not None or references is not None or metrics or protocol or lower:
            raise click.UsageError(
                "--images, --references, --metric, --protocol and --lower-is-better go with --opinions"
            )
        folder = paths.results(results)
        with Store.reading(folder) as store:
            data = view.read_cells(store, view.find_run(store, run))
        found = agreement.of_run(data, folder, logistic=logistic, study=study)
        if not found:
            raise BenchError(
                f"no metric of run {data.number} has values of outputs that people judged: bench study make"
            )
    click.echo(numbers.render(found, style, logistic=logistic), nl=False)
    if output is not None:
        with figures.applied():
            figures.save(agreement_figure.draw(found), output)
        say(str(output))
    return 0

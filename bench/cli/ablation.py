"""`bench ablation`: what the arms of an ablation are worth."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--trained", metavar="FOLDER", help="Default: results/train/NAME-OF-CONFIG.")
@click.option("-o", "--out", metavar="FOLDER", help="Default: results/NAME-OF-CONFIG.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Networks at a time.")
@click.option("--rounds", type=click.IntRange(min=0), default=300, show_default=True, help="Of timing; 0: none.")
@click.option("--brief", is_flag=True, help="Without the score sweep and the ascents, which take the longest.")
def command(config: Path, trained: str | None, out: str | None, workers: int, rounds: int, brief: bool) -> int:
    """Score the networks of `iqpir train ablation CONFIG` on held-out photographs; tables with intervals, figures.

    Can be run while arms are still in training: those without a network stand in the tables as not run. What has been
    measured is not measured again.
    """
    from bench.report.ablation.evaluate import evaluate

    name = config.stem
    where = Path(trained) if trained else Path("results") / "train" / name
    folder = Path(out) if out else Path("results") / name
    for path in evaluate(
        config, where, folder, workers=workers, rounds=rounds, brief=brief,
        note=lambda line: click.echo(line, err=True),
    ):  # fmt: skip
        click.echo(str(path))
    return 0

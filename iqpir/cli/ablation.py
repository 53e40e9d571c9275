"""`iqpir train ablation CONFIG`: the networks of an ablation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="The arms of an ablation, with their seeds.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="FOLDER", help="Default: results/train/NAME-OF-CONFIG. Goes on if it can.")
@click.option("--arm", "names", multiple=True, metavar="NAME", help="Only this arm; again for more.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Networks at a time.")
@click.option("--plan", is_flag=True, help="Say what would be trained, and train nothing.")
def command(config: Path, out: str | None, names: tuple[str, ...], workers: int, plan: bool) -> int:
    """Train the arms of an ablation, those with all seeds first; what is finished already is not trained again.

    `bench ablation CONFIG` scores what there is, at any time.
    """
    from iqpir.training.ablation import load, run

    where = Path(out) if out else Path("results") / "train" / config.stem
    jobs = load(config).jobs(where, names)
    if plan:
        for job in jobs:
            click.echo(f"{'done' if job.finished() else 'to do'}  {job.name}: {job.file}")
        return 0
    for number, done in enumerate(run(jobs, workers=workers), 1):
        how = f"{done.seconds:.0f} s" if done.seconds else "was finished"
        click.echo(f"{number}/{len(jobs)} {done.job.name}: {how}", err=True)
    click.echo(str(where))
    return 0

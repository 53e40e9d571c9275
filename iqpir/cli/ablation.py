"""`iqpir train ablation CONFIG`: the networks of an ablation, and the suite that measures them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iqpir.console import say

if TYPE_CHECKING:
    from iqpir.training.ablation import Job, Told


@click.command(short_help="The arms of an ablation, with their seeds.")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="FOLDER", help="Default: results/train/NAME-OF-CONFIG. Goes on if it can.")
@click.option("--arm", "names", multiple=True, metavar="NAME", help="Only this arm; again for more.")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME=LQ,GT", help="To be measured on as well: folders.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Networks at a time.")
@click.option("--plan", is_flag=True, help="Say what would be trained, and train nothing.")
def command(
    config: Path, out: str | None, names: tuple[str, ...], datasets: tuple[str, ...], workers: int, plan: bool
) -> int:
    """Train the arms of an ablation, the first ones first; what is finished already is not trained again.

    Writes FOLDER/NAME-OF-CONFIG.yaml, a suite of the networks that are finished, at any time: bench run scores it,
    bench table --ci --paired-with ARM holds the arms against one.
    """
    from iqpir.training.ablation import load, run, seconds_left
    from iqpir.training.ablation_suite import folder_dataset, write_suite

    where = Path(out) if out else Path("results") / "train" / config.stem
    ablation, more = load(config), [folder_dataset(one) for one in datasets]
    jobs = ablation.jobs(where, names)
    if plan:
        for job in jobs:
            click.echo(f"{'done' if job.finished() else 'to do'}  {job.name}: {job.file}")
        return 0
    written = write_suite(ablation, where, config.stem, more)
    with _bars(jobs) as told:
        for number, done in enumerate(run(jobs, workers=workers, told=told), 1):
            if done.seconds:
                left = seconds_left(jobs)
                about = f"; about {_long(left / workers)} left" if left else ""
                say(f"{number}/{len(jobs)} {done.job.name}: {_long(done.seconds)}{about}")
                written = write_suite(ablation, where, config.stem, more)
    click.echo(str(written))
    return 0


@contextmanager
def _bars(jobs: Sequence[Job]) -> Iterator[Told]:
    """A bar over the steps of the job under way."""
    from iqpir.cli.bars import steps_bar

    bar = steps_bar(0)
    bar.set_description_str(f"{len(jobs)} networks")

    def told(job: Job, step: int) -> None:
        if bar.desc != job.name:
            bar.reset(job.settings.steps)
            bar.set_description_str(job.name)
        bar.update(step - bar.n)

    with bar:
        yield told


def _long(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"

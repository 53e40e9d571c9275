"""`bench study add VOTES...`: votes checked and stored."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench.cli import options
from bench.cli.number_types import FiniteRange


@click.command(
    epilog="""\b
    bench study add study                           what bench study serve has taken
    bench study add votes-anna.json votes-ben.json  what people sent"""
)
@click.argument("votes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(dir_okay=False, path_type=Path), help="Of the study. Default: as it was made.")
@click.option("--fastest", type=FiniteRange(0), default=1.0, show_default=True, help="Seconds of the median answer.")
@click.option("--complete", type=FiniteRange(0, 1), default=0.9, show_default=True, help="Part that is answered.")
@click.option("--traps", type=FiniteRange(0, 1), default=0.25, show_default=True, help="Part that may be failed.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@options.results
def command(
    votes: tuple[Path, ...],
    key: Path | None,
    fastest: float,
    complete: float,
    traps: float,
    style: str,
    results: str | None,
) -> int:
    """Check people's votes and store them with the pixels that they are about: runs with those pixels have them.

    VOTES are files that participants saved, a folder of them, or the folder of a study that was served. Every session
    is said to be kept or left out, with each reason: unknown items, double submissions, failed traps, straight lines,
    haste, incompleteness. Adding the same again changes nothing. Exit code 1 where a file holds no votes.
    """
    from bench import paths
    from bench.study import add
    from bench.study.screening import Rules

    added = add.add(paths.results(results), votes, Rules(fastest, complete, traps), key)
    if style == "json":
        rows = [
            {"study": one.session.study, "session": one.session.session, "observer": one.session.observer,
             "accepted": one.session.accepted, "kept": one.session.kept, "reasons": list(one.session.reasons),
             "new": one.new, "file": str(one.file)}
            for one in added.outcomes
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for one in added.outcomes:
            click.echo(one.line)
    if added.aside:
        click.echo(f"not read, no .json in the name: {', '.join(added.aside)}", err=True)
    for problem in added.problems:
        click.echo(f"error: {problem}", err=True)
    kept = sum(one.session.kept for one in added.outcomes)
    click.echo(f"{kept} sessions kept, {len(added.outcomes) - kept} left out, {len(added.problems)} problems", err=True)
    return int(bool(added.problems))

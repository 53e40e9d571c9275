"""`bench merge`: several results folders as one."""

from __future__ import annotations

import click

from bench.cli import options


@click.command(
    epilog="""\b
    bench run SUITE --shard 1/4 --results part1      on one machine, and so on to 4/4
    bench merge part1 part2 part3 part4 -o whole
    bench merge part* more -o whole                  later parts into it: merging again changes nothing
    bench table SUITE --results whole"""
)
@click.argument("folders", nargs=-1, required=True, metavar="RESULTS...", type=click.Path(file_okay=False))
@click.option("--output", "-o", required=True, type=click.Path(file_okay=False), help="Results folder to merge into.")
@options.plugins
def command(folders: tuple[str, ...], output: str, plugins: tuple[str, ...]) -> int:
    """Join results folders into one: rows by their keys, outputs by their hashes, runs of one plan as one run.

    The order does not matter, and merging again changes nothing. Folders that hold different values for the same thing
    are refused, and what differs is named; then nothing is written.
    """
    from pathlib import Path

    from bench.runner.merging import merge

    merged = merge([Path(folder) for folder in folders], Path(output), plugins, lambda line: click.echo(line, err=True))
    click.echo(merged.line(output))
    return 0

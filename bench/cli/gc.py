"""`bench gc`: free the disk of what no run names."""

from __future__ import annotations

import click

from bench.cli import options


@click.command(
    epilog="""\b
    bench gc --dry-run                         what would be deleted
    bench gc --keep 3                          the newest three runs of each suite stay"""
)
@click.option("--keep", type=click.IntRange(min=0), help="First drop all but the newest N runs of each suite.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@options.results
def command(keep: int | None, dry_run: bool, results: str | None) -> int:
    """Delete outputs and rows that no run names."""
    from bench import paths
    from bench.results import artefacts
    from bench.results.garbage import collect
    from bench.results.store import FILE_NAME, Store

    folder = paths.results(results)
    Store(folder, writable=False).close()  # a folder without results is an error, not a reason to make one
    with Store(folder) as store:
        freed = collect(store, folder, keep, dry_run=dry_run)
        kept = artefacts.held(folder)
    verb = "would delete" if dry_run else "deleted"
    click.echo(f"{verb} {freed.runs} runs, {freed.rows} rows, {freed.files} files, {freed.bytes / 1e6:.1f} MB")
    left = artefacts.Held(kept.files - freed.files, kept.bytes - freed.bytes) if dry_run else kept
    store_size = (folder / FILE_NAME).stat().st_size
    click.echo(f"kept: {left.files} files of outputs, {left.bytes / 1e6:.1f} MB; rows, {store_size / 1e6:.1f} MB")
    return 0

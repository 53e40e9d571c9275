"""`bench study serve DIR`: the page of a study on this machine, and its votes taken."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="""\b
    bench study serve study                        on this machine alone
    bench study serve study --active               asks, of pairs, what says most about the order
    bench study serve study --host 0.0.0.0 --port 80"""
)
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in.")
@click.option("--active", is_flag=True, help="Of a study in pairs: ask what says most about the order of the methods.")
def command(study: Path, port: int, host: str, active: bool) -> int:
    """Serve DIR/page, and append votes to DIR/votes.jsonl, each on the disk before it is acknowledged.

    bench study add DIR takes them from there, at any time. With --active each person gets as many questions as
    bench study make --votes said, chosen while they answer. Ctrl-C ends it; started again it goes on.
    """
    from bench.study import server

    def ready(address: str, before: int) -> None:
        held = f", {before} events from before" if before else ""
        click.echo(f"{address}  (participant 1: {address}?p=1{held}; Ctrl-C ends)")
        if not server.is_local(host):
            click.echo("other machines can reach it: votes go over the network as they are", err=True)

    try:
        server.serve(study, host, port, active=active, ready=ready)
    except KeyboardInterrupt:
        click.echo(f"bench study add {study}", err=True)
    return 0

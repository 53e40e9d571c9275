"""`bench runs`: list what a results folder holds."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import TYPE_CHECKING

import click

from bench.cli import options

if TYPE_CHECKING:
    from bench.results.store import RunRow

_KEYS = ("run", "suite", "started", "state", "datasets", "methods", "units", "failed", "unavailable", "device")


@click.command(
    epilog="""\b
    bench runs                                 number, suite, when, state
    bench runs --format json --results ../other/results"""
)
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@options.results
def command(style: str, results: str | None) -> int:
    """List the runs, newest first."""
    import datetime

    from bench import paths
    from bench.errors import BenchError
    from bench.results import tallies
    from bench.results.leases import Owner, abandoned
    from bench.results.store import Store
    from iqpir.terminal import listing

    listed = []
    damaged: list[str] = []
    counted: dict[RunRow, tallies.Tally] = {}
    with Store.reading(paths.results(results)) as store:
        living = [one for one in store.leases() if not abandoned(Owner(one.host, one.pid, one.started), one.beat)]
        working = {lease.run for lease in living}
        for lease in living:
            if lease.kind == "run" and lease.run is None:
                click.echo(f"a run is planning (process {lease.pid})", err=True)
        rows, change = store.runs(), store.changes()
        known = tallies.known(store, rows)
        for row in rows:
            try:
                tally = known.get(row.id) or counted.setdefault(row, tallies.count(store, row))
            except BenchError as error:  # the others are listed all the same
                damaged.append(str(error))
                listed.append(dict.fromkeys(_KEYS) | {"run": row.id, "suite": row.suite, "state": "damaged"})
                continue
            started = datetime.datetime.fromtimestamp(row.created).astimezone()
            listed.append(
                {
                    "run": row.id,
                    "suite": row.suite,
                    "started": started.isoformat(timespec="seconds"),
                    "state": _state(row, tally.pending, working),
                    "datasets": tally.datasets,
                    "methods": tally.methods,
                    "units": tally.expected,
                    "failed": tally.failed,
                    "unavailable": tally.unavailable,
                    "device": tally.device,
                }
            )
    tallies.keep_all(paths.results(results), counted, change)
    if style == "json":
        click.echo(json.dumps(listed, indent=1, ensure_ascii=False))
    else:
        lines = [{key: "" if value is None else str(value) for key, value in row.items()} for row in listed]
        click.echo(listing(lines), nl=False)
    if damaged:
        raise BenchError(damaged[0] + (f" ({len(damaged) - 1} more)" if len(damaged) > 1 else ""))
    return 0


def _state(row: RunRow, pending: int, working: Container[int | None]) -> str:
    if row.id in working:
        return "working"
    return "finished" if row.finished and not pending else "unfinished"

"""`bench runs`: list what a results folder holds."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--results", type=click.Path(file_okay=False), help="Results folder (BENCH_RESULTS, else ./results).")
def command(style: str, results: str | None) -> int:
    """List the runs, newest first."""
    import datetime

    from tabulate import tabulate

    from bench import paths
    from bench.store import Store
    from bench.tables import frame

    listed = []
    with Store(paths.results(results), writable=False) as store:
        for row in store.runs():
            data = frame.read_cells(store, row.id)
            counts = frame.failures(data)
            started = datetime.datetime.fromtimestamp(row.created).astimezone()
            listed.append(
                {
                    "run": row.id,
                    "suite": row.suite,
                    "started": started.isoformat(timespec="seconds"),
                    "state": "finished" if row.finished and not counts.pending else "unfinished",
                    "datasets": len(data.record.datasets),
                    "methods": len(data.record.methods),
                    "units": counts.expected,
                    "failed": counts.failed,
                    "unavailable": counts.unavailable,
                    "device": data.provenance.get("device_model"),
                }
            )
    if style == "json":
        click.echo(json.dumps(listed, indent=1, ensure_ascii=False))
    else:
        click.echo(tabulate(listed, headers="keys", tablefmt="simple", disable_numparse=True))
    return 0

"""`bench doctor`: what is installed, cached and missing."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One array of findings instead of the table.")
@click.option("--deep", is_flag=True, help="Also import torch and every catalogue entry, and check the results file.")
@click.option("--results", type=click.Path(file_okay=False), help="Results folder (BENCH_RESULTS, else ./results).")
def command(as_json: bool, deep: bool, results: str | None) -> int:
    """Look at packages, devices, cache, results and plugins; exit code 1 when something needed is broken."""
    from bench import paths
    from bench.cli.fetch import assets_of_entry
    from bench.doctor import examine

    report = examine(paths.results(results), assets_of_entry, deep=deep)
    if as_json:
        import json

        click.echo(json.dumps(report.rows(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        click.echo(report.text())
    return 0 if report.healthy else 1

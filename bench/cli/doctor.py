"""`bench doctor`: what is installed, cached and missing."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench doctor                               packages, devices, cache, results, plugins
    bench doctor lol-v1                        is this dataset here, and as published?
    bench doctor --deep --json                 for a program, every entry imported"""
)
@click.argument("datasets", nargs=-1, metavar="[DATASET]...", shell_complete=names.datasets)
@click.option("--json", "as_json", is_flag=True, help="One array of findings instead of the table.")
@click.option("--deep", is_flag=True, help="Also import torch and every catalogue entry, and check the results file.")
@options.results
def command(datasets: tuple[str, ...], as_json: bool, deep: bool, results: str | None) -> int:
    """Look at packages, devices, cache, results and plugins; exit code 1 when something needed is broken.

    With DATASET: whether it is here, and how it differs from the official one; exit code 1 unless it is here.
    """
    if datasets:
        return _datasets(datasets, as_json)
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


def _datasets(names: tuple[str, ...], as_json: bool) -> int:
    import json

    from bench.catalog.registry import registry
    from bench.data.survey import steps, survey

    entries = [registry("dataset").get(name) for name in names]
    states = [survey(entry, deep=True) for entry in entries]
    if as_json:
        rows = [{"dataset": e.name, "status": s.status, "lines": s.lines} for e, s in zip(entries, states, strict=True)]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for entry, state in zip(entries, states, strict=True):
            official = entry.fields.get("kind") == "official" and state.status != "here"
            own = "images of your own: a suite names them" if state.status == "own" else ""
            for line in [*(state.lines or [f"{entry.name}: {own}"]), *(steps(entry) if official else [])]:
                click.echo(line)
    return 0 if all(state.status in ("here", "own") for state in states) else 1

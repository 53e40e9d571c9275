"""`bench validate`: resolve every name in a suite for real."""

from __future__ import annotations

import click


@click.command()
@click.argument("suites", nargs=-1, required=True)
@click.option("--plugin", "plugins", multiple=True, help="A Python file that registers methods; repeatable.")
def command(suites: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Check suites: every key, method, dataset, metric and protocol.

    What is named rightly but not on this machine yet (weights, data) is listed and is no error.
    """
    from bench.catalog.plugins import load_plugins
    from bench.catalog.registry import registry
    from bench.data.survey import deviations
    from bench.errors import BenchError
    from bench.planning.bind import resolve
    from bench.planning.missing import screen
    from bench.suite import definition

    load_plugins(plugins)
    code = 0
    for name in suites:
        try:
            resolved = resolve(definition.load(definition.find(name)))
            for method in resolved.methods:
                if method.entry.target:
                    method.entry.load()  # imports the network, so that a target that is not there is found here
        except BenchError as error:
            code = 2
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            continue
        cells = sum(method.is_for(dataset.label) for dataset, method in resolved.cells())
        labels = len({method.label for method in resolved.methods})
        click.echo(
            f"{name}: valid ({len(resolved.datasets)} datasets, {labels} methods, {cells} cells, "
            f"{len(resolved.file.suite.metrics)} metrics)"
        )
        for bound in resolved.datasets:
            entry = registry("dataset").get(bound.name)
            for line in (*bound.dataset.notes, *deviations(entry, bound.dataset)):
                click.echo(f"{name}: {bound.label}: {line}", err=True)
        if resolved.missing:
            click.echo(screen(name, resolved.missing), err=True)
    return code

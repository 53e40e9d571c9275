"""`bench validate`: resolve every name in a suite for real."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench validate mine.yaml
    bench validate lol quickstart
    bench validate mine.yaml --plugin my_method.py"""
)
@click.argument("suites", nargs=-1, required=True, shell_complete=names.suites)
@options.plugins
@options.timeout("Longest that a plugin may take to be read, or to say what it is.  [default: 300, never below 10]")
def command(suites: tuple[str, ...], plugins: tuple[str, ...], timeout: float | None) -> int:
    """Check suites: every key, method, dataset, metric and protocol.

    What is named rightly but not on this machine yet (weights, data) is listed and is no error.
    """
    from bench.catalog.rehearsal import Elsewhere
    from bench.errors import BenchError
    from bench.planning import validation

    code = 0
    with Elsewhere("validating", plugins, timeout) as elsewhere:
        for name in suites:
            try:
                found = elsewhere.ask(validation.validate, name, plugins)
            except BenchError as error:
                code = 2
                for line in str(error).splitlines():
                    click.echo(f"error: {line}", err=True)
                continue
            click.echo(found.line)
            for line in found.notes:
                click.echo(line, err=True)
    return code

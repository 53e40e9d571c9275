"""`bench selftest`: check a method against generated images."""

from __future__ import annotations

import click

from bench.cli import names, options


@click.command(
    epilog="""\b
    bench selftest gamma
    bench selftest my-net --plugin my_method.py"""
)
@click.argument("name", metavar="METHOD", shell_complete=names.methods)
@options.device
@options.plugins
@options.timeout("Longest that loading the method, or a check, may take; then the check has failed.")
def command(name: str, device: str, plugins: tuple[str, ...], timeout: float | None) -> int:
    """Check a method: shape, range, determinism, batch invariance, odd sizes. Exit code 1 when a check fails."""
    from bench.testing.checks import render
    from bench.testing.method_contract import selftest_named

    results = selftest_named(name, device, plugins, timeout)
    click.echo(render(results))
    return 1 if any(result.status == "failed" for result in results) else 0

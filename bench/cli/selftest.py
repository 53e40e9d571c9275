"""`bench selftest`: check a method against generated images."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", metavar="METHOD")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--plugin", "plugins", multiple=True, help="A Python file that registers methods; repeatable.")
def command(name: str, device: str, plugins: tuple[str, ...]) -> int:
    """Check a method: shape, range, determinism, batch invariance, odd sizes. Exit code 1 when a check fails."""
    from bench.catalog.plugins import load_plugins
    from bench.catalog.registry import registry
    from bench.errors import BenchError
    from bench.machine import check_device
    from bench.methods.base import Method
    from bench.methods.build import build_method
    from bench.testing.method_contract import render, selftest

    load_plugins(plugins)
    check_device(device)
    method = build_method(registry("method").get(name), {}, None)
    if not isinstance(method, Method):
        raise BenchError(f"method {name!r} reads outputs from disk; there is nothing to test")
    checks = selftest(method, device, "float32")
    click.echo(render(checks))
    return 1 if any(check.status == "failed" for check in checks) else 0

"""`bench info NAME`: everything the catalogue says about a name."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
def command(name: str) -> int:
    """Say everything about a method, dataset, metric or protocol."""
    import yaml

    from bench import registry
    from bench.errors import BenchError, suggest

    registries = [registry.registry(kind) for kind in registry.KINDS]
    found = [entries.get(name) for entries in registries if name in entries]
    if not found:
        known = [each for entries in registries for each in entries.names()]
        raise BenchError(
            f"nothing is called {name!r}{suggest(name, known)} (bench list methods|datasets|metrics|protocols)"
        )
    for entry in found:
        about = {"name": entry.name, "is a": entry.kind, "from": entry.origin, **entry.fields}
        if entry.kind == "metric" and not entry.fields.get("unavailable"):
            about["signature (default protocol)"] = _signature(entry)
        click.echo(yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=110), nl=False)
    return 0


def _signature(entry: object) -> str:
    from bench.metrics.build import build_metric
    from bench.metrics.protocols import protocol
    from bench.registry import Entry

    assert isinstance(entry, Entry)
    return str(build_metric(entry, {}, protocol().settings).signature())

"""`bench info NAME`: everything the catalogue says about a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli import names

if TYPE_CHECKING:
    from bench.catalog.registry import Entry

_FIRST = ("title", "formula", "description", "variant", "source", "paper", "mode", "better", "range", "licence", "cost")
"""What is said first, in this order."""


@click.command(
    epilog="""\b
    bench info sci-medium                      a method: licence, weights, what it was trained on
    bench info psnr                            a metric: formula, options, signature
    bench info reti-diff/lol                   a protocol"""
)
@click.argument("name", shell_complete=names.entries)
def command(name: str) -> int:
    """Say everything about a method, dataset, metric or protocol."""
    from bench.catalog import registry
    from bench.errors import BenchError, suggest

    registries = [registry.registry(kind) for kind in registry.KINDS]
    found = [entries.get(name) for entries in registries if name in entries]
    if not found:
        known = [each for entries in registries for each in entries.names()]
        raise BenchError(
            f"nothing is called {name!r}{suggest(name, known)} (bench list methods|datasets|metrics|protocols)"
        )
    for entry in found:
        first = {key: entry.fields[key] for key in _FIRST if key in entry.fields}
        about = {"name": entry.name, "is a": entry.kind, "from": entry.origin, **first, **entry.fields}
        if entry.kind == "method":
            about |= _method(entry)
        if entry.kind == "metric":
            about["commercial use"] = "allowed" if entry.commercial_safe else "not allowed, or not known to be"
        _say(about, None)
        if entry.kind == "metric" and not entry.fields.get("unavailable"):
            _say(_metric(entry), False)
        if entry.kind == "protocol":
            _say(_protocol(entry), False)
    return 0


def _method(entry: Entry) -> dict[str, object]:
    """How it comes to run, and why it does not run here with the catalogue's options alone."""
    from bench.methods.availability import status, why_not

    reason = why_not(entry)
    return {"status": status(entry), **({} if reason is None else {"cannot run here": reason})}


def _protocol(entry: Entry) -> dict[str, object]:
    """What the options of its view do, and the signatures of PSNR, SSIM and the metrics that it names."""
    from bench.catalog import registry
    from bench.metrics.build import build_metric
    from bench.metrics.protocols import protocol
    from bench.metrics.view import MEANINGS

    rules = protocol(entry.name)
    metrics = registry.registry("metric")
    means = {
        f"{option} {value}": MEANINGS[option][str(value).partition("@")[0]]
        for option, value in rules.view.items()
        if option in MEANINGS and value != "no"
    }
    named = [name for name in dict.fromkeys(["psnr", "ssim", *rules.metrics]) if name in metrics]
    signatures = {name: str(build_metric(metrics.get(name), {}, rules).full_signature()) for name in named}
    return {"means": means, "signatures": signatures}


def _say(about: dict[str, object], flow: bool | None) -> None:
    """As YAML; `flow` None puts the innermost lists and mappings on one line, False nothing."""
    import yaml

    nested = any(isinstance(value, list | dict) for value in about.values())  # else `about` is itself the innermost
    text = yaml.safe_dump(
        about, sort_keys=False, allow_unicode=True, width=110, default_flow_style=flow if nested else False
    )
    click.echo(text, nl=False)


def _metric(entry: Entry) -> dict[str, object]:
    """What a suite may set, and what the number then means."""
    from bench.metrics.build import build_metric, describe_options
    from bench.metrics.protocols import protocol

    signature = build_metric(entry, {}, protocol().settings).full_signature()
    return {"takes": describe_options(entry), "signature (default protocol)": str(signature)}

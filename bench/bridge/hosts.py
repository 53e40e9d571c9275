"""The harness's networks as hosts for a score (`iqpir train plus`, `host: bench:NAME`).

A provider of the entry points `iqpir.hosts`. A method of kind `plus` stands for its host, with the sites that its
catalogue entry names.
"""

from __future__ import annotations

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.plus import host_of
from iqpir.errors import IQPIRError
from iqpir.plus import Site
from iqpir.training.hosts import Host


def host(name: str) -> Host:
    """The network of that method, with its published weights. Raises `IQPIRError` with the harness's line."""
    try:
        entry = registry("method").get(name)
        sites = tuple(Site(**site) for site in entry.fields.get("sites") or ())
        options = entry.fields.get("options") or {}
        named = options.get("host") if entry.fields.get("kind") == "plus" else None
        asked = named if isinstance(named, str) else name  # `plus` itself only declares the option
        method = host_of(f"host {name!r}", asked, {}, None)
        if method.scale != 1:
            raise IQPIRError(f"{name} changes the size by {method.scale}; a host restores at the same size")
        method.load("cpu", "float32")
        return Host(method.network, sites)
    except BenchError as error:
        raise IQPIRError(str(error)) from error

"""The harness's networks as hosts for a score (`iqpir train plus`, `host: bench:NAME`).

A provider of the entry points `iqpir.hosts`. A method of kind `plus` stands for its host, with the sites that its
catalogue entry names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.clone import CloneMethod
from bench.methods.plus import host_of
from iqpir.errors import IQPIRError
from iqpir.plus import Site
from iqpir.training.hosts import Host


def host(
    name: str, options: Mapping[str, Any] | None = None, *, base: Path | None = None, commands: bool = False
) -> Host:
    """The network of that method, with its published weights. Raises `IQPIRError` with the harness's line.

    `options` are the method's, relative paths in them those of the folder `base`. `commands`: whether code of a clone
    that they name may run.
    """
    try:
        entry = registry("method").get(name)
        sites = tuple(Site(**site) for site in entry.fields.get("sites") or ())
        declared = entry.fields.get("options") or {}
        named = declared.get("host") if entry.fields.get("kind") == "plus" else None
        asked = named if isinstance(named, str) else name  # `plus` itself only declares the option
        method = host_of(f"host {name!r}", asked, options or {}, base)
        if method.scale != 1:
            raise IQPIRError(f"{name} changes the size by {method.scale}; a host restores at the same size")
        foreign = None if commands else method.foreign_code()
        if foreign is not None:
            raise IQPIRError(f"host {name!r} {foreign}: --allow-commands lets it")
        reason = method.unavailable()
        if reason is not None:
            raise IQPIRError(reason)
        method.load("cpu", "float32")
        return Host(method.network, sites, method.size if isinstance(method, CloneMethod) else None)
    except BenchError as error:
        raise IQPIRError(str(error)) from error

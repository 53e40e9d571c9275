"""Networks that can be given a score, by name: `PROVIDER:NAME`, offered through the entry points `iqpir.hosts`.

A provider is a function name → `Host`. One that takes options for a host, or runs code that the settings name, is
called as `provider(name, options, base=…, commands=…)` where there are any.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from iqpir.errors import IQPIRError, one_line, suggest
from iqpir.plus import Site

ENTRY_POINTS = "iqpir.hosts"
CLONE = "bench:clone"
"""Who imports from clones."""


class Host(NamedTuple):
    network: nn.Module
    """With its published weights, from [B,3,H,W] in [0,1] to the same."""
    sites: tuple[Site, ...] = ()
    """Where its provider would give it a score; empty where nobody has tried."""
    size: tuple[int, int] | None = None
    """(width, height) of the only images that it takes."""


def load_host(
    named: str | Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    *,
    base: Path | None = None,
    commands: bool = False,
) -> Host:
    """The host, in float32 on the CPU; a mapping is a network in a clone: `{repo, module, arguments, weights}`.

    Code of a clone runs only with `commands`. Raises `IQPIRError` with what is missing and the remedy.
    """
    name = named if isinstance(named, str) else CLONE
    if not isinstance(named, str):
        options = {**named, **(options or {})}
    provider, colon, rest = name.partition(":")
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if not colon or provider not in points:
        known = [f"{each}:NAME" for each in sorted(points)]
        raise IQPIRError(f"no host {name!r}{suggest(provider, points)} (there are {', '.join(known) or 'none'})")
    try:
        factory = points[provider].load()
    except Exception as error:
        raise IQPIRError(
            f"provider {provider!r} cannot be loaded: {type(error).__name__}: {one_line(error)}"
        ) from error
    host: Host = factory(rest, options, base=base, commands=commands) if options else factory(rest)
    host.network.float().requires_grad_(True)
    return host

"""Networks that can be given a score, by name: `PROVIDER:NAME`, offered through the entry points `iqpir.hosts`.

A provider is a function name → `Host`.
"""

from __future__ import annotations

import importlib.metadata
from typing import NamedTuple

from torch import nn

from iqpir.errors import IQPIRError, one_line, suggest
from iqpir.plus import Site

ENTRY_POINTS = "iqpir.hosts"


class Host(NamedTuple):
    network: nn.Module
    """With its published weights, from [B,3,H,W] in [0,1] to the same."""
    sites: tuple[Site, ...] = ()
    """Where its provider would give it a score; empty where nobody has tried."""


def load_host(name: str) -> Host:
    """The host, in float32 on the CPU. Raises `IQPIRError` with what is missing and the remedy."""
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
    host: Host = factory(rest)
    host.network.float().requires_grad_(True)
    return host

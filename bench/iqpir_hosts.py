"""The harness's networks as hosts for a score (`iqpir train plus`, `host: bench:NAME`).

A provider of the entry points `iqpir.hosts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.methods.build import build_method
from bench.methods.network import NetworkMethod
from bench.methods.plus import network_of
from bench.registry import registry
from iqpir.errors import IQPIRError

if TYPE_CHECKING:
    from torch.nn import Module


def host(name: str) -> Module:
    """The network of that method, with its published weights. Raises `IQPIRError` with the harness's line."""
    try:
        method = build_method(registry("method").get(name), {}, None)
        if not isinstance(method, NetworkMethod) or method.scale != 1:
            raise IQPIRError(f"{name} is no network that restores at the same size (bench list methods)")
        method.load("cpu", "float32")
        return network_of(method)
    except BenchError as error:
        raise IQPIRError(str(error)) from error

"""Adapter for `kind: plus`: a network of the catalogue that was given a score and trained (`iqpir train plus`).

What the papers write as a "+" behind a host's name; so does a suite, for any network of the catalogue or of one's own
(`{method: NAME+, options: {weights: FILE}}`). The host's own adapter does everything else: padding, tiles, the rounding
of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.identity import file_hash
from bench.methods.base import Box, Method
from bench.methods.module import ModuleMethod
from bench.methods.network import NetworkMethod
from bench.methods.options import Option, declared_options, resolve
from bench.methods.versions import code_versions

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from iqpir.plus import ScoreConditioner

OPTIONS = {
    "host": Option("host", type=str, required=True),
    "host_options": Option("host_options"),
    "weights": Option("weights", type=str),
    "score": Option("score", 0.9, float, min=0, max=1),
    "guidance": Option("guidance", 1.0, float, min=0),
}
Host = NetworkMethod | ModuleMethod
SOURCES = ("iqpir.plus", "iqpir.network.conditioning", __name__)


class PlusMethod(Method):
    """A host with the conditioner in a file, at one score.

    `guidance`: 1 is the conditioned output; more goes beyond it, away from the output without a score.
    """

    def __init__(self, name: str, host: Host, path: Path | None, score: float = 0.9, guidance: float = 1.0) -> None:
        self.name = name
        self.scale, self.quantise = host.scale, host.quantise
        self.batch_invariant, self.stochastic = host.batch_invariant, host.stochastic
        self._host, self._path = host, path
        self._score, self._guidance = score, guidance
        self._digest: str | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> PlusMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        values = resolve(where, declared_options(where, entry.fields, OPTIONS), options)
        path = None if values["weights"] is None else paths.find(values["weights"], base)
        if path is not None and not path.is_file():
            raise BenchError(f"{where}: option 'weights' names {path}, and there is no such file: iqpir train plus")
        host = host_of(where, values["host"], values["host_options"] or {}, base)
        return cls(entry.name, host, path, values["score"], values["guidance"])

    def assets(self) -> list[Asset]:
        return self._host.assets() if self._path is not None else []

    def unavailable(self) -> str | None:
        """Nobody publishes weights of a "+", so that without the option there is nothing to run."""
        if self._path is not None:
            return None
        made = f"iqpir train plus makes them from {self._host.name}, options: {{weights: FILE}} takes them"
        return f"no weights of {self.name} are published: {made}"

    def _weights(self) -> Path:
        if self._path is None:
            raise BenchError(str(self.unavailable()))
        return self._path

    def valid_crop(self, height: int, width: int) -> Box | None:
        return self._host.valid_crop(height, width)

    def identity(self) -> Mapping[str, Any]:
        self._digest = file_hash(self._weights())
        return {
            "kind": "plus",
            "host": self._host.identity(),
            "score": self._score,
            "guidance": self._guidance,
            "weights": self._digest,
            "sources": code_versions(SOURCES),
        }

    def load(self, device: str, dtype: str) -> None:
        import torch

        from iqpir.errors import IQPIRError
        from iqpir.plus import ScoreConditioner

        path = self._weights()
        if self._digest is not None and file_hash(path) != self._digest:
            raise BenchError(f"{self.name}: {path} changed while it was in use")
        self._host.load(device, dtype)
        try:
            plus = ScoreConditioner.load(network_of(self._host), path)
        except IQPIRError as error:
            raise BenchError(f"{self.name}: {error}") from error
        plus = plus.to(device, getattr(torch, dtype)).eval().requires_grad_(False)
        scored = _scored(plus, self._score, self._guidance)
        if isinstance(self._host, ModuleMethod):
            self._host._loaded = scored
        else:
            self._host._network = scored

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        return self._host.restore(images, seeds)

    def close(self) -> None:
        self._host.close()


def host_of(where: str, name: str, options: Mapping[str, Any], base: Path | None) -> Host:
    """The method of that name, if it has a network that a score can be given to. Raises `BenchError`."""
    from bench.methods.build import build_method

    entry = registry("method").get(name)
    if not isinstance(options, Mapping):
        raise BenchError(f"{where}: host_options are a mapping of the host's options, not {options!r}")
    if entry.fields.get("kind") not in ("network", "spandrel", "plugin"):
        raise BenchError(f"{where}: host {name!r} is of kind {entry.fields.get('kind')!r}; a host is a network")
    host = build_method(entry, options, base)
    if isinstance(host, ModuleMethod) and host.module is not None:
        return host
    if not isinstance(host, NetworkMethod):
        raise BenchError(f"{where}: host {name!r} is no torch module; bench.methods.module.from_module takes one")
    return host


def network_of(method: Host) -> Module:
    """The network of a loaded method, without its padding and tiles."""
    return method.network


def _scored(plus: ScoreConditioner, score: float, guidance: float) -> Any:
    def forward(images: Tensor, *more: Tensor) -> Any:
        if guidance == 1:
            return plus(images, *more, score=score)
        return plus.guided(images, *more, score=score, scale=guidance)

    return forward

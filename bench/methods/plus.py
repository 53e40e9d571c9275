"""Adapter for `kind: plus`: a network of the catalogue that was given a score and trained (`iqpir train plus`).

What the papers write as a "+" behind a host's name; so does a suite, for any network of the catalogue or of one's own
(`{method: NAME+, options: {weights: FILE}}`). The host's own adapter does everything else: padding, tiles, the rounding
of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.methods.base import Box, Method
from bench.methods.build import build_method
from bench.methods.clone import CloneMethod
from bench.methods.loading import NamedFile, loading
from bench.methods.module import ModuleMethod
from bench.methods.network import NetworkMethod
from bench.methods.options import Option, declared_options, resolve
from bench.methods.versions import code_versions

if TYPE_CHECKING:
    from torch import Tensor

    from iqpir.plus import ScoreConditioner

OPTIONS = {
    "host": Option("host", required=True),
    "host_options": Option("host_options"),
    "weights": Option("weights", type=str),
    "score": Option("score", 0.9, float, min=0, max=1),
    "guidance": Option("guidance", 1.0, float, min=0),
}
Host = NetworkMethod | ModuleMethod | CloneMethod
CLONE = "clone"
"""The catalogue's entry of a network in any clone."""
SOURCES = ("iqpir.plus", "iqpir.network.conditioning", __name__)


class PlusMethod(Method):
    """A host with the conditioner in a file, at one score.

    `guidance`: 1 is the conditioned output; more goes beyond it, away from the output without a score.
    """

    def __init__(
        self, name: str, host: Host, file: NamedFile | None, score: float = 0.9, guidance: float = 1.0
    ) -> None:
        self.name = name
        self.scale, self.quantise = host.scale, host.quantise
        self.batch_invariant, self.stochastic = host.batch_invariant, host.stochastic
        self._host, self._file = host, file
        self._score, self._guidance = score, guidance

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> PlusMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        values = resolve(where, declared_options(where, entry.fields, OPTIONS), options)
        named = values["weights"]
        file = None if named is None else NamedFile(where, "weights", named, base, ": iqpir train plus")
        host = host_of(where, values["host"], values["host_options"] or {}, base)
        if file is not None and isinstance(host, NetworkMethod) and _holds_host(file.path):
            host.filled_elsewhere()
        return cls(entry.name, host, file, values["score"], values["guidance"])

    def assets(self) -> list[Asset]:
        return self._host.assets() if self._file is not None else []

    def foreign_code(self) -> str | None:
        return self._host.foreign_code()

    def unavailable(self) -> str | None:
        """Nobody publishes weights of a "+", so that without the option there is nothing to run."""
        if self._file is not None:
            return self._host.unavailable()
        made = f"iqpir train plus makes them from {self._host.name}, options: {{weights: FILE}} takes them"
        return f"no weights of {self.name} are published: {made}"

    def _weights(self) -> NamedFile:
        if self._file is None:
            raise BenchError(str(self.unavailable()))
        return self._file

    def valid_crop(self, height: int, width: int) -> Box | None:
        return self._host.valid_crop(height, width)

    def identity(self) -> Mapping[str, Any]:
        return {
            "kind": "plus",
            "host": self._host.identity(),
            "score": self._score,
            "guidance": self._guidance,
            "weights": self._weights().digest(),
            "sources": code_versions(SOURCES),
        }

    def load(self, device: str, dtype: str) -> None:
        import torch

        from iqpir.plus import ScoreConditioner

        path = self._weights().unchanged(self.name)
        self._host.load(device, dtype)
        with loading(self.name, device, dtype):
            plus = ScoreConditioner.load(self._host.network, path)
            plus = plus.to(device, getattr(torch, dtype)).eval().requires_grad_(False)
        self._host.run_instead(_scored(plus, self._score, self._guidance))

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        return self._host.restore(images, seeds)

    def close(self) -> None:
        self._host.close()


def host_of(where: str, named: Any, options: Mapping[str, Any], base: Path | None) -> Host:
    """The method of that name, if it has a network that a score can be given to; a mapping is the options of `clone`.

    Raises `BenchError`.
    """
    if not isinstance(options, Mapping):
        raise BenchError(f"{where}: host_options are a mapping of the host's options, not {options!r}")
    name = named
    if isinstance(named, Mapping):
        if "repo" not in named:
            raise BenchError(f"{where}: host is the name of a method, or {{repo: CLONE, module: …, weights: FILE}}")
        name, options = CLONE, {**named, **options}
    if not isinstance(name, str):
        raise BenchError(f"{where}: host is the name of a method or a mapping with repo and module, not {name!r}")
    entry = registry("method").get(name)
    if entry.fields.get("kind") not in ("network", "spandrel", "plugin", "clone"):
        raise BenchError(f"{where}: host {name!r} is of kind {entry.fields.get('kind')!r}; a host is a network")
    host = build_method(entry, options, base)
    if isinstance(host, CloneMethod) or (isinstance(host, ModuleMethod) and host.module is not None):
        return host
    if not isinstance(host, NetworkMethod):
        raise BenchError(f"{where}: host {name!r} is no torch module; bench.methods.module.from_module takes one")
    return host


def _holds_host(path: Path) -> bool:
    """Whether the host's own tensors are in a conditioner's file; one that is no such file is refused by `load`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:  # does not import torch
            return (file.metadata() or {}).get("host") == "included"
    except (SafetensorError, OSError):
        return False


def _scored(plus: ScoreConditioner, score: float, guidance: float) -> Any:
    def forward(images: Tensor, *more: Tensor) -> Any:
        if guidance == 1:
            return plus(images, *more, score=score)
        return plus.guided(images, *more, score=score, scale=guidance)

    return forward

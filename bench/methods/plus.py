"""Adapter for `kind: plus`: a network of the catalogue that was given a score and trained (`iqpir train plus`).

What the papers write as a "+" behind a host's name. The host's own adapter does everything else: padding, tiles, the
rounding of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.errors import BenchError
from bench.identity import file_hash
from bench.methods.base import source_hash
from bench.methods.network import OPTIONS as NETWORK_OPTIONS
from bench.methods.network import NetworkMethod
from bench.methods.options import Option, declared_options, resolve
from bench.registry import Entry, registry

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from iqpir.plus import ScoreConditioner

OPTIONS = {
    "host": Option("host", type=str, required=True),
    "weights": Option("weights", type=str, required=True),
    "score": Option("score", 0.9, float, min=0, max=1),
    "guidance": Option("guidance", 1.0, float, min=0),
}
SOURCES = ("iqpir.plus", "iqpir.network.conditioning", __name__)


class PlusMethod(NetworkMethod):
    """The host `host` with the conditioner in the file `weights`, at one score.

    `guidance`: 1 is the conditioned output; more goes beyond it, away from the output without a score.
    """

    def __init__(self, name: str, host: Entry, options: Mapping[str, Any], path: Path) -> None:
        where = f"method {host.name!r} ({host.origin})"
        super().__init__(host, resolve(where, declared_options(where, host.fields, NETWORK_OPTIONS), {}))
        self.name = name
        self._path = path
        self._score, self._guidance = float(options["score"]), float(options["guidance"])
        self._rows_digest: str | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> PlusMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        values = resolve(where, declared_options(where, entry.fields, OPTIONS), options)
        host = registry("method").get(values["host"])
        if host.fields.get("kind") != "network":
            raise BenchError(
                f"{where}: host {host.name!r} is of kind {host.fields.get('kind')!r}; a host is a network of ours"
            )
        path = paths.find(values["weights"], base)
        if not path.is_file():
            raise BenchError(f"{where}: option 'weights' names {path}, and there is no such file: iqpir train plus")
        return cls(entry.name, host, values, path)

    def identity(self) -> Mapping[str, Any]:
        self._rows_digest = file_hash(self._path)
        return {
            "kind": "plus",
            "host": super().identity(),
            "score": self._score,
            "guidance": self._guidance,
            "weights": self._rows_digest,
            "sources": {name: source_hash(name) for name in SOURCES},
        }

    def load(self, device: str, dtype: str) -> None:
        from iqpir.errors import IQPIRError
        from iqpir.plus import ScoreConditioner

        if self._rows_digest is not None and file_hash(self._path) != self._rows_digest:
            raise BenchError(f"{self.name}: {self._path} changed while it was in use")
        super().load(device, dtype)
        try:
            plus = ScoreConditioner.load(network_of(self), self._path)
        except IQPIRError as error:
            raise BenchError(f"{self.name}: {error}") from error
        plus = plus.to(device, self._dtype).eval().requires_grad_(False)
        self._network = _scored(plus, self._score, self._guidance)


def network_of(method: NetworkMethod) -> Module:
    """The network of a loaded method, without its padding and tiles."""
    if method._network is None:
        raise BenchError(f"method {method.name!r} is used before load()")
    return method._network


def _scored(plus: ScoreConditioner, score: float, guidance: float) -> Any:
    def forward(images: Tensor, *more: Tensor) -> Any:
        if guidance == 1:
            return plus(images, *more, score=score)
        return plus.guided(images, *more, score=score, scale=guidance)

    return forward

"""Adapter for `kind: spandrel`: a checkpoint of any architecture that spandrel or spandrel_extra_arches knows.

Either the catalogue's, which `bench fetch` brings, or the user's own at the option `path`. The file says itself what it
is of; what has to be known before it is read is its scale, which the catalogue or the option `scale` declares and
loading checks. The catalogue's other options are switches of one architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.catalog.registry import Entry
from bench.errors import BenchError
from bench.fetch.assets import Asset
from bench.methods.network import OPTIONS, NetworkMethod
from bench.methods.options import Option, declared_options, resolve
from bench.methods.weights import read_weights

if TYPE_CHECKING:
    from torch.nn import Module

NETWORK = "bench.methods.networks.checkpoint"
PACKAGES = ["spandrel", "spandrel_extra_arches", "torchvision"]


class OwnFile(Asset):
    """A weight file of the user's own, at the path that `file` is: nobody fetches it, and no hash is known for it."""

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise BenchError(f"{self.owner}: option 'path' names {self.file}, and there is no such file")

    @property
    def path(self) -> Path:
        return Path(self.file)

    def expected(self) -> str | None:
        return None


class SpandrelMethod(NetworkMethod):
    """One checkpoint, with padding and scale as spandrel has them."""

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> SpandrelMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        built_in = {**OPTIONS, "path": Option("path", None, str)}
        values = resolve(where, declared_options(where, entry.fields, built_in), options)
        fields = {**entry.fields, "packages": PACKAGES}
        own, scale = values.pop("path"), values.pop("scale", None)
        if own is not None:
            fields["weights"] = {"file": str(paths.find(own, base)), "own": True}
        if scale is not None:
            fields["scale"] = scale
        return cls(replace(entry, fields=fields), values)

    def _asset(self, file: Mapping[str, Any]) -> Asset:
        return OwnFile(self.name, file["file"], None, None) if file.get("own") else super()._asset(file)

    def assets(self) -> list[Asset]:
        return [asset for asset in super().assets() if not isinstance(asset, OwnFile)]

    def _sources(self) -> list[str]:
        return [NETWORK]

    def _build(self, arguments: dict[str, Any]) -> Module:
        from bench.methods.networks.checkpoint import build

        (weights,) = self._weights
        where = f"{self.name}: {weights.file}"
        return build(read_weights(weights.path), where, self.scale, self._entry.fields.get("architecture"), arguments)

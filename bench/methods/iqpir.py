"""Adapter for `kind: iqpir`: the restorer of the package `iqpir`, with the authors' weights or anybody's.

Sizes, gray photographs and the score are `iqpir.restore`'s business; its choices are this method's options.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import paths
from bench.errors import BenchError, ItemError, one_line
from bench.fetch.assets import Asset
from bench.identity import file_hash
from bench.methods.base import Method, package_versions, source_hash
from bench.methods.options import Option, declared_options, resolve
from bench.registry import Entry

if TYPE_CHECKING:
    from torch import Tensor

    from iqpir.restore import Restorer

OPTIONS = {
    "score": Option("score", 0.9, float, min=0, max=1),
    "alpha": Option("alpha", None, float),
    "fidelity": Option("fidelity", 0.0, float, min=0),
    "adain": Option("adain", True, bool),
    "fit": Option("fit", "resize", str, choices=("resize", "tile", "exact")),
    "gray": Option("gray", True, bool),
    "weights": Option("weights", None, str),
}
"""What every entry of this kind takes. `weights`: a checkpoint on disk in place of the catalogue's; `alpha` None: the
checkpoint's own, or 0.8. An output has its input's size, so the fit `square` of `iqpir restore` is not among them."""
SOURCES = (
    "iqpir.restore", "iqpir.checkpoint", "iqpir.network.autoencoder", "iqpir.network.blocks",
    "iqpir.network.conditioning", "iqpir.network.config", "iqpir.network.fidelity", "iqpir.network.infer",
    "iqpir.network.model", "iqpir.network.quantizer", "iqpir.network.transformer", "iqpir.network.optimized",
    "iqpir.network.graphs", "iqpir.network.kernels", "iqpir.network.predictor", "iqpir.network.steps",
    "iqpir.network.triton_norm",
)  # fmt: skip


class IqpirMethod(Method):
    """One checkpoint with the way it is used."""

    batch_invariant = True

    def __init__(self, entry: Entry, options: Mapping[str, Any], base: Path | None) -> None:
        self.name = entry.name
        self._options = dict(options)
        weights = self._options.pop("weights")
        self._path = paths.find(weights, base) if weights is not None else None
        if self._path is not None and not self._path.is_file():
            raise BenchError(f"method {entry.name!r}: option 'weights' names {self._path}, and there is no such file")
        fields = entry.fields.get("weights")
        if not isinstance(fields, Mapping):
            raise BenchError(f"method {entry.name!r} ({entry.origin}) has no weights: {{file, url, sha256, bytes}}")
        self._asset = Asset.from_fields(entry.name, fields, entry.fields.get("licence"))
        self._restorer: Restorer | None = None
        self._digest: str | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> IqpirMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options), base)

    def assets(self) -> list[Asset]:
        return [] if self._path is not None else [self._asset]

    def identity(self) -> Mapping[str, Any]:
        self._digest = file_hash(self._path) if self._path is not None else self._asset.digest()
        return {
            "kind": "iqpir",
            "options": self._options,
            "sources": {name: source_hash(name) for name in (*SOURCES, __name__)},
            "packages": package_versions(["torch"]),
            "weights": self._digest,
        }

    def load(self, device: str, dtype: str) -> None:
        import torch

        from iqpir.errors import IQPIRError
        from iqpir.network.model import IQPIR
        from iqpir.restore import Options, Restorer

        path = self._path or self._asset.require_verified()
        if self._digest is not None and file_hash(path) != self._digest:
            raise BenchError(f"{self.name}: {path} changed while it was in use")
        options = {name: value for name, value in self._options.items() if name != "alpha"}
        try:
            network = IQPIR.from_checkpoint(str(path), alpha=self._options["alpha"])
            target = getattr(torch, dtype)
            plain = target == torch.float16  # plans are made for the other dtypes
            self._restorer = Restorer(
                network.to(device, target) if plain else network.optimize(dtype=target, device=device),
                Options(**options),
            )
        except IQPIRError as error:
            raise BenchError(f"{self.name}: {error}") from error
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise BenchError(f"{self.name} cannot be loaded on {device!r} in {dtype!r}: {one_line(error)}") from error

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        from iqpir.errors import IQPIRError

        if self._restorer is None:
            raise BenchError(f"method {self.name!r} is used before load()")
        try:
            return self._restorer.restore(images)
        except IQPIRError as error:
            raise ItemError(one_line(error)) from error

    def close(self) -> None:
        self._restorer = None

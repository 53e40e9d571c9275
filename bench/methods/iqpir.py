"""Adapter for `kind: iqpir`: the restorer of the package `iqpir`, with the authors' weights or anybody's.

Sizes, gray photographs and the score are `iqpir.restore`'s business; its choices are this method's options. Random
weights make a method that can be timed and is never scored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError, one_line
from bench.fetch.assets import Asset
from bench.methods.base import Method, package_versions
from bench.methods.loading import RANDOM, NamedFile, loaded, loading, parameter_count, random_weights, unchanged
from bench.methods.options import Option, declared_options, resolve
from bench.methods.versions import code_versions
from iqpir.weights import kind_of

if TYPE_CHECKING:
    from torch import Tensor

    from iqpir.network.model import IQPIR
    from iqpir.network.photo import PhotoIQPIR

OPTIONS = {
    "score": Option("score", 0.9, float, min=0, max=1),
    "alpha": Option("alpha", None, float),
    "fidelity": Option("fidelity", 0.0, float, min=0),
    "adain": Option("adain", True, bool),
    "fit": Option("fit", "resize", str, choices=("resize", "tile", "native", "exact")),
    "gray": Option("gray", True, bool),
    "weights": Option("weights", None, str),
}
"""What every entry of this kind takes. `weights`: a checkpoint on disk in place of the catalogue's, the name of one
that comes with the package `iqpir`, or `random`.
`alpha` None: the checkpoint's own, or 0.8. An output has its input's size, so the fit `square` of `iqpir restore` is
not among them."""
PHOTO = "photo"
"""The catalogue's `network` of an entry that is a network for photographs; others name a preset of IQPIR."""
SOURCES = (
    "iqpir.restore", "iqpir.checkpoint", "iqpir.network.autoencoder", "iqpir.network.blocks",
    "iqpir.network.conditioning", "iqpir.network.config", "iqpir.network.detail", "iqpir.network.fidelity",
    "iqpir.network.front", "iqpir.network.config_from_tensors", "iqpir.network.model", "iqpir.network.photo",
    "iqpir.network.quantizer", "iqpir.network.transformer", "iqpir.network.fast.optimized",
    "iqpir.network.fast.graphs", "iqpir.network.fast.kernels", "iqpir.network.fast.predictor",
    "iqpir.network.fast.steps", "iqpir.network.fast.triton_norm",
)  # fmt: skip


PHOTO_SOURCES = ("iqpir.network.front", "iqpir.network.detail", "iqpir.network.photo")
"""Those of them that a network for faces does not run."""


class IqpirMethod(Method):
    """One checkpoint with the way it is used."""

    batch_invariant = True

    def __init__(
        self, entry: Entry, options: Mapping[str, Any], base: Path | None, asked: Mapping[str, Any] | None = None
    ) -> None:
        """`asked`: those of the options that somebody named, which must not be without effect."""
        self.name = entry.name
        self._asked = dict(asked or {})
        self._entry, self._base = entry, base
        self._options = dict(options)
        weights = self._options.pop("weights")
        self.untrained = weights == RANDOM
        self._preset = str(entry.fields.get("network", "full"))
        self._file: NamedFile | None = None
        if weights is not None and not self.untrained:
            self._file = NamedFile(f"method {entry.name!r}", "weights", weights, base)
        self._asset: Asset | None = None
        if weights is None:
            fields = entry.fields.get("weights")
            if not isinstance(fields, Mapping):
                raise BenchError(f"method {entry.name!r} ({entry.origin}) has no weights: {{file, url, sha256, bytes}}")
            self._asset = Asset.from_fields(entry.name, fields, entry.fields.get("licence"))
        self._refuse_what_cannot_be()
        self._run: Callable[[Tensor], Tensor] | None = None
        self._parameters: int | None = None
        self._digest: str | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> IqpirMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options), base, options)

    def _refuse_what_cannot_be(self) -> None:
        """What a file's kind alone decides is refused before any work."""
        kind = None if self._file is None else kind_of(self._file.path)
        if kind not in (None, "restorer", PHOTO):
            raise BenchError(f"method {self.name!r}: option 'weights' names a file of another kind of network, {kind}")
        if self._asked.get("adain") and PHOTO in (self._preset, kind):
            raise BenchError(self._idle_option("adain", "a network for photographs"))

    def _idle_option(self, option: str, what: str) -> str:
        which = self.name if self._file is None else self._file.path
        return f"method {self.name!r}: option {option!r} has no effect on {which}, {what}: leave it out"

    def assets(self) -> list[Asset]:
        return [] if self._asset is None else [self._asset]

    def unavailable(self) -> str | None:
        return random_weights(self.name) if self.untrained else None

    def untrained_twin(self) -> IqpirMethod:
        return IqpirMethod(self._entry, {**self._options, "weights": RANDOM}, self._base)

    def identity(self) -> Mapping[str, Any]:
        file = self._asset or self._file
        self._digest = None if file is None else file.digest()
        return {
            "kind": "iqpir",
            "options": self._options,
            "sources": code_versions((*SOURCES, __name__), self._idle()),
            "packages": package_versions(["torch"]),
            "weights": self._digest or f"{RANDOM}: {self._preset}",
        }

    def _idle(self) -> Collection[str]:
        """Modules that its network does not run; somebody's own file may hold any network."""
        own = self._file is not None and not self._file.ships
        return () if own or self._preset == PHOTO else PHOTO_SOURCES

    def load(self, device: str, dtype: str) -> None:
        from iqpir.restore import restorer, without_effect

        options = {name: value for name, value in self._options.items() if name != "alpha"}
        with loading(self.name, device, dtype):
            network = self._drawn() if self.untrained else self.network()
            # A score may be asked of all arms of a comparison, one of which is without.
            idle = without_effect(network, {**self._asked, "score": None})
            if idle is not None:
                raise BenchError(self._idle_option(*idle))
            self._parameters = parameter_count(network)
            self._run = restorer(network, options, device, dtype).restore

    def network(self) -> IQPIR | PhotoIQPIR:
        """The checkpoint's network, float32 on the CPU. Raises `IQPIRError` for a file that holds none."""
        from iqpir.checkpoint import load

        if self._file is not None:
            path = self._file.unchanged(self.name)
        else:
            assert self._asset is not None
            path = unchanged(self.name, self._asset.require_verified(), self._digest)
        return load(str(path), alpha=self._options["alpha"])

    def _drawn(self) -> IQPIR | PhotoIQPIR:
        """The entry's network as training would begin with it; the caller's random numbers stay what they were."""
        import torch

        from iqpir.network.config import preset
        from iqpir.network.model import IQPIR
        from iqpir.network.photo import PhotoIQPIR

        alpha = self._options["alpha"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if self._preset == PHOTO:
                return PhotoIQPIR().eval()
            return IQPIR(preset(self._preset, **({} if alpha is None else {"alpha": alpha}))).eval()

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        from iqpir.errors import IQPIRError

        run = loaded(self._run, self.name)
        try:
            return run(images)
        except IQPIRError as error:
            raise ItemError(one_line(error)) from error

    def parameters(self) -> int | None:
        return self._parameters

    def close(self) -> None:
        self._run = None

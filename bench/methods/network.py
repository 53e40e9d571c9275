"""Adapter for `kind: network`: one of our own networks with its official weights.

Padding to what the network needs, tiling and the size limit are decided here and nowhere else. The network's module
is imported by `load`, never before: planning needs only the hashes of its source and weights.

A network class is an `nn.Module` from [B,3,H,W] in [0,1] to [B,3,s·H,s·W]. It may declare `ignored_prefixes`, a tuple
of state-dict prefixes that the official file holds for training only; every other key must fit exactly. `weights` is
one file or a list of files; where a file's tensors lie in it, and under which names the network has them, is said by
its `tensors` and `strip` (see `bench.methods.weights.Layout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry
from bench.errors import BenchError, ItemError
from bench.fetch.assets import Asset
from bench.identity import file_hash
from bench.methods.base import Box, package_versions
from bench.methods.loading import NetworkHolder, loading
from bench.methods.options import Option, declared_options, resolve
from bench.methods.padding import pad_to_multiple
from bench.methods.tiling import tiled
from bench.methods.versions import code_versions, lasting
from bench.methods.weights import Layout, fit, read_weights

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

OPTIONS = {
    "tile": Option("tile", 0, int, min=0),
    "overlap": Option("overlap", 32, int, min=0),
    "max_pixels": Option("max_pixels", 0, int, min=0),
}
"""Every network takes these: `tile` (side in pixels; 0: the image whole), `overlap`, `max_pixels` (0: no limit)."""

_HELPERS = (__name__, tiled.__module__, fit.__module__, pad_to_multiple.__module__)
"""Modules of ours that stand between a network and its output, whichever it is."""


class NetworkMethod(NetworkHolder):
    """Wraps `target: module:Class`; the catalogue's other `options` are the class's keyword arguments."""

    def __init__(self, entry: Entry, options: Mapping[str, Any]) -> None:
        fields = entry.fields
        self.name = entry.name
        self.scale = int(fields.get("scale", 1))
        self.quantise = fields.get("quantise", "round")
        self.batch_invariant = bool(fields.get("batch_invariant", False))
        self.stochastic = bool(fields.get("stochastic", False))
        self._entry = entry
        self._multiple = int(fields.get("multiple", 1))
        self._min_size = int(fields.get("min_size", 1))
        self._options = dict(options)
        self._where = f"method {entry.name!r} ({entry.origin})"
        crop = fields.get("crop_multiple", 1)
        self._crop = int(self._options[crop] if isinstance(crop, str) else crop)
        files = fields.get("weights")
        files = files if isinstance(files, list) else [files]
        if not files or not all(isinstance(file, Mapping) for file in files):
            raise BenchError(f"{self._where} has no weights: {{file, url, sha256, bytes}}")
        self._weights = [self._asset(file) for file in files]
        self._layouts = [Layout.from_fields(self._where, file) for file in files]
        self._digests: dict[str, str] = {}
        self._filled = False
        self._dtype: Any = None
        if 0 < self._options["tile"] <= self._options["overlap"]:
            tile, overlap = self._options["tile"], self._options["overlap"]
            raise BenchError(f"{self._where}: option 'overlap' ({overlap}) must be less than 'tile' ({tile})")
        if 0 < self._options["tile"] < self._min_size:
            raise BenchError(
                f"{self._where}: option 'tile' must be 0 or at least {self._min_size}, its least input size"
            )

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> NetworkMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields, OPTIONS), options))

    def _asset(self, file: Mapping[str, Any]) -> Asset:
        return Asset.from_fields(self.name, file, self._entry.fields.get("licence"))

    def assets(self) -> list[Asset]:
        return [] if self._filled else list(self._weights)

    def filled_elsewhere(self) -> None:
        """Load the network without its weight files: who asks puts every tensor in, and nothing is downloaded.

        Its identity stays what it is with them, so that it takes a network whose files have whole hashes; others ask
        for their files as before.
        """
        self._filled = all(asset.expected() for asset in self._weights)

    def valid_crop(self, height: int, width: int) -> Box | None:
        """Whole multiples from the top left, where the official script crops its input; None where nothing is cut."""
        box = Box(0, 0, height - height % self._crop, width - width % self._crop)
        return None if (box.height, box.width) == (height, width) or 0 in (box.height, box.width) else box

    def identity(self) -> Mapping[str, Any]:
        options = dict(self._options)
        options.pop("max_pixels")  # refuses an image, never alters an output
        if not options["tile"]:
            options.pop("overlap")
        modules = [*self._sources(), *self._entry.fields.get("modules", []), *_HELPERS]
        weights = [self._hash_of(asset) for asset in self._weights]
        return {
            "kind": self._entry.fields["kind"],
            "target": lasting(self._entry.target),
            "options": options,
            "layout": [layout.describe() for layout in self._layouts],
            "multiple": self._multiple,
            "crop": self._crop,
            "sources": code_versions(modules),
            "packages": package_versions(["torch", *self._entry.fields.get("packages", [])]),
            "weights": weights[0] if len(weights) == 1 else weights,
        }

    def _sources(self) -> list[str]:
        """Modules whose source decides what the network computes."""
        return [str(self._entry.target).partition(":")[0]]

    def _hash_of(self, asset: Asset) -> str:
        pinned = asset.expected() if self._filled else None
        return pinned or self._verified(asset, asset.digest())

    def _verified(self, asset: Asset, found: str) -> str:
        """A weight file's SHA-256, refused where another is pinned, or where it changed since the run was planned."""
        pinned = asset.expected() or asset.prefix  # a whole hash, or as much of it as is published
        if pinned is not None and not found.startswith(pinned):
            raise BenchError(
                f"{self.name}: {asset.path} has sha256 {found[:12]}…, not the pinned {pinned[:12]}…: "
                f"bench fetch {self.name} brings the right one"
            )
        if self._digests.setdefault(asset.file, found) != found:
            raise BenchError(f"{self.name}: {asset.path} changed while it was in use")
        return found

    def load(self, device: str, dtype: str) -> None:
        import torch

        # The bytes themselves, not what the memo remembers of them, and before anything is unpickled.
        for asset in self.assets():
            self._verified(asset, file_hash(asset.require()))
        with loading(self.name, device, dtype):
            self._dtype = getattr(torch, dtype)
            network = self._build({name: value for name, value in self._options.items() if name not in OPTIONS})
            self._network = network.to(torch.device(device), self._dtype).eval().requires_grad_(False)

    def _build(self, arguments: dict[str, Any]) -> Module:
        """The network with its weights, on the CPU. Raises `BenchError` for a file that does not fit."""
        network: Module = self._entry.load()(**arguments)
        if self._filled:
            return network
        state: dict[str, Tensor] = {}
        for asset, layout in zip(self._weights, self._layouts, strict=True):
            state |= layout.select(read_weights(asset.path), asset.path)
        fit(network, state, f"{self.name}: {', '.join(asset.file for asset in self._weights)}")
        return network

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        height, width = images.shape[-2:]
        tile, limit = self._options["tile"], self._options["max_pixels"]
        least = max(self._min_size, self._crop)
        if min(height, width) < least:
            raise ItemError(f"{width}×{height} is too small: {self.name} takes {least}×{least} pixels or more")
        images = images[..., : height - height % self._crop, : width - width % self._crop]
        if not tile and 0 < limit < height * width:
            raise ItemError(
                f"{width}×{height} is {height * width} pixels and {self.name} takes at most {limit} (max_pixels); "
                "set its option tile (such as tile: 512) to restore it in tiles"
            )
        whole = partial(self._whole, seeds=seeds)
        return tiled(whole, images, tile, self._options["overlap"], self.scale) if tile else whole(images)

    def _whole(self, images: Tensor, seeds: Tensor | None) -> Tensor:
        """One forward pass of the padded image, the padding cut off again."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self._multiple).to(self._dtype)
        output = self.network(padded, seeds) if self.stochastic else self.network(padded)
        return output[..., : height * self.scale, : width * self.scale].float()

"""Adapter for `kind: classical`: a function of one image, no weights, computed on the CPU in float32.

The functions live in `bench.methods.algorithms`; this only turns tensors into arrays and back, image by image, so
that no image can depend on another in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.catalog.registry import Entry
from bench.errors import ItemError
from bench.methods.base import Method, package_versions
from bench.methods.loading import loaded
from bench.methods.options import declared_options, resolve
from bench.methods.versions import code_versions, lasting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class ClassicalMethod(Method):
    """Wraps `target: module:function`, `function(image, **options)`: float32 [H,W,3] in [0,1] → the same."""

    batch_invariant = True

    def __init__(self, entry: Entry, options: Mapping[str, Any]) -> None:
        self.name = entry.name
        self.quantise = entry.fields.get("quantise", "round")
        self._entry = entry
        self._options = dict(options)
        self._function: Callable[..., np.ndarray] | None = None

    @classmethod
    def from_entry(cls, entry: Entry, options: Mapping[str, Any], base: Path | None) -> ClassicalMethod:
        where = f"method {entry.name!r} ({entry.origin})"
        return cls(entry, resolve(where, declared_options(where, entry.fields), options))

    def load(self, device: str, dtype: str) -> None:
        """Import the function. It runs on the CPU in float32 whatever `device` and `dtype` say."""
        self._function = self._entry.load()

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        import numpy as np
        import torch

        function = loaded(self._function, self.name)
        outputs = []
        for image in images.detach().cpu().numpy():
            # A copy: a function may write to it.
            pixels = np.array(image.transpose(1, 2, 0), dtype=np.float32, order="C")
            output = np.asarray(function(pixels, **self._options))
            if output.shape != pixels.shape:
                raise ItemError(f"{self.name} made {output.shape} of {pixels.shape} (height, width, channels)")
            outputs.append(output.transpose(2, 0, 1).astype(np.float32, copy=False))
        return torch.from_numpy(np.stack(outputs)).to(images.device)

    def identity(self) -> Mapping[str, Any]:
        module = str(self._entry.target).partition(":")[0]
        modules = [module, *self._entry.fields.get("modules", []), __name__]
        return {
            "kind": "classical",
            "target": lasting(self._entry.target),
            "options": self._options,
            "sources": code_versions(modules),
            "packages": package_versions(list(self._entry.fields.get("packages", []))),
        }

"""pyiqa's per-image metrics behind one adapter: their values, under our rules about pixels, weights and numerics.

What each is called, compares and needs stands in `catalog/metrics/pyiqa.yaml`. pyiqa's set metrics (FID and its kin)
are not here: they need their features stored.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from bench.errors import BenchError, ItemError, one_line
from bench.fetch.assets import Asset
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.loaded import Loaded
from bench.metrics.view import View
from bench.metrics.weights import Weight

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.catalog.registry import Entry

_ENTRY: dict[str, Any] = {"entry": True}
"""Marks the fields that come from the catalogue; they are not options."""

LUMAS = ("yiq", "ycbcr", "lhm")


@dataclass(frozen=True)
class PyiqaMetric(ImageMetric):
    """One metric of pyiqa (Chen et al., IQA-PyTorch), called as `metric.net` in eval mode and float32."""

    view: View = field(default_factory=View)
    luma: str = ""
    """Luma inside the metric where pyiqa lets one choose: `yiq` (its default), `ycbcr` (MATLAB's), `lhm`."""

    name: str = field(default="", metadata=_ENTRY)
    pyiqa_name: str = field(default="", metadata=_ENTRY)
    mode: Literal["FR", "NR"] = field(default="FR", metadata=_ENTRY)
    higher_is_better: bool = field(default=True, metadata=_ENTRY)
    learned: bool = field(default=False, metadata=_ENTRY)
    min_size: int = field(default=1, metadata=_ENTRY)
    weights: tuple[Weight, ...] = field(default=(), metadata=_ENTRY)
    _loaded: Loaded = field(default_factory=Loaded, metadata=_ENTRY, compare=False, repr=False)

    serial = True
    spaces = ("rgb", "bgr")

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        given = (entry.fields.get("options") or {}).get("luma", "")
        luma = str(options.get("luma", given))
        if luma != given and (not given or luma not in LUMAS):
            legal = f"is one of {', '.join(LUMAS)}" if given else "is fixed by pyiqa"
            raise BenchError(f"metric {entry.name!r}: its luma {legal}, not {luma!r}")
        return cls(
            view=view,
            luma=luma,
            name=entry.name,
            pyiqa_name=entry.name.removeprefix("pyiqa-"),
            mode=entry.fields["mode"],
            higher_is_better=entry.fields["better"] == "higher",
            learned=bool(entry.fields.get("learned", False)),
            min_size=entry.fields.get("min_size", 1),
            weights=tuple(
                Weight(Asset.from_fields(entry.name, one, entry.fields.get("licence")))
                for one in entry.fields.get("weights") or []
            ),
        )

    def signature(self) -> Signature:
        own = [("luma", self.luma)] if self.luma else []
        if self.weights:
            own.append(("weights", "+".join(weight.tag for weight in self.weights)))
        impl = ("impl", f"pyiqa-{installed_version()}")
        return Signature.of(self.name, [impl, *self.view.signature(self.mode), *own, ("v", 1)])

    def assets(self) -> list[Asset]:
        return [weight.asset for weight in self.weights]

    def load(self, device: str) -> None:
        self._net(device)

    def _net(self, device: str) -> torch.nn.Module:
        from bench.metrics.pyiqa_offline import construct

        options = {"color_space": self.luma} if self.luma else {}
        return self._loaded.net(device, lambda: construct(self.pyiqa_name, options, self.weights))

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 [B,3,H,W] → float64 [B]. `ItemError` for an image that pyiqa cannot score, or scores as NaN."""
        import torch

        height, width = restored.shape[-2:]
        if min(height, width) < self.min_size:
            raise ItemError(
                f"{self.name} needs {self.min_size} pixels or more on each side, the view is {width}×{height}"
            )
        device = str(restored.device)
        net = self._net(device)
        images = [restored.float()] + ([] if reference is None else [reference.float()])
        with torch.no_grad(), full_precision(device):
            values = [self._one(net, [image[index : index + 1] for image in images]) for index in range(len(restored))]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)

    def _one(self, net: torch.nn.Module, images: list[Tensor]) -> float:
        import torch

        try:
            value = float(net(*images).reshape(()))
        except torch.OutOfMemoryError:
            raise
        except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            size = f"{images[0].shape[-1]}×{images[0].shape[-2]}"
            raise ItemError(f"pyiqa's {self.pyiqa_name} fails on {size}: {one_line(error, 160)}") from error
        if math.isnan(value):
            raise ItemError(f"pyiqa's {self.pyiqa_name} gives NaN for this image")
        return value


@functools.cache
def installed_version() -> str:
    try:
        return importlib.metadata.version("pyiqa")
    except importlib.metadata.PackageNotFoundError:
        raise BenchError("pyiqa is not installed: pip install pyiqa") from None


@contextlib.contextmanager
def full_precision(device: str) -> Iterator[None]:
    """Full float32 (no TF32) and deterministic kernels on a GPU; the process's settings come back afterwards.

    pyiqa's own context, not used here, would switch TF32 back on.
    """
    import torch

    if not device.startswith("cuda"):
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)

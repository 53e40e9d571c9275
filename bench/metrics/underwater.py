"""What UCIQE and UIQM share: no reference, 8-bit RGB levels, and rival definitions that go by a `variant` name.

The definitions themselves are in `uciqe.py` and `uiqm.py`; this is only how a view becomes levels and how a value that
the original code gives as inf or nan becomes a failure with its reason.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from bench.errors import BenchError, ItemError, suggest
from bench.metrics.base import ImageMetric
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bench.catalog.registry import Entry


class EightBitMetric(ImageMetric):
    """One value per image from its 8-bit RGB levels, in NumPy and on one thread: no batch, no device in the value."""

    mode = "NR"
    spaces = ("rgb",)

    @classmethod
    def from_entry(cls, entry: Entry, view: View, options: Mapping[str, Any]) -> Self:
        """As usual, but a protocol that leaves floats as they are gives way: levels are part of these definitions."""
        return super().from_entry(entry, replace(view, rounding="u8") if view.rounding == "none" else view, options)

    @abstractmethod
    def value(self, levels: np.ndarray) -> float:
        """uint8 RGB [H,W,3], contiguous → the value. Raises `ItemError` where it is undefined."""

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """float64 [B,3,H,W] in [0,1], as the view left them → float64 [B]. `ItemError` where the value is undefined."""
        import cv2
        import torch

        values = []
        for planes in restored.detach().cpu().numpy():
            if len(planes) != 3:
                raise ItemError(f"{self.name} needs 3 channels, the view has {len(planes)}")
            levels = cv2.merge([cv2.convertScaleAbs(plane, alpha=255) for plane in planes])  # rounds
            values.append(self.value(levels))
        return torch.tensor(values, dtype=torch.float64, device=restored.device)


def check_options(metric: str, view: View, variant: str, known: Iterable[str]) -> None:
    """Raise `BenchError` for an unknown variant, or a view that these metrics cannot take."""
    if variant not in known:
        near = suggest(variant, known)
        raise BenchError(f"{metric}: variant {variant!r} is not one of {', '.join(known)}{near}")
    if view.rounding == "none":
        raise BenchError(f"{metric} is defined on 8-bit levels: rounding is 'u8' or 'truncate', not 'none'")

"""Identity distance of faces, as face-restoration papers report it (IDD, "Deg."): the angle between two embeddings.

Aligned faces are compared as they are; nothing here detects or crops a face.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError
from bench.metrics.learned import NetworkMetric, blank, fill, read_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GRAYS = {"bgr": (0.1140, 0.5870, 0.2989), "rgb": (0.2989, 0.5870, 0.1140)}
"""Weights of R, G and B. The papers' script reads images as BGR and weighs them as RGB; its numbers have them so."""
MEASURES = ("angle", "cosine")


@dataclass(frozen=True)
class FaceIdentity(NetworkMetric):
    """Distance of ArcFace (ResNet-18) embeddings of restored and reference; 0 is the same face, lower is better.

    Agrees with the scripts of RestoreFormer and DAEFR. Faces become gray and are brought to 128 × 128, bilinear without
    antialiasing.
    """

    measure: str = "angle"
    """`angle`: arc cosine of the similarity, radians. `cosine`: one minus the similarity."""
    gray: str = "bgr"
    """`bgr`: red and blue weights exchanged, as the papers' script does. `rgb`: BT.601 as intended."""

    def __post_init__(self) -> None:
        for name, choices in (("measure", MEASURES), ("gray", tuple(GRAYS))):
            value = getattr(self, name)
            if value not in choices:
                raise BenchError(f"metric {self.name!r}: {name} {value!r} is not one of {', '.join(choices)}")

    def own_fields(self) -> list[tuple[str, object]]:
        return [("measure", self.measure), ("gray", self.gray)]

    def build(self, files: list[Path]) -> torch.nn.Module:
        from bench.metrics.networks.arcface import ArcFaceResNet18

        where = f"metric {self.name!r}"
        net = blank(ArcFaceResNet18)
        fill(net, read_state(files[-1], where=where), where=where)
        return net

    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        import torch

        assert reference is not None
        ours, theirs = (net(self._face(image))[0].double() for image in (restored, reference))
        lengths = ours.norm() * theirs.norm()
        if not bool(lengths > 0):
            raise ItemError(f"{self.name}: an embedding is zero")
        similarity = torch.dot(ours, theirs) / lengths
        if self.measure == "cosine":
            return float(1 - similarity)
        # Rounding can carry the similarity of equal faces past 1, where the arc cosine is NaN.
        return float(similarity.clamp(-1, 1).arccos())

    def _face(self, image: Tensor) -> Tensor:
        import torch.nn.functional as F

        from bench.metrics.networks.arcface import SIDE

        red, green, blue = GRAYS[self.gray]
        gray = red * image[:, 0:1] + green * image[:, 1:2] + blue * image[:, 2:3]
        return F.interpolate(gray, (SIDE, SIDE), mode="bilinear", align_corners=False)

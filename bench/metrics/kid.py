"""Kernel Inception Distance between a set of images and a reference set (Bińkowski et al., ICLR 2018).

Unbiased at any number of images, and so slightly negative for a set against itself. As it is defined: some tools print
it times 1000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.metrics.feature_metric import FeatureMetric
from bench.metrics.primitives.frechet import Subsets, polynomial_mmd

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Kid(FeatureMetric):
    """Squared maximum mean discrepancy of the features under the kernel (x·y / d + 1)³, unbiased."""

    subsets: int = 0
    """0: over all images at once, which needs no chance. Else the mean over so many random subsets (100 is usual)."""
    size: int = 1000
    """Images of a subset; a set with fewer has no value."""
    seed: int = 0
    """Of the draw of subsets, in the order of the images' content hashes."""

    name = "kid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subsets < 0 or self.size < 2 or self.seed < 0:
            raise BenchError(
                f"kid: {self.subsets} subsets of {self.size}, seed {self.seed}: sizes start at 2, others at 0"
            )
        if not self.subsets and (self.size, self.seed) != (Kid.size, Kid.seed):
            raise BenchError("kid: size and seed are of subsets: set subsets as well (100 is usual)")

    def own_fields(self) -> list[tuple[str, object]]:
        if not self.subsets:
            return [("subsets", "all")]
        return [("subsets", f"{self.subsets}x{self.size}"), ("seed", self.seed)]

    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        assert self.two_sets == (references is not None)
        theirs = references if references is not None else self._reference().features(features.shape[1])
        draws = Subsets(self.subsets, self.size, self.seed) if self.subsets else None
        return polynomial_mmd(features, theirs, draws)

"""Fréchet Inception Distance between a set of images and a reference set (Heusel et al., NeurIPS 2017).

Its value depends on how many images there are: with no more of them than dimensions (2048) it is biased upwards, and
only sets of one size can be compared. KID has no such bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.metrics.feature_metric import FeatureMetric
from bench.metrics.primitives.frechet import Gaussian, frechet_distance

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Fid(FeatureMetric):
    """Squared Fréchet distance of Gaussians fitted to the features, with the unbiased covariance."""

    name = "fid"
    needs = "moments"

    def aggregate(self, features: np.ndarray, references: np.ndarray | None = None) -> float:
        assert self.two_sets == (references is not None)
        ours = Gaussian.of_samples(features)
        theirs = Gaussian.of_samples(references) if references is not None else self._reference().gaussian(len(ours[0]))
        return frechet_distance(ours, theirs)

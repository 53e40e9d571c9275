"""MDFS (Ni et al., TMM 2024): opinion-unaware quality from multi-scale deep feature statistics.

How far the deep features of an image's windows lie from the Gaussian of pristine images; no human rating is involved.
Follows the authors' published test script (eezkni/MDFS), with its statistics in float64 instead of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError
from bench.metrics.learned import NetworkMetric, blank, fill, read_data, read_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CHUNK = 65536
"""Feature vectors taken to float64 at a time; the pristine set has hundreds of thousands."""


@dataclass(frozen=True)
class Mdfs(NetworkMetric):
    """Weighted mean over windows of the Mahalanobis-like distance to the pristine Gaussian; lower is better.

    Files: torchvision's EfficientNet-B7, and the authors' pristine features (a tensor [M,544]).
    """

    def build(self, files: list[Path]) -> torch.nn.Module:
        from bench.metrics.networks.mdfs import CHANNELS, MdfsFeatures

        where = f"metric {self.name!r}"
        backbone, pristine = files
        net = blank(MdfsFeatures)
        own = {key: value for key, value in read_state(backbone, where=where).items() if key.startswith("features.")}
        wanted = {f"features.{key}" for key in net.features.state_dict()}
        fill(net.features, {key.removeprefix("features."): own[key] for key in wanted & set(own)}, where=where)
        vectors = read_data(pristine, where=where)
        if getattr(vectors, "ndim", 0) != 2 or vectors.shape[1] != sum(CHANNELS) or len(vectors) < 2:
            raise BenchError(f"{where}: {pristine} does not hold feature vectors [M,{sum(CHANNELS)}]")
        mean, covariance = moments(vectors)
        net.register_buffer("pristine_mean", mean, persistent=False)
        net.register_buffer("pristine_covariance", covariance, persistent=False)
        return net

    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        height, width = restored.shape[-2:]
        rows, columns = -(-height // 16), -(-width // 16)
        if min(rows, columns) < 3 or rows * columns < 12:
            raise ItemError(f"mdfs needs two windows or more (33×49 pixels), the view is {width}×{height}")
        features, weights = net(restored)
        return distance(features, weights, net.pristine_mean, net.pristine_covariance)


def moments(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [C] and sample covariance [C,C] of [M,C], float64, in two passes over chunks."""
    import torch

    count = len(vectors)
    mean = sum(chunk.double().sum(dim=0) for chunk in vectors.split(_CHUNK)) / count
    scatter = torch.zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for chunk in vectors.split(_CHUNK):
        centred = chunk.double() - mean
        scatter += centred.T @ centred
    return mean, scatter / (count - 1)


def distance(features: Tensor, weights: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """Windows [N,C] and their weights [N] against the pristine Gaussian → the score.

    The image's own covariance is averaged with the pristine one, as in NIQE, but each window keeps its own distance.
    Raises `ItemError` when the mixture cannot be inverted.
    """
    import torch

    _, own = moments(features)
    offsets = features.double() - mean
    try:
        solved = torch.linalg.solve((own + covariance) / 2, offsets.T)
    except torch.linalg.LinAlgError as error:
        raise ItemError(f"mdfs: the covariance of this image cannot be inverted: {error}") from error
    distances = (offsets.T * solved).sum(dim=0).abs().sqrt()
    weights = weights.double()
    return float((distances * weights).sum() / weights.sum())

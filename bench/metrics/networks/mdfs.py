"""Features of MDFS (Ni et al., TMM 2024): EfficientNet-B7 stages, brought to one size and pooled over windows.

What is compared with them, the multivariate Gaussian of pristine images, is the business of `bench.metrics.mdfs`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = (32, 48, 80, 160, 224)
"""Channels of the five stages; a feature vector is their concatenation, 544 numbers."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Windows(NamedTuple):
    """What is known of the windows of one image."""

    features: Tensor
    """[N,544]: Gaussian means, each stage's part of unit length."""
    weights: Tensor
    """[N] in (0,1): logistic of the standardised local deviation; sharp windows count more."""


class MdfsFeatures(nn.Module):
    """`features` are the first six blocks of torchvision's EfficientNet-B7, the names of its checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import efficientnet_b7

        self.features = efficientnet_b7(weights=None).features[:6]

    def forward(self, image: Tensor) -> Windows:
        """[1,3,H,W] in [0,1] → its windows."""
        return _windows(self.maps(image))

    def maps(self, image: Tensor) -> Tensor:
        """[1,544,ceil(H/16),ceil(W/16)]: each stage low-passed and halved down to the size of the fourth."""
        mean, std = image.new_tensor((_MEAN, _STD)).view(2, 1, 3, 1, 1)
        x = (image - mean) / std
        stages = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index > 0:
                stages.append(x)
        low = _gaussian(3, 1.0, x)
        pooled = []
        for level, features in enumerate(stages[:-1]):
            for _ in range(len(stages) - 2 - level):
                features = _filter(F.pad(features, (1, 1, 1, 1), mode="reflect"), low, 2)
            pooled.append(features)
        return torch.cat([*pooled, stages[-1]], dim=1)


def _windows(maps: Tensor) -> Windows:
    """Gaussian windows of about a sixteenth of the shorter side, half overlapping."""
    size = max(3, min(maps.shape[-2:]) // 32 * 2 + 1)
    window = _gaussian(size, size / 3, maps)
    mean = _filter(maps, window, size // 2)
    variance = _filter(maps.square(), window, size // 2) - mean.square()
    spread = variance.relu().sqrt().mean(dim=1).flatten()
    weights = torch.sigmoid((spread - spread.mean()) / (spread.std() + 1e-12))
    parts = mean[0].flatten(1).T.split(CHANNELS, dim=1)
    return Windows(torch.cat([part / (part.norm(dim=1, keepdim=True) + 1e-12) for part in parts], dim=1), weights)


def _gaussian(size: int, sigma: float, like: Tensor) -> Tensor:
    """A Gaussian of `size` × `size` whose values add up to 1."""
    taps = torch.exp(-((torch.arange(size, dtype=torch.float64) - size // 2) ** 2) / (2 * sigma**2))
    taps = (taps / taps.sum()).to(like)
    return taps[:, None] * taps[None, :]


def _filter(maps: Tensor, window: Tensor, stride: int) -> Tensor:
    channels = maps.shape[1]
    return F.conv2d(maps, window.expand(channels, 1, -1, -1), stride=stride, groups=channels)

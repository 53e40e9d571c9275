"""The ArcFace recognition network with which face-restoration papers measure identity: ResNet-18 of improved residual
blocks, without squeeze-and-excitation, on 128 × 128 gray images. State-dict compatible with `arcface_resnet18.pth`.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 128


class _Block(nn.Module):
    """Normalise, convolve, PReLU, convolve with stride; the sum goes through the same PReLU."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn0 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(self.bn0(x))))
        y = self.bn2(self.conv2(y))
        return self.prelu(y + (x if self.downsample is None else self.downsample(x)))


class ArcFaceResNet18(nn.Module):
    """Gray faces [B,1,128,128] in [0,1] → embeddings [B,512], not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        widths = (64, 64, 128, 256, 512)
        for index, (channels, out) in enumerate(itertools.pairwise(widths), start=1):
            first = _Block(channels, out, 1 if index == 1 else 2)
            setattr(self, f"layer{index}", nn.Sequential(first, _Block(out, out, 1)))
        self.bn4 = nn.BatchNorm2d(512)
        self.fc5 = nn.Linear(512 * (SIDE // 16) ** 2, 512)
        self.bn5 = nn.BatchNorm1d(512)

    def forward(self, face: Tensor) -> Tensor:
        x = F.max_pool2d(self.prelu(self.bn1(self.conv1(face))), 2)
        for index in range(1, 5):
            x = getattr(self, f"layer{index}")(x)
        return self.bn5(self.fc5(self.bn4(x).flatten(1)))

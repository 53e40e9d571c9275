"""URetinex-Net, Retinex-based deep unfolding (Wu et al., CVPR 2022): three rounds of decomposition, then more light.

Two auxiliary variables, P for the reflectance and Q for the illumination, have closed forms in every round; networks
restore R from P and L from Q. The illumination is then raised by a network that is told the ratio.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

ROUNDS = 3
GAMMA, LAMBDA, OFFSET = 0.1, 0.5, 0.05
"""Weights of the ties between P and R, and Q and L; both grow by OFFSET a round. From the official checkpoint."""


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class Decomposition(nn.Module):
    """[B,3,H,W] → first P [B,3,H,W] and Q [B,1,H,W], both ≥ 0."""

    def __init__(self) -> None:
        super().__init__()
        self.decom = nn.Sequential(
            convolution(3, 32, 3), nn.LeakyReLU(0.2), convolution(32, 32, 3), nn.LeakyReLU(0.2),
            convolution(32, 32, 3), nn.LeakyReLU(0.2), convolution(32, 4, 3), nn.ReLU(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        both = self.decom(image)
        return both[:, :3], both[:, 3:]


class ChannelWeights(nn.Module):
    """Every channel times a weight in (0,1) that depends on the averages of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width // 16, bias=False),
            nn.ReLU(),
            nn.Linear(width // 16, width, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features * self.fc(features.mean(dim=(2, 3)))[:, :, None, None]


class ReflectanceNet(nn.Module):
    """P and Q → R, as a residual to P."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(3, 32, 3), convolution(1, 32, 3)
        self.se_layer = ChannelWeights(64)
        self.conv3, self.conv4, self.conv5 = (convolution(64, 64, 3) for _ in range(3))
        self.conv6, self.conv7 = (convolution(64, 64, 3) for _ in range(2))
        self.conv8 = convolution(64, 3, 3)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        pair = [self.conv1(reflectance).relu(), self.conv2(illumination).relu()]
        features = self.se_layer(torch.cat(pair, dim=1))
        for layer in (self.conv3, self.conv4, self.conv5, self.conv6, self.conv7):
            features = layer(features).relu()
        return reflectance + self.conv8(features)


class IlluminationNet(nn.Module):
    """Q → L ≥ 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = convolution(1, 32, 5)
        self.conv2, self.conv3, self.conv4 = (convolution(32, 32, 5) for _ in range(3))
        self.conv5 = convolution(32, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            features = leaky_relu(layer(features), 0.2)
        return self.conv5(features).relu()


class Adjustment(nn.Module):
    """L and a map of the ratio → the raised illumination, ≥ 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = convolution(2, 32, 5)
        self.conv2, self.conv3 = (convolution(32, 32, 5) for _ in range(2))
        self.conv4 = convolution(32, 1, 5)

    def forward(self, illumination: Tensor, ratio: float) -> Tensor:
        features = torch.cat([illumination, torch.full_like(illumination, ratio)], dim=1)
        for layer in (self.conv1, self.conv2, self.conv3):
            features = leaky_relu(layer(features), 0.2)
        return self.conv4(features).relu()


class URetinex(nn.Module):
    """The enhanced image, any size, not clamped; 340,105 parameters.

    `ratio` is how much brighter the illumination shall be: 5 in the official script, whose comment recommends 3 to 5.
    """

    def __init__(self, ratio: float = 5.0) -> None:
        super().__init__()
        self.ratio = ratio
        self.decomposition = Decomposition()
        self.reflectance = ReflectanceNet()
        self.illumination = IlluminationNet()
        self.adjustment = Adjustment()

    def forward(self, image: Tensor) -> Tensor:
        p, q = self.decomposition(image)
        r, l = self.reflectance(p, q), self.illumination(q)  # noqa: E741 – the paper's names
        for number in range(1, ROUNDS):
            gamma, weight = GAMMA + OFFSET * number, LAMBDA + OFFSET * number
            p = (image * q + gamma * r) / (q * q + gamma)
            q = ((image * p).sum(1, keepdim=True) + weight * l) / ((p * p).sum(1, keepdim=True) + weight)
            r, l = self.reflectance(p, q), self.illumination(q)  # noqa: E741
        return self.adjustment(l, self.ratio) * r

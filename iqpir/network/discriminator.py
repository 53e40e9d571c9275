"""The patch discriminator that training sets against the generator."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """[B,3,H,W] → one logit per patch; 512×512 pixels make 30×30. `depth` convolutions halve the size."""

    def __init__(self, channels: int = 64, depth: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        inputs = channels
        for level in range(1, depth + 1):
            outputs = channels * min(2**level, 8)
            stride = 2 if level < depth else 1
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2),
            ]
            inputs = outputs
        self.main = nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.main(image)

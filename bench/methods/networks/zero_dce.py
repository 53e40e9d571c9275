"""Zero-DCE, Zero-Reference Deep Curve Estimation (Guo et al., CVPR 2020): eight quadratic curves per pixel and channel.

Only what is used at test time; the output is the image after all eight curves, as the official script saves it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ITERATIONS = 8
WIDTH = 32


class CurveEstimator(nn.Module):
    """[B,3,H,W] in [0,1] → curve parameters [B,outputs,H,W] in [-1,1].

    Seven layers with ReLU between them; the last three see the output of the mirrored early layer too.
    """

    def __init__(self, layer: Callable[[int, int], nn.Module], outputs: int) -> None:
        super().__init__()
        self.e_conv1 = layer(3, WIDTH)
        self.e_conv2 = layer(WIDTH, WIDTH)
        self.e_conv3 = layer(WIDTH, WIDTH)
        self.e_conv4 = layer(WIDTH, WIDTH)
        self.e_conv5 = layer(2 * WIDTH, WIDTH)
        self.e_conv6 = layer(2 * WIDTH, WIDTH)
        self.e_conv7 = layer(2 * WIDTH, outputs)

    def curves(self, image: Tensor) -> Tensor:
        early = [image]
        for layer in (self.e_conv1, self.e_conv2, self.e_conv3, self.e_conv4):
            early.append(layer(early[-1]).relu())
        late = self.e_conv5(torch.cat([early[3], early[4]], dim=1)).relu()
        late = self.e_conv6(torch.cat([early[2], late], dim=1)).relu()
        return self.e_conv7(torch.cat([early[1], late], dim=1)).tanh()


def bend(image: Tensor, curve: Tensor) -> Tensor:
    """x + a·(x² - x), the paper's light-enhancement curve: 0 and 1 stay where they are."""
    return image + curve * (image * image - image)


class ZeroDce(CurveEstimator):
    """The enhanced image; 79,416 parameters, any size. Stays in [0,1] up to rounding."""

    def __init__(self) -> None:
        super().__init__(lambda inputs, outputs: nn.Conv2d(inputs, outputs, 3, padding=1), 3 * ITERATIONS)

    def forward(self, image: Tensor) -> Tensor:
        for curve in self.curves(image).chunk(ITERATIONS, dim=1):
            image = bend(image, curve)
        return image

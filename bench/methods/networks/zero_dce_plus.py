"""Zero-DCE++ (Li, Guo and Loy, TPAMI 2022): Zero-DCE with separable convolutions and one curve map, used eight times.

The map is estimated on a downsampled image and brought back to full size, which is where its speed comes from.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.methods.networks.zero_dce import ITERATIONS, CurveEstimator, bend


class Separable(nn.Module):
    """A 3×3 convolution of each channel by itself, then a 1×1 convolution across them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs)
        self.point_conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.point_conv(self.depth_conv(features))


class ZeroDcePlus(CurveEstimator):
    """The enhanced image; 10,561 parameters.

    `scale_factor` is the downsampling of the image that the curves are estimated on; the official script uses 12, and
    crops the image to multiples of it (the catalogue's `crop_multiple`), so that sizes divide evenly.
    """

    def __init__(self, scale_factor: int = 12) -> None:
        super().__init__(Separable, 3)
        self.scale_factor = scale_factor

    def forward(self, image: Tensor) -> Tensor:
        if self.scale_factor == 1:
            curve = self.curves(image)
        else:
            height, width = image.shape[-2:]
            # Without antialiasing, and with the corners aligned on the way up only: both are the official code's.
            size = (max(1, height // self.scale_factor), max(1, width // self.scale_factor))
            curve = self.curves(interpolate(image, size, mode="bilinear"))
            curve = interpolate(curve, (height, width), mode="bilinear", align_corners=True)
        for _ in range(ITERATIONS):
            image = bend(image, curve)
        return image

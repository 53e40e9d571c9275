"""FA+Net, Five A+ Network: You Only Need 9K Parameters for Underwater Image Enhancement (Jiang et al., BMVC 2023).

A colour branch and a multi-scale pyramid, mixed by 1×1 convolutions on magnitude and phase, then a second colour branch
and a pixel attention. Instance normalisation has no running statistics: every pixel depends on the whole image.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

WIDTH = 16
WINDOWS = {"conv1010": 128, "conv1020": 64, "conv1030": 32}
"""Side of the averaging window of each level of the pyramid, by the name of its convolution."""


class Pyramid(nn.Module):
    """[B,16,H,W] → the same in [-1,1], with averages over large windows seen beside every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.refine2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        for name in WINDOWS:
            self.add_module(name, nn.Conv2d(WIDTH, 1, 1))
        self.refine3 = nn.Conv2d(WIDTH + len(WINDOWS), WIDTH, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.refine2(features).relu()
        size = features.shape[-2:]
        levels = [
            interpolate(self.get_submodule(name)(avg_pool2d(features, window)).relu(), size, mode="nearest")
            for name, window in WINDOWS.items()
        ]
        return self.refine3(torch.cat([*levels, features], dim=1)).tanh()


class ColourBranches(nn.Module):
    """A quarter of the channels for each colour, widened, normalised over the image, and their sum beside them."""

    def __init__(self) -> None:
        super().__init__()
        for colour in "rgb":
            self.add_module(f"conv_first_{colour}", nn.Conv2d(WIDTH // 4, WIDTH, 1, bias=False))
            self.add_module(f"instance_{colour}", nn.InstanceNorm2d(WIDTH, affine=True))
            self.add_module(f"conv_out_{colour}", nn.Conv2d(WIDTH, WIDTH // 4, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        *quarters, rest = features.chunk(4, dim=1)
        outputs = []
        for colour, quarter in zip("rgb", quarters, strict=True):
            for layer in ("conv_first", "instance", "conv_out"):
                quarter = self.get_submodule(f"{layer}_{colour}")(quarter)
            outputs.append(quarter)
        return torch.cat([*outputs, outputs[0] + outputs[1] + outputs[2] + rest], dim=1)


def expansion() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.LeakyReLU(0.1), nn.Conv2d(2 * WIDTH, WIDTH, 1))


class FrequencyMixer(nn.Module):
    """The sum of two branches, and an inverse Fourier transform of it, weighed 1 - alpha to alpha.

    As published, magnitude and phase are those of the real features themselves, before any transform.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.Conv1, self.Conv1_1 = expansion(), expansion()
        self.Conv2 = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        mixed = first + second
        magnitude = self.Conv1((mixed + 1e-8).abs())
        phase = self.Conv1_1(torch.angle(mixed + 1e-8))
        # Transforms exist in float32 on every device, in half precision on few.
        spectrum = torch.polar(torch.ones_like(phase, dtype=torch.float32), phase.float()) * magnitude.float()
        image = torch.fft.irfft2(spectrum, s=mixed.shape[-2:]).abs().to(mixed.dtype) + 1e-8
        return self.Conv2(self.alpha * image + (1 - self.alpha) * mixed)


class PixelAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pa = nn.Sequential(nn.Conv2d(WIDTH, WIDTH // 8, 1), nn.ReLU(), nn.Conv2d(WIDTH // 8, 1, 1), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        return features * self.pa(features)


class FiveAPlus(nn.Module):
    """The enhanced image, not clamped; 8,990 parameters with the head for training, 128×128 pixels or more.

    `alpha` weighs the Fourier branch. The published code has 0.1 for both weight files; the file named 0.4 needs 0.4.
    """

    ignored_prefixes: ClassVar[tuple[str, ...]] = ("conv4.", "fusion_mixer.scale")

    def __init__(self, alpha: float = 0.1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 1)
        self.conv2 = nn.Conv2d(WIDTH, WIDTH, 1)
        self.conv3 = nn.Conv2d(WIDTH, 3, 1)
        self.color_cer_1, self.color_cer_2 = ColourBranches(), ColourBranches()
        self.pyramid_enhance = Pyramid()
        self.fusion_mixer = FrequencyMixer(alpha)
        self.stage2 = PixelAttention()

    def forward(self, image: Tensor) -> Tensor:
        features = self.conv1(image)
        features = self.fusion_mixer(self.color_cer_1(features), self.pyramid_enhance(features)).relu()
        features = self.stage2(self.color_cer_2(self.conv2(features))).relu()
        return self.conv3(features)

"""RUAS, Retinex-inspired Unrolling with Architecture Search (Liu et al., CVPR 2021), with the cells that were found.

Three steps estimate the illumination, each with a cell of its own; a residual network of three cells then removes
noise. Only what is used at test time. The official script saves the denoised image for the `lol` weights and the image
before denoising for `upe` and `dark`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d, pad

STEPS = 3
DENOISE_WIDTH = 6


class Operation(nn.Module):
    """One convolution of a cell, with or without a residual connection around it."""

    def __init__(self, channels: int, kernel: int, dilation: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation)
        self.residual = residual

    def forward(self, features: Tensor) -> Tensor:
        return self.op(features) + features if self.residual else self.op(features)


class Cell(nn.Module):
    """Four distilled outputs of a chain of three remainders, merged by a 1×1 convolution.

    `operations` are in the official order: c1_d, c1_r, c2_d, c2_r, c3_d, c3_r, c4.
    """

    def __init__(self, channels: int, operations: list[nn.Module]) -> None:
        super().__init__()
        self.c1_d, self.c1_r, self.c2_d, self.c2_r, self.c3_d, self.c3_r, self.c4 = operations
        self.c5 = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        kept = []
        for distil, remain in ((self.c1_d, self.c1_r), (self.c2_d, self.c2_r), (self.c3_d, self.c3_r)):
            kept.append(leaky_relu(distil(features), 0.05))
            features = leaky_relu(remain(features) + features, 0.05)
        kept.append(leaky_relu(self.c4(features), 0.05))
        return self.c5(torch.cat(kept, dim=1))


def illumination_cell() -> Cell:
    """The cell that the search found for the illumination, on three channels."""
    return Cell(
        3,
        [
            nn.Identity(),
            Operation(3, 1, residual=True),
            Operation(3, 3, dilation=2, residual=True),
            Operation(3, 3),
            Operation(3, 3),
            nn.Identity(),
            Operation(3, 3),
        ],
    )


def denoising_cell() -> Cell:
    """The cell that the search found for noise, on six channels."""
    width = DENOISE_WIDTH
    return Cell(
        width,
        [
            Operation(width, 1, residual=True),
            Operation(width, 1, residual=True),
            Operation(width, 3, dilation=2, residual=True),
            nn.Identity(),
            Operation(width, 1, residual=True),
            Operation(width, 1, residual=True),
            nn.Identity(),
        ],
    )


class IlluminationStep(nn.Module):
    """One unrolled step: a guess of the illumination is refined by the cell and divided out."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = illumination_cell()

    def forward(self, image: Tensor, guess: Tensor) -> Tensor:
        illumination = self.cell(guess).sigmoid().clamp(0.001, 1)
        return (image / illumination).clamp(0, 1)


class Enhancement(nn.Module):
    """The image after three illumination steps, in [0,1]."""

    def __init__(self) -> None:
        super().__init__()
        self.iems = nn.ModuleList(IlluminationStep() for _ in range(STEPS))

    def forward(self, image: Tensor) -> Tensor:
        enhanced = image
        for number, step in enumerate(self.iems):
            # The maximum of a pixel and its neighbours to the right and below; beyond the border lies black.
            guess = max_pool2d(pad(enhanced, (0, 1, 0, 1)), 2, stride=1)
            if number:
                guess = guess - 0.5 * (enhanced - image)
            enhanced = step(image, guess)
        return enhanced


class Denoising(nn.Module):
    """The image less the noise that three cells see in it. Not clamped."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, DENOISE_WIDTH, 3, padding=1)
        self.nrms = nn.ModuleList(denoising_cell() for _ in range(3))
        self.activate = nn.Sequential(nn.Conv2d(DENOISE_WIDTH, 3, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        for cell in self.nrms:
            features = cell(features)
        return image - self.activate(features)


class Ruas(nn.Module):
    """The enhanced image, any size; 3,438 parameters. `denoise` adds the last stage, whose output is not clamped."""

    def __init__(self, denoise: bool = True) -> None:
        super().__init__()
        self.denoise = denoise
        self.enhance_net = Enhancement()
        self.denoise_net = Denoising()

    def forward(self, image: Tensor) -> Tensor:
        enhanced = self.enhance_net(image)
        return self.denoise_net(enhanced) if self.denoise else enhanced

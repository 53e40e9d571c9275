"""Reti-Diff, Retinex-based latent diffusion (He et al., ICLR 2025): two sampled priors guide a transformer.

A frozen network splits the image into reflectance and illumination. An encoder of that pair and one of the
image each condition a diffusion of four steps over 256 numbers; the two vectors they end in are the transformer's
priors. The steps themselves draw no noise (the official sampler returns each posterior's mean), so all chance lies in
where they start.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from bench.methods.networks.rgformer import PRIOR, REFLECTANCE, RGFormer
from bench.methods.networks.uretinex import Decomposition
from bench.methods.padding import pad_to_multiple

STEPS = 4
FIRST, LAST = 0.1, 0.99
"""Variances of the noise that the first and the last step of diffusion add; their square roots lie on a line."""
SLOPE = 0.1
RESIDUALS = 5
"""Residual blocks of an encoder. All numbers from the official options of the tests."""


def activated(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(SLOPE)]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*activated(width, width), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def trunk(inputs: int, width: int, residuals: list[Residual], outputs: int) -> nn.Sequential:
    """Convolutions and residual blocks, then the average over all pixels: [B,inputs,h,w] → [B,outputs,1,1]."""
    ends = [*activated(width, 2 * width), *activated(2 * width, 2 * width), *activated(2 * width, outputs)]
    return nn.Sequential(*activated(inputs, width), *residuals, *ends, nn.AdaptiveAvgPool2d(1))


def head(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE))


class ImageEncoder(nn.Module):
    """[B,3,H,W] → [B,256]."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.pixel_unshuffle = nn.PixelUnshuffle(4)
        self.E = trunk(48, width, [Residual(width) for _ in range(RESIDUALS)], PRIOR)
        self.mlp = head(PRIOR)

    def forward(self, image: Tensor) -> Tensor:
        return self.mlp(self.E(self.pixel_unshuffle(image)).flatten(1))


class RetinexEncoder(nn.Module):
    """Reflectance and illumination, [B,3+1,H,W] → [B,192+64]. Both trunks run through the same residual blocks."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.pixel_unshuffle = nn.PixelUnshuffle(4)
        shared = [Residual(width) for _ in range(RESIDUALS)]
        self.E_R = trunk(48, width, shared, REFLECTANCE)
        self.E_I = trunk(16, width, shared, PRIOR - REFLECTANCE)
        self.mlp_R, self.mlp_I = head(REFLECTANCE), head(PRIOR - REFLECTANCE)

    def forward(self, pair: Tensor) -> Tensor:
        pixels = self.pixel_unshuffle(pair)
        reflectance = self.mlp_R(self.E_R(pixels[:, :48]).flatten(1))
        illumination = self.mlp_I(self.E_I(pixels[:, 48:]).flatten(1))
        return torch.cat([reflectance, illumination], dim=1)


class Hidden(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.resmlp = nn.Sequential(nn.Linear(width, width))

    def forward(self, features: Tensor) -> Tensor:
        return leaky_relu(self.resmlp(features), SLOPE)


class Denoiser(nn.Module):
    """A noisy prior [B,256], the step and the condition [B,256] → the clean prior as guessed from there."""

    def __init__(self) -> None:
        super().__init__()
        self.resmlp = nn.Sequential(nn.Linear(2 * PRIOR + 1, PRIOR), nn.LeakyReLU(SLOPE), Hidden(PRIOR))

    def forward(self, noisy: Tensor, step: int, condition: Tensor) -> Tensor:
        time = noisy.new_full((len(noisy), 1), step / (10 * STEPS))
        return self.resmlp(torch.cat([condition, time, noisy], dim=1))


def posterior() -> list[tuple[float, float]]:
    """For each step, the first last-run: what the guess and the noisy prior weigh in the mean of the one before."""
    low, high = sqrt(FIRST), sqrt(LAST)
    weights, before = [], 1.0
    for step in range(STEPS):
        beta = (low + (high - low) * step / (STEPS - 1)) ** 2
        kept = before * (1 - beta)
        weights.append((beta * sqrt(before) / (1 - kept), (1 - before) * sqrt(1 - beta) / (1 - kept)))
        before = kept
    return weights


class RetiDiff(nn.Module):
    """The restored image, any size, not clamped.

    As the official tests do, it restores at the image's own size; at `side`×`side` where that is given; or with the
    longer side brought down to `longest` where that is given. They save what comes out at that size, which here is
    brought back to the image's own: a method's output has the size of its input. `width` and `blocks` shrink the
    transformer for tests; no official file has others.
    """

    ignored_prefixes = ("img_diffusion.", "rex_diffusion.", "G.decom.")
    """The encoders and denoisers a second time, with the schedule's tables; a decomposition that only losses used."""

    def __init__(self, side: int = 0, longest: int = 0, width: int = 64, blocks: int = 3) -> None:
        super().__init__()
        self.side, self.longest = side, longest
        self.decomposition = Decomposition()
        self.G = RGFormer(width, blocks, blocks)
        self.img_condition, self.rex_condition = ImageEncoder(), RetinexEncoder()
        self.img_denoise, self.rex_denoise = Denoiser(), Denoiser()
        self.weights = posterior()

    def forward(self, image: Tensor, seeds: Tensor | None = None) -> Tensor:
        """`seeds`, int64 [B], fix each image's starting points, the same on every device; without them chance does."""
        height, width = image.shape[-2:]
        small = resized(image, *self.working_size(height, width))
        output = self.restored(pad_to_multiple(small, 8), starts(len(image), seeds).to(image))
        return resized(output[..., : small.shape[-2], : small.shape[-1]], height, width)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        if self.side:
            return self.side, self.side
        long = max(height, width)
        if not self.longest or long <= self.longest:
            return height, width
        return max(height * self.longest // long, 1), max(width * self.longest // long, 1)

    def restored(self, image: Tensor, noise: Tensor) -> Tensor:
        """Sides multiples of 8. `noise` [2,B,256] is where the Retinex prior and the image's start."""
        pair = torch.cat(self.decomposition(image), dim=1)
        retinex = self.diffused(self.rex_denoise, self.rex_condition(pair), noise[0])
        plain = self.diffused(self.img_denoise, self.img_condition(image), noise[1])
        return self.G(image, retinex, plain)

    def diffused(self, denoiser: nn.Module, condition: Tensor, prior: Tensor) -> Tensor:
        for step in reversed(range(STEPS)):
            guess, noisy = self.weights[step]
            prior = guess * denoiser(prior, step, condition) + noisy * prior
        return prior


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """OpenCV's cubic interpolation of floats, which has no antialiasing; equal size: as it is."""
    if tuple(images.shape[-2:]) == (height, width):
        return images
    return interpolate(images, (height, width), mode="bicubic", align_corners=False)


def starts(batch: int, seeds: Tensor | None) -> Tensor:
    """Standard normal [2,B,256], on the CPU, where a seed means the same numbers everywhere."""
    if seeds is None:
        return torch.randn(2, batch, PRIOR)
    drawn = [torch.randn(2, PRIOR, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
    return torch.stack(drawn, dim=1)

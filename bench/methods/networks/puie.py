"""PUIE-Net, underwater enhancement as a distribution of images (Fu et al., ECCV 2022).

A U-Net whose last features are normalised and given a new mean and deviation per channel, drawn from two normal
distributions that the network derives from the image. MC is the mean over draws, MP the image at their means. The
posterior networks and the perceptual loss that lie in the official file serve training alone and are not here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm

from bench.methods.networks.resize import floored, pillow_resize, resized_back

MULTIPLE = 8
"""The official loader resizes its input to multiples of 8, downwards."""
WIDTH, LATENT = 64, 20


def mirrored(inputs: int, outputs: int) -> list[nn.Module]:
    """A 3×3 convolution of the image continued by reflection."""
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, outputs, 3)]


class ConvBlock(nn.Module):
    """Two convolutions with leaky ReLUs."""

    def __init__(self, inputs: int, outputs: int = WIDTH) -> None:
        super().__init__()
        layers = [*mirrored(inputs, outputs), nn.LeakyReLU(), *mirrored(outputs, outputs), nn.LeakyReLU()]
        self.conv = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class ChannelWeights(nn.Module):
    """Every channel times a weight in (0,1) that depends on the averages of all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_double = nn.Sequential(
            nn.Conv2d(width, width // 16, 1), nn.LeakyReLU(), nn.Conv2d(width // 16, width, 1), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        return features * self.conv_double(features.mean(dim=(2, 3), keepdim=True))


class ResBlock(nn.Module):
    """Two convolutions and channel weights, as a residual."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        layers = [*mirrored(width, width), nn.LeakyReLU(), *mirrored(width, width), ChannelWeights(width)]
        self.body = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


class Encoder(nn.Module):
    """[B,3,H,W] → features of 64 channels at 1, 1/2, 1/4 and 1/8 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = ConvBlock(3), ConvBlock(WIDTH), ConvBlock(WIDTH)
        self.conv4 = ResBlock()
        self.halve = nn.MaxPool2d(2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        full = self.conv1(image)
        half = self.conv2(self.halve(full))
        quarter = self.conv3(self.halve(half))
        return full, half, quarter, self.conv4(self.halve(quarter))


class Latents(nn.Module):
    """Features [B,128,H,W] → mean and deviation [B,20] of each of two normal distributions.

    The first is derived from the channels' means; the second from how the deviation along columns varies between them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.u_conv_layer = nn.Conv2d(2 * WIDTH, 2 * LATENT, 1)
        self.s_conv_layer = nn.Conv2d(2 * WIDTH, 2 * LATENT, 1)

    def forward(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        means = features.mean(dim=(2, 3), keepdim=True)
        deviations = features.std(dim=2, keepdim=True).std(dim=3, keepdim=True)
        parts = [
            layer(of).flatten(1).chunk(2, dim=1)
            for layer, of in ((self.u_conv_layer, means), (self.s_conv_layer, deviations))
        ]
        return [(mean, logarithm.exp()) for mean, logarithm in parts]


class Decoder(nn.Module):
    """The prior half of the official network: an image with sides that are multiples of 8, and noise → the mean output.

    `noise` [N,B,2,20] holds N draws from the standard normal distribution for the two distributions of every image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pr_encoder = Encoder()
        self.pr_conv = ResBlock()
        self.pr_UpConv3, self.pr_UpConv2, self.pr_UpConv1 = (ConvBlock(2 * WIDTH) for _ in range(3))
        self.up = nn.UpsamplingBilinear2d(scale_factor=2)
        self.compute_z_pr = Latents()
        self.conv_u, self.conv_s = (nn.Conv2d(LATENT, 2 * WIDTH, 1) for _ in range(2))
        self.out_conv = nn.Sequential(ResBlock(), ResBlock(), nn.Conv2d(WIDTH, 3, 1))

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        full, half, quarter, eighth = self.pr_encoder(image)
        features = self.pr_UpConv3(torch.cat([quarter, self.up(self.pr_conv(eighth))], dim=1))
        features = self.pr_UpConv2(torch.cat([half, self.up(features)], dim=1))
        features = torch.cat([full, self.up(features)], dim=1)
        (mean, mean_spread), (deviation, deviation_spread) = self.compute_z_pr(features)
        normal = instance_norm(features)
        total = torch.zeros_like(image)
        for drawn in noise:
            shift = self.conv_u((mean + mean_spread * drawn[:, 0])[:, :, None, None])
            scale = self.conv_s((deviation + deviation_spread * drawn[:, 1])[:, :, None, None])
            total = total + self.out_conv(self.pr_UpConv1(normal * scale.abs() + shift)) / len(noise)
        return total


def draws(seed: int, samples: int) -> Tensor:
    """Standard normal noise [N,2,20], drawn on the CPU so that it is the same for every device.

    In the order in which the official script draws, so that they agree once its generator is seeded alike.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(LATENT, generator=generator) for _ in range(2 * samples)]).view(samples, 2, LATENT)


class Puie(nn.Module):
    """The enhanced image, any size from 16×16, not clamped; 832,227 parameters outside training.

    `samples` is how many draws are averaged (MC; 20 in the official test); 0 takes the means of the distributions (MP),
    and so does a call without seeds, which is what a score is trained on. As the official loader, resizes downwards to
    multiples of 8; as the authors' measurement, back again, though from the 8-bit file there.
    """

    ignored_prefixes: ClassVar[tuple[str, ...]] = ("VGG16.", "decoder.po_", "decoder.compute_z_po.")

    def __init__(self, samples: int = 20) -> None:
        super().__init__()
        self.samples = samples
        self.decoder = Decoder()

    def forward(self, image: Tensor, seeds: Tensor | None = None) -> Tensor:
        height, width = image.shape[-2:]
        small = pillow_resize(image, floored(height, MULTIPLE), floored(width, MULTIPLE), "bicubic")
        if self.samples and seeds is not None:
            noise = torch.stack([draws(int(seed), self.samples) for seed in seeds], dim=1)
        else:
            noise = torch.zeros(1, len(image), 2, LATENT)
        return resized_back(self.decoder(small, noise.to(image)), height, width, align_corners=False)


class PuieMostProbable(Puie):
    """MP: the image at the means, without draws."""

    def __init__(self) -> None:
        super().__init__(samples=0)

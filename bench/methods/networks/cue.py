"""CUE, Empowering Low-Light Image Enhancer through Customized Learnable Priors (Zheng et al., ICCV 2023).

Two rounds of unfolding improve illumination L, reflectance R and noise N; a network guided by a learned prior corrects
L. Then one network raises the illumination and another restores the reflectance, both working on the image and on its
Fourier transform. Only what reaches the output is here: the decoder of the prior's network serves training alone.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

ROUNDS = 2
"""The official three stages, of which the first is the initialisation."""


class ConvPair(nn.Module):
    """Two 3×3 convolutions beside a 1×1 convolution; with `half_norm`, half the channels are instance-normalised."""

    def __init__(self, inputs: int, outputs: int, half_norm: bool = False) -> None:
        super().__init__()
        self.identity = nn.Conv2d(inputs, outputs, 1)
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.InstanceNorm2d(outputs // 2, affine=True) if half_norm else None

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.conv_1(features)
        if self.norm is not None:
            first, second = hidden.chunk(2, dim=1)
            hidden = torch.cat([self.norm(first), second], dim=1)
        hidden = leaky_relu(self.conv_2(leaky_relu(hidden, 0.1)), 0.1)
        return hidden + self.identity(features)


class IlluminationPrior(nn.Module):
    """Illumination [B,1,H,W], H and W multiples of 4 → features [B,24,H/2,W/2] of the learned prior."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        deep = 4 * width
        self.convpre = nn.Conv2d(1, width, 3, padding=1)
        self.conv1 = ConvPair(width, width)
        self.down1 = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.conv2 = ConvPair(2 * width, 2 * width)
        self.down2 = nn.Conv2d(2 * width, deep, 2, stride=2)
        self.conv3 = ConvPair(deep, deep)
        self.Global = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, deep, 1), nn.LeakyReLU(0.2), nn.Conv2d(deep, deep, 1)
        )
        self.context_g = ConvPair(2 * deep, deep)

    def forward(self, illumination: Tensor) -> Tensor:
        features = self.conv1(self.convpre(illumination))
        features = self.conv3(self.down2(self.conv2(self.down1(features))))
        context = self.Global(features).expand_as(features)
        features = self.context_g(torch.cat([context, features], dim=1))
        return interpolate(features, scale_factor=2, mode="bilinear")


class IlluminationUpdate(nn.Module):
    """A gradient step on the mean of the three channels, and what the prior adds to it."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.L_learnedPrior = IlluminationPrior()
        self.modulation_add = nn.Sequential(
            nn.Conv2d(24, width, 3, padding=1, bias=False), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image: Tensor, light: Tensor, noise: Tensor, reflectance: Tensor, step: Tensor) -> Tensor:
        prior = self.L_learnedPrior(light)
        stepped = (1 - step * reflectance * reflectance) * light - step * reflectance * (noise - image)
        prior = interpolate(prior, light.shape[-2:], mode="bilinear", align_corners=True)
        return stepped.mean(dim=1, keepdim=True) + self.modulation_add(prior)


class Proximal(nn.Module):
    """A residual of three 1×1 convolutions without bias."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layers = nn.Sequential(
            nn.Conv2d(3, width, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 3, 1, bias=False),
        )  # fmt: skip
        self.prox = nn.ModuleDict({"basic_unit": layers})

    def forward(self, image: Tensor) -> Tensor:
        return self.prox["basic_unit"](image) + image


class Coupling(nn.Module):
    """An invertible block: halves of the channels transform each other, plus a residual around all of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        parts = {name: ConvPair(half, half, half_norm=True) for name in "FGH"}
        self.block = nn.ModuleDict(parts)

    def forward(self, features: Tensor) -> Tensor:
        first, second = features.chunk(2, dim=1)
        first = first + self.block["F"](second)
        scale = 0.8 * (2 * self.block["H"](first).sigmoid() - 1)
        second = second * scale.exp() + self.block["G"](first)
        return features + torch.cat([first, second], dim=1)


class Fusion(nn.Module):
    """The image's features beside their spectrum's: 3×3 convolutions (`kernel` 3) or across channels (`kernel` 1)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        groups = width if kernel == 3 else 1

        def spectral() -> nn.Sequential:
            first = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups)
            second = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups)
            return nn.Sequential(first, nn.LeakyReLU(0.1), second)

        self.spatial_process = Coupling(width)
        self.frequency_process = nn.ModuleDict({"processreal": spectral(), "processimag": spectral()})
        self.frequency_spatial = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.cat = nn.Conv2d(2 * width, width, kernel, padding=kernel // 2)

    def forward(self, features: Tensor) -> Tensor:
        # Transforms exist in float32 on every device, in half precision on few.
        spectrum = torch.fft.rfft2(features.float())
        real = self.frequency_process["processreal"](spectrum.real.to(features.dtype))
        imaginary = self.frequency_process["processimag"](spectrum.imag.to(features.dtype))
        spectrum = torch.complex(real.float(), imaginary.float())
        back = torch.fft.irfft2(spectrum, s=features.shape[-2:]).to(features.dtype)
        both = [self.spatial_process(features), self.frequency_spatial(back)]
        return self.cat(torch.cat(both, dim=1)) + features


class DualFusion(nn.Module):
    """Fusion over space, then over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spa, self.cha = Fusion(width, 3), Fusion(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.cha(self.spa(features))


class FusionUNet(nn.Module):
    """Three resolutions with a fusion at each, [B,C,H,W] → [B,C,H,W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(width, width, 3, padding=1)
        self.conv1, self.conv2, self.conv3 = DualFusion(width), DualFusion(2 * width), DualFusion(3 * width)
        self.downsample1 = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.downsample2 = nn.Conv2d(2 * width, 3 * width, 2, stride=2)
        self.up1 = nn.ConvTranspose2d(5 * width, 2 * width, 1)
        self.conv4 = DualFusion(2 * width)
        self.up2 = nn.ConvTranspose2d(3 * width, width, 1)
        self.conv5 = DualFusion(width)
        self.convout = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        full = self.conv1(self.conv0(features))
        half = self.conv2(self.downsample1(full))
        quarter = self.conv3(self.downsample2(half))
        half = self.conv4(self.up1(torch.cat([_to(quarter, half), half], dim=1)))
        full = self.conv5(self.up2(torch.cat([_to(half, full), full], dim=1)))
        return self.convout(full)


def _to(features: Tensor, like: Tensor) -> Tensor:
    return interpolate(features, like.shape[-2:], mode="bilinear")


class Restorer(nn.Module):
    """A fusion network between two 1×1 convolutions."""

    def __init__(self, inputs: int, outputs: int, width: int = 8) -> None:
        super().__init__()
        self.extract = nn.Conv2d(inputs, width, 1)
        self.process = FusionUNet(width)
        self.recons = nn.Conv2d(width, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.extract(image)
        return self.recons(self.process(features) + features)


class Cue(nn.Module):
    """The enhanced image, not clamped; H and W multiples of 4 and at least 8. 257,129 parameters in the official file.

    `ratio` is how much brighter the illumination shall be; the weights were trained and tested with 5.
    """

    ignored_prefixes: ClassVar[tuple[str, ...]] = (
        "model_illu.modulation_mul.",
        *(f"model_illu.L_learnedPrior.{name}" for name in ("context1.", "context2.", "merge", "conv_last.")),
    )

    def __init__(self, ratio: float = 5.0) -> None:
        super().__init__()
        self.ratio = ratio
        self.model_illu = IlluminationUpdate()
        self.model_refl, self.model_noise = Proximal(), Proximal()
        self.adjustIllu_model = Restorer(2, 1)
        self.restoraRefl_model = Restorer(3, 3)
        self.alpha, self.beta, self.mu = (nn.Parameter(torch.tensor([start])) for start in (0.001, 0.001, 10.0))

    def forward(self, image: Tensor) -> Tensor:
        light = image.amax(dim=1, keepdim=True)
        reflectance = image / (light + 1e-8)
        noise = torch.zeros_like(image)
        for _ in range(ROUNDS):
            light = self.model_illu(image, light, noise, reflectance, self.alpha)
            stepped = (1 - self.beta * light * light) * reflectance - self.beta * light * (noise - image)
            reflectance = self.model_refl(stepped)
            residue = image - reflectance * light
            noise = self.model_noise(residue.sign() * (residue.abs() - 1 / self.mu).relu())
        raised = self.adjustIllu_model(torch.cat([light, torch.full_like(light, self.ratio)], dim=1))
        return raised * self.restoraRefl_model(reflectance)

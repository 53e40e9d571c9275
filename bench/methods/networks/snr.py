"""SNR-Net, SNR-aware low-light enhancement (Xu et al., CVPR 2022).

A map of the signal-to-noise ratio, made from the image and its blurred copy, decides where a transformer over patches
restores and where convolutions do; the transformer does not look at patches that are mostly noise. The map belongs to
the test script and its loader, not to the official network; it is part of this one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, fold, interpolate, leaky_relu, pad, pixel_shuffle, unfold

from bench.errors import BenchError

WIDTH, PATCH = 64, 4
HEADS, KEY, HIDDEN, LAYERS = 8, 64, 2048, 6
MULTIPLE = 16
"""Two halvings, then patches of 4×4."""
BLUR = 5
NOISY = 0.5
"""Patches with a mean of the map up to this are not looked at."""
FLOOR = 1e-4


def luma(image: Tensor) -> Tensor:
    red, green, blue = image.split(1, dim=1)
    return red * 0.299 + green * 0.587 + blue * 0.114


def snr_map(image: Tensor) -> Tensor:
    """RGB [B,3,H,W] in [0,1], 3×3 or more → [B,1,H,W] in [0,1]: the blurred image over its distance to the image.

    Where an image is flat the distance is nothing but rounding, next to an offset of 1e-4: the order of operations and
    the blur in double precision, as OpenCV has it, are part of the definition.
    """
    edge = BLUR // 2
    levels = pad((image * 255).double(), (edge,) * 4, mode="reflect")
    smooth = luma(avg_pool2d(levels, BLUR, stride=1).to(image.dtype) / 255)
    ratio = smooth / ((luma(image) - smooth).abs() + FLOOR)
    return (ratio / (ratio.amax(dim=(2, 3), keepdim=True) + FLOOR)).clamp(0, 1)


class Residual(nn.Module):
    """Two 3×3 convolutions as a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(self.conv1(features).relu())


class Attention(nn.Module):
    """Multi-head attention among patches [B,N,C] as a residual; `hidden` [B,1,1,N] are not looked at."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_qs, self.w_ks, self.w_vs = (nn.Linear(channels, HEADS * KEY, bias=False) for _ in range(3))
        self.fc = nn.Linear(HEADS * KEY, channels, bias=False)
        self.layer_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, patches: Tensor, hidden: Tensor) -> Tensor:
        normal = self.layer_norm(patches)
        query, key, value = (
            layer(normal).unflatten(2, (HEADS, KEY)).transpose(1, 2) for layer in (self.w_qs, self.w_ks, self.w_vs)
        )
        weights = query / KEY**0.5 @ key.transpose(2, 3)
        # The least finite number: where all patches are hidden, each looks at all of them alike.
        weights = weights.masked_fill(hidden, torch.finfo(weights.dtype).min).softmax(dim=-1)
        return self.fc((weights @ value).transpose(1, 2).flatten(2)) + patches


class FeedForward(nn.Module):
    """Two layers on every patch, as a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(channels, HIDDEN), nn.Linear(HIDDEN, channels)
        self.layer_norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, patches: Tensor) -> Tensor:
        return self.w_2(self.w_1(self.layer_norm(patches)).relu()) + patches


class Layer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slf_attn, self.pos_ffn = Attention(channels), FeedForward(channels)

    def forward(self, patches: Tensor, hidden: Tensor) -> Tensor:
        return self.pos_ffn(self.slf_attn(patches, hidden))


class Transformer(nn.Module):
    """Features [B,64,H,W] and their map [B,1,H,W] → features, patch by patch of 4×4; without positions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_stack = nn.ModuleList(Layer(WIDTH * PATCH**2) for _ in range(LAYERS))

    def forward(self, features: Tensor, snr: Tensor) -> Tensor:
        patches = unfold(features, PATCH, stride=PATCH).transpose(1, 2)
        hidden = (unfold(snr, PATCH, stride=PATCH).mean(dim=1) <= NOISY)[:, None, None]
        for layer in self.layer_stack:
            patches = layer(patches, hidden)
        return fold(patches.transpose(1, 2), features.shape[-2:], PATCH, stride=PATCH)


class Snr(nn.Module):
    """The enhanced image, any size from 3×3, not clamped; 39,124,099 parameters.

    As the official test: image and map are resized to `height`×`width` (400×608 for LOL-v1 and LOL-v2-real, 384×384 for
    LOL-v2-synthetic, whatever the image's size), the output back again, all bilinearly.
    Raises `BenchError` for sides that are no multiples of 16.
    """

    def __init__(self, height: int = 400, width: int = 608) -> None:
        super().__init__()
        if height % MULTIPLE or width % MULTIPLE:
            raise BenchError(
                f"SNR-Net: options height and width must be multiples of {MULTIPLE}, not {height} and {width}"
            )
        self.size = (height, width)
        self.conv_first_1 = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.conv_first_2, self.conv_first_3 = (nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1) for _ in range(2))
        self.feature_extraction, self.recon_trunk = nn.Sequential(Residual()), nn.Sequential(Residual())
        self.recon_trunk_light = nn.Sequential(*(Residual() for _ in range(6)))
        self.transformer = Transformer()
        self.upconv1, self.upconv2 = (nn.Conv2d(2 * WIDTH, 4 * WIDTH, 3, padding=1) for _ in range(2))
        self.HRconv = nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1)
        self.conv_last = nn.Conv2d(WIDTH, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        resized, snr = (interpolate(of, self.size, mode="bilinear") for of in (image, snr_map(image)))
        return interpolate(self.restore(resized, snr), image.shape[-2:], mode="bilinear")

    def restore(self, image: Tensor, snr: Tensor) -> Tensor:
        """The official network: an image with sides that are multiples of 16, and the map of its size."""
        full = leaky_relu(self.conv_first_1(image), 0.1)
        half = leaky_relu(self.conv_first_2(full), 0.1)
        quarter = leaky_relu(self.conv_first_3(half), 0.1)
        features = self.feature_extraction(quarter)
        snr = interpolate(snr, features.shape[-2:], mode="nearest")
        near, far = self.recon_trunk_light(features), self.transformer(features, snr)
        features = self.recon_trunk(far * (1 - snr) + near * snr)
        for layer, skip in ((self.upconv1, quarter), (self.upconv2, half)):
            features = leaky_relu(pixel_shuffle(layer(torch.cat([features, skip], dim=1)), 2), 0.1)
        features = leaky_relu(self.HRconv(torch.cat([features, full], dim=1)), 0.1)
        return self.conv_last(features) + image

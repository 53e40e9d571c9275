"""IAT, Illumination Adaptive Transformer (Cui et al., BMVC 2022): a local and a global correction of a dark image.

The local branch multiplies and adds per pixel, at full resolution; the global branch reads ten numbers off the image by
attention with learned queries, nine for a colour matrix and one for a gamma. Drop paths are training only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, leaky_relu, linear

LOCAL_WIDTH = 16
GLOBAL_WIDTH = 64
HEADS = 4
QUERIES = 10
"""One for the gamma, nine for the colour matrix."""


class ColourAffine(nn.Module):
    """Channels mixed by a learned matrix, scaled and shifted: what stands in place of a normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, width))
        self.color = nn.Parameter(torch.eye(width))

    def forward(self, features: Tensor) -> Tensor:
        mixed = linear(features.permute(0, 2, 3, 1), self.color) * self.alpha + self.beta
        return mixed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two layers with a GELU between them: linear on tokens, 1×1 convolutions on feature maps."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = first, second

    def forward(self, features: Tensor) -> Tensor:
        return self.fc2(gelu(self.fc1(features)))


class LocalBlock(nn.Module):
    """A transformer block in which a 5×5 depthwise convolution takes the place of attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma_1 = nn.Parameter(torch.full((1, width, 1, 1), 1e-4))
        self.gamma_2 = nn.Parameter(torch.full((1, width, 1, 1), 1e-4))
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = ColourAffine(width)
        self.conv1 = nn.Conv2d(width, width, 1)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.attn = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm2 = ColourAffine(width)
        self.mlp = Mlp(nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        features = features + self.pos_embed(features)
        features = features + self.gamma_1 * self.conv2(self.attn(self.conv1(self.norm1(features))))
        return features + self.gamma_2 * self.mlp(self.norm2(features))


class LocalBranch(nn.Module):
    """[B,3,H,W] → a factor ≥ 0 and an offset in [-1,1], both [B,3,H,W]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, LOCAL_WIDTH, 3, padding=1)
        self.mul_blocks = nn.Sequential(*(LocalBlock(LOCAL_WIDTH) for _ in range(3)))
        self.add_blocks = nn.Sequential(*(LocalBlock(LOCAL_WIDTH) for _ in range(3)))
        self.mul_end = nn.Sequential(nn.Conv2d(LOCAL_WIDTH, 3, 3, padding=1), nn.ReLU())
        self.add_end = nn.Sequential(nn.Conv2d(LOCAL_WIDTH, 3, 3, padding=1), nn.Tanh())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = leaky_relu(self.conv1(image), 0.2)
        factor = self.mul_end(self.mul_blocks(features) + features)
        offset = self.add_end(self.add_blocks(features) + features)
        return factor, offset


class QueryAttention(nn.Module):
    """Ten learned queries look at N tokens: [B,N,64] → [B,10,64]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.ones(1, QUERIES, width))
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, _, width = tokens.shape
        queries, keys, values = (
            part.unflatten(2, (HEADS, width // HEADS)).transpose(1, 2)
            for part in (self.q.expand(batch, -1, -1), self.k(tokens), self.v(tokens))
        )
        weights = (queries @ keys.transpose(2, 3) * (width // HEADS) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ values).transpose(1, 2).flatten(2))


class QueryBlock(nn.Module):
    """Feature map [B,64,h,w] → ten tokens [B,10,64]. There is no residual around the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width)
        self.attn = QueryAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(nn.Linear(width, 4 * width), nn.Linear(4 * width, width))

    def forward(self, features: Tensor) -> Tensor:
        tokens = (features + self.pos_embed(features)).flatten(2).transpose(1, 2)
        tokens = self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class GlobalBranch(nn.Module):
    """[B,3,H,W] → gamma [B,1] and colour matrix [B,3,3]."""

    def __init__(self) -> None:
        super().__init__()
        half = GLOBAL_WIDTH // 2
        self.gamma_base = nn.Parameter(torch.ones(1))
        self.color_base = nn.Parameter(torch.eye(3))
        reduce = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1),
            nn.BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, GLOBAL_WIDTH, 3, stride=2, padding=1),
            nn.BatchNorm2d(GLOBAL_WIDTH),
        )
        self.conv_large = nn.ModuleDict({"proj": reduce})
        self.generator = QueryBlock(GLOBAL_WIDTH)
        self.gamma_linear = nn.Linear(GLOBAL_WIDTH, 1)
        self.color_linear = nn.Linear(GLOBAL_WIDTH, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.generator(self.conv_large["proj"](image))
        gamma = self.gamma_linear(tokens[:, 0]) + self.gamma_base
        colour = self.color_linear(tokens[:, 1:]).reshape(-1, 3, 3) + self.color_base
        return gamma, colour


class Iat(nn.Module):
    """The corrected image in [0,1], any size; 91,154 parameters.

    `centred` maps the input to [-1,1] first, as the official evaluation of the LOL-v2 weights does and the others do
    not; without it those weights lose more than 5 dB.
    """

    def __init__(self, centred: bool = False) -> None:
        super().__init__()
        self.centred = centred
        self.local_net = LocalBranch()
        self.global_net = GlobalBranch()

    def forward(self, image: Tensor) -> Tensor:
        if self.centred:
            image = (image - 0.5) / 0.5
        factor, offset = self.local_net(image)
        gamma, colour = self.global_net(image)
        corrected = torch.einsum("brc,bchw->brhw", colour, image * factor + offset)
        return corrected.clamp(1e-8, 1) ** gamma[:, :, None, None]

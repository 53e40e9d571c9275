"""MUSIQ (Ke et al., ICCV 2021): a transformer over patches of an image at its own and two smaller sizes.

State-dict compatible with the PyTorch conversions of Google's checkpoints (KonIQ, AVA, SPAQ, PaQ-2-PiQ). One image at a
time, so nothing is ever padded to a common length and no attention mask is needed. Inference only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 32
GRID = 10
"""The hashed positions lie on a 10 × 10 grid, whatever the number of patches."""
LONGER_SIDES = (224, 384)
_WIDTH, _HEADS, _LAYERS, _MLP = 384, 6, 14, 1152


class Tokens(NamedTuple):
    """The patches of one image at all scales."""

    patches: Tensor
    """[N,3,32,32] in [-1,1]."""
    positions: Tensor
    """int64 [N] into the 10 × 10 grid, row-major."""
    scales: Tensor
    """int64 [N]: 0 for the smallest size, 2 for the image's own."""


def tokens(image: Tensor) -> Tokens:
    """[1,3,H,W] in [0,1] → patches of the image with its longer side at 224, at 384, and as it is."""
    image = image * 2 - 1
    height, width = image.shape[-2:]
    versions = []
    for side in LONGER_SIDES:
        ratio = side / max(height, width)
        size = (round(height * ratio), round(width * ratio))
        versions.append(F.interpolate(image, size, mode="bicubic", align_corners=False))
    versions.append(image)
    parts = [_split(version) for version in versions]
    counts = torch.tensor([len(patches) for patches, _ in parts], device=image.device)
    return Tokens(
        torch.cat([patches for patches, _ in parts]),
        torch.cat([positions for _, positions in parts]),
        torch.arange(len(parts), device=image.device).repeat_interleave(counts),
    )


def _split(image: Tensor) -> tuple[Tensor, Tensor]:
    """Patches without overlap, zeros around the image where it does not fill them (TensorFlow's SAME)."""
    rows, columns = (-(-size // PATCH) for size in image.shape[-2:])
    image = _same(image, PATCH, PATCH)
    patches = F.unfold(image, PATCH, stride=PATCH)[0].T.reshape(-1, 3, PATCH, PATCH)
    down, across = (_hashed(count, image.device) for count in (rows, columns))
    return patches, (down[:, None] * GRID + across[None, :]).reshape(-1)


def _hashed(count: int, device: torch.device) -> Tensor:
    """Grid cell of each of `count` patches: nearest-neighbour scaling, with its float32 rounding."""
    cells = torch.arange(GRID, dtype=torch.float32, device=device)
    return F.interpolate(cells[None, None], size=count, mode="nearest")[0, 0].long()


def _same(image: Tensor, kernel: int, stride: int) -> Tensor:
    """Zero padding after which a convolution gives ceil(size / stride); the odd pixel goes right and below."""
    pads: list[int] = []
    for size in reversed(image.shape[-2:]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(image, pads)


class _StdConv(nn.Conv2d):
    """Convolution whose kernels are standardised each time: zero mean, unit sample deviation."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(_same(x, self.kernel_size[0], self.stride[0]), weight, None, self.stride)


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = _StdConv(channels, channels, 1, bias=False)
        self.gn1 = nn.GroupNorm(32, channels, eps=1e-4)
        self.conv2 = _StdConv(channels, channels, 3, bias=False)
        self.gn2 = nn.GroupNorm(32, channels, eps=1e-4)
        self.conv3 = _StdConv(channels, out, 1, bias=False)
        self.gn3 = nn.GroupNorm(32, out, eps=1e-4)
        self.conv_proj = _StdConv(channels, out, 1, bias=False)
        self.gn_proj = nn.GroupNorm(32, out, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.gn1(self.conv1(x)))
        y = F.relu(self.gn2(self.conv2(y)))
        return F.relu(self.gn3(self.conv3(y)) + self.gn_proj(self.conv_proj(x)))


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        heads = [
            part(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        ]  # [1,6,N,64] each
        return self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(_WIDTH, _MLP)
        self.fc2 = nn.Linear(_MLP, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.attention = _Attention()
        self.norm2 = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.mlp = _Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position_emb = nn.Parameter(torch.zeros(1, GRID * GRID, _WIDTH))


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale_emb = nn.Parameter(torch.zeros(len(LONGER_SIDES) + 1, _WIDTH))


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.posembed_input = _Position()
        self.scaleembed_input = _Scale()
        self.cls = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.encoder_norm = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.transformer = nn.ModuleDict({f"encoderblock_{index}": _Block() for index in range(_LAYERS)})

    def forward(self, x: Tensor, positions: Tensor, scales: Tensor) -> Tensor:
        """[N,384] → the class token, [384]."""
        x = x + self.posembed_input.position_emb[0, positions] + self.scaleembed_input.scale_emb[scales]
        x = torch.cat([self.cls, x[None]], dim=1)
        for block in self.transformer.values():
            x = block(x)
        return self.encoder_norm(x)[0, 0]


class Musiq(nn.Module):
    """`classes` 1: the head is the score; more: a distribution over 1…K, whose mean is the score (AVA: 10)."""

    def __init__(self, classes: int = 1) -> None:
        super().__init__()
        self.conv_root = _StdConv(3, 64, 7, stride=2, bias=False)
        self.gn_root = nn.GroupNorm(32, 64, eps=1e-6)
        self.block1 = _Bottleneck(64, 256)
        self.embedding = nn.Linear(256 * (PATCH // 4) ** 2, _WIDTH)
        self.transformer_encoder = _Encoder()
        head = nn.Linear(_WIDTH, classes)
        self.head = head if classes == 1 else nn.Sequential(head, nn.Softmax(dim=-1))
        self.classes = classes

    def forward(self, image: Tensor) -> Tensor:
        """[1,3,H,W] in [0,1], any size → the score, [1]."""
        patches, positions, scales = tokens(image)
        x = F.relu(self.gn_root(self.conv_root(patches)))
        x = self.block1(F.max_pool2d(_same(x, 3, 2), 3, 2))
        x = self.embedding(x.permute(0, 2, 3, 1).flatten(1))  # channels last, as TensorFlow flattens
        out = self.head(self.transformer_encoder(x, positions, scales))
        return (out * torch.arange(1, self.classes + 1, device=out.device)).sum(-1, keepdim=True)

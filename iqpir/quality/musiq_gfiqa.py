"""The face-quality network that the IQPIR and IQPFR papers call MUSIQ-GFIQA: not Google's MUSIQ.

A transformer over ResNet-50 features of a 512 × 512 image at three sizes, after an unofficial port of MUSIQ, trained on
GFIQA-20k. State-dict compatible with that port; its oddities are kept, because the weights were trained with them: the
smallest size loses its lower rows and shares the middle size's embedding, and normalisation follows the residual sum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 512
GRID = 10
_WIDTH, _HEADS, _HEAD_WIDTH, _LAYERS = 384, 6, 384, 14
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Attention(nn.Module):
    """Six heads, each as wide as the whole token."""

    def __init__(self) -> None:
        super().__init__()
        self.W_Q, self.W_K, self.W_V = (nn.Linear(_WIDTH, _HEADS * _HEAD_WIDTH) for _ in range(3))
        self.linear = nn.Linear(_HEADS * _HEAD_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        heads = [
            part(x).unflatten(-1, (_HEADS, _HEAD_WIDTH)).transpose(1, 2) for part in (self.W_Q, self.W_K, self.W_V)
        ]
        return self.linear(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(_WIDTH, _WIDTH, 1)
        self.conv2 = nn.Conv1d(_WIDTH, _WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.gelu(self.conv1(x.transpose(1, 2)))).transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn = _Attention()
        self.layer_norm1 = nn.LayerNorm(_WIDTH, eps=1e-12)
        self.pos_ffn = _FeedForward()
        self.layer_norm2 = nn.LayerNorm(_WIDTH, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm1(x + self.self_attn(x))
        return self.layer_norm2(x + self.pos_ffn(x))


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale_org_embedding = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1))
        self.scale_1_embedding = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1))
        self.scale_2_embedding = nn.Parameter(torch.zeros(1, _WIDTH, 1, 1))  # in the checkpoint, but never used
        self.pos_embedding = nn.Parameter(torch.zeros(1, GRID, GRID, _WIDTH))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.layers = nn.ModuleList([_Layer() for _ in range(_LAYERS)])

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Three maps [B,384,h,w], the image's own size first → the class token [B,384]."""
        scales = [self.scale_org_embedding, self.scale_1_embedding, self.scale_1_embedding]
        parts = [self.cls_token.expand(len(maps[0]), -1, -1)]
        for features, scale in zip(maps, scales, strict=True):
            cells = [torch.arange(size) * GRID // size for size in features.shape[-2:]]
            position = self.pos_embedding[:, cells[0]][:, :, cells[1]].permute(0, 3, 1, 2)
            parts.append((features + scale + position).flatten(2).transpose(1, 2))
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()


class Regression(nn.Module):
    """The checkpoint's `model_transformer_state_dict`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_enc = nn.Conv2d(2048, _WIDTH, 1)
        self.transformer = _Transformer()
        self.projection = nn.Sequential(nn.Linear(_WIDTH, 1152, bias=False), nn.GELU(), nn.Linear(1152, 1, bias=False))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.projection(self.transformer.encoder([self.conv_enc(each) for each in features]))


class MusiqGfiqa(nn.Module):
    """`backbone` is torchvision's ResNet-50 without its classifier: the checkpoint's `model_backbone_state_dict`."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.backbone = resnet50(weights=None)
        self.backbone.fc = nn.Identity()
        self.regression = Regression()

    def forward(self, image: Tensor) -> Tensor:
        """[B,3,512,512] in [0,1] → scores [B], about 0 to 1."""
        middle, small = (F.interpolate(image, (side, side), mode="bicubic", align_corners=False) for side in (384, 224))
        features = [self._features(each) for each in (image, middle, small[:, :, :160])]
        return self.regression(features)[:, 0]

    def _features(self, image: Tensor) -> Tensor:
        net = self.backbone
        mean, std = image.new_tensor((_MEAN, _STD)).view(2, 1, 3, 1, 1)
        x = net.maxpool(net.relu(net.bn1(net.conv1((image - mean) / std))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


def parts(network: MusiqGfiqa) -> dict[str, dict[str, Tensor]]:
    """The two state dicts under the names that the checkpoint has for them."""
    return {
        "model_backbone_state_dict": network.backbone.state_dict(),
        "model_transformer_state_dict": network.regression.state_dict(),
    }

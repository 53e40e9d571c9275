"""The network of Q-Align's OneAlign: mPLUG-Owl2, a language model that reads an image as a row of tokens.

A vision transformer turns the image into patches, an abstractor into a few tokens, and a LLaMA whose keys, values and
norms are doubled (one set for words, one for image tokens) reads them between the words of a question. State-dict
compatible with the published checkpoints. Only what scoring needs: one image, no cache, no text is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """Sizes of one of the three transformers."""

    width: int
    hidden: int
    layers: int
    heads: int
    epsilon: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any], default: Part, epsilon: str) -> Self:
        """From a hub configuration, `default` for what it leaves out."""
        return cls(
            width=config.get("hidden_size", default.width),
            hidden=config.get("intermediate_size", default.hidden),
            layers=config.get("num_hidden_layers", default.layers),
            heads=config.get("num_attention_heads", default.heads),
            epsilon=config.get(epsilon, default.epsilon),
        )


@dataclass(frozen=True)
class Sizes:
    """The sizes of a whole network; by default those of OneAlign."""

    language: Part = Part(4096, 11008, 32, 32, 1e-6)
    vision: Part = Part(1024, 4096, 24, 16, 1e-6)
    abstractor: Part = Part(1024, 2816, 6, 16, 1e-6)
    vocabulary: int = 32000
    rope_base: float = 10000.0
    side: int = 448
    patch: int = 14
    queries: int = 64

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Sizes:
        """From the `config.json` of a hub folder. Raises `ValueError` for a network that this one is not."""
        default = cls()
        visual = config.get("visual_config") or {}
        eyes, abstractor = visual.get("visual_model") or {}, visual.get("visual_abstractor") or {}
        sizes = cls(
            language=Part.from_config(config, default.language, "rms_norm_eps"),
            vision=Part.from_config(eyes, default.vision, "layer_norm_eps"),
            abstractor=Part.from_config(abstractor, default.abstractor, "layer_norm_eps"),
            vocabulary=config.get("vocab_size", default.vocabulary),
            rope_base=config.get("rope_theta", default.rope_base),
            side=eyes.get("image_size", default.side),
            patch=eyes.get("patch_size", default.patch),
            queries=abstractor.get("num_learnable_queries", default.queries),
        )
        kind = config.get("model_type")
        if kind != "mplug_owl2":
            raise ValueError(f"its model_type is {kind!r}, not 'mplug_owl2'")
        if config.get("rope_scaling") is not None or config.get("attention_bias"):
            raise ValueError("scaled rotary positions and biased attention are not Q-Align's")
        if config.get("num_key_value_heads", sizes.language.heads) != sizes.language.heads:
            raise ValueError("grouped keys and values are not Q-Align's")
        for field in fields(sizes):
            value = getattr(sizes, field.name)
            if isinstance(value, Part) and value.width % value.heads:
                raise ValueError(f"{field.name}: width {value.width} is no multiple of {value.heads} heads")
        return sizes

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2


def _heads(x: Tensor, count: int) -> Tensor:
    """[B,N,D] → [B,heads,N,D / heads]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def _merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class _Embeddings(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.vision.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.patch_embed = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.position_embedding = nn.Parameter(torch.empty(1, sizes.patches + 1, width))
        self.pre_layernorm = nn.LayerNorm(width, eps=sizes.vision.epsilon)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch_embed(image).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1)
        return self.pre_layernorm(tokens + self.position_embedding)


class _VisionAttention(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.heads = part.heads
        self.query_key_value = nn.Linear(part.width, 3 * part.width)
        self.dense = nn.Linear(part.width, part.width)

    def forward(self, x: Tensor) -> Tensor:
        # Query, key and value of one head lie together, head after head.
        mixed = self.query_key_value(x).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        return self.dense(_merged(F.scaled_dot_product_attention(mixed[0], mixed[1], mixed[2])))


class _VisionFeedForward(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.fc1 = nn.Linear(part.width, part.hidden)
        self.fc2 = nn.Linear(part.hidden, part.width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.fc1(x)
        return self.fc2(inner * torch.sigmoid(1.702 * inner))  # CLIP's "quick" GELU


class _VisionLayer(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.self_attn = _VisionAttention(part)
        self.mlp = _VisionFeedForward(part)
        self.input_layernorm = nn.LayerNorm(part.width, eps=part.epsilon)
        self.post_attention_layernorm = nn.LayerNorm(part.width, eps=part.epsilon)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class _Stack(nn.Module):
    """`layers.N`, one after the other."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class _Vision(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        part = sizes.vision
        self.embeddings = _Embeddings(sizes)
        self.encoder = _Stack([_VisionLayer(part) for _ in range(part.layers)])
        self.post_layernorm = nn.LayerNorm(part.width, eps=part.epsilon)

    def forward(self, image: Tensor) -> Tensor:
        x = self.embeddings(image)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


class _CrossAttention(nn.Module):
    """Queries look at themselves and at the patches; both carry positions, which the values do not."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        part = sizes.abstractor
        self.heads = part.heads
        self.query = nn.Linear(part.width, part.width)
        self.key = nn.Linear(sizes.vision.width, part.width)
        self.value = nn.Linear(sizes.vision.width, part.width)
        self.register_buffer("q_pos_embed", torch.empty(sizes.queries, part.width))
        self.register_buffer("k_pos_embed", torch.empty(sizes.patches + 1, part.width))

    def forward(self, queries: Tensor, seen: Tensor) -> Tensor:
        own, theirs = (buffer.to(seen.dtype) for buffer in (self.q_pos_embed, self.k_pos_embed))
        query = self.query(queries + own)
        key, value = self.key(seen + torch.cat([own, theirs])), self.value(seen)
        parts = (_heads(each, self.heads) for each in (query, key, value))
        return _merged(F.scaled_dot_product_attention(*parts))


class _GatedFeedForward(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.w1 = nn.Linear(part.width, part.hidden)
        self.w2 = nn.Linear(part.hidden, part.width)
        self.w3 = nn.Linear(part.width, part.hidden)
        self.ffn_ln = nn.LayerNorm(part.hidden, eps=part.epsilon)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.ffn_ln(F.silu(self.w1(x)) * self.w3(x)))


class _CrossOutput(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.out_proj = nn.Linear(part.width, part.width)
        self.norm2 = nn.LayerNorm(part.width)
        self.mlp = _GatedFeedForward(part)

    def forward(self, attended: Tensor, normed: Tensor) -> Tensor:
        x = normed + self.out_proj(attended)
        return x + self.mlp(self.norm2(x))


class _Cross(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        part = sizes.abstractor
        self.attention = _CrossAttention(sizes)
        self.output = _CrossOutput(part)
        self.norm1 = nn.LayerNorm(part.width)
        self.normk = nn.LayerNorm(part.width)

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        queries = self.norm1(queries)  # the residual starts after this norm, as the checkpoint was trained
        return self.output(self.attention(queries, torch.cat([queries, self.normk(patches)], dim=1)), queries)


class _AbstractorLayer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.crossattention = _Cross(sizes)

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        return self.crossattention(queries, patches)


class _Abstractor(nn.Module):
    """Patches [B,N,D] → `queries` + 1 tokens of the language model."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.language.width
        self.encoder = _Stack([_AbstractorLayer(sizes) for _ in range(sizes.abstractor.layers)])
        self.visual_fc = nn.Linear(sizes.abstractor.width, width)
        self.query_embeds = nn.Parameter(torch.empty(1, sizes.queries, sizes.abstractor.width))
        self.vit_eos = nn.Parameter(torch.empty(1, 1, width))

    def forward(self, patches: Tensor) -> Tensor:
        x = self.query_embeds.expand(len(patches), -1, -1)
        for layer in self.encoder.layers:
            x = layer(x, patches)
        return torch.cat([self.visual_fc(x), self.vit_eos.expand(len(patches), -1, -1)], dim=1)


class _RmsNorm(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(part.width))
        self.epsilon = part.epsilon

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float()
        return self.weight * (exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


class _Multiway(nn.Module):
    """One module for words, one for tokens of the image."""

    def __init__(self, words: nn.Module, image: nn.Module) -> None:
        super().__init__()
        self.multiway = nn.ModuleList([words, image])

    def forward(self, x: Tensor, seen: slice) -> Tensor:
        """`seen`: where the tokens of the image stand."""
        words, image = self.multiway
        return torch.cat([words(x[:, : seen.start]), image(x[:, seen]), words(x[:, seen.stop :])], dim=1)


class _LanguageAttention(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.heads = part.heads

        def linear() -> nn.Module:
            return nn.Linear(part.width, part.width, bias=False)

        self.q_proj = linear()
        self.k_proj = _Multiway(linear(), linear())
        self.v_proj = _Multiway(linear(), linear())
        self.o_proj = linear()

    def forward(self, x: Tensor, seen: slice, turn: tuple[Tensor, Tensor]) -> Tensor:
        mixed = (self.q_proj(x), self.k_proj(x, seen), self.v_proj(x, seen))
        query, key, value = (_heads(each, self.heads) for each in mixed)
        query, key = _turned(query, turn), _turned(key, turn)
        return self.o_proj(_merged(F.scaled_dot_product_attention(query, key, value, is_causal=True)))


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: the two halves of a head are the two coordinates."""
    first, second = x.chunk(2, dim=-1)
    return x * turn[0] + torch.cat([-second, first], dim=-1) * turn[1]


class _LanguageFeedForward(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(part.width, part.hidden, bias=False)
        self.up_proj = nn.Linear(part.width, part.hidden, bias=False)
        self.down_proj = nn.Linear(part.hidden, part.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class _LanguageLayer(nn.Module):
    def __init__(self, part: Part) -> None:
        super().__init__()
        self.self_attn = _LanguageAttention(part)
        self.mlp = _LanguageFeedForward(part)
        self.input_layernorm = _Multiway(_RmsNorm(part), _RmsNorm(part))
        self.post_attention_layernorm = _Multiway(_RmsNorm(part), _RmsNorm(part))

    def forward(self, x: Tensor, seen: slice, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x, seen), seen, turn)
        return x + self.mlp(self.post_attention_layernorm(x, seen))


class _Model(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        part = sizes.language
        self.embed_tokens = nn.Embedding(sizes.vocabulary, part.width)
        self.layers = nn.ModuleList([_LanguageLayer(part) for _ in range(part.layers)])
        self.norm = _RmsNorm(part)
        self.vision_model = _Vision(sizes)
        self.visual_abstractor = _Abstractor(sizes)


class OneAlign(nn.Module):
    """mPLUG-Owl2 as far as a score needs it."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.model = _Model(sizes)
        self.lm_head = nn.Linear(sizes.language.width, sizes.vocabulary, bias=False)

    def forward(self, image: Tensor, before: Tensor, after: Tensor, levels: Tensor) -> Tensor:
        """Logits, float32 [B,levels], of the tokens `levels` as the next word.

        image: [B,3,side,side], normalised. before, after: ids [N] of what is said before and after the image.
        """
        model, count = self.model, len(image)
        eyes = model.visual_abstractor(model.vision_model(image))
        words = [model.embed_tokens(ids).expand(count, -1, -1) for ids in (before, after)]
        x = torch.cat([words[0], eyes, words[1]], dim=1)
        seen = slice(len(before), len(before) + eyes.shape[1])
        turn = self._turn(x)
        for layer in model.layers:
            x = layer(x, seen, turn)
        return self.lm_head(model.norm(x[:, -1]))[:, levels].float()

    def _turn(self, x: Tensor) -> tuple[Tensor, Tensor]:
        half = self.sizes.language.width // self.sizes.language.heads // 2
        speed = self.sizes.rope_base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
        angle = torch.outer(torch.arange(x.shape[1], device=x.device, dtype=torch.float32), speed).repeat(1, 2)
        return angle.cos().to(x.dtype), angle.sin().to(x.dtype)

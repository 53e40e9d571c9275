"""Settings from the names and shapes of a state dict, for files that say nothing of their settings.

Only what the names and shapes show is read here; whether every tensor then fits is checked when it is loaded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from iqpir.errors import IQPIRError
from iqpir.network.config import SCORE_CHANNELS, AutoEncoderConfig, IQPIRConfig

ASSUMED_LATENT_SIZE = 16
"""Side of the latent where nothing tells it: an autoencoder has no position embedding."""


def autoencoder_config(state: Mapping[str, Tensor]) -> AutoEncoderConfig:
    """Settings of stage 1. Raises `IQPIRError` where the tensors are no autoencoder's."""
    return AutoEncoderConfig(**_autoencoder(state, ASSUMED_LATENT_SIZE))


def restorer_config(state: Mapping[str, Tensor]) -> IQPIRConfig:
    """Settings of the restorer. Raises `IQPIRError` where the tensors are no restorer's."""
    if "position_emb" not in state and "encoder.blocks.0.weight" in state:
        raise IQPIRError("these are tensors of the autoencoder of stage 1 alone; load them with VQAutoEncoder")
    tokens, width = _shape(state, "position_emb", 2)
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise IQPIRError(f"position_emb has {tokens} positions, which is no square")
    settings = _autoencoder(state, side)
    layers = {int(found[1]) for name in state if (found := re.match(r"ft_layers\.(\d+)\.", name))}
    connect = {found[1] for name in state if (found := re.match(r"fuse_convs_dict\.(\d+)\.", name))}
    return IQPIRConfig(
        **settings,
        width=width,
        layers=len(layers),
        mlp=_shape(state, "ft_layers.0.linear1.weight", 2)[0],
        connect=tuple(sorted(int(size) for size in connect)),
        **_conditioning(state, settings["latent_channels"], tokens),
    )


def _conditioning(state: Mapping[str, Tensor], channels: int, tokens: int) -> dict[str, Any]:
    if "score_embed.weight" in state:
        bins, length = _shape(state, "score_embed.weight", 2)
        kinds = {channels * tokens: "add", SCORE_CHANNELS * tokens: "adaln"}
        if channels == SCORE_CHANNELS:  # both kinds have rows of one length: a layer of adaLN tells them apart
            kinds = {length: "adaln" if "ft_layers.0.adaLN_modulation.1.weight" in state else "add"}
        if length not in kinds:
            raise IQPIRError(f"score_embed.weight has rows of {length}, which fit no kind of conditioning: {kinds}")
        return {"conditioning": kinds[length], "bins": (bins,)}
    models = [name for name in state if re.fullmatch(r"score_embed\.\d+\.weight", name)]
    if not models:
        return {"conditioning": "none"}
    bins_per_model = tuple(_shape(state, f"score_embed.{index}.weight", 2)[0] for index in range(len(models)))
    return {"conditioning": "add-list", "bins": bins_per_model}


def _autoencoder(state: Mapping[str, Tensor], latent_size: int) -> dict[str, Any]:
    codebook, latent_channels = _shape(state, "quantize.embedding.weight", 2)
    channels, inputs = _shape(state, "encoder.blocks.0.weight", 4)[:2]
    stem = math.isqrt(inputs // 3)
    if 3 * stem * stem != inputs:
        raise IQPIRError(f"encoder.blocks.0.weight takes {inputs} channels, which are no 3·s² of blocks of s×s pixels")
    levels = _levels(state)
    sizes = [latent_size * 2**level for level in reversed(range(len(levels)))]
    blocks = {len(widths) for widths, _ in levels}
    if len(blocks) != 1 or 0 in blocks or any(widths[-1] % channels for widths, _ in levels):
        raise IQPIRError("encoder.blocks are not arranged as levels of equally many residual blocks")
    dual = "quantize_aesthetic.embedding.weight" in state
    return {
        "image_size": sizes[0] * stem,
        "stem": stem,
        "channels": channels,
        "multipliers": tuple(widths[-1] // channels for widths, _ in levels),
        "blocks": blocks.pop(),
        "attention_sizes": tuple(size for size, (_, attends) in zip(sizes, levels, strict=True) if attends),
        "latent_channels": latent_channels,
        "codebook": codebook,
        "hq_codebook": _shape(state, "quantize_aesthetic.embedding.weight", 2)[0] if dual else 0,
        "fusion": "attention" if "attention.q.weight" in state else "add",
    }


def _levels(state: Mapping[str, Tensor]) -> list[tuple[list[int], bool]]:
    """Per level of the encoder: the channels after each residual block, and whether attention follows them."""
    levels: list[tuple[list[int], bool]] = [([], False)]
    index = 1
    while True:
        prefix = f"encoder.blocks.{index}."
        if f"{prefix}conv1.weight" in state:
            levels[-1][0].append(_shape(state, f"{prefix}conv1.weight", 4)[0])
        elif f"{prefix}q.weight" in state:
            levels[-1] = (levels[-1][0], True)
        elif f"{prefix}conv.weight" in state:
            levels.append(([], False))
        else:
            break
        index += 1
    # The encoder ends with a residual block, attention and a residual block that belong to no level.
    widths, _ = levels[-1]
    attentions = sum(f"encoder.blocks.{i}.q.weight" in state for i in range(1, index))
    before = sum(len(level) for level, attends in levels[:-1] if attends)
    levels[-1] = (widths[:-2], attentions - before > 1)
    return levels


def _shape(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in state:
        raise IQPIRError(f"these are not IQPIR's tensors: there is no {name} among the {len(state)}")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise IQPIRError(f"{name} has the shape {shape}, not {dimensions} dimensions")
    return shape

"""Names and shapes are the authors', in every configuration that they have, and settings are found from them."""

from __future__ import annotations

import math

import pytest
import torch
from support.procedural import authors_keys, shapes_of

from iqpir.errors import IQPIRError
from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import PRESETS, AutoEncoderConfig, preset
from iqpir.network.config_from_tensors import autoencoder_config, restorer_config
from iqpir.network.discriminator import Discriminator
from iqpir.network.model import IQPIR

BOOK = "quantize_aesthetic.embedding.weight"
HEAD = "idx_pred_layer.1.weight"


def on_meta(make, *arguments, **keywords):
    with torch.device("meta"):
        return make(*arguments, **keywords)


def total(shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def without(prefix: str, shapes):
    return {name: shape for name, shape in shapes.items() if not name.startswith(prefix)}


def adaln(shapes):
    extra = {"score_embed.weight": (10, 8192)}
    for layer in range(9):
        extra[f"ft_layers.{layer}.adaLN_modulation.1.weight"] = (3072, 32, 3, 3)
        extra[f"ft_layers.{layer}.adaLN_modulation.1.bias"] = (3072,)
    return shapes | extra


FULL = authors_keys()
SINGLE = without(BOOK, FULL) | {HEAD: (1024, 512)}
# preset, the authors' keys and shapes, number of keys and of parameters as counted in the authors' networks
CONFIGURATIONS = [
    ("full", FULL, 517, 95_554_499),
    ("dual-only", without("score_embed", FULL), 516, 94_899_139),
    ("score-only", SINGLE, 516, 94_768_067),
    ("baseline", without("score_embed", SINGLE), 515, 94_112_707),
    (
        "multi-score",
        without("score_embed", FULL) | {f"score_embed.{i}.weight": (20, 65536) for i in range(4)},
        520,
        100_142_019,
    ),
    ("adaln", adaln(FULL), 535, 102_971_331),
    ("inpainting", without("fuse_convs_dict.256.", FULL), 499, 94_487_875),
]


@pytest.mark.parametrize(("name", "expected", "keys", "parameters"), CONFIGURATIONS, ids=[c[0] for c in CONFIGURATIONS])
def test_every_configuration_has_the_authors_keys_and_shapes(name, expected, keys, parameters):
    network = on_meta(IQPIR, preset(name))
    assert shapes_of(network) == expected
    assert (len(expected), total(expected)) == (keys, parameters)
    assert not list(network.buffers())
    assert restorer_config(network.state_dict()) == preset(name)


@pytest.mark.parametrize(
    ("changes", "keys", "parameters"),
    [({}, 330, 64_002_243), ({"hq_codebook": 0}, 329, 63_740_099), ({"fusion": "attention"}, 342, 64_266_435)],
)
def test_the_autoencoder_has_the_authors_keys_and_shapes(changes, keys, parameters):
    config = AutoEncoderConfig(**changes)
    network = on_meta(VQAutoEncoder, config)
    shapes = shapes_of(network)
    assert (len(shapes), total(shapes)) == (keys, parameters)
    parts = ("encoder.", "generator.", "quantize.") + (("quantize_aesthetic.",) if config.dual else ())
    assert without("attention.", shapes) == {name: shape for name, shape in FULL.items() if name.startswith(parts)}
    assert autoencoder_config(network.state_dict()) == config


def test_the_discriminator_has_the_authors_keys_and_patches():
    network = on_meta(Discriminator)
    shapes = shapes_of(network)
    convolutions = {0: (64, 3), 2: (128, 64), 5: (256, 128), 8: (512, 256), 11: (512, 512), 14: (1, 512)}
    expected = {f"main.{i}.weight": (*channels, 4, 4) for i, channels in convolutions.items()}
    expected |= {"main.0.bias": (64,), "main.14.bias": (1,)}
    for norm, channels in {3: 128, 6: 256, 9: 512, 12: 512}.items():
        vectors = ("weight", "bias", "running_mean", "running_var")
        expected |= {f"main.{norm}.{part}": (channels,) for part in vectors} | {f"main.{norm}.num_batches_tracked": ()}
    assert shapes == expected
    assert sum(p.numel() for p in network.parameters()) == 6_960_961
    assert network(torch.empty(2, 3, 512, 512, device="meta")).shape == (2, 1, 30, 30)


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"tiny", "overview"}))
def test_settings_are_found_from_names_and_shapes(name):
    config = preset(name)
    network = on_meta(IQPIR, config)
    assert restorer_config(network.state_dict()) == (config if name != "paper" else preset("full"))


def test_the_stem_is_found_from_the_first_convolution_and_groups_that_cannot_be_are_an_error():
    config = preset("small", stem=2, connect=(16, 64))
    assert config.downsampling == 8 and config.sizes == [32, 16, 8] and config.joinable == [64, 32, 16, 8]
    state = on_meta(IQPIR, config).state_dict()
    assert state["encoder.blocks.0.weight"].shape == (32, 12, 3, 3)
    assert state[f"generator.blocks.{len(on_meta(IQPIR, config).generator.blocks) - 1}.weight"].shape == (12, 32, 3, 3)
    assert state["fuse_convs_dict.64.shift.2.weight"].shape == (12, 12, 3, 3)
    assert restorer_config(state) == config
    with pytest.raises(IQPIRError, match="groups must divide the channels"):
        restorer_config(on_meta(IQPIR, preset("tiny")).state_dict())


@pytest.mark.parametrize("conditioning", ["none", "add", "adaln"])
def test_settings_are_found_where_latent_and_score_map_have_equally_many_channels(conditioning):
    config = preset("small", latent_channels=32, conditioning=conditioning, hq_codebook=16, connect=(16,), blocks=2)
    assert restorer_config(on_meta(IQPIR, config).state_dict()) == config


def test_settings_are_found_where_larger_maps_have_attention_too():
    config = preset("small", attention_sizes=(16, 32))
    assert restorer_config(on_meta(IQPIR, config).state_dict()) == config
    config = preset("small", attention_sizes=())
    assert restorer_config(on_meta(IQPIR, config).state_dict()) == config

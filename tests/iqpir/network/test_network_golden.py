"""The full network against the authors' own forward pass: values to 1e-4 in float32, codes exactly.

In sorted order the encoder's tensors come first, so all configurations share one encoder, which runs once.
"""

from __future__ import annotations

import hashlib

import pytest
import torch
from support.procedural import GOLDEN, assert_matches, image, shapes_of, weights

from iqpir.network.autoencoder import VQAutoEncoder
from iqpir.network.config import AutoEncoderConfig, preset
from iqpir.network.model import IQPIR

SCORE = torch.tensor([0.9])
SCORES = torch.tensor([[0.66], [0.91], [0.91], [0.91]])
# golden case → settings, score
CASES = {
    "dual_add": (preset("full"), SCORE),
    "single_none": (preset("baseline"), None),
    "dual_bins20x4": (preset("multi-score"), SCORES),
    "single_adain": (preset("adaln", hq_codebook=0, adaln_drops_attention=True), SCORE),
}
READER = ("feat_emb", "ft_layers", "idx_pred_layer", "position_emb", "quantize", "score_embed")


def partly(network, *parts: str):
    """The network with the recipe's weights in these parts; the rest has none at all, and fails if it is used."""
    network.load_state_dict(weights(shapes_of(network), parts), strict=False, assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def full() -> IQPIR:
    with torch.device("meta"):
        shapes = shapes_of(IQPIR(preset("full")))
    return IQPIR.from_state_dict(weights(shapes), fidelity_trained=True)


@pytest.fixture(scope="module")
def encoded(full):
    """Latent and encoder features of the input and of its mirror image."""
    assert all(name.startswith("encoder.") for name in sorted(full.state_dict())[:164])
    with torch.no_grad():
        return full.encoder.features(torch.cat([image(), image().flip(-1)]), full.config.connect)


@pytest.mark.parametrize("name", list(CASES))
@torch.no_grad()
def test_codes_are_predicted_as_by_the_authors(name, encoded):
    config, score = CASES[name]
    with torch.device("meta"):
        network = IQPIR(config)
    logits, features = partly(network, *READER).read(encoded[0][:1], score)
    golden = GOLDEN["cases"][name]
    assert_matches(features, golden["features"])
    assert_matches(logits, golden["logits"])
    codes = network.best_codes(logits)
    assert codes.flatten()[:8].tolist() == golden["codes"]["first8"]
    assert hashlib.sha256(codes.numpy().astype("<i4").tobytes()).hexdigest() == golden["codes"]["sha256"]


@pytest.mark.parametrize(("variant", "fidelity"), [("w0_adain", 0.0), ("w05_adain", 0.5)])
@torch.no_grad()
def test_images_are_decoded_as_by_the_authors(variant, fidelity, full, encoded):
    latent, skips = encoded
    logits, features = full.read(latent[:1], SCORE)
    first = {size: kept[:1] for size, kept in skips.items()}
    restored = full.decode(full.best_codes(logits), features, fidelity=fidelity, skips=first)
    assert_matches(restored, GOLDEN["cases"]["dual_add"][variant])


@torch.no_grad()
def test_stage_1_quantises_and_reconstructs_as_the_authors(encoded):
    with torch.device("meta"):
        network = VQAutoEncoder(AutoEncoderConfig(threshold=0.9))
    partly(network, "quantize", "generator")
    network.encoder = torch.nn.Identity()
    network.generator, generator = torch.nn.Identity(), network.generator
    latent = encoded[0]
    images = torch.zeros(2, 3, 32, 32)
    network.encoder.register_forward_hook(lambda *_: latent)
    made = network.reconstruct(images, torch.tensor([0.95, 0.5]))
    golden = GOLDEN["stage1"]
    assert made.common.loss.mean().item() == pytest.approx(golden["l_codebook"], abs=1e-5)
    assert made.hq.loss.mean().item() == pytest.approx(golden["l_codebook_aesthetic"], abs=1e-5)
    assert made.common.perplexity.item() == pytest.approx(golden["perplexity"], abs=1e-3)
    assert made.hq.perplexity.item() == pytest.approx(golden["perplexity_hq"], abs=1e-3)
    assert_matches(generator(made.image[:1]), golden["out0"])

"""The fast plan against the plain network: the same values, whatever the settings; its parts against torch's own."""

from __future__ import annotations

import pytest
import torch


def assert_same(plan, network, images, *arguments, atol=1e-4, **options):
    with torch.no_grad():
        expected = network(images, *arguments, **options)
    found = plan(images, *arguments, **options)
    for name in ("image", "logits", "features"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=atol, rtol=0)
    assert torch.equal(network.best_codes(found.logits), network.best_codes(expected.logits))


CASES = {
    "add": ({}, 0.7),
    "none": ({"conditioning": "none"}, None),
    "single": ({"hq_codebook": 0}, 0.2),
    "add-list": ({"conditioning": "add-list", "bins": (5, 20)}, torch.tensor([[0.1, 0.5, 0.9], [0.3, 0.2, 1.0]])),
    "adaln": ({"conditioning": "adaln"}, torch.tensor([0.1, 0.5, 0.9])),
    "adaln-no-attention": ({"conditioning": "adaln", "adaln_drops_attention": True}, 0.5),
    "attention": ({"fusion": "attention"}, 0.7),
    "unequal": ({"codebook": 48}, 0.7),
    "fidelity-at-attention": ({"connect": (8, 16, 32)}, 0.7),
}


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("adain", [True, False])
@pytest.mark.parametrize("fidelity", [0.0, 0.5])
def test_the_plan_gives_what_the_network_gives(name, adain, fidelity, small, images):
    changes, score = CASES[name]
    network = small(**changes)
    network.fidelity_trained = True
    assert_same(network.optimize(), network, images, score, fidelity, adain)

"""Climbing a prior image by image: from the prediction on, and among codes to images of whole codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from iqpir.network.config import preset
from iqpir.network.model import IQPIR
from iqpir.training.pursuit import join, pursue, split

NETWORK = {
    "image_size": 32, "channels": 8, "groups": 8, "multipliers": [1, 2], "blocks": 1, "attention_sizes": [],
    "latent_channels": 16, "codebook": 16, "hq_codebook": 16, "connect": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def network() -> IQPIR:
    torch.manual_seed(0)
    size = {"width": 16, "heads": 2, "layers": 1, "mlp": 32}
    return IQPIR(preset("small", **{**NETWORK, **size, "score_init": "zero"})).eval().requires_grad_(False)


def test_squares_are_put_together_as_they_were() -> None:
    images = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).reshape(2, 3, 8, 12)
    squares = split(images, 4)
    assert squares.shape == (12, 3, 4, 4)
    assert torch.equal(squares[1], images[0, :, :4, 4:8])
    assert torch.equal(join(squares, images), images)


@pytest.mark.parametrize("space", ["continuous", "discrete"])
def test_an_ascent_climbs_from_the_prediction(network: IQPIR, space: Any) -> None:
    images = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def bright(made: torch.Tensor) -> torch.Tensor:
        return made.mean(dim=(1, 2, 3))

    first, last = pursue(network, images, 0.9, bright, space=space, rate=0.3, steps=(0, 20))
    with torch.no_grad():
        made = network(split(images, 32), 0.9, adain=False).image
    torch.testing.assert_close(first.images, join(((made + 1) / 2).clamp(0, 1), images))
    assert float(first.moved[0]) == 0 < float(last.moved[0])
    assert float(last.quality[0]) > float(first.quality[0])


def test_a_discrete_ascent_ends_in_images_of_whole_codes(network: IQPIR) -> None:
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    seen: list[torch.Tensor] = []
    books = network.quantize.embedding.weight, network.quantize_aesthetic.embedding.weight
    whole = (books[0][:, None] + network.alpha * books[1][None]).flatten(0, 1)
    keep = network.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    try:
        list(
            pursue(network, images, 0.9, lambda made: made.mean(dim=(1, 2, 3)), space="discrete", rate=0.3, steps=(9,))
        )
        last = seen[-1].permute(0, 2, 3, 1).flatten(0, 2)
    finally:
        keep.remove()
    assert float(torch.cdist(last.double(), whole.double()).amin(dim=1).max()) < 1e-6

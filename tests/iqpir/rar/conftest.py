"""What the tests of RAR share: a system small enough to be made in every test, whose parts all do something."""

from __future__ import annotations

import pytest
import torch
from support.recipes import one_thread

from iqpir.rar import RAR, RARConfig

SMALL = RARConfig(
    image_size=32, latent_channels=4, latent_width=8, latent_blocks=1, groups=2, codes=8, assessor_width=16,
    assessor_layers=1, heads=2, queries=2, widths=(8, 8, 16), blocks=1,
)  # fmt: skip


__all__ = ["SMALL", "one_thread", "system"]


@pytest.fixture
def system() -> RAR:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = RAR(SMALL).eval()
        for parameter in made.parameters():  # nothing is zero: a new system changes nothing and answers for no image
            parameter.data += 0.05 * torch.randn_like(parameter)
    return made

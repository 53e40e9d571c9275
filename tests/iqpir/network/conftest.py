"""Small networks, and the full one with procedural weights, made once."""

from __future__ import annotations

import pytest
import torch

from iqpir.network.config import preset
from iqpir.network.fidelity import PixelFidelityBlock
from iqpir.network.model import IQPIR

# Half the preset's side: a forward pass takes a quarter of the time.
SIZE = {"image_size": 32, "attention_sizes": (8,), "connect": (16, 32)}


@pytest.fixture
def small():
    """Make a small restorer with settled weights: small(conditioning="none", …). One thread: more only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def make(**changes) -> IQPIR:
        torch.manual_seed(0)
        network = IQPIR(preset("small", **(SIZE | changes)))
        with torch.no_grad():  # a latent and codes of one size, so that codes matter in the output
            for book in (network.quantize, getattr(network, "quantize_aesthetic", network.quantize)):
                book.embedding.weight.normal_()
            network.position_emb.normal_()
            for block in network.fuse_convs_dict.values():
                if isinstance(block, PixelFidelityBlock):  # which starts without effect
                    for parameter in block.parameters():
                        parameter.normal_(std=0.1)
        return network.eval().requires_grad_(True)

    yield make
    torch.set_num_threads(threads)


@pytest.fixture
def images() -> torch.Tensor:
    """[3,3,32,32] in [-1,1]."""
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

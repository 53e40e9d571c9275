"""Images of other sizes than the training images': what is stretched, what stays the same, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iqpir.errors import IQPIRError
from iqpir.network.conditioning import positions_to_grid, to_grid

SCORES = {"none": None, "add": 0.7, "adaln": torch.tensor([0.1, 0.9]), "add-list": torch.tensor([[0.1, 0.9]] * 2)}


@pytest.fixture
def pictures() -> torch.Tensor:
    """[2,3,40,56] in [-1,1]: a latent of 10×14 where training has 8×8."""
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(4)) * 2 - 1


def weights_of(length: int, wanted: int) -> np.ndarray:
    """[wanted,length] of bilinear interpolation: pixel i of n' lies at (i + ½)·n/n' − ½, held within the ends."""
    found = np.zeros((wanted, length))
    for row in range(wanted):
        place = min(max((row + 0.5) * length / wanted - 0.5, 0), length - 1)
        below = min(int(place), length - 2)
        found[row, below] += 1 - (place - below)
        found[row, below + 1] += place - below
    return found


@pytest.mark.parametrize("grid", [(10, 14), (8, 15), (3, 2), (21, 8)])
def test_maps_and_positions_are_stretched_bilinearly(grid):
    maps = np.random.default_rng(0).standard_normal((2, 5, 8, 8))
    rows, columns = (weights_of(8, length) for length in grid)
    expected = np.einsum("hi,wj,bcij->bchw", rows, columns, maps)
    np.testing.assert_allclose(to_grid(torch.from_numpy(maps), grid).numpy(), expected, atol=1e-12)
    positions = torch.from_numpy(maps[0]).permute(1, 2, 0).reshape(64, 5)
    stretched = positions_to_grid(positions, 8, grid).numpy()
    np.testing.assert_allclose(stretched, expected[0].transpose(1, 2, 0).reshape(-1, 5), atol=1e-12)


def test_a_score_row_and_the_positions_by_hand():
    # A row 0, 4 on four places: −¼ → 0, ¼ → 1, ¾ → 3, 1¼ → 4.
    assert to_grid(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]), (2, 4))[0, 0, 0].tolist() == [0, 1, 3, 4]
    assert positions_to_grid(torch.tensor([[0.0], [4.0], [8.0], [12.0]]), 2, (2, 4)).flatten().tolist() == [
        0, 1, 3, 4, 8, 9, 11, 12
    ]  # fmt: skip


def test_the_training_grid_gets_the_very_tensors():
    maps, positions = torch.rand(1, 3, 8, 8), torch.rand(64, 3)
    assert to_grid(maps, (8, 8)) is maps
    assert positions_to_grid(positions, 8, (8, 8)) is positions


@pytest.mark.parametrize("conditioning", list(SCORES))
@pytest.mark.parametrize("fidelity", [0.0, 0.5])
def test_the_plan_gives_what_the_network_gives_at_another_size(conditioning, fidelity, small, pictures):
    changes = {"bins": (10, 10)} if conditioning == "add-list" else {}
    network = small(conditioning=conditioning, **changes)
    network.fidelity_trained = True
    plan, score = network.optimize(), SCORES[conditioning]
    with torch.no_grad():
        expected = network(pictures, score, fidelity, any_size=True)
    found = plan(pictures, score, fidelity, any_size=True)
    assert found.image.shape == pictures.shape and found.logits.shape[1] == 10 * 14
    for name in ("image", "logits", "features"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-4, rtol=0)
    again = plan(pictures.mT, score, fidelity, any_size=True)  # the offsets kept for 10×14 are not those of 14×10
    with torch.no_grad():
        turned = network(pictures.mT, score, fidelity, any_size=True)
    torch.testing.assert_close(again.logits, turned.logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("changes", [{"fusion": "attention"}, {"hq_codebook": 0}, {"stem": 2, "connect": (8, 16)}])
def test_the_other_networks_take_other_sizes_too(changes, small, pictures):
    network = small(**changes)
    with torch.no_grad():
        expected = network(pictures[..., :48], 0.5, any_size=True)
    found = network.optimize()(pictures[..., :48], 0.5, any_size=True)
    assert found.image.shape == (2, 3, 40, 48)
    torch.testing.assert_close(found.image, expected.image, atol=1e-4, rtol=0)


@pytest.mark.parametrize("conditioning", list(SCORES))
def test_at_the_training_size_nothing_changes(conditioning, small, images):
    network = small(conditioning=conditioning, **({"bins": (10, 10)} if conditioning == "add-list" else {}))
    score, images = SCORES[conditioning], images[:2]
    for each in (network, network.optimize()):
        with torch.no_grad():
            pairs = zip(each(images, score), each(images, score, any_size=True), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_given_codes_are_those_of_the_other_grid(small, pictures):
    network = small()
    codes = torch.randint(64, (2, 140, 2), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network(pictures, 0.7, codes=codes, any_size=True)
        latent = network.dequantize(codes, (10, 14))
    assert torch.equal(latent[0, :, 3, 5], latent.flatten(2)[0, :, 3 * 14 + 5])
    found = network.optimize()(pictures, 0.7, codes=codes, any_size=True)
    torch.testing.assert_close(found.image, expected.image, atol=1e-4, rtol=0)
    with pytest.raises(IQPIRError, match=r"give integers of shape \(2, 140, 2\)"):
        network.optimize()(pictures, 0.7, codes=codes[:, :64], any_size=True)


def test_relaxed_codes_have_the_value_of_the_best_ones_on_any_grid(small, pictures):
    network = small()
    logits = network.predict(pictures, 0.5, any_size=True).logits
    relaxed = network.relax(logits, grid=(10, 14))
    torch.testing.assert_close(relaxed, network.dequantize(network.best_codes(logits), (10, 14)))
    relaxed.square().sum().backward()
    assert network.position_emb.grad.abs().sum() > 0


def test_sizes_that_the_strides_do_not_divide_or_that_nobody_asked_for_are_refused(small, pictures):
    network = small()
    for each in (network, network.optimize()):
        with pytest.raises(IQPIRError, match="resize or tile them"):
            each(pictures, 0.7)
        for sides in ((40, 54), (4, 56)):
            with pytest.raises(IQPIRError, match=r"multiples of 4 from 8 on: pad them"):
                each(pictures[..., : sides[0], : sides[1]], 0.7, any_size=True)

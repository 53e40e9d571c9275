"""The network for photographs: what each part does to pixels, any size, tiles that agree, files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from iqpir import preset
from iqpir.checkpoint import load, load_autoencoder, load_photo, load_restorer, save_checkpoint
from iqpir.errors import IQPIRError
from iqpir.network import photo
from iqpir.network.detail import HALO, DetailBranch, pad_to_step
from iqpir.network.front import (
    GRID,
    METERED,
    FrontEnd,
    Grade,
    _followed,
    apply,
    expose,
    metered,
    places,
    recolour,
    to_linear,
    to_srgb,
)
from iqpir.network.photo import PhotoConfig, PhotoIQPIR
from iqpir.restore import Options, PhotoRestorer

CORE = preset(
    "overview", image_size=32, channels=8, groups=8, multipliers=(1, 2), latent_channels=16, codebook=16,
    hq_codebook=8, width=16, heads=2, layers=1, mlp=32, connect=(16, 32),
)  # fmt: skip
SMALL = PhotoConfig(core=CORE, overview=32, front_width=8, detail_widths=(4, 8, 8), detail_deep=2)


def random(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def trained(config: PhotoConfig = SMALL) -> PhotoIQPIR:
    """A network whose every part has an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = PhotoIQPIR(config)
        for name, parameter in network.named_parameters():
            if not name.startswith("core.quantize"):
                nn.init.normal_(parameter, std=0.05)
    return network.eval()


def still(batch: int = 1) -> Grade:
    """Changes nothing."""
    zeros = torch.zeros(batch, 3)
    return Grade(
        zeros, zeros + 1, zeros, torch.zeros(batch, 1), torch.ones(batch, 1), torch.zeros(batch, 12, GRID, GRID, GRID)
    )


def place_of(image: Tensor) -> tuple[Tensor, Tensor]:
    return places(image.shape[-2]), places(image.shape[-1])


# Light and colour


def test_srgb_is_that_of_the_standard_and_back():
    values = torch.tensor([0.0, 0.02, 0.5, 1.0], dtype=torch.float64)
    assert to_linear(values).tolist() == pytest.approx([0, 0.02 / 12.92, 0.214041, 1], abs=1e-6)
    assert torch.allclose(to_srgb(to_linear(values)), values, atol=1e-7)


def test_a_grade_that_is_still_changes_nothing():
    image = random((2, 3, 9, 7))
    assert torch.allclose(expose(image, still(2)), image, atol=2e-5)
    assert torch.equal(recolour(image, still(2), place_of(image)), image)


def test_a_stop_doubles_the_light_and_white_stays_white():
    image = torch.tensor([0.1, 0.2, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    brighter = expose(image, still()._replace(gain=torch.tensor([[1.0, 0.0, -1.0]])))
    for channel, factor in enumerate((2, 1, 0.5)):
        expected = to_srgb((to_linear(image[0, channel, 0]) * factor).clamp(max=1))
        assert torch.allclose(brighter[0, channel, 0], expected, atol=1e-5)


def test_an_offset_is_taken_off_before_the_gain_and_a_gamma_bends_the_end():
    image = torch.full((1, 3, 1, 1), 0.5)
    grade = still()._replace(offset=torch.full((1, 3), 0.05), gain=torch.full((1, 3), 1.0))
    assert float(expose(image, grade)[0, 0]) == pytest.approx(
        float(to_srgb(torch.tensor(2 * (0.214041 - 0.05)))), abs=1e-4
    )
    assert float(expose(image, still()._replace(gamma=torch.full((1, 3), 2.0)))[0, 0]) == pytest.approx(0.25, abs=1e-4)


def test_highlights_roll_off_without_an_edge():
    image = torch.linspace(0.5, 1, 20).view(1, 1, 1, 20).expand(1, 3, 1, 20)
    rolled = expose(image, still()._replace(gain=torch.full((1, 3), 3.0), rolloff=torch.ones(1, 1)))
    assert (rolled[0, 0, 0].diff() > 0).all() and float(rolled.max()) < 1


def test_the_grid_changes_colour_by_place_and_by_brightness():
    grade = still()
    grade.grid[:, 3, :, :, : GRID // 2] = 0.2  # red, added on the left
    grade.grid[:, 7, GRID // 2 :] = -0.1  # green, taken off bright pixels
    image = torch.full((1, 3, 16, 64), 0.2)
    image[..., 8:, :] = 0.9
    change = recolour(image, grade, place_of(image)) - image
    assert change[0, 0, :, :20].allclose(torch.tensor(0.2)) and change[0, 0, :, 44:].allclose(torch.tensor(0.0))
    assert change[0, 1, 8:].allclose(torch.tensor(-0.1)) and change[0, 1, :8].allclose(torch.tensor(0.0))
    assert not change[0, 2].any()


@pytest.mark.parametrize("stops", [-3.0, -1.0, 0.5])
def test_an_image_is_metered_as_a_camera_would(stops: float):
    image = to_srgb(to_linear(random((2, 3, 32, 32))) * 2.0**stops / 2)
    found = metered(image)
    assert found.shape == (2, 1)
    exposed = to_srgb((to_linear(image) * torch.exp2(found)[:, :, None, None]).clamp(max=1))
    assert torch.allclose(exposed.mean(dim=(1, 2, 3)), torch.full((2,), METERED), atol=2e-3)
    assert float(metered(torch.zeros(1, 3, 8, 8))) == pytest.approx(8, abs=0.01)


def test_half_the_strength_is_half_way():
    image, grade = random((1, 3, 9, 7)), still()._replace(gain=torch.full((1, 3), 1.0))
    half = apply(image, grade._replace(strength=torch.full((1, 1), 0.5)))
    assert torch.allclose(half, (image + expose(image, grade)) / 2, atol=1e-6)
    assert torch.equal(apply(image, grade._replace(strength=torch.zeros(1, 1))), image)


def test_metering_takes_back_what_a_grade_does_to_the_mean():
    image = to_srgb(to_linear(random((2, 3, 32, 32))) / 4)
    grade = still(2)._replace(gamma=torch.full((2, 3), 1.4), rolloff=torch.full((2, 1), 0.7))
    grade.grid[:, 3::4] = 0.05
    made = grade._replace(gain=metered(image, grade).expand(2, 3))
    picture = recolour(expose(image, made), made, place_of(image)).clamp(0, 1)
    assert torch.allclose(picture.mean(dim=(1, 2, 3)), torch.full((2,), METERED), atol=2e-3)


def test_the_gradient_of_metered_stops_is_that_of_what_keeps_the_mean():
    """Against the difference of two meterings, which is the derivative itself."""
    image = to_srgb(to_linear(random((1, 3, 32, 32))) / 4)

    def at(value: float) -> Grade:
        return still()._replace(rolloff=torch.full((1, 1), 0.5), gamma=torch.full((1, 3), value))

    gamma = torch.full((1, 3), 1.2, requires_grad=True)
    grade = at(1.2)._replace(gamma=gamma)
    followed = _followed(metered(image, grade), image, grade)
    assert torch.equal(followed, metered(image, grade))
    slope = torch.autograd.grad(followed.sum(), gamma)[0].sum()
    assert float(slope) == pytest.approx(float(metered(image, at(1.3)) - metered(image, at(1.1))) / 0.2, rel=0.1)


def test_a_new_front_end_exposes_as_metered_and_a_new_detail_branch_does_next_to_nothing():
    image = random((2, 3, 20, 28)) * 0.3
    made = PhotoIQPIR(replace(SMALL, codes=False)).eval()(image, 0.9)
    assert torch.allclose(made.exposed.mean(dim=(1, 2, 3)), torch.full((2,), METERED), atol=2e-2)
    assert 0 < float((made.image - made.exposed).abs().max()) < 0.1
    assert made.gate is None and made.core is None and made.logits is None


def test_no_light_is_put_into_what_is_black_and_learning_leads_back():
    """A network that wants less than nothing taken off would lift black by 8 stops in a picture that is all black."""
    front = FrontEnd(8, 3)
    with torch.no_grad():
        front.curve.bias[6:9] = torch.tensor([-3.0, 0.5, -0.1])
    grade = front(torch.zeros(1, 3, 20, 30), torch.zeros(1, 3))
    assert torch.allclose(grade.offset, torch.tensor([[0.0, 0.005, 0.0]]), atol=1e-7)
    assert float(apply(torch.zeros(1, 3, 20, 30), grade).detach().max()) < 0.01
    grade.offset.sum().backward()
    slopes = front.curve.bias.grad
    assert slopes is not None
    assert torch.allclose(slopes[6:9], torch.tensor([0.0005, 0.01, 0.0005]), atol=1e-7)


def test_a_new_front_end_leaves_a_dark_photograph_dark_where_the_score_asks_for_it():
    image = random((1, 3, 24, 24)) * 0.1
    network = PhotoIQPIR(replace(SMALL, codes=False)).eval()
    means = [float(network(image, score).exposed.mean()) for score in (0.0, 0.3, 0.6, 0.9)]
    assert means == sorted(means) and means[0] < 0.7 * means[-1]


# The whole


def test_parts_that_are_off_have_no_weights():
    def parts(**changes: bool) -> set[str]:
        return {name.split(".")[0] for name in PhotoIQPIR(replace(SMALL, **changes)).state_dict()}

    assert parts() == {"front", "core", "detail"}
    assert parts(codes=False) == {"front", "detail"}
    assert parts(detail=False, gate=False) == {"front", "core"}
    assert len(PhotoIQPIR(replace(SMALL, gate=False)).detail.leave[-1].bias) == 3
    assert len(PhotoIQPIR(SMALL).detail.leave[-1].bias) == 4
    with pytest.raises(IQPIRError, match="the detail branch draws the gate"):
        PhotoConfig(core=CORE, detail=False)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 16), (33, 50), (200, 20)])
def test_any_size_comes_back_at_its_size_and_in_range(size: tuple[int, int]):
    restored = trained().restore(random((2, 3, *size)), 0.9)
    assert restored.shape == (2, 3, *size)
    assert bool(torch.isfinite(restored).all()) and float(restored.min()) >= 0 and float(restored.max()) <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_are_finite(value: float):
    assert bool(torch.isfinite(trained().restore(torch.full((1, 3, 40, 40), value), 0.9)).all())


def test_tiles_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch):
    """Two of nine tiles lie so far from the other side that they do not see it."""
    network, image = trained(), random((1, 3, 250, 230))
    with torch.inference_mode():
        whole = network(image, 0.3).image.clamp(0, 1)
    monkeypatch.setattr(photo, "TILE", 100)
    tiled = network.restore(image, 0.3)
    assert float((tiled - whole).abs().max()) < 1e-5  # float32 sums in another order


def test_nothing_farther_than_the_halo_matters_for_a_pixel():
    branch = DetailBranch(3, 3, (4, 8, 8), 2, 4)
    for parameter in branch.parameters():
        nn.init.normal_(parameter, std=0.1)
    image = random((1, 3, 4 * HALO, 4)).requires_grad_()
    branch(image, torch.ones(1, 2))[0, :, 2 * HALO].sum().backward()
    rows = image.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    assert int(rows.min()) > HALO and int(rows.max()) < 3 * HALO
    assert int(rows.max()) - 2 * HALO > 30  # it does see its neighbourhood


def test_padding_repeats_the_edge():
    image = random((1, 3, 5, 8))
    padded = pad_to_step(image)
    assert padded.shape == (1, 3, 8, 8)
    assert torch.equal(padded[..., :5, :], image) and torch.equal(padded[..., 7, :], image[..., 4, :])


def test_a_batch_gives_what_its_images_give():
    network, images = trained(), random((3, 3, 40, 56))
    together = PhotoRestorer(network).restore(images)
    alone = torch.cat([PhotoRestorer(network).restore(each[None]) for each in images])
    assert torch.equal(together, alone)


def test_score_and_fidelity_reach_the_image():
    network, image = trained(), random((1, 3, 48, 48))
    high, low = network.restore(image, 0.9), network.restore(image, 0.1)
    assert not torch.equal(high, low)
    assert torch.equal(network.restore(image, 0.95), high)  # nothing of the damage is left from 0.9 on
    assert not torch.equal(network.restore(image, 0.9, fidelity=0.0), high)
    deaf = trained(replace(SMALL, codes=False, score=False))
    assert torch.equal(deaf.restore(image, 0.9), deaf.restore(image, 0.1))


def test_a_gate_that_is_shut_leaves_the_codes_out():
    network, image = trained(), random((1, 3, 48, 48))
    with torch.no_grad():
        network.detail.leave[-1].weight[3].zero_()
        network.detail.leave[-1].bias[3] = -100
        network.detail.enter.weight[:, 7:] = 0  # the detail branch sees the correction, too
        shut = network(image, 0.9)
        assert float(shut.gate.max()) < 1e-20
        network.core.generator.blocks[-1].bias += 5
        assert torch.equal(network(image, 0.9).image, shut.image)


def test_gradients_reach_every_part_that_can_learn():
    network = trained().train()
    made = network(random((2, 3, 64, 64)), torch.tensor([0.2, 0.95]), codes_grad="soft")
    (made.image.square().mean() + made.core.square().mean()).backward()
    silent = [name for name, each in network.named_parameters() if each.grad is None or not bool(each.grad.abs().sum())]
    assert all(name.startswith("core.quantize") for name in silent), silent


# Use and files


def test_gray_photographs_stay_gray_and_may_get_brighter():
    network = trained()
    image = random((1, 1, 40, 40)).expand(1, 3, 40, 40) * 0.2
    kept = PhotoRestorer(network).restore(image)
    assert torch.equal(kept[:, 0], kept[:, 1]) and torch.equal(kept[:, 0], kept[:, 2])
    free = PhotoRestorer(network, Options(**{**PhotoRestorer.USUAL, "gray": False})).restore(image)
    assert not torch.equal(free[:, 0], free[:, 1])


def test_options_that_it_cannot_have_are_refused():
    with pytest.raises(IQPIRError, match="takes any size as it is"):
        PhotoRestorer(trained(), Options())
    with pytest.raises(IQPIRError, match="2 scores were given"):
        PhotoRestorer(trained(), Options(score=(0.1, 0.2), fit="native"))
    with pytest.raises(IQPIRError, match="images of shape"):
        trained().restore(torch.zeros(1, 4, 8, 8))


def test_a_file_says_what_it_is(tmp_path: Path):
    network, image = trained(), random((1, 3, 24, 24))
    save_checkpoint(network, tmp_path / "photo.safetensors")
    again = load(tmp_path / "photo.safetensors")
    assert isinstance(again, PhotoIQPIR) and again.config == SMALL
    assert torch.equal(again.restore(image, 0.9), network.restore(image, 0.9))
    for other in (load_restorer, load_autoencoder):
        with pytest.raises(IQPIRError, match="a network for photographs"):
            other(tmp_path / "photo.safetensors")
    save_checkpoint(network.core, tmp_path / "core.safetensors")
    with pytest.raises(IQPIRError, match="it has no front end"):
        load_photo(tmp_path / "core.safetensors")
    assert load(tmp_path / "core.safetensors").config == CORE
    with pytest.raises(IQPIRError, match="knows no setting colour"):
        PhotoConfig.from_dict({"colour": 3})


def test_the_fast_copy_agrees_and_is_a_copy():
    network, image = trained(), random((1, 3, 40, 56))
    fast = network.optimize()
    assert torch.allclose(fast.restore(image, 0.9), network.restore(image, 0.9), atol=1e-5)
    before = fast.restore(image, 0.9)
    with torch.no_grad():
        network.front.curve.bias += 1
    assert torch.equal(fast.restore(image, 0.9), before)

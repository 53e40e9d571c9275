"""The score conditioner: the host untouched, the score heard where it should be, and nothing else changed."""

from __future__ import annotations

import copy
import threading
from collections import namedtuple

import pytest
import torch
from torch import nn

from iqpir.errors import IQPIRError
from iqpir.plus import ScoreConditioner, Site

Pair = namedtuple("Pair", "image extra")


class Host(nn.Module):
    """Convolutions, a time embedding, tokens, a stage that returns a list, and one that is called by `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.InstanceNorm2d(8)
        self.time = nn.Linear(4, 8)
        self.tokens = nn.Linear(8, 8)
        self.stage = Stage()
        self.bypassed = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        self.register_buffer("table", torch.ones(4))

    def forward(self, x):
        h = self.norm(self.first(x))
        h = h + self.time(self.table.expand(len(x), 4))[:, :, None, None]
        h = h + self.tokens(h.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(h)
        h = self.stage(h).image
        h = self.bypassed.forward(h)
        return self.last(h)


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return Pair(self.conv(x), None)


SITES = {
    "add": Site("first", "add", 8),
    "add_map": Site("first", "add_map", 8, (4, 4)),
    "film": Site("first", "film", 8),
    "vec": Site("time", "vec", 8),
    "tokens": Site("tokens", "tokens", 8),
    "in a named tuple": Site("stage", "film", 8),
}


@pytest.fixture
def host():
    torch.manual_seed(0)
    return Host().eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 16, 12, generator=torch.Generator().manual_seed(1))


def trained(plus: ScoreConditioner, seed: int = 2) -> ScoreConditioner:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in plus.score.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.5)
    return plus


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
@pytest.mark.parametrize("settings", [{}, {"ordinal": True}, {"smooth": True}], ids=["rows", "ordinal", "smooth"])
def test_untrained_it_is_the_host_bit_for_bit(host, images, site, settings):
    expected = host(images)
    plus = ScoreConditioner(host, [site], **settings).eval()
    assert torch.equal(plus(images), expected)
    for score in (*(k / 10 for k in range(11)), -1.0, 7.0):
        assert torch.equal(plus(images, score=score), expected)


def test_the_hosts_tensors_keys_and_output_without_a_score_stay_as_they_are(host, images):
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    expected = host(images)
    plus = trained(ScoreConditioner(host, [SITES["film"], SITES["vec"]])).eval()
    plus(images, score=0.5)
    assert host.state_dict().keys() == before.keys()
    assert all(torch.equal(host.state_dict()[name], before[name]) for name in before)
    assert torch.equal(plus(images), expected) and torch.equal(host(images), expected)
    assert set(plus.state_dict()) == {f"host.{name}" for name in before} | {"score.0.weight", "score.1.weight"}


@pytest.mark.parametrize("kind", ["add_map", "film", "vec", "tokens", "in a named tuple"])
def test_the_score_is_heard_inside_the_image_and_per_sample(host, images, kind):
    plus = trained(ScoreConditioner(host, [SITES[kind]])).eval()
    low, high = plus(images, score=0.05), plus(images, score=0.95)
    assert (low - high)[:, :, 4:-4, 4:-4].abs().amax(dim=(1, 2, 3)).min() > 1e-3
    mixed = plus(images, score=torch.tensor([0.05, 0.95, 0.05]))
    assert torch.allclose(mixed[1], high[1], atol=1e-6) and torch.allclose(mixed[::2], low[::2], atol=1e-6)


def test_what_an_instance_norm_behind_the_site_does_to_a_plain_shift(host, images):
    """The trap that `film` and `add_map` are there for: InstanceNorm removes what is constant over the image."""
    images = nn.functional.interpolate(images, scale_factor=4.0)

    def heard(kind: str) -> float:
        plus = trained(ScoreConditioner(copy.deepcopy(host), [SITES[kind]])).eval()
        return float((plus(images, score=0.05) - plus(images, score=0.95))[:, :, 8:-8, 8:-8].abs().mean())

    assert heard("add") < 1e-5 < 1e-2 < heard("add_map")


def test_gradients_reach_the_rows_that_were_used_and_no_others(host, images):
    plus = ScoreConditioner(host, [SITES["film"]])
    plus(images, score=torch.tensor([0.25, 0.25, 0.81])).square().mean().backward()
    used = plus.score[0].weight.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert used == [2, 8]


def test_rows_of_an_ordinal_conditioner_are_sums_of_steps_and_a_smooth_one_interpolates(host, images):
    ordinal = trained(ScoreConditioner(copy.deepcopy(host), [SITES["vec"]], ordinal=True)).eval()
    plain = ScoreConditioner(copy.deepcopy(host), [SITES["vec"]]).eval()
    with torch.no_grad():
        plain.score[0].weight[4] = ordinal.score[0].weight[:5].sum(dim=0)
    assert torch.allclose(plain(images, score=0.45), ordinal(images, score=0.45), atol=1e-5)
    smooth = ScoreConditioner(copy.deepcopy(host), [SITES["vec"]], smooth=True).eval()
    with torch.no_grad():
        smooth.score[0].weight[:] = torch.arange(10.0)[:, None]
    rows = smooth.score[0](torch.tensor([0.0, 0.05, 0.1, 0.45, 0.475, 0.95, 1.0]))[:, 0]
    assert rows.tolist() == pytest.approx([0, 0, 0.5, 4, 4.25, 9, 9], abs=1e-5)


def test_scores_beyond_the_ends_are_the_ends_and_nan_is_refused(host, images):
    plus = trained(ScoreConditioner(host, [SITES["vec"]])).eval()
    assert torch.equal(plus(images, score=-3.0), plus(images, score=0.0))
    assert torch.equal(plus(images, score=1.0), plus(images, score=0.99))
    with pytest.raises(IQPIRError, match="a score is NaN"):
        plus(images, score=float("nan"))
    with pytest.raises(IQPIRError, match=r"scores of shape \(2,\) for 3 images"):
        plus(images, score=torch.tensor([0.1, 0.2]))


def test_guidance_goes_from_without_through_with(host, images):
    plus = trained(ScoreConditioner(host, [SITES["film"]])).eval()
    without, asked = plus(images), plus(images, score=0.9)
    assert torch.equal(plus.guided(images, score=0.9, scale=0.0), without)
    assert torch.allclose(plus.guided(images, score=0.9, scale=2.0), 2 * asked - without, atol=1e-5)


def test_dropped_images_of_a_training_batch_go_without_a_score(host, images):
    plus = trained(ScoreConditioner(host, [SITES["vec"]], drop=0.5)).train()
    without, asked = plus(images), ScoreConditioner.forward(plus.eval(), images, score=0.9)
    plus.train()
    torch.manual_seed(0)
    seen = set()
    for _ in range(12):
        for index, image in enumerate(plus(images, score=0.9)):
            dropped = torch.allclose(image, without[index], atol=1e-6)
            assert dropped != torch.allclose(image, asked[index], atol=1e-6)
            seen.add(dropped)
    assert seen == {True, False}


def test_a_site_that_is_not_called_is_an_error_and_so_is_one_called_twice(host, images):
    with pytest.raises(IQPIRError, match=r"'bypassed' was not reached: the host may call its forward\(\) directly"):
        ScoreConditioner(host, [Site("bypassed", "add", 8)])(images, score=0.5)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.step(self.step(x))

    with pytest.raises(IQPIRError, match="'step' was reached 2 times"):
        ScoreConditioner(Twice(), [Site("step", "add", 3)])(images, score=0.5)
    ScoreConditioner(Twice(), [Site("step", "add", 3, repeats=True)])(images, score=0.5)


def test_saved_and_loaded_around_another_copy_of_the_host(host, images, tmp_path):
    plus = trained(ScoreConditioner(host, list(SITES.values())[2:5], bins=5, smooth=True)).eval()
    expected = plus(images, score=0.7)
    plus.save(tmp_path / "rows.safetensors")
    fresh = copy.deepcopy(host)
    for module in fresh.modules():
        module._forward_hooks.clear()
    loaded = ScoreConditioner.load(fresh, tmp_path / "rows.safetensors").eval()
    assert torch.equal(loaded(images, score=0.7), expected)
    plus.save(tmp_path / "all.safetensors", with_host=True)
    assert torch.equal(ScoreConditioner.load(Host(), tmp_path / "all.safetensors").eval()(images, score=0.7), expected)


def test_a_file_that_does_not_fit_is_refused_and_leaves_no_hook(host, tmp_path):
    ScoreConditioner(host, [SITES["vec"]]).save(tmp_path / "a.safetensors")

    class Narrow(Host):
        def __init__(self):
            super().__init__()
            del self.time
            self.time = nn.Linear(4, 8)
            self.more = nn.Linear(1, 1)

    ScoreConditioner(Narrow(), [SITES["vec"]]).save(tmp_path / "b.safetensors", with_host=True)
    with pytest.raises(IQPIRError, match=r"b\.safetensors does not fit this host: host\.more"):
        ScoreConditioner.load(fresh := Host(), tmp_path / "b.safetensors")
    assert not any(module._forward_hooks for module in fresh.modules())
    with pytest.raises(IQPIRError, match="Sequential has no module 'time'"):
        ScoreConditioner.load(nn.Sequential(), tmp_path / "a.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(IQPIRError, match="no safetensors file"):
        ScoreConditioner.load(host, tmp_path / "c.safetensors")


def test_removed_it_leaves_the_host_as_it_was(host, images):
    expected = host(images)
    plus = trained(ScoreConditioner(host, [SITES["film"]]))
    other = ScoreConditioner(host, [SITES["vec"]])
    assert plus.remove() is host
    assert torch.equal(plus(images), expected)
    assert len(host.time._forward_hooks) == 1 and not host.first._forward_hooks
    other.remove()
    assert not any(module._forward_hooks for module in host.modules())


def test_a_deep_copy_listens_to_its_own_rows(host, images):
    plus = ScoreConditioner(host, [SITES["film"]]).eval()
    twin = trained(copy.deepcopy(plus)).eval()
    assert torch.equal(plus(images, score=0.5), host(images))
    assert not torch.allclose(twin(images, score=0.5), host(images))


def test_threads_do_not_hear_each_others_scores(host, images):
    plus = trained(ScoreConditioner(host, [SITES["film"]])).eval()
    expected = {score: plus(images, score=score) for score in (0.05, 0.55, 0.95)}
    wrong: list[float] = []

    def work(score: float) -> None:
        for _ in range(20):
            if not torch.allclose(plus(images, score=score), expected[score], atol=1e-6):
                wrong.append(score)

    threads = [threading.Thread(target=work, args=(score,)) for score in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_learns_to_answer_one_input_by_the_score(images):
    """Two truths for one input: only the score can tell them apart."""
    torch.manual_seed(0)
    plus = ScoreConditioner(Host(), [SITES["film"], SITES["vec"]])
    given = images[:1].expand(2, -1, -1, -1)
    truth = torch.stack([images[1] * 0.2, images[1] * 0.2 + 0.6])
    score = torch.tensor([0.05, 0.95])
    optimiser = torch.optim.Adam(plus.parameters(), lr=1e-2)
    for _ in range(150):
        loss = (plus(given, score=score) - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    plus.eval()
    low, high = (float(plus(given[:1], score=score).mean()) for score in (0.05, 0.95))
    assert high - low == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    "site, message",
    [
        (("frist", "add", 8), "has no module 'frist'; did you mean 'first'"),
        (("first", "addd", 8), "did you mean 'add'"),
        (("first", "add_map", 8), "needs a size"),
        (("first", "add", 8, (4, 4)), "the others have none"),
        (("first", "add", 0), "must be a positive whole number"),
        (("first", "add", 9), r"puts out \[3, 8, 16, 12\]"),
        (("first", "tokens", 8), r"puts out \[3, 8, 16, 12\]"),
    ],
)
def test_a_site_that_does_not_fit_is_one_line(host, images, site, message):
    with pytest.raises(IQPIRError, match=message) as error:
        ScoreConditioner(host, [Site(*site)])(images, score=0.5)
    assert "\n" not in str(error.value)

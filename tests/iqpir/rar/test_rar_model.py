"""The system as a whole: in once, out once, any size, batches, files; and its parts for themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from iqpir import checkpoint
from iqpir.errors import IQPIRError
from iqpir.rar import RAR, LoopOptions, RARConfig
from iqpir.rar.assessor import Assessor, better, overall
from iqpir.rar.kinds import DEGRADATIONS, LIGHT
from iqpir.rar.layers import GRID, coarse, positions
from iqpir.rar.loop import rounds
from iqpir.rar.model import slow
from iqpir.weights import kind_of

ALWAYS = LoopOptions(rounds=3, adaptive=False)


def images(count: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def counted(system: RAR, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    calls = {"encode": 0, "decode": 0}
    for name in calls:
        own = getattr(system.latent, name)

        def wrapped(given, name=name, own=own):
            calls[name] += 1
            return own(given)

        monkeypatch.setattr(system.latent, name, wrapped)
    return calls


@pytest.mark.parametrize("limit", [1, 3, 6])
def test_images_are_encoded_once_and_decoded_once_whatever_the_rounds(system: RAR, counted: dict[str, int], limit: int):
    made = system(images(), LoopOptions(rounds=limit, adaptive=False))
    assert counted == {"encode": 1, "decode": 1}
    assert [trace.taken for trace in made.traces] == [limit] * 2


def test_an_image_that_is_said_to_be_clean_comes_back_bit_for_bit(system: RAR, counted: dict[str, int]):
    """Its PSNR loses nothing: what no round was taken of is not decoded. That a clean image is said to be clean takes
    trained weights."""
    kinds = 2 * len(DEGRADATIONS)
    system.assessor.head.bias.data[kinds : kinds + 2] = 100.0  # clean, and of high quality
    system.assessor.head.bias.data[: len(DEGRADATIONS)] = -100.0  # and nothing named
    made = system(images())
    assert torch.equal(made.image, images()) and counted == {"encode": 1, "decode": 0}
    assert all(trace.reason == "clean" and trace.taken == 0 for trace in made.traces)


def test_a_restorer_made_worse_on_purpose_is_rolled_back_to_the_input(system: RAR):
    system.assessor.head.bias.data[2 * len(DEGRADATIONS) :] = torch.tensor([-100.0, -100.0, 0.0])
    wanted = system.assess(system.encode(images())).utility

    def worse(latent, assessment, options):  # goes where this assessor's utility falls
        moved = latent.clone().requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(system.assess(moved).utility.sum(), moved)
        for scale in (1, 10, 100, 1000):
            made = latent - scale * slope
            if bool((system.assess(made).utility < wanted - 1e-4).all()):
                return made
        raise AssertionError("no way down")

    system.restore_latent = worse
    made = system(images())
    assert torch.equal(made.image, images())
    assert [each.verdict for trace in made.traces for each in trace.rounds] == ["rolled back"] * 2


@pytest.mark.parametrize("kind", ["flow", "code"])
@pytest.mark.parametrize("size", [(32, 32), (33, 50), (7, 90), (1, 1)])
def test_images_of_any_size_keep_it(system: RAR, kind: str, size: tuple[int, int]):
    made = system(images(1, *size), LoopOptions(rounds=1, adaptive=False, restorer=kind))
    assert made.image.shape == (1, 3, *size) and made.image.min() >= 0 and made.image.max() <= 1


@pytest.mark.parametrize("kind", ["flow", "code"])
def test_a_batch_gives_what_its_members_give(system: RAR, kind: str):
    options = LoopOptions(rounds=3, restorer=kind)
    together, alone = system(images(4), options), [system(one[None], options) for one in images(4)]
    assert torch.allclose(together.image, torch.cat([each.image for each in alone]), atol=1e-5)
    for trace, single in zip(together.traces, (each.traces[0] for each in alone), strict=True):
        assert [each.verdict for each in trace.rounds] == [each.verdict for each in single.rounds]


def test_the_restorer_is_told_by_the_assessor_unless_it_is_left_out(system: RAR):
    latent = system.encode(images(1))
    seen = system.assess(latent)
    other = seen._replace(tokens=seen.tokens + 1)
    for kind in ("flow", "code"):
        told, blind = LoopOptions(restorer=kind), LoopOptions(restorer=kind, assess=False)
        if kind == "flow":
            changed = system.flow(latent, system.condition(seen)) - system.flow(latent, system.condition(other))
        else:
            changed = system.code.logits(latent, system.condition(seen)) - system.code.logits(
                latent, system.condition(other)
            )
        assert changed.abs().max() > 1e-6
        assert torch.equal(system.restore_latent(latent, seen, blind), system.restore_latent(latent, other, blind))
        assert system.restore_latent(latent, seen, told).shape == latent.shape


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_light_is_left_alone_unless_something_that_changes_it_is_named(system: RAR, name: str):
    latent = system.encode(images(1, 64, 64))
    seen = system.assess(latent)
    logits = torch.full_like(seen.logits, -9.0)
    logits[:, DEGRADATIONS.index(name)] = 9.0
    seen = seen._replace(logits=logits)
    free = system.restore_latent(latent, seen, LoopOptions(light=0.0))
    made = system.restore_latent(latent, seen, LoopOptions())
    change, kept = free - latent, free - made
    if name in LIGHT:
        assert torch.equal(made, free)
    else:
        means = change.unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean(dim=(3, 5))
        centre = kept[:, :, 5:7, 5:7]  # between the middles of four blocks: a weighted mean of theirs
        assert kept.abs().max() > 1e-4 and torch.allclose(kept.mean(), means.mean(), atol=0.02)
        assert (centre <= means.amax(dim=(2, 3), keepdim=True)).all()
        assert (centre >= means.amin(dim=(2, 3), keepdim=True)).all()
    untold = LoopOptions(assess=False)
    assert torch.equal(
        system.restore_latent(latent, seen, untold), system.restore_latent(latent, seen, replace(untold, light=0.0))
    )


def test_a_change_of_light_alone_is_all_dropped_and_one_of_detail_kept():
    flat = torch.full((1, 2, 16, 12), 0.7)
    checks = (torch.arange(16)[:, None] + torch.arange(12)) % 2 * 2.0 - 1
    assert torch.allclose(slow(flat + checks), flat, atol=1e-6)


def test_a_flow_is_euler_steps_from_the_latent_itself(system: RAR):
    latent = system.encode(images(1))
    condition = system.condition(system.assess(latent))
    system.flow.velocity = lambda z, _, time: z * 0 + time[:, None, None, None]  # dz/dt = t
    assert torch.allclose(system.flow(latent, condition), latent + (0 + 0.25 + 0.5 + 0.75) / 4)


def test_a_new_flow_changes_nothing():
    made = RAR(RARConfig(parts=("latent", "assessor", "flow"), widths=(8, 8, 16), assessor_width=16))
    latent = torch.randn(1, 16, 8, 8)
    assert torch.equal(made.restore_latent(latent, made.assess(latent)), latent)


def test_a_code_step_ends_at_codes_whatever_it_is_fed(system: RAR):
    latent = 100 * torch.randn(1, 4, 8, 8)
    made = system.restore_latent(latent, system.assess(latent), LoopOptions(restorer="code"))
    assert torch.equal(system.latent.lookup(system.latent.codes(made)), made)


def test_a_new_latent_is_a_cosine_transform_that_keeps_what_is_smooth():
    latent = RAR(RARConfig(parts=("latent",))).latent
    with torch.no_grad():
        flat = torch.rand(2, 3, 1, 1).expand(2, 3, 16, 16) * 2 - 1
        assert torch.allclose(latent.decode(latent.encode(flat)), flat, atol=1e-5)
        down, across = (each.float() for each in torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))
        slope = (0.03 * down - 0.02 * across).expand(1, 3, 16, 16)
        assert torch.allclose(latent.decode(latent.encode(slope)), slope, atol=5e-3)
        # What it makes of noise, it leaves as it is: a projection.
        once = latent.decode(latent.encode(torch.rand(1, 3, 16, 16)))
        assert torch.allclose(latent.decode(latent.encode(once)), once, atol=1e-5)
        kept = latent.decode(latent.encode(torch.randn(1, 3, 256, 256))).var()
        assert kept.item() == pytest.approx(16 / 48, rel=0.03)  # of white noise, as many parts as it has numbers


def test_the_nearest_code_is_the_nearest(system: RAR):
    latent = torch.randn(2, 4, 4, 4)
    books = system.latent.codebooks.detach()
    parts = latent.unflatten(1, (2, 2)).permute(0, 1, 3, 4, 2)
    distance = (parts[:, :, :, :, None] - books[None, :, None, None]).square().sum(dim=-1)
    assert torch.equal(system.latent.codes(latent), distance.argmin(dim=-1))


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((1, 3, 8, 8)), "not ndarray"), (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide by 255"),
        (torch.full((1, 3, 8, 8), 200.0), "from 200 to 200"), (torch.full((1, 3, 8, 8), -1.0), "lie in .0,1."),
        (torch.full((1, 3, 8, 8), math.nan), "from nan"), (torch.full((1, 3, 8, 8), math.inf), "from inf"),
        (torch.zeros(0, 3, 8, 8), r"must be \[B,3,H,W\]"), (torch.zeros(1, 3, 8, 0), r"must be \[B,3,H,W\]"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_and_not_restored(system: RAR, images: object, said: str):
    with pytest.raises(IQPIRError, match=said):
        system(images)


@pytest.mark.parametrize("rounds", [2.5, True, -1])
def test_rounds_are_a_whole_number(rounds: object):
    with pytest.raises(IQPIRError, match="whole number"):
        LoopOptions(rounds=rounds)


def test_comparison_is_bradley_terry_and_of_equals_a_half(system: RAR):
    seen = system.assess(system.encode(images()))
    first, second = seen.of(torch.tensor([0])), seen.of(torch.tensor([1]))
    assert better(first, first).item() == 0.5
    assert better(first, second).item() + better(second, first).item() == pytest.approx(1)
    odds = (first.utility.exp() / (first.utility.exp() + second.utility.exp())).item()
    assert better(first, second).item() == pytest.approx(odds, rel=1e-5)


def test_the_whole_is_told_by_mean_deviation_and_the_largest_of_each_block():
    drawn = torch.rand(2, 3, 19, 9, generator=torch.Generator().manual_seed(3))
    found = overall(drawn)
    blocks = [drawn[:, :, down : down + 8, across : across + 8] for down in (0, 8, 16) for across in (0, 8)]
    largest = torch.stack([each.amax(dim=(2, 3)) for each in blocks]).mean(dim=0)
    deviation = (drawn.flatten(2).var(dim=2, correction=0) + 1e-4).sqrt()
    torch.testing.assert_close(found, torch.cat([drawn.mean(dim=(2, 3)), deviation, largest], dim=1))


def test_flakes_of_a_position_are_seen_as_well_in_a_larger_image():
    few = torch.zeros(1, 1, 32, 32)
    few[..., 4::8, 4::8] = 1
    torch.testing.assert_close(overall(few), overall(few.repeat(1, 1, 4, 4)))
    assert overall(few)[0, 2] == 1 and overall(few)[0, 0] < 0.02


def test_an_overview_is_nothing_at_first_and_is_learned():
    torch.manual_seed(0)
    plain = Assessor(RARConfig())
    seeing = Assessor(RARConfig(overview_width=8))
    assert plain.overview is None and seeing.overview is not None
    seeing.load_state_dict({**seeing.state_dict(), **plain.state_dict()})
    latent = torch.randn(2, 16, 16, 16)
    assert plain(latent).view.shape == (2, 0, 16, 16) and seeing(latent).view.shape == (2, 8, 16, 16)
    for own, other in zip(seeing(latent)[:-1], plain(latent)[:-1], strict=True):
        torch.testing.assert_close(own, other)
    seeing(latent).logits.sum().backward()
    for layer in (seeing.overview.answers, seeing.overview.queries):
        assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


def test_a_filler_is_nothing_at_first_and_is_told_nothing_where_the_restorer_is_not():
    torch.manual_seed(0)
    config = RARConfig(overview_width=8, fill_widths=(8, 12))
    made = RAR(config).eval()
    latent = torch.randn(2, 16, 8, 12)
    assert made.filler is not None
    torch.testing.assert_close(made.filler(latent, made.assess(latent)), latent)
    torch.nn.init.normal_(made.filler.head.weight)
    seen = made.assess(latent)
    assert not torch.allclose(
        made.restore_latent(latent, seen), made.restore_latent(latent, seen, LoopOptions(assess=False))
    )
    # Of two, the one before which there is something alone; and the flow is told of what was made of it.
    hides = DEGRADATIONS.index("snow")
    logits = torch.full((2, len(DEGRADATIONS)), -5.0)
    logits[1, hides] = -1.0  # .27, more than .1
    seen = seen._replace(logits=logits)
    filled = made.filler(latent[1:], seen.of(torch.tensor([1])))
    found = made.restore_latent(latent, seen)
    torch.testing.assert_close(found, torch.cat([latent[:1], filled]))
    assert made.fills(seen).tolist() == [False, True]
    assert not made.fills(seen, LoopOptions(assess=False)).any()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(made, "assess", lambda given: seen.of(torch.arange(2 - len(given), 2)))
        told = rounds(made, latent, LoopOptions(1, adaptive=False)).traces
    assert [trace.rounds[0].filled for trace in told] == [False, True]
    tokens: list[torch.Tensor] = []
    made.adapter.register_forward_pre_hook(lambda _, given: tokens.append(given[0].tokens))
    made.restore_latent(latent, seen)
    torch.testing.assert_close(tokens[0], torch.cat([seen.tokens[:1], made.assess(filled).tokens]))
    assert torch.equal(made.restore_latent(latent, seen, LoopOptions(hidden=1.0)), latent)
    # What is clean when it is filled in is left to no restorer.
    torch.nn.init.ones_(made.flow.head.bias)
    assert not torch.allclose(made.restore_latent(latent, seen)[1:], filled)
    logits = logits.index_fill(1, torch.tensor(hides), -5.0)
    clean = seen.of(torch.tensor([1]))._replace(quality=torch.tensor([0.95]), logits=logits[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "assess", lambda _: clean)
        found = made.restore_latent(latent, seen)
    torch.testing.assert_close(found[1:], filled)
    assert not torch.allclose(found[:1], latent[:1])
    torch.nn.init.zeros_(made.flow.head.bias)
    made.filler = None
    assert not made.fills(seen).any()
    torch.testing.assert_close(made.restore_latent(latent, seen), latent)  # a new flow changes nothing
    with pytest.raises(IQPIRError, match="a view of the whole"):
        RAR(RARConfig(fill_widths=(8, 12)))
    with pytest.raises(IQPIRError, match="it takes 2, or none"):
        RARConfig(overview_width=8, fill_widths=(8,))


def test_what_is_global_is_seen_at_a_bounded_grid():
    assert coarse(torch.rand(1, 2, 8, 9)).shape == (1, 2, 8, 9)
    assert coarse(torch.rand(1, 2, 100, 20)).shape == (1, 2, GRID, 20)
    assert positions(3, 5, 16, torch.zeros(1)).shape == (15, 16)


def test_a_file_holds_the_system(system: RAR, tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    checkpoint.save_checkpoint(system, path)
    read = RAR.from_checkpoint(path)
    assert read.config == system.config and kind_of(path) == "rar"
    assert torch.equal(read(images(), ALWAYS).image, system(images(), ALWAYS).image)
    with pytest.raises(IQPIRError, match=r"RAR\.from_checkpoint"):
        checkpoint.load(path)
    with pytest.raises(IQPIRError, match="a system of RAR, not an autoencoder"):
        checkpoint.load_autoencoder(path)
    with pytest.raises(IQPIRError, match="not a network for photographs"):
        checkpoint.load_photo(path)


def test_a_file_of_an_early_stage_says_what_it_lacks(tmp_path: Path):
    for parts, lacking in ((("latent",), "assessor and restorer"), (("latent", "assessor"), "restorer")):
        path = tmp_path / "early.safetensors"
        checkpoint.save_checkpoint(RAR(RARConfig(parts=parts)), path)
        assert checkpoint.load_rar(path).config.parts == parts
        with pytest.raises(IQPIRError, match=f"without {lacking}: go on with"):
            RAR.from_checkpoint(path)


def test_what_cannot_be_is_refused(system: RAR):
    with pytest.raises(IQPIRError, match="B,3,H,W"):
        system(torch.rand(3, 8, 8))
    for wrong in ({"width": 3}, {"groups": 3}, {"assessor_width": 20}, {"parts": ("flow",)}, {"image_size": 40}):
        with pytest.raises(IQPIRError, match="RARConfig"):
            RARConfig.from_dict(wrong)
    flow = RAR(RARConfig(parts=("latent", "assessor", "flow")))
    with pytest.raises(IQPIRError, match="has flow"):
        flow(images(), LoopOptions(restorer="code"))


def test_the_usual_system_fits_into_twelve_megabytes():
    assert 2 * sum(each.numel() for each in RAR().parameters()) < 12e6

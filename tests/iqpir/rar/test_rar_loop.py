"""Restore, assess, repeat: what is taken, what is left, and when it ends. Assessor and restorer are stand-ins here, so
that each test says what they find; what a trained assessor finds is a matter of its weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.loop import LoopOptions, is_hidden, rounds

Say = Callable[[Tensor], Tensor]
"""Latents [B,…] → [B]."""


def mean(latent: Tensor) -> Tensor:
    return latent.flatten(1).mean(dim=1)


class Stand:
    """An assessor that says what `utility`, `quality` and `clean` say, and a restorer that does what it is told."""

    def __init__(
        self,
        restore: Say,
        utility: Say = mean,
        quality: Say = lambda z: mean(z) * 0,
        clean: float = -5,
        odds: dict[str, float] | None = None,
    ) -> None:
        self.logits = torch.tensor([(odds or {}).get(kind, -5.0) for kind in DEGRADATIONS])
        self.restore, self.utility, self.quality, self.clean = restore, utility, quality, clean
        self.assessed: list[int] = []
        self.restored: list[int] = []

    def assess(self, latent: Tensor) -> Assessment:
        self.assessed.append(len(latent))
        count, kinds = len(latent), len(DEGRADATIONS)
        return Assessment(
            torch.zeros(count, 1, 1), self.logits.expand(count, -1), torch.full((count,), float(self.clean)),
            torch.zeros(count, kinds), self.quality(latent), self.utility(latent),
            latent[:, :0],
        )  # fmt: skip

    def fills(self, assessment: Assessment, options: LoopOptions) -> Tensor:
        return is_hidden(assessment, options)

    def restore_latent(self, latent: Tensor, assessment: Assessment, options: LoopOptions) -> Tensor:
        self.restored.append(len(latent))
        return self.restore(latent)


def start(count: int = 2) -> Tensor:
    return torch.rand(count, 2, 4, 4, generator=torch.Generator().manual_seed(0)) + 1


def test_a_clean_image_is_left_without_any_round():
    for said in ({"clean": 3, "quality": lambda z: mean(z) * 0 + 0.75}, {"quality": lambda z: mean(z) * 0 + 0.95}):
        system = Stand(lambda z: z + 1, **said)
        found = rounds(system, start(), LoopOptions())
        assert torch.equal(found.latent, start()) and not system.restored
        assert [trace.reason for trace in found.traces] == ["clean", "clean"]
        assert [each.verdict for each in found.traces[0].rounds] == ["stopped"] and found.traces[0].taken == 0


@pytest.mark.parametrize(
    ("odds", "clean"),
    [
        ({"haze": 0.1}, False),
        ({"haze": -0.1}, True),
        ({"snow": -2.1}, False),
        ({"rain": -2.1}, False),
        ({"snow": -2.3}, True),
    ],
)
def test_what_is_named_is_not_clean_however_good_it_is(odds: dict[str, float], clean: bool):
    """A half is the logit 0, and .1 is ln(.1/.9) = -2.197: of rain and snow, which hide what is behind them."""
    system = Stand(lambda z: z + 4, quality=lambda z: mean(z) * 0 + 0.95, clean=4, odds=odds)
    (trace,) = rounds(system, start(1), LoopOptions(rounds=1)).traces
    assert (trace.reason == "clean") == clean and bool(system.restored) != clean


def test_what_may_be_clean_is_left_only_if_it_is_fair():
    system = Stand(lambda z: z + 4, clean=3, quality=lambda z: mean(z) * 0 + 0.65)
    assert rounds(system, start(1), LoopOptions(rounds=2)).traces[0].taken == 2


def test_a_round_that_makes_it_clean_is_the_last():
    system = Stand(lambda z: z + 1, utility=lambda z: 2 * mean(z), quality=lambda z: (mean(z) > 2.2).float())
    found = rounds(system, start(1), LoopOptions(rounds=9))
    assert [each.verdict for each in found.traces[0].rounds] == ["accepted", "stopped"]
    assert torch.equal(found.latent, start(1) + 1)


def test_a_worse_result_is_rolled_back_bit_for_bit():
    system = Stand(lambda z: z - 0.3)
    found = rounds(system, start(), LoopOptions())
    assert torch.equal(found.latent, start())
    for trace in found.traces:
        assert [each.verdict for each in trace.rounds] == ["rolled back"] and trace.reason == "no gain"
        assert trace.rounds[0].utility_after < trace.rounds[0].utility
        assert trace.rolled_back == 1 and trace.taken == 0


def test_the_last_good_result_is_kept_when_a_later_round_is_worse():
    turn = iter([4.0, 4.0, -1.0])
    found = rounds(Stand(lambda z: z + next(turn)), start(1), LoopOptions())
    assert torch.equal(found.latent, start(1) + 4 + 4)
    assert [each.verdict for each in found.traces[0].rounds] == ["accepted", "accepted", "rolled back"]


def test_a_gain_within_the_margin_is_none():
    """P = σ(0.07) = 0.5175 < 0.52 < σ(0.09) = 0.5225; and σ(1.09) = 0.7484 < 0.75 < σ(1.11) = 0.7521."""
    for margin, gain, verdict in (
        (0.02, 0.07, "rolled back"), (0.02, 0.09, "accepted"), (0.25, 1.09, "rolled back"), (0.25, 1.11, "accepted"),
    ):  # fmt: skip
        found = rounds(Stand(lambda z, gain=gain: z + gain), start(1), LoopOptions(rounds=1, margin=margin))
        assert found.traces[0].rounds[0].verdict == verdict


def test_a_later_round_has_a_margin_of_its_own():
    """σ(1.11) = 0.7521 and σ(2.2) = 0.9002: both pass a first round, the second alone another."""
    for gains, taken in (((1.11, 1.11), 1), ((1.11, 2.2), 2), ((2.2, 1.11), 1), ((1.09, 2.2), 0)):
        turn = iter(gains)
        options = LoopOptions(rounds=2, margin=0.25, again=0.4)
        assert rounds(Stand(lambda z, turn=turn: z + next(turn)), start(1), options).traces[0].taken == taken


@pytest.mark.parametrize("seed", range(5))
def test_utility_does_not_fall_along_an_accepted_trace(seed: int):
    generator = torch.Generator().manual_seed(seed)

    def wander(latent: Tensor) -> Tensor:
        return latent + torch.randn(latent.shape, generator=generator)

    found = rounds(Stand(wander), start(6), LoopOptions(rounds=12))
    for trace in found.traces:
        taken = [each for each in trace.rounds if each.verdict == "accepted"]
        assert all(each.utility_after > each.utility for each in taken)
        assert all(a.utility_after == pytest.approx(b.utility) for a, b in itertools.pairwise(taken))


def test_an_assessor_that_is_never_content_ends_at_the_limit():
    for limit in (0, 1, 4):
        system = Stand(lambda z: z * 8)
        found = rounds(system, start(), LoopOptions(rounds=limit))
        assert len(system.restored) == limit and len(system.assessed) == limit + 1
        assert [trace.reason for trace in found.traces] == ["limit"] * 2
        # The last round's result was judged better: it is what is returned, not the one before.
        assert torch.equal(found.latent, start() * 8.0**limit)


def test_an_assessor_that_contradicts_itself_ends_too():
    flips = iter([0.0, *[(-1.0) ** turn for turn in range(99)]])
    system = Stand(lambda z: z + 0.5, utility=lambda z: mean(z) * 0 + next(flips))
    found = rounds(system, start(1), LoopOptions(rounds=5))
    assert len(found.traces[0].rounds) <= 5 and found.traces[0].reason == "no gain"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_never_taken(bad: float):
    for options in (LoopOptions(), LoopOptions(adaptive=False), LoopOptions(rollback=False), LoopOptions(verify=False)):
        found = rounds(Stand(lambda z: z * bad), start(), options)
        assert torch.equal(found.latent, start())
        assert found.traces[0].reason == "no gain"


def test_a_fixed_point_is_taken_and_ends_the_rounds():
    system = Stand(lambda z: z * 1.0005, utility=lambda z: (mean(z) - mean(start(1))) * 5000)
    found = rounds(system, start(1), LoopOptions())
    assert found.traces[0].reason == "fixed point" and found.traces[0].taken == 1
    assert found.traces[0].rounds[0].change == pytest.approx(5e-4, rel=1e-3)


def test_members_of_a_batch_stop_each_for_itself_and_as_if_they_were_alone():
    latent = start(5) * torch.tensor([0.2, 1.0, 2.0, 3.0, 9.0])[:, None, None, None]

    def system() -> Stand:
        return Stand(
            lambda z: torch.where((mean(z) < 4)[:, None, None, None], z + 1, z - 1),
            lambda z: 2 * mean(z),
            quality=lambda z: ((mean(z) > 2.4) & (mean(z) < 4)).float(),
        )

    together = rounds(system(), latent, LoopOptions())
    alone = [rounds(system(), one[None], LoopOptions()) for one in latent]
    assert torch.equal(together.latent, torch.cat([each.latent for each in alone]))
    assert together.traces == [each.traces[0] for each in alone]
    assert len({trace.reason for trace in together.traces}) == 2 and len({len(t.rounds) for t in together.traces}) > 1


def test_only_those_that_go_on_are_worked_on():
    system = Stand(lambda z: z + 1, quality=lambda z: (mean(z) > 2.2).float())
    rounds(system, torch.cat([start(1), start(1) + 5, start(1) + 0.8]), LoopOptions(rounds=1))
    assert system.restored == [1]
    assert system.assessed[0] == 3 and system.assessed[1:] == system.restored


def test_parts_of_the_loop_can_be_left_out():
    worse = lambda z: z - 0.3  # noqa: E731
    assert torch.equal(rounds(Stand(worse), start(), LoopOptions(rollback=False)).latent, start() - 0.3)
    found = rounds(Stand(worse), start(1), LoopOptions(verify=False, rounds=3))
    assert torch.allclose(found.latent, start(1) - 0.9) and found.traces[0].reason == "limit"
    found = rounds(Stand(worse, clean=9), start(1), LoopOptions(adaptive=False, rounds=2), keep=True)
    assert torch.allclose(found.latent, start(1) - 0.6) and len(found.states) == 3
    assert [each.verdict for each in found.traces[0].rounds] == ["accepted"] * 2


def test_options_that_cannot_be_are_refused():
    for wrong in (
        {"rounds": -1}, {"good": 1.5}, {"margin": float("nan")}, {"again": 2.0}, {"restorer": "gan"}, {"light": "x"},
        {"light": True}, {"hidden": None}, {"adaptive": "no"}, {"assess": 1}, {"margin": 0.6},
    ):  # fmt: skip
        with pytest.raises(IQPIRError, match=f"^{next(iter(wrong))} is"):
            LoopOptions(**wrong)

"""RAR as a method: what the package does, its options, and what it tells of its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.rar import saved, small, waves
from torch import Tensor

from bench.catalog.registry import registry
from bench.errors import BenchError
from bench.methods.base import Method
from bench.methods.build import build_method
from bench.methods.rar import RarMethod
from bench.methods.trace import FILLED
from iqpir.rar import RAR, LoopOptions


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(small(), tmp_path)


def made(weights: Path | str, **options: Any) -> RarMethod:
    method = build_method(registry("method").get("rar"), {"weights": str(weights), **options}, None)
    assert isinstance(method, RarMethod)
    return method


def loaded(weights: Path, **options: Any) -> RarMethod:
    method = made(weights, **options)
    method.load("cpu", "float32")
    return method


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 24, 30, generator=torch.Generator().manual_seed(3))


CASES: list[tuple[dict[str, Any], LoopOptions]] = [
    ({}, LoopOptions()),
    ({"rounds": 2, "adaptive": False}, LoopOptions(rounds=2, adaptive=False)),
    ({"verify": False}, LoopOptions(verify=False)),
    ({"rollback": False}, LoopOptions(rollback=False)),
    ({"assessment": False, "adaptive": False}, LoopOptions(assess=False, adaptive=False)),
    ({"restorer": "code", "adaptive": False, "rounds": 1}, LoopOptions(restorer="code", adaptive=False, rounds=1)),
]


@pytest.mark.parametrize(("options", "loop"), CASES, ids=lambda value: str(value)[:40])
def test_it_restores_as_the_package_does(options: Mapping[str, Any], loop: LoopOptions, weights: Path):
    method = loaded(weights, **options)
    expected = RAR.from_checkpoint(weights)(images(), loop)
    assert torch.equal(method.restore(images()), expected.image)
    told = method.traces()
    assert told is not None and [one.trace.reason for one in told] == [trace.reason for trace in expected.traces]
    for one, trace in zip(told, expected.traces, strict=True):
        assert [step.verdict for step in one.trace.steps] == [each.verdict for each in trace.rounds]
        assert (one.trace.taken, one.trace.rolled_back) == (trace.taken, trace.rolled_back)
        assert [step.quality for step in one.trace.steps] == [each.quality for each in trace.rounds]


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_a_round_that_fills_in_says_so(tmp_path: Path, hidden: float):
    """Every probability is above 0 and none above 1."""
    method = loaded(saved(waves(), tmp_path), hidden=hidden, adaptive=False, rounds=1)
    method.restore(images())
    told = method.traces()
    expected = FILLED if hidden == 0 else ""
    assert told is not None and [[step.action for step in one.trace.steps] for one in told] == [[expected]] * 2


def test_the_images_between_rounds_are_those_of_fewer_rounds(weights: Path):
    method = loaded(weights, adaptive=False, rounds=3)
    with torch.inference_mode():  # as it is used
        method.restore(images())
    told = method.traces()
    assert told is not None and [set(one.pictures) for one in told] == [{1, 2}, {1, 2}]
    for number in (1, 2):
        fewer = loaded(weights, adaptive=False, rounds=number).restore(images())
        for place in (0, 1):
            levels = (fewer[place] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
            # Decoded in another batch, a value may lie on the other side of a rounding.
            np.testing.assert_allclose(told[place].pictures[number].astype(int), levels, atol=1)
            assert (told[place].pictures[number] == levels).mean() > 0.99


def test_what_was_told_is_told_once(weights: Path):
    method = loaded(weights)
    assert method.traces() is None
    method.restore(images())
    assert method.traces() is not None and method.traces() is None


def test_every_option_and_the_weights_change_the_key(weights: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    other = saved(small(1), tmp_path / "other")
    identities = [str(made(weights, **options).identity()) for options, _ in CASES] + [str(made(other).identity())]
    assert len(set(identities)) == len(identities)
    assert str(weights) not in identities[0]


def test_without_a_checkpoint_the_remedy_is_said():
    from iqpir.weights import shipped

    reason = made("rar-tiny").unavailable()
    assert (reason is None) if shipped("rar-tiny") else ("configs/rar-tiny.yaml" in str(reason))
    with pytest.raises(BenchError, match="no such file"):
        made("nowhere.safetensors")
    assert "random weights" in str(made("random").unavailable())
    twin = made("random").untrained_twin()
    assert isinstance(twin, Method) and twin.untrained


def test_a_restorer_that_the_checkpoint_lacks_is_refused(tmp_path: Path):
    from dataclasses import replace

    from support.rar import SMALL

    path = saved(RAR(replace(SMALL, parts=("latent", "assessor", "flow"))), tmp_path)
    with pytest.raises(BenchError, match="restorer' is code, and this checkpoint has flow"):
        loaded(path, restorer="code")


def test_another_type_of_numbers_is_refused(weights: Path):
    with pytest.raises(BenchError, match="float32, not bfloat16"):
        made(weights).load("cpu", "bfloat16")


@pytest.mark.parametrize(("method", "named", "said"), [
    ("rar", "iqpir-tiny", "no system of RAR"), ("iqpir", "rar-tiny", "another kind of network, rar"),
])  # fmt: skip
def test_a_network_of_another_kind_is_refused_before_the_work(method: str, named: str, said: str):
    with pytest.raises(BenchError, match=f"option 'weights' names .*{said}"):
        build_method(registry("method").get(method), {"weights": named}, None)

"""A chain that is told what was done, and an agent that chooses: which tools, in which order, and what is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.rar import saved, small
from torch import Tensor

from bench.catalog.registry import Entry, registry
from bench.errors import BenchError, ItemError
from bench.methods.base import ToldMethod
from bench.methods.build import build_method
from bench.methods.chain import AgentMethod
from iqpir.rar.assessor import Assessment
from iqpir.rar.kinds import DEGRADATIONS

RAMP = torch.linspace(0.05, 0.6, 3 * 20 * 24).reshape(1, 3, 20, 24)


def chain() -> ToldMethod:
    method = build_method(registry("method").get("oracle-chain"), {}, None)
    assert isinstance(method, ToldMethod)
    method.load("cpu", "float32")
    return method


def plain(name: str, images: Tensor, **options: Any) -> Tensor:
    method = build_method(registry("method").get(name), options, None)
    method.load("cpu", "float32")  # type: ignore[union-attr]
    return method.restore(images).clamp(0, 1)  # type: ignore[union-attr]


def test_what_was_done_last_is_undone_first():
    method = chain()
    done = [("low light", "haze"), ("haze",)]
    made = method.restore_told(RAMP.repeat(2, 1, 1, 1), done)
    assert torch.equal(made[:1], plain("clahe", plain("dark-channel", RAMP)))
    assert torch.equal(made[1:], plain("dark-channel", RAMP))
    told = method.traces()
    assert told is not None
    assert [(step.words, step.action) for step in told[0].trace.steps] == [
        ("told: haze", "dark-channel"), ("told: low light", "clahe"),
    ]  # fmt: skip
    assert set(told[0].pictures) == {1} and not told[1].pictures


def test_a_clean_image_is_left_alone():
    assert torch.equal(chain().restore_told(RAMP, [()]), RAMP)


def test_without_the_word_of_the_dataset_nothing_is_done():
    with pytest.raises(ItemError, match="has to be told"):
        chain().restore(RAMP)


def test_a_tool_that_is_none_is_refused():
    entry = registry("method").get("oracle-chain")
    for tools, said in (
        ({"haze": ["oracle-chain"]}, "no tool"), ({"haze": ["dark-chanel"]}, "dark-channel"),
        ({"hase": ["dark-channel"]}, "haze"), ({"haze": [{"method": "median", "options": {"size": 4}}]}, "size"),
        ({}, "no tools"),
    ):  # fmt: skip
        with pytest.raises(BenchError, match=said):
            build_method(Entry("c", "method", {**entry.fields, "tools": tools}, "here"), {}, None)


class Judge:
    """An assessor that finds one degradation, and images the better the brighter they are."""

    def __init__(self, kind: str, severity: float = 0.5, sign: float = 1.0) -> None:
        self.place, self.severity, self.sign = DEGRADATIONS.index(kind), severity, sign

    def encode(self, images: Tensor) -> Tensor:
        return images

    def assess(self, images: Tensor) -> Assessment:
        logits = torch.full((1, len(DEGRADATIONS)), -5.0)
        logits[0, self.place] = 5.0
        severity = torch.full((1, len(DEGRADATIONS)), self.severity)
        mean = images.mean().reshape(1)
        utility, no_view = 50 * self.sign * mean, torch.zeros(1, 0, 1, 1)
        return Assessment(torch.zeros(1, 1, 1), logits, torch.full((1,), -5.0), severity, mean, utility, no_view)

    def parameters(self) -> list[Tensor]:
        return []


def agent(tmp_path: Path, judge: Judge, **options: Any) -> AgentMethod:
    method = build_method(
        registry("method").get("tool-agent"), {"weights": str(saved(small(), tmp_path)), **options}, None
    )
    assert isinstance(method, AgentMethod)
    method.load("cpu", "float32")
    method._system = judge  # type: ignore[assignment]
    return method


def steps(method: AgentMethod) -> list[tuple[str, str]]:
    told = method.traces()
    assert told is not None
    return [(step.action, step.verdict) for step in told[0].trace.steps]


def test_tools_are_tried_in_turn_and_what_is_better_is_taken(tmp_path: Path):
    method = agent(tmp_path, Judge("low light"), rounds=1)
    assert torch.equal(method.restore(RAMP), plain("clahe", RAMP))
    assert steps(method) == [("low light: clahe", "accepted")]


def test_what_is_no_better_is_rolled_back_bit_for_bit_and_tried_no_more(tmp_path: Path):
    method = agent(tmp_path, Judge("low light", sign=-1.0))
    assert torch.equal(method.restore(RAMP), RAMP)
    told = method.traces()
    assert told is not None and told[0].trace.reason == "no tool left"
    assert [(step.action, step.verdict) for step in told[0].trace.steps] == [
        (f"low light: {tool}", "rolled back") for tool in ("clahe", "auto-gamma", "lime")
    ]


def test_without_roll_back_a_worse_result_is_kept(tmp_path: Path):
    method = agent(tmp_path, Judge("low light", sign=-1.0), rollback=False, rounds=1)
    assert torch.equal(method.restore(RAMP), plain("clahe", RAMP))
    assert steps(method) == [("low light: clahe", "kept")]


def test_without_verification_the_first_tools_are_taken(tmp_path: Path):
    method = agent(tmp_path, Judge("low light", sign=-1.0), verify=False, rounds=2)
    assert torch.equal(method.restore(RAMP), plain("auto-gamma", plain("clahe", RAMP)))


def test_what_is_mild_is_left_alone_as_agenticir_does(tmp_path: Path):
    mild = agent(tmp_path, Judge("low light", severity=0.39))
    assert torch.equal(mild.restore(RAMP), RAMP) and steps(mild) == []
    asked = agent(tmp_path, Judge("low light", severity=0.39), severity="low", rounds=1)
    asked.restore(RAMP)
    assert len(steps(asked)) == 1


def test_a_clean_image_ends_it(tmp_path: Path):
    judge = Judge("low light")
    clean = judge.assess(RAMP)._replace(
        logits=torch.full((1, len(DEGRADATIONS)), -5.0), clean=torch.full((1,), 5.0), quality=torch.full((1,), 0.8)
    )
    judge.assess = lambda images: clean  # type: ignore[method-assign]
    method = agent(tmp_path, judge)
    assert torch.equal(method.restore(RAMP), RAMP) and steps(method) == [("", "stopped")]


def test_tools_and_their_order_are_part_of_the_key():
    entry = registry("method").get("oracle-chain")
    turned = replace(entry, fields={**entry.fields, "tools": {**entry.fields["tools"], "haze": ["clahe"]}})
    assert build_method(entry, {}, None).identity() != build_method(turned, {}, None).identity()

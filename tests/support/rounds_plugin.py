"""A method in rounds whose every number is known: each round halves the distance to white, and the third is judged
worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import bench
from bench.methods.base import Method, ToldMethod
from bench.methods.trace import FILLED, Step, Trace, Traced


class Halving(Method):
    name = "halving"

    def __init__(self, adaptive: bool = True, rounds: int = 3, wrong: bool = False) -> None:
        self.adaptive, self.rounds, self.wrong = adaptive, rounds, wrong
        self._count = 0

    def load(self, device: str, dtype: str) -> None:
        pass

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "halving", "options": {"adaptive": self.adaptive, "rounds": self.rounds}, "wrong": self.wrong}

    def _states(self, image: Tensor) -> list[Tensor]:
        dark = bool(image.mean() < 0.5)
        count = self.rounds if not self.adaptive else 2 if dark else 0
        return [1 - (1 - image) / 2**number for number in range(count + 1)]

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        self._last = [self._states(image) for image in images]
        return torch.stack([states[-1] for states in self._last])

    def traces(self) -> Sequence[Traced] | None:
        told = []
        for states in self._last:
            steps = [
                Step("accepted", "low light 0.90 (high)", "", 0.2 * number, 0.2 * (number + 1), 0.75)
                for number in range(len(states) - 1)
            ]
            reason = "limit"
            if not self.adaptive:
                steps[0] = replace(steps[0], action=FILLED)
            if self.adaptive and steps:
                steps.append(Step("rolled back", "haze 0.60 (low)", "", 0.4, 0.3, 0.25))
                reason = "no gain"
            elif self.adaptive:
                steps.append(Step("stopped", "clean 0.99", quality=0.95))
                reason = "clean"
            pictures = {
                number: (states[number] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
                for number in range(1, len(states) - 1)
            }
            told.append(Traced(Trace(tuple(steps), reason), pictures))
        return told[:-1] if self.wrong else told


class Parrot(ToldMethod):
    """Puts out how many things it was told, as a level."""

    name = "parrot"
    batch_invariant = True

    def load(self, device: str, dtype: str) -> None:
        pass

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "parrot"}

    def restore_told(self, images: Tensor, done: Sequence[Sequence[str]], seeds: Tensor | None = None) -> Tensor:
        levels = torch.tensor([10 * len(kinds) / 255 for kinds in done])
        return levels[:, None, None, None].expand(images.shape).clone()


bench.register_method("halving", Halving)
bench.register_method("parrot", Parrot)

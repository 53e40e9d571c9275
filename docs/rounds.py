"""A method that works in rounds and tells them: what `bench figure rounds` and the report's rounds are drawn from.

bench run docs/gallery.yaml --plugin docs/rounds.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bench
from bench.methods.base import Method
from bench.methods.trace import Step, Trace, Traced

if TYPE_CHECKING:
    from torch import Tensor

GAMMA = 0.75
"""Of one round."""
MIDDLE = 0.45
"""Mean brightness at which an image is as good as this method knows."""


def quality(image: Tensor) -> float:
    """In [0,1]: how near the mean brightness is to the middle."""
    return max(0.0, 1 - abs(float(image.mean()) - MIDDLE) / MIDDLE)


class BrightenInRounds(Method):
    """Brightens a little each round. Adaptive: a round that makes it no better is rolled back, and ends it."""

    name = "brighten-in-rounds"

    def __init__(self, rounds: int = 8, adaptive: bool = True) -> None:
        self._options = {"rounds": rounds, "adaptive": adaptive}
        self._told: list[Traced] = []

    def load(self, device: str, dtype: str) -> None:
        """There is nothing to bring."""

    def identity(self) -> Mapping[str, Any]:
        return {"kind": "brighten-in-rounds", "options": self._options, "version": 1}

    def restore(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        import torch

        self._told = []
        return torch.cat([self._one(image[None]) for image in images])

    def traces(self) -> Sequence[Traced]:
        return self._told

    def _one(self, image: Tensor) -> Tensor:
        steps: list[Step] = []
        reason = "limit"
        for _ in range(self._options["rounds"]):
            tried = image.clamp(min=1e-4) ** GAMMA
            before, after = quality(image), quality(tried)
            gains = after > before
            if self._options["adaptive"] and not gains:
                steps.append(Step("rolled back", quality=before, quality_after=after))
                reason = "no gain"
                break
            steps.append(Step("accepted" if gains else "kept", quality=before, quality_after=after))
            image = tried
        self._told.append(Traced(Trace(tuple(steps), reason)))
        return image


bench.register_method("brighten-in-rounds", BrightenInRounds)

"""How a restoration came about, of methods that work in rounds: what was seen, what was done, why it ended.

A method says it after each call; the run keeps it with the restoration. Nothing of it enters a key or a score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
FILLED = "filled in rain or snow"
"""The action of a round that did so."""
Verdict = Literal["accepted", "kept", "rolled back", "stopped"]
"""Of a round: its result was taken; taken though it was not judged better by enough; left; or nothing was done, as
nothing was wrong any more."""


@dataclass(frozen=True)
class Step:
    """One round of one image. What a method does not know is None."""

    verdict: Verdict
    words: str = ""
    """What was seen before the round, for a reader: `haze 0.93 (high), noise 0.71 (low)`."""
    action: str = ""
    """What was done, by methods that choose: the name of a tool, or `FILLED`."""
    quality: float | None = None
    """Judged before the round, in [0,1]."""
    quality_after: float | None = None
    """Of the result, whether it was taken or not."""
    better: float | None = None
    """Probability, as judged, that the result is better than what it was made of."""
    seconds: float | None = None

    @property
    def taken(self) -> bool:
        return self.verdict in ("accepted", "kept")


@dataclass(frozen=True)
class Trace:
    """All rounds of one image."""

    steps: tuple[Step, ...] = ()
    reason: str = ""
    """Why they ended: `clean`, `no gain`, `fixed point`, `limit`, or a method's own words."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """What else a method has to say, by name."""

    @property
    def rounds(self) -> int:
        """How often something was done to the image, whether its result was taken or not."""
        return sum(step.verdict != "stopped" for step in self.steps)

    @property
    def taken(self) -> int:
        return sum(step.taken for step in self.steps)

    @property
    def rolled_back(self) -> int:
        return sum(step.verdict == "rolled back" for step in self.steps)

    def text(self) -> str:
        """As it is stored: strict JSON; a number that is none is null."""
        data = asdict(self)
        for step in data["steps"]:
            for name, value in step.items():
                if isinstance(value, float) and not math.isfinite(value):
                    step[name] = None
        return json.dumps({"version": VERSION, **data}, allow_nan=False)


def read(text: str) -> Trace | None:
    """A stored trace; None for one that a later version wrote, or that is damaged: nothing depends on it."""
    try:
        data: dict[str, Any] = json.loads(text)
        if data.pop("version") != VERSION:
            return None
        steps = tuple(Step(**step) for step in data.pop("steps"))
        if any(step.verdict not in get_args(Verdict) for step in steps):
            return None
        return Trace(steps, **data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Traced(NamedTuple):
    """What a method tells of one image."""

    trace: Trace
    pictures: Mapping[int, np.ndarray] = {}
    """Number of a round, from 1 → the image after it, uint8 RGB [H,W,3]. The last that was taken is the output itself
    and need not be told."""

"""Training degradations: seeded, on the fly, each a frozen dataclass of ranges.

>>> low_light = degradation({"kind": "low-light", "exposure": [0.02, 0.1]})
>>> made = low_light(gt, np.random.default_rng([seed, index]))  # .image, .params
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from iqpir.errors import IQPIRError, suggest
from iqpir.training.degrade.base import Degradation, Degraded, Range
from iqpir.training.degrade.colour import FaceColour, FaceColourParams
from iqpir.training.degrade.composite import Composite, CompositeParams
from iqpir.training.degrade.face import Face, FaceParams
from iqpir.training.degrade.light import Backlit, BacklitParams, LowLight, LowLightParams
from iqpir.training.degrade.scene import Scene, SceneParams
from iqpir.training.degrade.water import Underwater, UnderwaterParams

KINDS: Mapping[str, Callable[[], Degradation]] = {
    "face": Face,
    "face-paper": Face.paper,
    "face-small": Face.small,
    "photo": Face.photo,
    "face-colour": FaceColour,
    "low-light": LowLight,
    "underwater": Underwater,
    "backlit": Backlit,
    "scene": Scene,
    "composite": Composite,
    "composite-mio100": Composite.mio100,
    "composite-cdd11": Composite.cdd11,
}
"""By the name that configurations use."""


@dataclass(frozen=True)
class Chain(Degradation):
    """Several degradations one after the other; the record is a tuple of theirs."""

    steps: tuple[Degradation, ...] = ()

    def draw(self, rng: np.random.Generator, side: int) -> tuple[Any, ...]:
        return tuple(step.draw(rng, side) for step in self.steps)

    def apply(self, image: np.ndarray, params: tuple[Any, ...], rng: np.random.Generator) -> np.ndarray:
        for step, drawn in zip(self.steps, params, strict=True):
            image = np.clip(step.apply(image, drawn, rng), 0, 1).astype(np.float32)
        return image


class ChoiceParams(NamedTuple):
    which: int
    """Number of the degradation that was done."""
    drawn: tuple[Any, ...]
    """The records of all of them, so that samples of one batch have the same shape."""


@dataclass(frozen=True)
class Choice(Degradation):
    """One of several degradations for each image, by the given shares: for a network of several tasks."""

    of: tuple[Degradation, ...] = ()
    shares: tuple[float, ...] = ()
    """How often each, relative to the others; empty: equally often."""

    def __post_init__(self) -> None:
        shares = self.shares or (1.0,) * len(self.of)
        if not self.of:
            raise IQPIRError("degradation 'choice' needs a list of degradations under 'of'")
        if len(shares) != len(self.of) or not all(0 <= share < float("inf") for share in shares) or not sum(shares):
            raise IQPIRError(f"degradation 'choice' has {len(self.of)} degradations, and the shares {list(shares)}")
        object.__setattr__(self, "shares", tuple(share / sum(shares) for share in shares))

    def draw(self, rng: np.random.Generator, side: int) -> ChoiceParams:
        which = int(rng.choice(len(self.of), p=self.shares))
        return ChoiceParams(which, tuple(each.draw(rng, side) for each in self.of))

    def apply(self, image: np.ndarray, params: ChoiceParams, rng: np.random.Generator) -> np.ndarray:
        return self.of[params.which].apply(image, params.drawn[params.which], rng)


@dataclass(frozen=True)
class CompositeChoice(Choice):
    """One of several composites for each image, with the labels of the one that was done."""

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Degraded:
        return self.of[int(rng.choice(len(self.of), p=self.shares))](image, rng)


def degradation(settings: str | Mapping[str, Any] | Sequence[Any]) -> Degradation:
    """A degradation from a configuration: a name of `KINDS`, {kind: NAME, FIELD: value, …}, or a list of these.

    A list is done in its order; {kind: choice, of: […], shares: […]} does one of them. Raises `IQPIRError` with the
    nearest name for one that does not exist.
    """
    if isinstance(settings, str):
        settings = {"kind": settings}
    if not isinstance(settings, Mapping | Sequence):
        raise IQPIRError(f"a degradation is a name, a mapping with the key kind, or a list of these, not {settings!r}")
    if not isinstance(settings, Mapping):
        return Chain(_single(degradation(each) for each in settings))
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    kind = str(values.pop("kind", ""))
    if kind == "choice":
        return _choice(values)
    if kind not in KINDS:
        raise IQPIRError(f"no degradation {kind!r}{suggest(kind, KINDS)} (there are {', '.join(KINDS)})")
    base = KINDS[kind]()
    known = [field.name for field in fields(base) if field.init]
    if unknown := [key for key in values if key not in known]:
        raise IQPIRError(
            f"degradation {kind!r} has no {unknown[0]!r}{suggest(str(unknown[0]), known)} (it has {', '.join(known)})"
        )
    return replace(base, **values)


def _choice(values: dict[str, Any]) -> Choice:
    if unknown := [key for key in values if key not in ("of", "shares")]:
        raise IQPIRError(f"degradation 'choice' has no {unknown[0]!r} (it has of, shares)")
    of, shares = values.get("of", ()), values.get("shares", ())
    if not isinstance(of, tuple) or not isinstance(shares, tuple):
        raise IQPIRError("degradation 'choice': of and shares are lists")
    if not all(type(share) in (int, float) for share in shares):
        raise IQPIRError(f"degradation 'choice': the shares {list(shares)} are not all numbers")
    kept, weights = tuple(degradation(each) for each in of), tuple(float(share) for share in shares)
    if kept and all(isinstance(each, Composite) for each in kept):
        return CompositeChoice(kept, weights)
    return Choice(_single(kept), weights)


def _single(steps: Iterable[Degradation]) -> tuple[Degradation, ...]:
    """Steps of a list or a choice. Raises `IQPIRError` for one that makes its own targets or labels, which others
    would lose."""
    kept = tuple(steps)
    if any(isinstance(step, Scene) for step in kept):
        raise IQPIRError("degradation 'scene' makes targets of its own: it stands alone, see its field shares")
    if any(isinstance(step, Composite) for step in kept):
        raise IQPIRError(
            "degradation 'composite' makes labels of its own: it stands alone, or in a choice of composites"
        )
    return kept


__all__ = [
    "KINDS",
    "Backlit",
    "BacklitParams",
    "Chain",
    "Choice",
    "ChoiceParams",
    "Composite",
    "CompositeChoice",
    "CompositeParams",
    "Degradation",
    "Degraded",
    "Face",
    "FaceColour",
    "FaceColourParams",
    "FaceParams",
    "LowLight",
    "LowLightParams",
    "Range",
    "Scene",
    "SceneParams",
    "Underwater",
    "UnderwaterParams",
    "degradation",
]

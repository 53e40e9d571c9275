"""Restore, assess, repeat: rounds in the latent until the image is clean, no round helps, nothing changes, or enough.

Each member of a batch has its own rounds and its own reason to stop. A round's assessment of its result is the next
round's assessment of its input, so n rounds cost n + 1 assessments, and one more for each in which rain or snow is
filled in. Whatever is returned under the usual options has been judged better than what it replaced, or is the input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from iqpir.errors import IQPIRError
from iqpir.rar.assessor import Assessment, better
from iqpir.rar.kinds import CLEAN, DEGRADATIONS, HIDDEN, HIDING

Verdict = Literal["accepted", "rolled back", "kept", "stopped"]
"""Of a round: its result was taken; was not judged better by enough and left; was not and taken all the same, as
without roll-back; or there was none, since the image was clean."""
Reason = Literal["", "clean", "no gain", "fixed point", "limit"]
"""Why an image's rounds ended; empty while they go on."""


class Restorer(Protocol):
    """What the loop is made of. Latents [B,C,h,w]."""

    def assess(self, latent: Tensor) -> Assessment: ...

    def fills(self, assessment: Assessment, options: LoopOptions) -> Tensor:
        """bool [B]: in which latents a round fills in what rain and snow hide."""

    def restore_latent(self, latent: Tensor, assessment: Assessment, options: LoopOptions) -> Tensor:
        """One round."""


@dataclass(frozen=True)
class LoopOptions:
    """When rounds end, and which parts of the loop take part."""

    rounds: int = 4
    """At most."""
    adaptive: bool = True
    """Stop by what is found; else every image has exactly `rounds` rounds, and each result is taken, whatever `verify`
    and `rollback` are. In either case a round ends where what it has filled in leaves the image clean."""
    verify: bool = True
    """Compare each result with what it came from."""
    rollback: bool = True
    """Leave a result that is not better; else it is taken, and the rounds end."""
    assess: bool = True
    """The restorer is told what the assessor has seen; else its condition is zero."""
    restorer: Literal["", "flow", "code"] = ""
    """Which of a system's restorers; empty: its first."""
    light: float = 0.5
    """Probability of one of `kinds.LIGHT` below which a round of the flow restorer leaves the light as it is: what
    varies slowly in its change is dropped. Whether a scene is dark or darkened can often not be told, and a restorer
    that guesses spoils what was right. 0: never; without `assess` nothing is known, and nothing dropped."""
    good: float = 0.9
    """A quality from which on an image is clean enough."""
    clean: float = 0.15
    """A probability of being clean above which it is left as it is, if it is fair as well: most clean photographs have
    far more, most degraded ones less, and a round in vain costs more than one left out."""
    fair: float = 0.7
    """A quality below which nothing is left for being clean, perhaps."""
    named: float = 0.5
    """A probability of one degradation above which an image is not clean, however good it is."""
    hidden: float = HIDDEN
    """The same of one of `kinds.HIDING`: above it an image is not clean, and a round fills in what is hidden, if the
    system has a part for it and the restorer is told what is seen; see `kinds.HIDDEN`."""
    margin: float = 0.1
    """By how much the probability that a first round's result is better must exceed a half."""
    again: float = 0.3
    """The same of each later round. Of rar-tiny's first rounds most are for the better, whatever is judged, of later
    ones about half: what is known before a look belongs into the judgement as much as the look (docs/rar.md). What a
    first round makes of a clean photograph is judged hardly better, though, of a degraded one clearly."""
    least: float = 1e-3
    """‖Δ‖/‖z‖ below which a round has changed nothing."""

    def __post_init__(self) -> None:
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:
            raise IQPIRError(f"rounds is {self.rounds!r}; it must be a whole number, 0 or more")
        for name in ("adaptive", "verify", "rollback", "assess"):
            if not isinstance(getattr(self, name), bool):
                raise IQPIRError(f"{name} is {getattr(self, name)!r}; it must be True or False")
        for name in ("light", "good", "clean", "fair", "named", "hidden", "margin", "again", "least"):
            value, most = getattr(self, name), 0.5 if name in ("margin", "again") else 1
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and 0 <= value <= most):
                raise IQPIRError(f"{name} is {value!r}; it must be a number in [0,{most}]")
        if self.restorer not in ("", "flow", "code"):
            raise IQPIRError(f"restorer is {self.restorer!r}, not flow or code")

    def needed(self, number: int) -> float:
        """The probability of being better that the result of a round (from 1) is taken with."""
        return 0.5 + (self.margin if number == 1 else self.again)


class Round(NamedTuple):
    """What happened to one image in one round. `before` is of the latent that the round begins with."""

    number: int
    """From 1."""
    quality: float
    quality_after: float
    """That of the result, whether it was taken or not; `quality` where there is none."""
    utility: float
    utility_after: float
    better: float
    """Probability that the result is better than what it came from; ½ where there is none."""
    change: float
    """‖Δ‖/‖z‖."""
    filled: bool
    """Whether what rain and snow hide was filled in."""
    degradations: Mapping[str, float]
    """Probability of each before the round, and of `clean`."""
    severity: Mapping[str, float]
    verdict: Verdict
    reason: Reason


class Trace(NamedTuple):
    """The rounds of one image."""

    rounds: tuple[Round, ...]
    reason: Reason

    @property
    def taken(self) -> int:
        """How many results were taken; with 0 the image is as it was."""
        return sum(each.verdict in ("accepted", "kept") for each in self.rounds)

    @property
    def rolled_back(self) -> int:
        return sum(each.verdict == "rolled back" for each in self.rounds)


class Found(NamedTuple):
    latent: Tensor
    traces: list[Trace]
    states: list[Tensor]
    """The latent after 0, 1, 2 … rounds, as taken by then; empty unless asked for."""


def rounds(system: Restorer, latent: Tensor, options: LoopOptions, *, keep: bool = False) -> Found:
    """Latents [B,C,h,w] → the last ones taken. `keep`: return those after each round, too."""
    current, known = latent.clone(), system.assess(latent)
    told: list[list[Round]] = [[] for _ in latent]
    active = torch.ones(len(latent), dtype=torch.bool, device=latent.device)
    states = [current.clone()] if keep else []
    for number in range(1, options.rounds + 1):
        going = active.nonzero().flatten()
        if options.adaptive:
            ended = is_clean(known.of(going), options)
            for place in going[ended].tolist():
                told[place].append(_stopped(number, known, place))
            active[going[ended]] = False
            going = going[~ended]
        if not len(going):
            break
        before = known.of(going)
        filled = system.fills(before, options).tolist()
        made = system.restore_latent(current[going], before, options)
        after = system.assess(made)
        taken, reasons = _judge(current[going], made, before, after, number, options)
        for row, place in enumerate(going.tolist()):
            told[place].append(
                _round(number, row, before, after, current[place], made[row], taken[row], filled[row], reasons[row])
            )
        current[going[taken]] = made[taken]
        known = known.changed(going[taken], after.of(taken))
        active[going] = torch.tensor([not each for each in reasons], device=active.device)
        if keep:
            states.append(current.clone())
    return Found(current, [Trace(tuple(each), each[-1].reason if each else "limit") for each in told], states)


def is_clean(assessment: Assessment, options: LoopOptions) -> Tensor:
    """bool [B]: which images need no round."""
    perhaps = (assessment.clean.sigmoid() > options.clean) & (assessment.quality >= options.fair)
    named = (assessment.logits.sigmoid() > options.named).any(dim=1)
    return ((assessment.quality >= options.good) | perhaps) & ~named & ~is_hidden(assessment, options)


def is_hidden(assessment: Assessment, options: LoopOptions) -> Tensor:
    """bool [B]: before which images there may be rain or snow."""
    return (assessment.logits[:, _HIDING].sigmoid() > options.hidden).any(dim=1)


_HIDING = [DEGRADATIONS.index(name) for name in HIDING]


def _judge(
    old: Tensor, made: Tensor, before: Assessment, after: Assessment, number: int, options: LoopOptions
) -> tuple[Tensor, list[Reason]]:
    """Which results are taken (bool [B]), and why rounds end with this one."""
    sound = made.flatten(1).isfinite().all(dim=1)  # what is not a number is never taken
    gain = sound
    if options.adaptive and options.verify:
        gain = gain & (better(after, before) >= options.needed(number))
    still = _change(old, made) < options.least if options.adaptive else torch.zeros_like(sound)
    taken = gain if options.rollback else sound
    reasons: list[Reason] = []
    for helps, same in zip(gain.tolist(), still.tolist(), strict=True):
        last: Reason = "limit" if number == options.rounds else ""
        reasons.append("no gain" if not helps else "fixed point" if same else last)
    return taken, reasons


def _change(old: Tensor, made: Tensor) -> Tensor:
    difference, size = (made - old).flatten(1).norm(dim=1), old.flatten(1).norm(dim=1)
    return difference / size.clamp_min(1e-12)


# The record


def named(assessment: Assessment, place: int) -> dict[str, float]:
    """Probability of each degradation of one member, and of `clean`."""
    found = dict(zip(DEGRADATIONS, assessment.logits[place].sigmoid().tolist(), strict=True))
    return {**found, CLEAN: float(assessment.clean[place].sigmoid())}


def severities(assessment: Assessment, place: int) -> dict[str, float]:
    return dict(zip(DEGRADATIONS, assessment.severity[place].tolist(), strict=True))


def _stopped(number: int, known: Assessment, place: int) -> Round:
    quality, utility = float(known.quality[place]), float(known.utility[place])
    return Round(
        number, quality, quality, utility, utility, 0.5, 0.0, False, named(known, place),
        severities(known, place), "stopped", "clean",
    )  # fmt: skip


def _round(
    number: int,
    row: int,
    before: Assessment,
    after: Assessment,
    old: Tensor,
    made: Tensor,
    taken: Tensor,
    filled: bool,
    reason: Reason,
) -> Round:
    verdict: Verdict = ("kept" if reason == "no gain" else "accepted") if bool(taken) else "rolled back"
    return Round(
        number, float(before.quality[row]), float(after.quality[row]), float(before.utility[row]),
        float(after.utility[row]), float(better(after, before)[row]), float(_change(old[None], made[None])[0]),
        filled, named(before, row), severities(before, row), verdict, reason,
    )  # fmt: skip

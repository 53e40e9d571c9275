"""What the stages of RAR are trained with; see `iqpir.training.common` for what they share with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from iqpir.rar.config import RARConfig
from iqpir.rar.kinds import DEGRADATIONS, HIDING
from iqpir.training.common import Common
from iqpir.training.degrade import Choice, Composite, Degradation, degradation
from iqpir.training.strict import need


@dataclass(frozen=True)
class _RAR(Common):
    """All stages of RAR see composite degradations, whose labels and images in between are what they learn from."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Settings of `iqpir.rar.config.RARConfig` that differ from the usual ones; of parts that this stage makes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(_composite(self.data.degradation), "data.degradation: RAR is trained on composite ones: composite")
        need(self.data.lq is None, "data.lq: RAR learns what was done to images, and pairs do not tell: leave it out")
        need("parts" not in self.changes, "changes: the parts follow from the stages: leave parts out")
        RARConfig.from_dict(self.changes)

    def need_some(self, *weights: str) -> None:
        """Raise `IQPIRError` where nothing has any weight, so that nothing would be learned."""
        need(any(getattr(self, name) for name in weights), f"{', '.join(weights)}: one of them at least has a weight")


def _composite(given: object) -> bool:
    """Whether a degradation is a composite, or a choice of such."""
    if not isinstance(given, Mapping):
        return str(given).startswith("composite")
    if given.get("kind") == "choice":
        of = given.get("of")
        return isinstance(of, list | tuple) and all(_composite(each) for each in of)
    return str(given.get("kind")).startswith("composite")


@dataclass(frozen=True)
class RARLatentSettings(_RAR):
    """The latent and its codebooks, on clean and degraded images alike: what is wrong must be seen in it."""

    l1: float = 1.0
    ssim: float = 0.1
    """Weight of 1 − SSIM (7×7 box)."""
    moments: float = 0.01
    """Weight of what draws the latent's channels to mean 0 and deviation 1."""
    jitter: float = 0.03
    """Deviation of the noise that is put on latents before they are decoded, so that near latents are near images."""
    codebook: float = 1.0
    revive: int = 100
    """Every so many steps codes that nothing has used are put on latents of the batch; the first time after one."""

    STAGE = "rar-latent"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_some("l1", "ssim")


@dataclass(frozen=True)
class _Judging(_RAR):
    """Weights of what every stage of the assessor learns."""

    kinds: float = 1.0
    """Of the cross-entropy of each degradation, and of being clean."""
    rank: float = 1.0
    """Of the pairwise comparisons."""


@dataclass(frozen=True)
class _Assessing(_Judging):
    """Weights of all that the assessor learns."""

    severity: float = 1.0
    quality: float = 4.0


@dataclass(frozen=True)
class _Showing(_RAR):
    """What the stages share that are told by what a latent shows: weights of its errors."""

    image: float = 6.0
    """Weight of the L1 distance of where the flow leads, decoded, from the clean image. In the latent, detail counts as
    much as light and colour, of which an image's error is mostly made: at 1 a flow learns texture first."""
    decibels: float = 0.0
    """Weight of the mean logarithm of each image's squared error there: an image that is nearly clean counts as much as
    one that is lost, of which an L1 distance is mostly made."""
    structure: float = 0.0
    """Weight of 1 − SSIM (7×7 box) there."""

    SHOWN: ClassVar[tuple[str, ...]] = ("image", "decibels", "structure")


@dataclass(frozen=True)
class _Restoring(_Showing):
    """What the stages share in which the restorers learn."""

    flow: float = 1.0
    """Weight of the velocity's squared error, in the latent."""
    code: float = 0.1
    """Weight of the codes' cross-entropy, in nats."""
    code_share: float = 1.0
    """Share of a batch's samples on which the code restorer learns; the flow restorer learns on all."""
    blind: float = 0.1
    """Share of samples that are restored without being told anything, so that it can be measured what that costs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(0 <= self.blind <= 1, "blind is a share in [0,1]")
        need(0 < self.code_share <= 1, "code_share is a share in (0,1]")


@dataclass(frozen=True)
class RARAssessorSettings(_Assessing):
    """S1: the assessor on clean images, degraded ones, ones in between, and states of a flow between the two."""

    latent: str = ""
    """File of the stage rar-latent; relative to the settings' folder."""

    STAGE = "rar-assessor"
    LINKS: ClassVar[Mapping[str, str]] = {"latent": "rar-latent"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.latent), "the key 'latent' is missing: a file of the stage rar-latent")
        self.need_some("kinds", "severity", "quality", "rank")


@dataclass(frozen=True)
class RARRestorerSettings(_Restoring):
    """S2: A_Q and the restorers, behind an assessor that stays as it is."""

    assessor: str = ""
    """File of the stage rar-assessor; relative to the settings' folder."""
    restorers: tuple[str, ...] = ("flow", "code")
    start: float = 0.3
    """Share of samples whose time is 0, where every round begins; others are logit-normal."""

    STAGE = "rar-restorer"
    LINKS: ClassVar[Mapping[str, str]] = {"assessor": "rar-assessor"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(0 <= self.start <= 1, "start is a share in [0,1]")
        need(bool(self.assessor), "the key 'assessor' is missing: a file of the stage rar-assessor")
        known = set(self.restorers) <= {"flow", "code"} and bool(self.restorers)
        need(known, f"restorers is {list(self.restorers)}; flow, code or both")
        for restorer, weights in (("flow", ("flow", *self.SHOWN)), ("code", ("code",))):
            if restorer in self.restorers:
                self.need_some(*weights)


@dataclass(frozen=True)
class _Unrolled(_Restoring):
    """What the stages share that learn in unrolled rounds of a whole system."""

    begin: str = ""
    """File of the stage before; relative to the settings' folder."""
    weights: tuple[float, ...] = (0.2, 0.3, 0.4, 1.0)
    """Of the rounds; as many rounds are unrolled."""
    begun: float = 0.0
    """Share of the weights that it began with in those that are saved: their mean keeps more of what it knew than what
    it ends with (Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.begin), f"the key 'begin' is missing: a file of the stage {self.LINKS['begin']}")
        need(0 <= self.begun < 1, "begun is a share in [0,1)")
        need(
            bool(self.weights) and min(self.weights) >= 0 < sum(self.weights), "weights: one for each round, from 0 on"
        )


@dataclass(frozen=True)
class RARJointSettings(_Assessing, _Unrolled):
    """S3: assessor, A_Q and restorers together, in unrolled rounds."""

    assess: float = 0.5
    """Weight of what the assessor learns."""

    STAGE = "rar-joint"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-restorer"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_some("flow", "code", *self.SHOWN)


@dataclass(frozen=True)
class RAROverviewSettings(_RAR):
    """The assessor's view of the whole alone, which `changes` gives a whole system: {overview_width: 64}."""

    of: tuple[str, ...] = ("rain", "snow")
    """Degradations that it learns to tell."""
    begin: str = ""
    """File of the stage rar-joint; relative to the settings' folder."""

    STAGE = "rar-overview"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-joint"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.begin), "the key 'begin' is missing: a file of the stage rar-joint")
        need(bool(self.of), f"of: some of {', '.join(DEGRADATIONS)}")
        _need_names(self.of)


def _need_names(given: Sequence[str]) -> None:
    need(set(given) <= set(DEGRADATIONS), f"of: some of {', '.join(DEGRADATIONS)}")
    need(len(set(given)) == len(given), f"of: {', '.join(given)}: each of them once")


@dataclass(frozen=True)
class RARFillerSettings(_Showing):
    """What fills in alone, which `changes` gives a whole system: {fill_widths: [48, 80]}. Of a degraded image it learns
    to make the same without rain and snow, which `data.degradation` makes where it is asked for it: `behind: true`."""

    begin: str = ""
    """File of the stage rar-rounds; relative to the settings' folder."""

    STAGE = "rar-filler"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-rounds"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.begin), "the key 'begin' is missing: a file of the stage rar-rounds")
        made = [each for each in _composites(degradation(self.data.degradation)) if isinstance(each, Composite)]
        need(all(each.behind for each in made), "data.degradation: each composite needs behind: true")
        need(any(each.hides for each in made), f"data.degradation: none of it draws {' or '.join(HIDING)}")
        self.need_some(*self.SHOWN)


def _composites(given: Degradation) -> Iterator[Degradation]:
    """What is done to an image: the one, or each of a choice."""
    for each in given.of if isinstance(given, Choice) else ():
        yield from _composites(each)
    if not isinstance(given, Choice):
        yield given


@dataclass(frozen=True)
class RARJudgeSettings(_Judging):
    """What the assessor answers, alone, about images that are filled in: what it sees stays as it is, and so does
    what a restorer is told."""

    of: tuple[str, ...] = HIDING
    """Degradations that it learns to tell anew, beside which is better; what it says of others stays as it is."""
    apart: float = 0.004
    """Qualities that differ by less are no pair: to fill in a dozen flakes changes an image's little."""
    begin: str = ""
    """File of the stage rar-filler; relative to the settings' folder."""

    STAGE = "rar-judge"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-filler"}

    def __post_init__(self) -> None:
        super().__post_init__()
        need(bool(self.begin), "the key 'begin' is missing: a file of the stage rar-filler")
        _need_names(self.of)
        need(0 <= self.apart < 1, "apart is a difference of qualities in [0,1)")
        self.need_some(*(("kinds", "rank") if self.of else ("rank",)))


@dataclass(frozen=True)
class RARRoundsSettings(RARJointSettings):
    """S3 once more, after rar-overview."""

    STAGE = "rar-rounds"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-overview"}


@dataclass(frozen=True)
class RARBehindSettings(_Unrolled):
    """The flow restorer alone, on what is filled in where rain or snow is."""

    STAGE = "rar-behind"
    LINKS: ClassVar[Mapping[str, str]] = {"begin": "rar-judge"}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_some("flow", *self.SHOWN)


RAR_SETTINGS: tuple[type[Common], ...] = (
    RARLatentSettings, RARAssessorSettings, RARRestorerSettings, RARJointSettings, RAROverviewSettings,
    RARRoundsSettings, RARFillerSettings, RARJudgeSettings, RARBehindSettings,
)  # fmt: skip
"""In the order in which the stages are trained."""

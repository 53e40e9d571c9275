"""What all stages are set with: where images and scores come from, steps, rates, pace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from iqpir.training.strict import Strict, need, not_negative

WORDS = ("flaw", "none", "target")
"""What `data.scores` can be beside a file."""


@dataclass(frozen=True)
class Data(Strict):
    """Where training images and their scores come from."""

    source: str = "generated"
    """"generated", or a folder of images."""
    lq: str | None = None
    """Folder of LQ images, of the source's names (or their numbers) and sizes: pairs in place of the degradation."""
    count: int = 1 << 20
    """Different crops; sample i of the run is crop i modulo this."""
    seed: int = 0
    flawed: float | None = None
    """Share of crops that are made a little worse; None: 0.4 of generated ones, none of a folder's."""
    flaw_scale: float = 1.0
    """How strong these flaws are, relative to the usual ranges of `iqpir.training.crop_dataset`."""
    saturation: tuple[float, float] = (1.0, 1.0)
    """Range of a factor of each crop's colourfulness; generated images are paler than many photographs."""
    contrast: tuple[float, float] = (1.0, 1.0)
    """Range of a factor of each crop's contrast about its mean."""
    gamma: tuple[float, float] = (1.0, 1.0)
    """Range of a power that each crop is taken to: above 1 darker scenes, below brighter ones."""
    tint: float = 0.0
    """By how much the logarithm of a channel's own power may differ from that: light of another colour."""
    crop: int | None = None
    """Side of the crops, pixels; None: that of the images that the stage's network takes."""
    window: tuple[float, float] = (1.25, 2.5)
    """Range of how many times as wide as a crop is what is made smaller to it, of generated images; log-uniform where
    `window_share` is 1: then a crop is mostly a whole composition, else uniform."""
    window_share: float = 1 / 3
    """Share of crops for which that is so; the others are taken pixel by pixel."""
    shorter: int | None = None
    """Folder images are made smaller so that their shorter side is this."""
    scores: str = "flaw"
    """"flaw": 1 less what was done to a crop, see `iqpir.training.stage_data.quality_of`; "none": no scores; "target":
    what the degradation `scene` says of the targets that it makes; else a CSV of scores in [0,1] for the folder's
    images, as `iqpir assess` writes it (see `iqpir.quality.files`)."""
    normalise: bool = False
    """Bring the CSV's scores to [0,1] by their own range (Eq. 15); higher must be better."""
    hq_only: bool = False
    """Train on samples alone whose score exceeds the network's threshold: the filtering that the papers argue against.
    Held-out samples stay what they are."""
    degradation: Any = "face"
    """A name, {kind: NAME, …} or a list of these; see `iqpir.training.degrade`. Stage 1 degrades nothing, but takes the
    targets of `scene`."""
    cache: str | None = None
    """Folder that keeps drawn sheets."""
    workers: int = 1
    """Processes that prepare batches; 0: none beside this one."""

    def __post_init__(self) -> None:
        need(self.count > 0, "data.count must be positive")
        need(self.workers >= 0, "data.workers must not be negative")
        need(self.seed >= 0, "data.seed must not be negative")
        need(
            self.lq is None or self.scores != "target", "data.scores: target is what scene says, and lq takes its place"
        )
        need(
            self.lq is None or (self.source != "generated" and not self.flawed),
            "data.lq: only the images of a folder, without data.flawed, have LQ partners",
        )
        need(not self.hq_only or self.scores != "none", "data.hq_only needs scores: data.scores")
        need(
            not self.hq_only or self.scores != "target",
            "data.hq_only: scene makes targets of any score: degradation {kind: scene, top: 1} makes good ones alone",
        )
        need(0 <= self.window_share <= 1, "data.window_share must lie in [0,1]")
        need(1 <= self.window[0] <= self.window[1], "data.window must be a range from 1 on")
        need(self.scores != "target" or self.scene, "data.scores: target goes with the degradation scene")
        whole = isinstance(self.degradation, Mapping) and self.degradation.get("top") == 1
        need(
            not self.scene or self.scores == "target" or whole,
            f"data.scores: {self.scores} knows nothing of what scene leaves in its targets: take target, or top: 1",
        )
        files = self.scores not in WORDS
        need(
            not files or self.source != "generated",
            f"data.scores: {self.scores} scores files, and generated images are none: use flaw, or a folder as source",
        )
        need(not files or not self.flawed, "data.flawed: a file's scores know nothing of flaws: leave it out")
        need(not self.normalise or files, "data.normalise is for a CSV of scores")

    @property
    def scene(self) -> bool:
        """Whether the degradation makes the targets, too."""
        given = self.degradation
        return (given.get("kind") if isinstance(given, Mapping) else given) == "scene"


@dataclass(frozen=True)
class Common(Strict):
    """What all stages share."""

    data: Data = field(default_factory=Data)
    steps: int = 1000
    batch: int = 8
    """Images per step and process."""
    accumulate: int = 1
    """Parts that a batch is worked through in; the gradient is the whole batch's."""
    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    schedule: Literal["constant", "cosine"] = "constant"
    end_rate: float = 0.0
    """What the cosine ends at."""
    warm_up: int = 0
    """Steps over which the rate rises from 0."""
    clip: float | None = None
    """Largest norm of the gradient."""
    ema: float = 0.995
    """Decay of the averaged weights, which are what is saved for use; 0: the last weights."""
    precision: Literal["no", "bf16", "fp16", "auto"] = "no"
    """float32, or what is computed in 16 bits; auto: bf16 where the device has units for it, else float32."""
    seed: int = 0
    log_every: int = 50
    sample_every: int = 500
    save_every: int = 500
    held_out: int = 32
    """Samples, of another seed, that the loss is also measured on when a state is saved; 0: none."""

    STAGE: ClassVar[str] = ""
    LINKS: ClassVar[Mapping[str, str]] = {}
    """Keys that name files of earlier stages, and these stages."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "log_every", "sample_every", "save_every"):
            need(getattr(self, name) > 0, f"{name} must be positive")
        need(
            self.batch % self.accumulate == 0,
            f"accumulate: {self.accumulate} does not divide the batch of {self.batch}",
        )
        need(0 <= self.ema < 1, "ema must lie in [0,1)")
        need(self.clip is None or self.clip > 0, "clip must be positive; leave it out for none")
        need(self.seed >= 0, "seed must not be negative")
        need(0 <= self.rate < 1 and 0 <= self.end_rate < 1, "rates must lie in [0,1)")
        need(all(0 <= beta < 1 for beta in self.betas), "betas must lie in [0,1)")
        need(self.warm_up >= 0 and self.held_out >= 0, "warm_up and held_out must not be negative")
        not_negative(self)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, the first being 0."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        if self.schedule == "constant":
            return self.rate
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.end_rate + (self.rate - self.end_rate) * (1 + math.cos(math.pi * min(1.0, done))) / 2

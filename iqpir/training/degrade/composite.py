"""Composite degradations: up to three kinds at once, one after the other, each with its label and its image in between.

What was done is known as a severity per kind, on a scale that all ranges share, so that labels of two presets mean the
same. The images in between are what an assessor learns "which is better" from: each is the one before, spoiled further.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from iqpir.errors import IQPIRError, suggest
from iqpir.rar.kinds import DEGRADATIONS, HIDING
from iqpir.training.degrade import camera, weather
from iqpir.training.degrade.base import Degradation, Degraded, Range, jpeg, quantise, uniform

MOST = 3
"""Kinds at once, at most."""
BLUR = "blur"
"""In a mixture: motion or defocus blur, as it comes."""
_PLACE = {name: place for place, name in enumerate(DEGRADATIONS)}
_BLURS = ("gaussian blur", "motion blur", "defocus blur")


class CompositeParams(NamedTuple):
    order: np.ndarray
    """int64 [3]: places in `DEGRADATIONS` in the order in which they are done, −1 for none."""
    amount: np.ndarray
    """float32 [kinds] in [0,1]: where in its range each would be, 1 the worst end."""
    severity: np.ndarray
    """float32 [4,kinds] in [0,1]: what the clean image suffers from (nothing), and the image after each of the three.
    Filled in when the image is made."""


class Steps(NamedTuple):
    """The clean image and what it is after each degradation; float32 [H,W,3], not rounded."""

    images: list[np.ndarray]
    severity: np.ndarray
    behind: np.ndarray | None = None
    """The last, but for rain and snow: all else was done with the same numbers. None unless asked for."""


@dataclass(frozen=True)
class Composite(Degradation):
    """Kinds drawn without repetition, done in a drawn order; or mixtures that are named, in their own order."""

    kinds: tuple[str, ...] = DEGRADATIONS
    """Of `DEGRADATIONS`: what may be drawn. At most one of the three kinds of blur at once."""
    counts: tuple[float, float, float, float] = (0.06, 0.34, 0.34, 0.26)
    """Shares of images with none, one, two and three kinds."""
    mixtures: tuple[tuple[str, ...], ...] = ()
    """Instead of a draw: one of these, all equally likely, done from left to right. "blur": motion or defocus."""
    dark: Literal["linear", "mio100", "cdd11", "any"] = "linear"
    """How low light is made, see `iqpir.training.degrade.camera`; `any`: one of the three for each image."""
    stops: Range = (0.8, 3.6)
    """Light lost under `dark: linear`."""
    haze: Range = (0.5, 2.0)
    """β, on distances in [0,1]."""
    airlight: Range = (0.65, 1.0)
    deepest: float = 1.0
    """Distances are cut off here."""
    tinted_air: float = 0.04
    """Largest difference of a channel's airlight from their mean."""
    rain: Range = (0.15, 1.0)
    """Amount, see `iqpir.training.degrade.weather`."""
    snow: Range = (0.15, 1.0)
    noise: Range = (6.0, 50.0)
    """σ in levels of 255."""
    poisson: float = 0.3
    """Share of Poisson noise among noises."""
    poisson_scale: Range = (0.6, 3.0)
    gaussian: Range = (0.8, 4.0)
    """σ in pixels."""
    motion: Range = (1.5, 8.0)
    """σ in pixels of the half Gaussian that the motion is."""
    defocus: Range = (1.5, 6.0)
    """Radius in pixels."""
    quality: Range = (10.0, 50.0)
    """Of JPEG; the worst end is the low one."""
    ratio: Range = (1.8, 4.0)
    """Factor of resolution lost."""
    cast: Range = (1.25, 2.6)
    """Largest gain over the least, in linear light."""
    behind: bool = False
    """Whether to make what the image would be without its rain and snow, too; see `Degraded`."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "stops": (0, 10), "haze": (0, 10), "airlight": (0, 1), "deepest": (0.1, 1), "tinted_air": (0, 0.5),
        "rain": (0, 1), "snow": (0, 1), "noise": (0, 255), "poisson": (0, 1), "poisson_scale": (0, 20),
        "gaussian": (0.2, 50), "motion": (0.5, 50), "defocus": (0.5, 50), "quality": (1, 100), "ratio": (1, 16),
        "cast": (1, 20),
    }  # fmt: skip

    def __post_init__(self) -> None:
        """Raises `IQPIRError` for a kind that there is not, for a mixture too long, or shares that are none."""
        super().__post_init__()
        object.__setattr__(self, "mixtures", tuple(tuple(each) for each in self.mixtures))
        for name in (*self.kinds, *(each for mixture in self.mixtures for each in mixture if each != BLUR)):
            if name not in DEGRADATIONS:
                known = ", ".join(DEGRADATIONS)
                raise IQPIRError(
                    f"degradation 'composite': no kind {name!r}{suggest(str(name), DEGRADATIONS)} (of {known})"
                )
        if not self.kinds and not self.mixtures:
            raise IQPIRError("degradation 'composite': no kind is named under 'kinds'")
        if any(len(mixture) > MOST for mixture in self.mixtures):
            raise IQPIRError(f"degradation 'composite': a mixture has at most {MOST} kinds")
        if len(self.counts) != MOST + 1 or min(self.counts) < 0 or not sum(self.counts):
            raise IQPIRError(f"degradation 'composite': counts is {self.counts}; four shares are needed")
        if self.dark not in (*camera.DARKNESS, "any"):
            known = ", ".join(camera.DARKNESS)
            raise IQPIRError(f"degradation 'composite': dark is {self.dark!r}, not {known} or any")

    @classmethod
    def mio100(cls) -> Self:
        """MiO100's sixteen mixtures and ranges (AgenticIR), but that a lowered resolution is brought back."""
        return cls(
            mixtures=MIO100, dark="mio100", haze=(0.6, 1.8), airlight=(0.7, 1.0), tinted_air=0.0, rain=(0.4, 0.9),
            noise=(20.0, 50.0), poisson=0.5, poisson_scale=(1.0, 3.0), motion=(3.0, 8.0), defocus=(3.0, 6.0),
            quality=(10.0, 30.0), ratio=(4.0, 4.0),
        )  # fmt: skip

    @classmethod
    def cdd11(cls) -> Self:
        """CDD-11's eleven mixtures and ranges (OneRestore): low light, then rain or snow, then haze."""
        return cls(mixtures=CDD11, dark="cdd11", haze=(1.0, 2.0), airlight=(0.6, 0.9), deepest=0.7, tinted_air=0.0)

    @property
    def hides(self) -> bool:
        """Whether it ever draws rain or snow."""
        if self.mixtures:
            return any(name in mixture for mixture in self.mixtures for name in HIDING)
        return any(self.counts[1:]) and any(name in self.kinds for name in HIDING)

    # Draw

    def draw(self, rng: np.random.Generator, side: int) -> CompositeParams:
        order = np.full(MOST, -1, np.int64)
        drawn = self._mixture(rng) if self.mixtures else self._kinds(rng)
        order[: len(drawn)] = [_PLACE[name] for name in drawn]
        amount = rng.random(len(DEGRADATIONS), dtype=np.float32)
        return CompositeParams(order, amount, np.zeros((MOST + 1, len(DEGRADATIONS)), np.float32))

    def _mixture(self, rng: np.random.Generator) -> list[str]:
        chosen = self.mixtures[int(rng.integers(len(self.mixtures)))]
        blurs = list(rng.permutation(_BLURS[1:]))  # two blurs of a mixture are not the same one
        return [str(blurs.pop()) if name == BLUR else name for name in chosen]

    def _kinds(self, rng: np.random.Generator) -> list[str]:
        shares = np.array(self.counts) / sum(self.counts)
        count = int(rng.choice(MOST + 1, p=shares))
        blurs = [name for name in self.kinds if name in _BLURS]
        groups = [name for name in self.kinds if name not in _BLURS] + ([BLUR] if blurs else [])
        chosen = rng.permutation(groups)[:count]
        return [str(rng.choice(blurs)) if name == BLUR else str(name) for name in chosen]

    # Apply

    def apply(self, image: np.ndarray, params: CompositeParams, rng: np.random.Generator) -> np.ndarray:
        """The image after all of them."""
        return self.steps(image, params, rng).images[-1]

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Degraded:
        """float32 RGB [3,H,W] in [0,1] → the degraded image, its labels and the images in between; see `Degraded`."""
        pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
        params = self.draw(rng, min(pixels.shape[:2]))
        made = self.steps(pixels, params, rng)
        between = torch.from_numpy(np.stack([quantise(each).transpose(2, 0, 1) for each in made.images]))
        between = between.float() / 255
        between[0] = image
        behind = None
        if made.behind is not None:
            behind = torch.from_numpy(quantise(made.behind).transpose(2, 0, 1)).float() / 255
        return Degraded(between[-1], params._replace(severity=made.severity), steps=between, behind=behind)

    def steps(self, image: np.ndarray, params: CompositeParams, rng: np.random.Generator) -> Steps:
        """The clean image and three more, the last of which repeat where fewer kinds are done."""
        images, severity = [image], np.zeros((MOST + 1, len(DEGRADATIONS)), np.float32)
        behind = image if self.behind else None
        distance = weather.depth(image, rng)  # of the scene, whatever is done to its picture before the haze
        for turn, place in enumerate(params.order, 1):
            severity[turn] = severity[turn - 1]
            before = images[-1]
            if place < 0:
                images.append(before)
                continue
            kind, amount = DEGRADATIONS[place], float(params.amount[place])
            again = copy.deepcopy(rng) if behind is not None else rng
            made = self._spoil(kind, before, amount, distance, rng)
            images.append(np.clip(made.image, 0, 1).astype(np.float32))
            severity[turn, place] = np.clip(made.severity, 0.02, 1)
            if behind is before and kind not in HIDING:
                behind = images[-1]
            elif behind is not None and kind not in HIDING:
                behind = np.clip(self._spoil(kind, behind, amount, distance, again).image, 0, 1).astype(np.float32)
        return Steps(images, severity, behind)

    def _spoil(
        self, kind: str, image: np.ndarray, amount: float, distance: np.ndarray, rng: np.random.Generator
    ) -> _Spoiled:
        """One kind, as far into its range as `amount` says."""
        match kind:
            case "low light":
                how = camera.DARKNESS[int(rng.integers(3))] if self.dark == "any" else self.dark
                made = camera.darkened(image, how, _within(self.stops, amount), amount, rng)
                return _Spoiled(made, camera.stops_lost(image, made) / 4)
            case "haze":
                return self._hazy(image, amount, np.minimum(distance, np.float32(self.deepest)), rng)
            case "rain":
                made = weather.rain(image, _within(self.rain, amount), rng)
                return _Spoiled(made, _changed(image, made) / 0.25)
            case "snow":
                made = weather.snow(image, _within(self.snow, amount), rng)
                return _Spoiled(made, _changed(image, made) / 0.15)
            case "noise":
                return self._noisy(image, amount, rng)
            case "gaussian blur":
                value = _within(self.gaussian, amount)
                return _Spoiled(camera.blurred(image, value), value / 4)
            case "motion blur":
                value = _within(self.motion, amount)
                return _Spoiled(camera.moved(image, value, uniform(rng, (-180.0, 180.0))), value / 8)
            case "defocus blur":
                value = _within(self.defocus, amount)
                return _Spoiled(camera.defocused(image, value), value / 6)
            case "jpeg":
                value = _within(self.quality, 1 - amount)
                return _Spoiled(jpeg(image, value), (100 - value) / 90)
            case "low resolution":
                value = _within(self.ratio, amount)
                return _Spoiled(camera.lowered(image, value), float(np.log2(value)) / 2)
        value = _within(self.cast, amount)
        return _Spoiled(camera.tinted(image, value, rng), float(np.log(value) / np.log(2.6)))

    def _hazy(self, image: np.ndarray, amount: float, distance: np.ndarray, rng: np.random.Generator) -> _Spoiled:
        beta = _within(self.haze, amount)
        air = np.array([uniform(rng, self.airlight)] * 3) + self.tinted_air * (2 * rng.random(3) - 1)
        lost = float(1 - np.exp(-beta * distance).mean())
        return _Spoiled(weather.haze(image, distance, beta, np.clip(air, 0, 1)), lost / 0.7)

    def _noisy(self, image: np.ndarray, amount: float, rng: np.random.Generator) -> _Spoiled:
        if rng.random() < self.poisson:
            scale = _within(self.poisson_scale, amount)
            return _Spoiled(camera.poisson(image, scale, rng), 16 * scale * float(image.mean()) ** 0.5 / 50)
        sigma = _within(self.noise, amount)
        return _Spoiled(camera.noisy(image, sigma, rng), sigma / 50)


class _Spoiled(NamedTuple):
    image: np.ndarray
    severity: float
    """On the scale that all ranges share: 1 is about the worst that the two test sets have. May lie beyond [0,1]."""


def _changed(before: np.ndarray, after: np.ndarray) -> float:
    """Root of the mean squared difference, for what is drawn as much by chance as by its amount: a shower on a white
    wall is slight, whatever fell."""
    return float(np.sqrt(np.mean(np.square(np.clip(after, 0, 1) - before))))


def _within(limits: Range, part: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * part


MIO100: tuple[tuple[str, ...], ...] = (
    (BLUR, "jpeg"), (BLUR, "haze"), (BLUR, "low light"), (BLUR, "low resolution"), ("low light", "noise"),
    ("noise", "jpeg"), ("rain", "haze"), ("rain", "low resolution"),
    ("haze", "noise"), ("rain", "low light"),
    (BLUR, BLUR, "noise"), ("haze", BLUR, "low resolution"), ("low light", BLUR, "jpeg"),
    ("rain", "noise", "low resolution"),
)  # fmt: skip
"""Its groups A, B and C; two of B are mixtures of A with the other blur."""

CDD11: tuple[tuple[str, ...], ...] = (
    ("low light",), ("haze",), ("rain",), ("snow",),
    ("low light", "haze"), ("low light", "rain"), ("low light", "snow"), ("rain", "haze"), ("snow", "haze"),
    ("low light", "rain", "haze"), ("low light", "snow", "haze"),
)  # fmt: skip

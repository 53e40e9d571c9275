"""Degradations of scenes: a good and a bad picture of the same light, and how good the good one is meant to be.

Unlike the other kinds, which spoil a picture, this one takes two: the target is metered as cameras meter, and the score
says how much of the damage is gone from it. At 0.9 and above nothing is left; below, the scene stays underexposed,
noisy, out of focus or under water in part, so that a network that is told the score learns what a score looks like.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from iqpir.training.degrade import submerge
from iqpir.training.degrade.base import (
    Degradation,
    Degraded,
    Range,
    jpeg,
    log_uniform,
    quantise,
    to_linear,
    to_srgb,
    uniform,
)
from iqpir.training.degrade.face import Face
from iqpir.training.degrade.light import Backlit
from iqpir.training.degrade.radiance import compress, count, deepened, draw_tone, exposure, radiance, sky
from iqpir.training.degrade.water import Underwater

KINDS = ("dark", "backlit", "water", "camera", "good")
OF_LIGHT = KINDS.index("camera")
"""The kinds before this one are wrong in light and colour."""
FULL = 0.9
"""From this score on a target has no damage left."""


class SceneParams(NamedTuple):
    kind: float
    """Place in `KINDS`."""
    score: float
    stops: float
    """How much darker the bad picture was exposed than the good one; 0 where that is not the damage."""
    headroom: float
    """Share of the scene's pixels that are brighter than the target's white."""


class Pair(NamedTuple):
    """Two pictures of a scene, float32 [H,W,3] in [0,1]."""

    bad: np.ndarray
    target: np.ndarray
    clean: np.ndarray
    """The bad picture's light and colour without its noise, blocks and blur, but for what the score leaves of them."""
    stops: float = 0.0


@dataclass(frozen=True)
class Scene(Degradation):
    """Dark, backlit, submerged, badly taken and good photographs, in the shares given."""

    shares: tuple[float, float, float, float, float] = (0.24, 0.15, 0.31, 0.14, 0.16)
    """Of the five `KINDS`."""
    mean: float = 0.44
    """Mean pixel value that targets are exposed for; of 76 real well exposed photographs 0.395 to 0.485."""
    mean_spread: float = 0.04
    """Its standard deviation."""
    depth: Range = (0.3, 1.0)
    """Uniform: part of the haze of generated images that is taken off them (`deepened`)."""
    hazy: float = 0.0
    """Share of good and badly taken pictures of scenes in mist or dust, which stay there: a pale picture need not have
    been taken under water."""
    stops: Range = (1.8, 5.4)
    """How much darker dark photographs are than their targets; uniform. Of 76 real ones the least dark has 2.4; what
    is less dark may be a night as somebody liked it."""
    contrast: float = 1.5
    """How much more unevenly dark scenes are lit than others, in stops: who exposes for a bright sky gets the rest
    dark. Means over an eighth of a side differ by 0.18 to 0.21 in real targets."""
    cast: Range = (0.88, 1.14)
    """Log-uniform gains of red and of blue in the bad picture."""
    shot: Range = (3e-6, 8e-4)
    """Log-uniform: variance of the sensor's noise per linear light, at full exposure 1."""
    read: Range = (3e-5, 1.8e-3)
    """Log-uniform: its deviation in the dark."""
    black: Range = (0.0, 0.002)
    """Linear light that one camera in eight takes for black. Where more do, a network lifts every shadow."""
    shade: Range = (0.04, 0.3)
    """Log-uniform: light left on a backlit subject."""
    glare: Range = (0.9, 1.6)
    """Uniform: exposure of what is behind it."""
    pool: float = 0.45
    """Share of pictures under water that show no open water, and whose target keeps none at full score."""
    coral: Range = (1.3, 3.0)
    """Uniform: how much more colourful things under water are than others."""
    quality: Range = (40, 98)
    """Of JPEG, which seven bad pictures in ten are stored as; two in three of them at 75 and above."""
    flatten: Range = (0.0, 0.35)
    """Uniform: how much smaller the target's range is than the scene's, in stops about its mean: tone mapping. Much of
    it teaches a network to lift shadows that photographers leave dark."""
    flatten_share: float = 0.2
    """Share of dark photographs whose target is tone mapped."""
    top: float = 0.5
    """Share of samples whose score is 0.9 or more; the others are uniform below."""
    damage: float = 0.8
    """How much of the damage a target of score 0 keeps."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "mean": (0.05, 0.95), "mean_spread": (0, 0.3), "stops": (0, 12), "contrast": (0, 5), "cast": (0.1, 10),
        "shot": (1e-9, 1), "read": (1e-9, 1), "black": (0, 0.5), "shade": (1e-4, 1), "glare": (0.1, 10), "pool": (0, 1),
        "coral": (0, 10), "depth": (0, 1), "hazy": (0, 1), "quality": (1, 101),
        "flatten": (0, 1), "flatten_share": (0, 1),
        "top": (0, 1), "damage": (0, 1),
    }  # fmt: skip

    _camera: Face = field(default_factory=Face.photo, init=False, repr=False)
    _subject: Backlit = field(default_factory=Backlit, init=False, repr=False)
    _tank: Underwater = field(default_factory=Underwater, init=False, repr=False)

    def draw(self, rng: np.random.Generator, side: int) -> SceneParams:
        shares = np.array(self.shares)
        kind = int(rng.choice(len(KINDS), p=shares / shares.sum()))
        score = uniform(rng, (FULL, 1.0)) if rng.random() < self.top else uniform(rng, (0.0, FULL))
        return SceneParams(float(kind), score, 0.0, 0.0)

    def apply(self, image: np.ndarray, params: SceneParams, rng: np.random.Generator) -> np.ndarray:
        """The bad picture alone."""
        return self.pair(image, params, rng).bad

    def __call__(self, image: Tensor, rng: np.random.Generator) -> Degraded:
        """float32 RGB [3,H,W] in [0,1] → bad picture, target and score; see `Degraded`."""
        return self.made(image, self.draw(rng, min(image.shape[1:])), rng)

    def made(self, image: Tensor, params: SceneParams, rng: np.random.Generator) -> Degraded:
        """The same of a kind and a score that are given; `stops` and `headroom` are filled in."""
        pixels = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
        made = self.pair(pixels, params, rng)
        params = params._replace(stops=made.stops, headroom=float((made.target >= 1).any(axis=2).mean()))
        return Degraded(_tensor(made.bad), params, _tensor(made.target), params.score, _tensor(made.clean))

    def left(self, score: float) -> float:
        """The part of the damage that a target of this score keeps, 0 to `damage`."""
        return self.damage * min(1.0, max(0.0, (FULL - score) / FULL))

    def pair(self, image: np.ndarray, params: SceneParams, rng: np.random.Generator) -> Pair:
        """float32 [H,W,3] in [0,1] → the two pictures, which no file has rounded yet."""
        left = self.left(params.score)
        image = deepened(image, uniform(rng, self.depth))
        match KINDS[int(params.kind)]:
            case "dark":
                return self._dark(image, left, rng)
            case "backlit":
                return self._backlit(image, left, rng)
            case "water":
                return self._water(image, left, rng)
            case "camera":
                return self._badly_taken(image, left, rng)
        return self._good(image, rng)

    # The kinds

    def _dark(self, image: np.ndarray, left: float, rng: np.random.Generator) -> Pair:
        light = radiance(image, rng, self.contrast)
        good = compress(light, uniform(rng, self.flatten) if rng.random() < self.flatten_share else 0.0)
        tone = draw_tone(rng)
        mean = self.mean + self.mean_spread * float(rng.standard_normal())
        gain = exposure(good, mean, tone)
        stops = uniform(rng, self.stops)
        # What the camera saw is the uncompressed light, at an exposure that is darker by `stops` on the whole.
        seen = light * np.float32(exposure(light, mean, tone) * 2.0**-stops) * self._cast(rng)
        shot, read = log_uniform(rng, self.shot), log_uniform(rng, self.read)
        counted = count(seen, shot, read, rng)
        black = uniform(rng, self.black) if rng.random() < 0.125 else 0.0
        other = draw_tone(rng) if rng.random() < 0.4 else tone
        bad = self._stored(other(counted - np.float32(black)), rng)
        noise = (counted - seen) * np.float32(2.0**stops)
        target = good * np.float32(gain)
        if left:
            target = (target + np.float32(left) * noise) * np.float32(2.0 ** (-left * stops))
        return Pair(bad, tone(target), _between(other(seen), bad, left), stops)

    def _backlit(self, image: np.ndarray, left: float, rng: np.random.Generator) -> Pair:
        light, tone = radiance(image, rng), draw_tone(rng)
        mean = self.mean + self.mean_spread * float(rng.standard_normal())
        good = light * np.float32(exposure(light, mean, tone))
        params = self._subject.draw(rng, min(image.shape[:2]))
        mask = self._subject.mask(image, params, rng)[:, :, None]
        shade, glare = log_uniform(rng, self.shade), uniform(rng, self.glare)
        stops = np.log2(glare) + (np.log2(shade) - np.log2(glare)) * mask
        seen = good * np.exp2(stops).astype(np.float32)
        counted = count(seen, log_uniform(rng, self.shot), log_uniform(rng, self.read), rng)
        target = good
        if left:
            noise = (counted - seen) * np.exp2(-stops).astype(np.float32)
            target = (good + np.float32(left) * noise) * np.exp2(left * stops).astype(np.float32)
        bad = self._stored(tone(counted), rng)
        return Pair(bad, tone(target), _between(tone(seen), bad, left), -float(np.log2(shade)))

    def _water(self, image: np.ndarray, left: float, rng: np.random.Generator) -> Pair:
        if rng.random() < self.pool:
            return self._in_pool(image, left, rng)
        sea = submerge.draw(rng, image)
        light = submerge.coloured(radiance(image, rng, 1.2, 0.2), uniform(rng, self.coral))
        tone = draw_tone(rng)
        mean = float(np.clip(0.41 + 0.075 * rng.standard_normal(), 0.2, 0.62))
        light *= np.float32(exposure(light, mean, tone))
        seen = submerge.under(light, sea, 1.0)
        # Of real pairs what is bright is bright on both sides (correlation .95), a little less so under water.
        metered = float(np.clip(0.41 + 0.8 * (mean - 0.41) + 0.03 * rng.standard_normal(), 0.2, 0.6))
        seen = seen * np.float32(exposure(seen, metered, tone))
        counted = count(seen, log_uniform(rng, self.shot), log_uniform(rng, self.read), rng)
        clean, noisy = tone(seen), tone(counted)
        bad = self._stored(submerge.stretched(noisy, sea.stretch), rng)
        clean = submerge.stretched(clean, sea.stretch)
        target = submerge.under(light, sea, sea.kept + (1 - sea.kept) * left)
        target = tone(target * np.float32(exposure(target, mean, tone)))
        return Pair(bad, submerge.finish(target, sea), _between(clean, bad, left))

    def _in_pool(self, image: np.ndarray, left: float, rng: np.random.Generator) -> Pair:
        """A whole picture behind water, without any open water: all of it can go."""
        good = self._plain(image, rng)
        water = self._tank.draw(rng, min(image.shape[:2]))
        first, second = copy.deepcopy(rng), copy.deepcopy(rng)  # the same distances, and the same noise
        bad = self._stored(self._tank.apply(good, water, rng), rng)
        clean = self._tank.apply(good, water._replace(well=_ENDLESS, read=0.0), first)
        if left:
            part = {name: left * getattr(water, name) for name in ("near", "far", "depth", "scatter")}
            good = self._tank.apply(good, water._replace(**part), second)
        return Pair(bad, good, _between(clean, bad, left))

    def _badly_taken(self, image: np.ndarray, left: float, rng: np.random.Generator) -> Pair:
        good = self._plain(image, rng)
        bad = self._camera.apply(good, self._camera.draw(rng, min(image.shape[:2])), rng)
        target = _between(good, bad, left)
        return Pair(bad, target, target)

    def _good(self, image: np.ndarray, rng: np.random.Generator) -> Pair:
        good = self._plain(image, rng)
        return Pair(jpeg(good, uniform(rng, (85, 98))) if rng.random() < 0.5 else good, good, good)

    # What they share

    def _plain(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A picture that was exposed as somebody liked it."""
        if self.hazy and rng.random() < self.hazy:
            image = _misty(image, rng)
        if rng.random() < 0.35:
            return image
        light, tone = radiance(image, rng, uniform(rng, (0.3, self.contrast))), draw_tone(rng)
        return tone(light * np.float32(exposure(light, uniform(rng, (0.22, 0.58)), tone)))

    def _cast(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([log_uniform(rng, self.cast), 1, log_uniform(rng, self.cast)], dtype=np.float32)

    def _stored(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < 0.3:
            return picture
        low, high = self.quality
        middle = min(max(75.0, low), high)
        return jpeg(picture, uniform(rng, (middle, high) if rng.random() < 2 / 3 else (low, middle)))


def _misty(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the same behind air that scatters light, more of it far away, which is above mostly."""
    air = uniform(rng, (0.35, 1.0)) * np.array([log_uniform(rng, (0.85, 1.1)), 1, log_uniform(rng, (0.9, 1.25))])
    far = sky(rng, *image.shape[:2])[:, :, None] if rng.random() < 0.7 else 1.0
    part = np.float32(uniform(rng, (0.0, 0.35)) + uniform(rng, (0.0, 0.6)) * far)
    light = to_linear(image) * (1 - part) + air.astype(np.float32) * part
    return to_srgb(np.clip(light, 0, 1)).astype(np.float32)


_ENDLESS = 1e12
"""Electrons: a sensor that counts so many has no noise."""


def _between(clean: np.ndarray, bad: np.ndarray, left: float) -> np.ndarray:
    return clean + np.float32(left) * (bad - clean) if left else clean


def _tensor(picture: np.ndarray) -> Tensor:
    """float32 [H,W,3] in [0,1] → float32 [3,H,W], rounded to 8 bits."""
    return torch.from_numpy(quantise(picture).transpose(2, 0, 1).astype(np.float32) / np.float32(255))

"""Water as light passes it, for scenes of linear light: near things lose their colour, what is far is water.

Unlike `water`, which puts a whole picture under water, there may be open water behind the things: nothing of a scene is
seen there, in the bad picture or in a restored one, so a target shows water there too.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import log_uniform, smooth_field, uniform
from iqpir.training.degrade.radiance import sky

_WATERS = np.array([[0.217, 0.040, 0.018], [0.250, 0.075, 0.062], [0.288, 0.122, 0.134], [0.400, 0.315, 0.400]])
"""β of red, green and blue light, 1/m: about Jerlov's types I, III, 1 and 5; see `iqpir.training.degrade.water`."""


class Sea(NamedTuple):
    """The water of one picture."""

    beta: np.ndarray
    """[3], 1/m."""
    distance: np.ndarray
    """float32 [H,W], metres to the things."""
    open: np.ndarray
    """float32 [H,W] in [0,1]: 1 where there is only water."""
    depth: float
    """Metres below the surface."""
    veil: float
    """Brightness of endless water in its clearest colour, relative to daylight there."""
    scatter: float
    """σ of the blur by forward scattering at the farthest point, in parts of the shorter side."""
    open_colour: np.ndarray
    """[3], linear: what open water looks like in a restored picture."""
    stretch: float
    """Part of the haze that the camera's contrast takes off the picture under water: its black and white points."""
    saturation: float
    """Factor of colourfulness of the restored picture."""
    white: np.ndarray
    """[3]: gains of the restored picture's white balance."""
    finish: float
    """`stretch` of the restored picture."""
    kept: float
    """Part of the water that is left in the restored picture: divers' photographs stay blue."""


def draw(rng: np.random.Generator, image: np.ndarray) -> Sea:
    """Ranges and shares; `image` float32 [H,W,3] in [0,1] only tells where open water may end."""
    height, width = image.shape[:2]
    place = rng.random() * (len(_WATERS) - 1.3)
    low = min(int(place), len(_WATERS) - 2)
    beta = np.exp(np.log(_WATERS[low]) + (place - low) * np.log(_WATERS[low + 1] / _WATERS[low]))
    beta = beta * np.exp(0.12 * rng.standard_normal(3))
    # Near things in clear water have lost their red and little else; far ones are seen through haze.
    clear = rng.random() < 0.6
    visible = (3.0 if clear else 1.6) / float(beta[1])
    rise = np.linspace(1, 0, height)[:, None]
    relief = smooth_field(rng, height, width, 3)
    part = np.clip(uniform(rng, (0.3, 0.9)) * rise + 0.6 * relief - 0.15, 0, 1)
    near = min(uniform(rng, (0.3, 2.0)), visible)
    far = max(near, min(uniform(rng, (1.0, 5.0) if clear else (2.0, 12.0)), visible))
    distance = (near + (far - near) * part).astype(np.float32)
    open_water = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        # The skyline of what stands before the water follows edges of the picture.
        soft = cv2.GaussianBlur(image.mean(axis=2), (0, 0), 1.0)
        field = sky(rng, height, width) + uniform(rng, (0.0, 0.6)) * (soft - soft.mean())
        open_water = np.clip((field - 0.5) / uniform(rng, (0.02, 0.3)) + 0.5, 0, 1).astype(np.float32)
    # Red is what daylight loses first: of real photographs under water it has a third of the green's brightness.
    depth = uniform(rng, (1.4, 4.2) if rng.random() < 0.88 else (0.0, 1.4)) / float(beta[0])
    veil = uniform(rng, (0.02, 0.25) if clear else (0.1, 0.5))
    # A restored picture's water has the colour that it has, a little paler, rarely nearly gray.
    colour = np.exp(-beta * depth) * veil * beta.min() / beta
    gray = uniform(rng, (0.0, 0.15) if rng.random() < 0.8 else (0.15, 0.8))
    colour = (colour + gray * (colour.mean() - colour)) * log_uniform(rng, (0.6, 1.2))
    white = np.exp(0.1 * rng.standard_normal(3))
    enhanced = rng.random() < 0.5
    return Sea(
        beta.astype(np.float32), distance, open_water, depth, veil,
        uniform(rng, (0.0, 0.006)), colour.astype(np.float32), uniform(rng, (0.0, 0.9)) if rng.random() < 0.7 else 0.0,
        uniform(rng, (1.0, 1.4)) if enhanced else 1.0, (white / white.mean() if enhanced else np.ones(3)).astype(
            np.float32
        ), uniform(rng, (0.0, 0.8)) if enhanced else 0.0, uniform(rng, (0.1, 0.55)),
    )  # fmt: skip


def coloured(light: np.ndarray, factor: float) -> np.ndarray:
    """Linear light [H,W,3] whose colours are `factor` times as far from gray."""
    gray = light.mean(axis=2, keepdims=True)
    changed: np.ndarray = np.maximum(gray + np.float32(factor) * (light - gray), 0)
    return changed


def under(light: np.ndarray, sea: Sea, part: float) -> np.ndarray:
    """Linear light [H,W,3], exposed → the same under `part` of the water: 1 all of it, 0 none but the open water."""
    ending = sea.open[:, :, None]
    if part <= 0:
        return light * (1 - ending) + sea.open_colour * ending
    through = np.exp(-sea.beta * (np.float32(part) * sea.distance)[:, :, None]) * (1 - ending)
    direct = light * through
    sigma = part * sea.scatter * min(light.shape[:2])
    if sigma > 0.3:
        far = (sea.distance / sea.distance.max())[:, :, None]
        direct = (1 - far) * direct + far * cv2.GaussianBlur(direct, (0, 0), sigma)
    daylight = np.exp(-sea.beta * np.float32(part * sea.depth))
    veil = np.float32(sea.veil) * sea.beta.min() / sea.beta
    wet = daylight * (direct + veil * (1 - through))
    if part >= 1:
        return wet
    # Between the two, open water passes from the colour that it has to the colour that it is given.
    water = sea.open_colour + np.float32(part) * (daylight * veil - sea.open_colour)
    return wet * (1 - ending) + water * ending


def finish(picture: np.ndarray, sea: Sea) -> np.ndarray:
    """A restored picture [H,W,3] in [0,1] with the white balance and the colourfulness of its camera."""
    picture = stretched(picture * sea.white, sea.finish)
    gray = picture.mean(axis=2, keepdims=True)
    return np.clip(gray + np.float32(sea.saturation) * (picture - gray), 0, 1)


def stretched(picture: np.ndarray, part: float) -> np.ndarray:
    """A picture [H,W,3] whose darkest and brightest places, of all channels together, go `part` of the way to 0 and 1.

    The mean stays where it was, so the camera's exposure does.
    """
    if part <= 0:
        return picture
    gray = picture.mean(axis=2)
    low, high = np.quantile(gray, (0.01, 0.99))
    mean = gray.mean()
    longest = min(mean / max(mean - low, 1e-3), (1 - mean) / max(high - mean, 1e-3))
    factor = 1 + part * (min(longest, 3.0) - 1)
    made: np.ndarray = mean + np.float32(max(factor, 1.0)) * (picture - mean)
    return made

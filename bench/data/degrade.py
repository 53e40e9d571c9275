"""Synthetic degradations of a photograph: low light, a bad camera and channel, water, backlight.

Pure functions of an image in [0,1], parameters and a seeded generator. They stand in for real test sets where nothing
can be downloaded, and are not meant to train on or to rank methods by.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

Range = tuple[float, float]

# Remaining part of the light after one metre of water, (red, green, blue), for the ten Jerlov water types: five of the
# open ocean and five coastal. C. Li, S. Anwar, F. Porikli, "Underwater scene prior inspired deep underwater image and
# video enhancement", Pattern Recognition 98 (2020), where these are the water types of the synthesis.
JERLOV: Mapping[str, tuple[float, float, float]] = {
    "I": (0.805, 0.961, 0.982),
    "IA": (0.804, 0.955, 0.975),
    "IB": (0.830, 0.950, 0.968),
    "II": (0.800, 0.925, 0.940),
    "III": (0.750, 0.885, 0.890),
    "1": (0.750, 0.885, 0.875),
    "3": (0.710, 0.820, 0.800),
    "5": (0.670, 0.730, 0.670),
    "7": (0.620, 0.610, 0.500),
    "9": (0.550, 0.460, 0.290),
}


class Scene(NamedTuple):
    """What a degradation may know about a photograph: where its subject is."""

    row: float
    """Centre of the subject, as a part of the height."""
    column: float
    """Centre of the subject, as a part of the width."""
    height: float
    """Half the subject's height, as a part of the height."""
    width: float
    """Half the subject's width, as a part of the width."""


def generator(*words: str) -> np.random.Generator:
    """A PCG64 generator seeded by the words alone, so that the order of loading does not matter."""
    seed = hashlib.sha256("/".join(words).encode()).digest()[:16]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


# ---------------------------------------------------------------------------------------------------------------------
# Low light


@dataclass(frozen=True)
class LowLight:
    """A short exposure with a small sensor's noise, in linear light."""

    exposure: float
    """Part of the light that is left."""
    shot: float
    """Variance of the shot noise at full scale: 1 / full well in electrons, times the gain."""
    read: float
    """Standard deviation of the read noise, full scale = 1."""
    gamma: float
    """Exponent of the camera's tone curve after sRGB encoding; above 1 it darkens the shadows further."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "exposure": (0.02, 0.15),
        "shot": (1e-4, 6e-4),
        "read": (3e-4, 1.5e-3),
        "gamma": (1.0, 1.2),
    }

    @classmethod
    def draw(cls, rng: np.random.Generator) -> LowLight:
        """Exposure, shot and read noise log-uniform in their ranges, gamma uniform."""
        return cls(
            log_uniform(rng, cls.RANGES["exposure"]),
            log_uniform(rng, cls.RANGES["shot"]),
            log_uniform(rng, cls.RANGES["read"]),
            uniform(rng, cls.RANGES["gamma"]),
        )


def low_light(image: np.ndarray, rng: np.random.Generator, params: LowLight) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the same scene, under-exposed: x = e·lin(I) + n, n ~ N(0, shot·x + read²).

    Shot noise is Poisson, here in its normal approximation (as in the Poisson-Gaussian model of Foi et al., 2008).
    """
    light = to_linear(image) * params.exposure
    noise = rng.standard_normal(light.shape) * np.sqrt(params.shot * light + params.read**2)
    return to_srgb(light + noise) ** params.gamma


# ---------------------------------------------------------------------------------------------------------------------
# Real world


@dataclass(frozen=True)
class RealWorld:
    """Blur, downsampling, noise and JPEG, in this order, then back to full size."""

    sigma_x: float
    """Standard deviation of the Gaussian blur along its first axis, pixels."""
    sigma_y: float
    """… and along its second axis; equal to the first in half of the draws."""
    angle: float
    """Turn of the blur's first axis, radians."""
    ratio: float
    """Downsampling factor."""
    noise: float
    """Standard deviation of the noise, 8-bit levels."""
    quality: int
    """JPEG quality."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "sigma": (0.4, 2.5),
        "angle": (-np.pi, np.pi),
        "ratio": (1.2, 3.0),
        "noise": (1.0, 12.0),
        "quality": (40, 90),
    }

    @classmethod
    def draw(cls, rng: np.random.Generator) -> RealWorld:
        """Every parameter uniform in its range; one blur in two is isotropic."""
        first, second = uniform(rng, cls.RANGES["sigma"]), uniform(rng, cls.RANGES["sigma"])
        angle, isotropic = uniform(rng, cls.RANGES["angle"]), float(rng.random()) < 0.5
        low, high = cls.RANGES["quality"]
        return cls(
            first,
            first if isotropic else second,
            angle,
            uniform(rng, cls.RANGES["ratio"]),
            uniform(rng, cls.RANGES["noise"]),
            int(low) + int(rng.random() * (high - low + 1)),
        )


def real_world(image: np.ndarray, rng: np.random.Generator, params: RealWorld) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → JPEG_q((I ⊛ k)↓r + n)↑r: the order of the blind restoration papers.

    As in GFPGAN (CVPR 2021, Eq. 2) and its successors, with ranges for photographs at their native size rather than
    for 512² faces. The JPEG step is Pillow's, so pixels may change by a level with another JPEG library.
    """
    height, width = image.shape[:2]
    blurred = blur(image, params.sigma_x, params.sigma_y, params.angle)
    small = resize(blurred, max(8, int(height // params.ratio)), max(8, int(width // params.ratio)))
    noisy = small + rng.standard_normal(small.shape) * (params.noise / 255)
    return resize(jpeg(quantise(noisy), params.quality) / 255.0, height, width)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer, formats=("JPEG",)))


# ---------------------------------------------------------------------------------------------------------------------
# Underwater


@dataclass(frozen=True)
class Underwater:
    """A water type, the camera's distance to the scene and the depth below the surface."""

    water: str
    """A key of `JERLOV`."""
    near: float
    """Distance of the nearest point, metres."""
    far: float
    """Distance of the farthest point, metres."""
    depth: float
    """Metres of water between the surface and the scene, which colour the light that falls on it."""
    veil: float
    """Brightness of the water at infinite distance in its clearest colour, in linear light at the surface."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "near": (0.5, 1.5),
        "far": (4.0, 9.0),
        "depth": (1.0, 5.0),
        "veil": (0.25, 0.5),
    }
    WATERS: ClassVar[tuple[str, ...]] = ("I", "IB", "II", "III", "1", "3", "5")
    """The types drawn from: IA is nearly I, and 7 and 9 are too murky to photograph in."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Underwater:
        """The water type with equal chances, the rest uniform; range and depth shrink as the water gets murkier.

        In murky water (green transmission g of one metre below 0.9) far and depth are multiplied by
        max(0.25, log 0.9 / log g), as nobody photographs what cannot be seen.
        """
        water = cls.WATERS[int(rng.random() * len(cls.WATERS))]
        clear = float(np.clip(np.log(0.9) / np.log(JERLOV[water][1]), 0.25, 1.0))
        near, far = uniform(rng, cls.RANGES["near"]), uniform(rng, cls.RANGES["far"]) * clear
        return cls(
            water, near * clear, far, uniform(rng, cls.RANGES["depth"]) * clear, uniform(rng, cls.RANGES["veil"])
        )


def underwater(image: np.ndarray, rng: np.random.Generator, params: Underwater) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → the scene under water, after Jaffe (1990) and McGlamery (1980), in linear light.

    With N the transmission of one metre (`JERLOV`), β = −ln N, d(x) the distance and z the depth:
    direct part J·N^z·N^d; forward scattering, a blur of the direct part that grows with the distance; backscatter
    B·(1 − N^d). The veiling light B = veil·N^z·min(β)/β is what scattering that is equal for all colours gives in the
    light at that depth (B ∝ E·b/β, as in Akkaynak and Treibitz, CVPR 2018), so red is weakest in it.
    There is no distance map of these photographs: d runs smoothly from near at the bottom to far at the top, as over
    ground, with low-frequency relief.
    """
    height, width = image.shape[:2]
    attenuation = -np.log(JERLOV[params.water])
    rise = np.linspace(1.0, 0.0, height)[:, None]  # 1 at the top
    relief = smooth_noise(rng, height, width, cells=3)
    part = np.clip(0.75 * rise + 0.5 * relief - 0.125, 0.0, 1.0)
    distance = params.near + (params.far - params.near) * part
    through = -attenuation * distance[:, :, None]
    np.exp(through, out=through)
    daylight = np.exp(-attenuation * params.depth)
    direct = to_linear(image)
    direct *= through
    scattered = blur(direct, 2.0, 2.0, 0.0)
    scattered -= direct
    scattered *= np.clip(distance / 12.0, 0.0, 0.6)[:, :, None]
    direct += scattered
    direct *= daylight
    veil = params.veil * daylight * attenuation.min() / attenuation
    through *= -veil
    direct += through
    direct += veil
    return to_srgb(direct)


# ---------------------------------------------------------------------------------------------------------------------
# Backlit


@dataclass(frozen=True)
class Backlit:
    """A subject in its own shade before a bright background."""

    shade: float
    """Part of the light that is left on the subject."""
    glare: float
    """Exposure of the background; above 1 it begins to clip."""
    noise: float
    """Standard deviation of the sensor's noise in linear light, full scale = 1; it shows in the shade only."""

    RANGES: ClassVar[Mapping[str, Range]] = {
        "shade": (0.04, 0.18),
        "glare": (1.0, 1.5),
        "noise": (5e-4, 2e-3),
    }

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Backlit:
        """Shade and noise log-uniform in their ranges, the rest uniform."""
        return cls(
            log_uniform(rng, cls.RANGES["shade"]),
            uniform(rng, cls.RANGES["glare"]),
            log_uniform(rng, cls.RANGES["noise"]),
        )


def backlit(image: np.ndarray, rng: np.random.Generator, params: Backlit, scene: Scene) -> np.ndarray:
    """sRGB [H,W,3] in [0,1] → lin(I)·glare^(1−m)·shade^m + n, m the soft mask of the subject.

    Between the two exposures it runs through their geometric mean, as a stop scale does.
    """
    mask = subject_mask(image, rng, scene)
    exposure = params.glare * (params.shade / params.glare) ** mask
    light = to_linear(image) * exposure[:, :, None]
    return to_srgb(light + rng.standard_normal(light.shape) * params.noise)


def subject_mask(image: np.ndarray, rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """[H,W] in [0,1]: 1 inside the subject, 0 outside.

    An ellipse with an irregular outline, fitted to the edges of the photograph by a guided filter (He, Sun, Tang,
    PAMI 2013) whose coefficients are found at a quarter of the size.
    """
    height, width = image.shape[:2]
    rows = (np.arange(height)[:, None] + 0.5) / height - scene.row
    columns = (np.arange(width)[None, :] + 0.5) / width - scene.column
    radius = np.sqrt((rows / scene.height) ** 2 + (columns / scene.width) ** 2)
    radius += 0.3 * (smooth_noise(rng, height, width, cells=5) - 0.5)
    ramp = np.clip(0.5 + (1.0 - radius) / 0.3, 0.0, 1.0)
    gray = image @ np.array([0.299, 0.587, 0.114])
    guide, rough = gray[::4, ::4, None], ramp[::4, ::4, None]
    mean_guide, mean_rough = _local_mean(guide), _local_mean(rough)
    covariance = _local_mean(guide * rough) - mean_guide * mean_rough
    variance = np.maximum(_local_mean(guide * guide) - mean_guide**2, 0.0)
    slope = covariance / (variance + 0.003)
    offset = mean_rough - slope * mean_guide
    coefficients = resize(_local_mean(np.concatenate([slope, offset], axis=2)), height, width)
    mask = np.clip(coefficients[:, :, 0] * gray + coefficients[:, :, 1], 0.0, 1.0)
    return mask * mask * (3 - 2 * mask)


def _local_mean(image: np.ndarray) -> np.ndarray:
    return blur(image, 5.0, 5.0, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Parts


def degrade(kind: str, image: np.ndarray, rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """One of `KINDS` with parameters drawn from `rng`: float [H,W,3] sRGB in [0,1] → the same shape, unclipped."""
    return KINDS[kind](image, rng, scene)


KINDS: Mapping[str, Callable[[np.ndarray, np.random.Generator, Scene], np.ndarray]] = {
    "lowlight": lambda image, rng, _: low_light(image, rng, LowLight.draw(rng)),
    "realworld": lambda image, rng, _: real_world(image, rng, RealWorld.draw(rng)),
    "underwater": lambda image, rng, _: underwater(image, rng, Underwater.draw(rng)),
    "backlit": lambda image, rng, scene: backlit(image, rng, Backlit.draw(rng), scene),
}


def quantise(image: np.ndarray) -> np.ndarray:
    """[0,1] → uint8, rounded, clipped."""
    return (np.clip(image, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)


def to_linear(image: np.ndarray) -> np.ndarray:
    """sRGB → linear light (IEC 61966-2-1)."""
    light = image + 0.055
    light /= 1.055
    np.power(light, 2.4, out=light)
    np.divide(image, 12.92, out=light, where=image <= 0.04045)
    return light


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light, clipped to [0,1] → sRGB (IEC 61966-2-1)."""
    light = np.clip(light, 0.0, 1.0)
    code = light ** (1 / 2.4)
    code *= 1.055
    code -= 0.055
    np.multiply(light, 12.92, out=code, where=light <= 0.0031308)
    return code


def blur(image: np.ndarray, sigma_x: float, sigma_y: float, angle: float) -> np.ndarray:
    """[H,W,C] convolved with a normalised Gaussian whose first axis is turned by `angle`; mirrored at the borders.

    Multiplied in the frequency domain, where the Gaussian is exact for any width and its cost does not depend on it.
    """
    margin = int(np.ceil(4 * max(sigma_x, sigma_y)))
    height, width = image.shape[:2]
    rows, columns = _fast_length(height + 2 * margin), _fast_length(width + 2 * margin)
    frame = ((0, 0), (margin, rows - height - margin), (margin, columns - width - margin))
    padded = np.pad(image.transpose(2, 0, 1), frame, mode="symmetric")
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    along, across = np.cos(angle) * fx + np.sin(angle) * fy, np.cos(angle) * fy - np.sin(angle) * fx
    response = np.exp(-2 * np.pi**2 * ((sigma_x * along) ** 2 + (sigma_y * across) ** 2))
    smooth = np.fft.irfft2(np.fft.rfft2(padded) * response, s=(rows, columns))
    return smooth[:, margin : margin + height, margin : margin + width].transpose(1, 2, 0)


def _fast_length(size: int) -> int:
    """The smallest length not below `size` without prime factors above 5: other Fourier transforms are slower."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H,W,C] → [height,width,C], bilinear with half-pixel centres and no anti-aliasing, as OpenCV's INTER_LINEAR."""
    for axis, size in ((0, height), (1, width)):
        old = image.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * (old / size) - 0.5, 0.0, old - 1.0)
        low = np.minimum(at.astype(np.intp), old - 1)
        high = np.minimum(low + 1, old - 1)
        weight = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        first = np.take(image, low, axis=axis)
        image = first + weight * (np.take(image, high, axis=axis) - first)
    return image


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """[H,W] in [0,1], varying over about 1/cells of the image: a random grid, interpolated."""
    grid = rng.random((cells + 1, cells + 1, 1))
    return resize(grid, height, width)[:, :, 0]


def uniform(rng: np.random.Generator, limits: Range) -> float:
    return limits[0] + (limits[1] - limits[0]) * float(rng.random())


def log_uniform(rng: np.random.Generator, limits: Range) -> float:
    return limits[0] * (limits[1] / limits[0]) ** float(rng.random())

"""The degradation that blind face restoration is trained on: I_l = {JPEG_q((I_h ⊛ k)↓r + n)}↑ (IQPFR Eq. 16).

The papers' text and the authors' configuration differ in two ranges; both are here by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from iqpir.training.degrade.base import Degradation, Range, jpeg, uniform


class FaceParams(NamedTuple):
    sigma_x: float
    """Standard deviation of the blur along its first axis, pixels of this image."""
    sigma_y: float
    """… and across it; equal to the first where the blur is isotropic."""
    angle: float
    """Turn of the first axis, radians; 0 where the blur is isotropic."""
    ratio: float
    """Factor by which the image was made smaller."""
    noise: float
    """Standard deviation, in levels of 255."""
    quality: float
    """Of JPEG."""


@dataclass(frozen=True)
class Face(Degradation):
    """Blur, downsampling, noise, JPEG, and back to full size; every number uniform in its range.

    Defaults are those of the authors' second-stage configuration; `paper`, `small` and `photo` are the others.
    """

    sigma: Range = (1.0, 15.0)
    """Of the Gaussian blur, in pixels of an image with `native` pixels a side."""
    isotropic: float = 0.5
    """Share of blurs with one σ; the others have two and a direction in [−π, π]."""
    kernel: int = 41
    """Side of the blur's kernel, odd. At σ = 15 it cuts a Gaussian off at 1.3 σ: the authors' choice, kept."""
    downsample: Range = (4.0, 30.0)
    """The authors' configuration; the paper prints [1, 30]."""
    noise: Range = (0.0, 20.0)
    """Standard deviation in levels of 255, the same for the three channels, each pixel and channel on its own."""
    quality: Range = (30, 80)
    """The authors' configuration; the paper prints [30, 90]."""
    whole_quality: bool = True
    """Quality is a whole number below the upper end, as the authors' `randint` draws it; else any number of the range,
    of which JPEG takes the whole part."""
    native: int | None = 512
    """The ranges of blur and downsampling are meant for images of this size: on others they shrink or grow in
    proportion, so that a face keeps as little detail as at full size. None takes them as they stand."""

    BOUNDS: ClassVar[Mapping[str, Range]] = {
        "sigma": (0.05, 100),
        "isotropic": (0, 1),
        "kernel": (1, 255),
        "downsample": (1, 128),
        "noise": (0, 255),
        "quality": (1, 101),
        "native": (1, 1 << 16),
    }

    def __post_init__(self) -> None:
        if self.native is not None:
            super().__post_init__()
            return
        # The bounds of a size that is not given have nothing to hold.
        Face(**{**self.__dict__, "native": 1})

    @classmethod
    def paper(cls) -> Face:
        """As IQPFR prints it (6.1.3): r in [1, 30], q in [30, 90]."""
        return cls(downsample=(1.0, 30.0), quality=(30, 90), whole_quality=False)

    @classmethod
    def small(cls) -> Face:
        """The authors' milder model of the third stage, where the fidelity path is trained."""
        return cls(sigma=(0.1, 10.0), downsample=(1.0, 12.0), noise=(0.0, 15.0), quality=(60, 100), whole_quality=False)

    @classmethod
    def photo(cls) -> Face:
        """For photographs at their own size rather than faces of 512²: this package's choice, from no paper."""
        return cls(sigma=(0.1, 3.0), downsample=(1.0, 4.0), noise=(0.0, 15.0), quality=(30, 95), kernel=21, native=None)

    def draw(self, rng: np.random.Generator, side: int) -> FaceParams:
        share = side / self.native if self.native else 1.0
        first, second = uniform(rng, self.sigma) * share, uniform(rng, self.sigma) * share
        angle = uniform(rng, (-np.pi, np.pi))
        if rng.random() < self.isotropic:
            second, angle = first, 0.0
        ratio = max(1.0, uniform(rng, self.downsample) * share)
        noise = uniform(rng, self.noise)
        if self.whole_quality:
            low, high = int(self.quality[0]), int(self.quality[1])
            return FaceParams(first, second, angle, ratio, noise, float(rng.integers(low, max(high, low + 1))))
        return FaceParams(first, second, angle, ratio, noise, uniform(rng, self.quality))

    def apply(self, image: np.ndarray, params: FaceParams, rng: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        share = min(height, width) / self.native if self.native else 1.0
        size = max(3, 2 * round(self.kernel * share / 2 - 0.5) + 1)
        blurred = cv2.filter2D(image, -1, gaussian_kernel(size, params.sigma_x, params.sigma_y, params.angle))
        smaller = (max(1, int(width // params.ratio)), max(1, int(height // params.ratio)))
        small = cv2.resize(blurred, smaller, interpolation=cv2.INTER_LINEAR)
        small = small + rng.standard_normal(small.shape, dtype=np.float32) * np.float32(params.noise / 255)
        return cv2.resize(jpeg(small, params.quality), (width, height), interpolation=cv2.INTER_LINEAR)


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, angle: float) -> np.ndarray:
    """float32 [size,size], sum 1: a Gaussian sampled at whole pixels, its first axis turned by `angle` radians."""
    at = np.arange(size) - (size - 1) / 2
    along = np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None]
    across = np.cos(angle) * at[:, None] - np.sin(angle) * at[None, :]
    weights = np.exp(-0.5 * ((along / sigma_x) ** 2 + (across / sigma_y) ** 2))
    return (weights / weights.sum()).astype(np.float32)

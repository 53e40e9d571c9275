"""UIQM (Panetta, Gao and Agaian, IEEE JOE 2016): colourfulness, sharpness and contrast of an underwater image.

No official code exists and the two Python scripts that papers use differ by a factor of four. Each is a `variant`,
reproduced as it is written, oddities included; none is corrected silently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.metrics import uiqm_funie, uiqm_xueleichen
from bench.metrics.base import Signature
from bench.metrics.underwater import EightBitMetric, check_options
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np

    from bench.metrics.primitives.uiqm_terms import Parts

VARIANTS = ("funie", "xueleichen", "xueleichen-nowrap")
SUMS = ("float64", "float32")
WEIGHTS = (0.0282, 0.2953, 3.5753)


@dataclass(frozen=True)
class Uiqm(EightBitMetric):
    """0.0282·UICM + 0.2953·UISM + 3.5753·UIConM; higher is better.

    `funie` (xahidbuffon/FUnIE-GAN@8f934c8 Evaluation/uqim_utils.py): 10×10 blocks, what does not fill one is cut; blue
    weighs 0.144 in UISM where luma has 0.114; the trimmed mean drops one pixel more than it divides by; UIConM is plain
    c·log c without PLIP arithmetic; UISM is scaled by the strongest edge of each channel, so a flat channel has none
    (`ItemError`). Its evaluation script resizes to 256×256 first: `size`. Its four `/window_size` are read as `//`.
    `xueleichen` (xueleichen/PSNR-SSIM-UCIQE-UIQM-Python@a591335 evaluate.py): 8×8 blocks, partial ones kept; R − G and
    R + G overflow uint8; UIConM is PLIP with 1026 on gray in [0, 1], and negative; a black block divides by zero
    (`ItemError`).
    `xueleichen-nowrap`: the same without the overflow.

    Equal to the values of those scripts to 1e-9.
    """

    view: View = field(default_factory=View)
    variant: str = "funie"
    """One of the above."""
    size: int = 0
    """Resized to size × size by Pillow's bicubic first, whatever the shape was; 0 leaves the image as it is."""
    sums: str = "float64"
    """`float32`: `funie` under NumPy 2, where its trimmed means are summed in float32; differs by 1e-7 or so."""

    name = "uiqm"

    def __post_init__(self) -> None:
        check_options("uiqm", self.view, self.variant, VARIANTS)
        if self.sums not in SUMS:
            raise BenchError(f"uiqm: sums {self.sums!r} is not one of {', '.join(SUMS)}")
        if self.sums != "float64" and self.variant != "funie":
            raise BenchError(f"uiqm: sums belongs to variant 'funie', not to {self.variant!r}")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or not (self.size == 0 or self.size >= 10):
            raise BenchError(f"uiqm: size {self.size!r} is neither 0 nor a number of pixels from 10 up")

    def signature(self) -> Signature:
        own: list[tuple[str, object]] = [("variant", self.variant)]
        if self.size:
            own.append(("size", self.size))
        if self.sums != "float64":
            own.append(("sums", self.sums))
        return Signature.of("uiqm", [*own, *self.view.signature("NR"), ("v", 1)])

    def value(self, levels: np.ndarray) -> float:
        return math.fsum(weight * part for weight, part in zip(WEIGHTS, self.parts(levels), strict=True))

    def parts(self, levels: np.ndarray) -> Parts:
        """uint8 RGB [H,W,3] → UICM, UISM, UIConM. Raises `ItemError` where they are undefined."""
        if self.size:
            levels = _resized(levels, self.size)
        if self.variant == "funie":
            return uiqm_funie.terms(levels, self.sums)
        return uiqm_xueleichen.terms(levels, wrap=self.variant == "xueleichen")


def _resized(levels: np.ndarray, size: int) -> np.ndarray:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.fromarray(levels).resize((size, size), Image.Resampling.BICUBIC))

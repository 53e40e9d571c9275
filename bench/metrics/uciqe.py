"""UCIQE (Yang and Sowmya, TIP 2015): chroma, luminance contrast and saturation of an underwater image in one number.

The paper left the scales of its three terms open and no official code exists, so scripts disagree by a factor of 50.
Each one found in papers is a `variant`, reproduced as it is written, oddities included; none is corrected silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ItemError
from bench.metrics.base import Signature
from bench.metrics.primitives import uciqe_terms
from bench.metrics.primitives.uciqe_terms import Parts
from bench.metrics.underwater import EightBitMetric, check_options
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np


class Variant(NamedTuple):
    parts: Callable[[np.ndarray], Parts]
    """uint8 RGB [H,W,3] → terms."""
    weights: tuple[float, float, float]


_PAPER = (0.4680, 0.2745, 0.2576)
VARIANTS = {
    "jou-uip": Variant(uciqe_terms.jou_uip, _PAPER),
    "adpcc": Variant(uciqe_terms.adpcc, _PAPER),
    "adpcc-unit": Variant(uciqe_terms.adpcc_unit, _PAPER),
    "hsv-fky": Variant(uciqe_terms.hsv_swapped, (0.25, 0.6, 0.15)),
    "hsv-fky-rgb": Variant(uciqe_terms.hsv, (0.25, 0.6, 0.15)),
    "hsv-szu": Variant(uciqe_terms.hsv_swapped, (0.468, 0.2745, 0.2575)),
    "hsv-szu-rgb": Variant(uciqe_terms.hsv, (0.468, 0.2745, 0.2575)),
    "raw-lab": Variant(uciqe_terms.raw_lab, _PAPER),
}


@dataclass(frozen=True)
class Uciqe(EightBitMetric):
    """Weighted sum of three terms; higher is better.

    `jou-uip` (JOU-UIP/UCIQE@02a3cf3): OpenCV's 8-bit Lab ÷ 255, so a and b keep their offset of 128 and gray has a
    chroma of 0.7; the spread of chroma is √mean|1 − (mean/chroma)²|, the contrast is counted in 65536 bins.
    `adpcc` (zhoujingchun03/ADPCC_Code@cd87026): the same in float32, of 0..255 where OpenCV expects 0..1 and clips, so
    that every channel above 0 is full. It divides by chroma, which is 0 somewhere in every photograph tried:
    `ItemError`.
    `adpcc-unit`: that function on [0, 1]; undefined as soon as one pixel is black, or one of the grays whose chroma
    OpenCV makes exactly 0; else 0.65 to 0.95.
    `hsv-fky`, `hsv-szu` (SZU-AdvTech-2022/205@36ff631, two scripts with different weights): 8-bit HSV; the standard
    deviation of hue ÷ 180 ignores that hue is a circle, and BGR is taken for RGB, which exchanges red and blue.
    `hsv-fky-rgb`, `hsv-szu-rgb`: the same with the channels in order.
    `raw-lab` (xueleichen/PSNR-SSIM-UCIQE-UIQM-Python@a591335): CIELab on its own scale (L to 100), values 15 to 40;
    saturation is chroma ÷ L.

    Equal to the values of those scripts to 1e-9 (`adpcc-unit`, which is float32 there, to 3e-7).
    """

    view: View = field(default_factory=View)
    variant: str = "jou-uip"
    """One of the above."""

    name = "uciqe"

    def __post_init__(self) -> None:
        check_options("uciqe", self.view, self.variant, VARIANTS)

    def signature(self) -> Signature:
        return Signature.of("uciqe", [("variant", self.variant), *self.view.signature("NR"), ("v", 1)])

    def value(self, levels: np.ndarray) -> float:
        weights = VARIANTS[self.variant].weights
        parts = self.parts(levels)
        if not all(map(math.isfinite, parts)):
            terms = ", ".join(f"{part:.4g}" for part in parts)
            raise ItemError(
                f"uciqe ({self.variant}) divides by chroma, which is 0 at a gray or black pixel: terms {terms}"
            )
        return math.fsum(weight * part for weight, part in zip(weights, parts, strict=True))

    def parts(self, levels: np.ndarray) -> Parts:
        """uint8 RGB [H,W,3] → the terms, inf or nan where the original gives that. `ItemError` for too few pixels."""
        return VARIANTS[self.variant].parts(levels)

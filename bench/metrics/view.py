"""Which pixels a metric sees: the one place for resizing, brightness matching, rounding, colour and cropping.

The order is fixed: fit → resize → GT-mean → rounding → colour space → crop border. (A method's valid crop is cut from
the reference before the view, by whoever runs the method.) Metrics with equal views share the work; what a metric then
computes on those pixels is no business of this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import BenchError, ItemError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor

SPACES = {
    "rgb": "the three channels as they are",
    "bgr": "red and blue exchanged: what a network sees that is given OpenCV's arrays: LPIPS of GSAD, DAEFR",
    "y": "BT.601 studio-range luma, (16 + 65.481 R + 128.553 G + 24.966 B) / 255, unrounded: MATLAB rgb2ycbcr, BasicSR",
    "yiq": "0.299 R + 0.587 G + 0.114 B in float32, rounded to 8-bit levels: the luma of pyiqa's ssim, ms_ssim",
    "gray": "0.299 R + 0.587 G + 0.114 B, unrounded: OpenCV's gray on floats, pyiqa's luma in psnry",
    "gray-u8": "Pillow's 8-bit gray, 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point: PSNR of FUnIE-GAN",
    "gray-u8-swapped": "OpenCV's 8-bit gray with red and blue exchanged (RGB2GRAY applied to a BGR array): RAVE",
}
LUMAS = tuple(space for space in SPACES if space not in ("rgb", "bgr"))
"""Spaces of one channel."""
ROUNDINGS = {
    "u8": "to the nearest of 256 levels, half to even: what a saved PNG holds",
    "truncate": "down to one of 256 levels: (x * 255).astype(uint8), as GSAD saves",
    "none": "floats as they are",
}
GTMEANS = {
    "no": "pixels as they are",
    "gray": "restored × mean gray of GT ÷ mean gray of restored, OpenCV's 8-bit gray, clipped to [0, 1]: HVI-CIDNet",
    "gray-float": "restored × ratio of mean grays as in gray, of float gray 0.299 R + 0.587 G + 0.114 B: GSAD, LLFlow",
    "gray-swapped": "as gray-float with red and blue exchanged (BGR2GRAY on an RGB array): Retinexformer",
}
RESIZES = {
    "no": "sizes must be equal",
    "pil-bicubic": "restored to the size of GT by Pillow's bicubic on 8-bit pixels: HVI-CIDNet",
    "cv2-linear": "restored to the size of GT by OpenCV's bilinear on 8-bit pixels, no antialiasing: PUIE-Net",
    "torch-corners": "restored to the size of GT by PyTorch's bilinear with aligned corners, on floats: NU2Net",
    "matlab-x4": "restored of a quarter of GT's sides enlarged by MATLAB's bicubic, on floats, clipped: AgenticIR",
}
FITS = {
    "pil-bicubic": "every image to W×H by Pillow's bicubic on 8-bit pixels: FUnIE-GAN, PUGAN",
    "pil-bilinear": "every image to W×H by Pillow's bilinear on 8-bit pixels, torchvision's Resize by default: RAR",
    "cv2-linear": "every image to W×H by OpenCV's bilinear on 8-bit pixels: SNR-Aware's loader",
}
CHOICES = {"space": SPACES, "rounding": ROUNDINGS, "gtmean": GTMEANS, "resize": RESIZES}
"""Legal values of each field with a choice, and what each means; `bench info` shows them."""
MEANINGS = {**CHOICES, "fit": FITS}
"""The same with what stands before the @ of `fit`; `bench explain` shows it."""

PAIR_OPTIONS = ("gtmean", "resize")
"""Options that compare with the reference, and so mean nothing to an NR metric."""


class Fit(NamedTuple):
    """One size for all images of a set."""

    rule: str
    """One of `FITS`."""
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Fit | None:
        """`RULE@WIDTHxHEIGHT`, such as `pil-bicubic@256x256`; None for `no`. Raises `BenchError`."""
        if text == "no":
            return None
        rule, _, size = str(text).partition("@")
        sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size, re.ASCII)
        if rule not in FITS or sides is None:
            near = suggest(rule, FITS)
            raise BenchError(f"fit {text!r} is not 'no' or RULE@WIDTHxHEIGHT with a rule of {', '.join(FITS)}{near}")
        return cls(rule, int(sides[1]), int(sides[2]))


class Levels(NamedTuple):
    """What a metric compares, as 8-bit levels."""

    restored: np.ndarray
    """uint8 [C,H,W], of any strides."""
    reference: np.ndarray | None
    single: bool
    """Whether `apply` gives a level as float32 has its 255th."""


@dataclass(frozen=True)
class View:
    """The options of a view; each is a field of the signature of every metric that uses it.

    Raises `BenchError` with the nearest legal value on construction.
    """

    space: str = "rgb"
    """One of `SPACES`."""
    rounding: str = "u8"
    """One of `ROUNDINGS`; applied to both images, after GT-mean. The signature calls it `range`."""
    crop: int = 0
    """Pixels cut from each border, last of all."""
    gtmean: str = "no"
    """One of `GTMEANS`."""
    resize: str = "no"
    """One of `RESIZES`."""
    fit: str = "no"
    """`no`, or a rule of `FITS` and a size, `pil-bicubic@256x256`: every image is brought to that size first of all."""
    unverified: bool = False
    """Set by a protocol that no golden value proves; it changes no pixel but is said in the signature."""

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                near = suggest(str(value), choices)
                raise BenchError(f"{name} {value!r} is not one of {', '.join(choices)}{near}")
        Fit.parse(self.fit)
        if isinstance(self.crop, bool) or not isinstance(self.crop, int) or self.crop < 0:
            raise BenchError(f"crop {self.crop!r} is not a number of pixels (0 or more)")

    def signature(self, mode: str) -> list[tuple[str, object]]:
        """Signature fields of the view for an FR or an NR metric."""
        pairs: list[tuple[str, object]] = [("space", self.space), ("range", self.rounding), ("crop", self.crop)]
        if mode == "FR":
            pairs.append(("gtmean", self.gtmean))
            if self.resize != "no":
                pairs.append(("resize", self.resize))
        if self.fit != "no":
            pairs.append(("fit", self.fit))
        if self.unverified:
            pairs.append(("proto", "unverified"))
        return pairs

    def apply(
        self, restored: Tensor, reference: Tensor | None, *, eight_bit: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """float64 RGB [B,3,H,W] in [0,1], the reference None for NR metrics → what the metric compares.

        `eight_bit` says that both inputs came from 8-bit files, whose rounding changes nothing and is skipped.
        Raises `ItemError` where the images do not fit the view.
        """
        restored = self._fitted(restored)
        if reference is not None:
            reference = self._fitted(reference)
            floats = self.gtmean != "no" or (restored.shape != reference.shape and self.resize in _OF_FLOATS)
            restored = self._match_brightness(self._match_size(restored, reference), reference)
            reference = self._one(reference, eight_bit)
            eight_bit = eight_bit and not floats
        return self._one(restored, eight_bit), reference

    def levels(self, restored: np.ndarray, reference: np.ndarray | None) -> Levels | None:
        """RGB uint8 [H,W,3], the reference None for NR metrics → uint8 [C,H,W], of which `apply` gives the floats.

        None where what the view gives is not on the 256 levels, or where it is for `apply` to say what does not fit.
        """
        sizes = {image.shape for image in (restored, reference) if image is not None}
        fits = len(sizes) == 1 and len(restored.shape) == 3 and 2 * self.crop < min(restored.shape[:2])
        if not fits or self.space not in _LEVELS or self.fit != "no" or self.gtmean != "no" or restored.shape[2] != 3:
            return None
        theirs = None if reference is None else self._levels(reference)
        return Levels(self._levels(restored), theirs, self.space == "yiq")

    def _levels(self, image: np.ndarray) -> np.ndarray:
        rows, columns = (slice(self.crop, size - self.crop) for size in image.shape[:2])
        return _LEVELS[self.space](image[rows, columns])

    def _fitted(self, image: Tensor) -> Tensor:
        fit = Fit.parse(self.fit)
        if fit is None or tuple(image.shape[-2:]) == (fit.height, fit.width):
            return image
        return _RESIZED[fit.rule](image, fit.height, fit.width)

    def _match_size(self, restored: Tensor, reference: Tensor) -> Tensor:
        if restored.shape == reference.shape:
            return restored
        if self.resize == "no":
            have, want = (f"{image.shape[-1]}×{image.shape[-2]}" for image in (restored, reference))
            raise ItemError(
                f"sizes differ: restored is {have}, reference is {want} (its option resize matches them: "
                f"{', '.join(rule for rule in RESIZES if rule != 'no')})"
            )
        return _RESIZED[self.resize](restored, reference.shape[-2], reference.shape[-1])

    def _match_brightness(self, restored: Tensor, reference: Tensor) -> Tensor:
        if self.gtmean == "no":
            return restored
        mean = _MEAN[self.gtmean]
        have, want = mean(restored), mean(reference)
        if bool((have == 0).any()):
            raise ItemError("GT-mean is undefined: the restored image is black")
        return (restored * (want / have)[:, None, None, None]).clamp_(0, 1)

    def _one(self, image: Tensor, eight_bit: bool) -> Tensor:
        if self.rounding != "none" and not eight_bit:
            levels = image * 255
            image = (levels.round_() if self.rounding == "u8" else levels.floor_()) / 255
        if self.space != "rgb":
            if image.shape[1] != 3:
                raise ItemError(f"space {self.space!r} needs 3 channels, the image has {image.shape[1]}")
            image = _COLOUR[self.space](image)
        if self.crop:
            height, width = image.shape[-2:]
            if 2 * self.crop >= min(height, width):
                raise ItemError(f"a crop of {self.crop} leaves nothing of {width}×{height}")
            image = image[..., self.crop : height - self.crop, self.crop : width - self.crop]
        return image


def option_names() -> list[str]:
    """The view options that a suite or a protocol may set."""
    return [field.name for field in fields(View) if field.name != "unverified"]


def settings(view: View) -> dict[str, Any]:
    """A view's fields as plain data."""
    return {field.name: getattr(view, field.name) for field in fields(view)}


def _bgr(image: Tensor) -> Tensor:
    return image.flip(1)


def _weighted(image: Tensor, weights: tuple[float, float, float]) -> Tensor:
    red, green, blue = weights
    return image[:, 0:1] * red + image[:, 1:2] * green + image[:, 2:3] * blue


def _studio_luma(image: Tensor) -> Tensor:
    return (_weighted(image, (65.481, 128.553, 24.966)) + 16.0) / 255.0


def _gray(image: Tensor) -> Tensor:
    return _weighted(image, (0.299, 0.587, 0.114))


def _yiq_luma(image: Tensor) -> Tensor:
    """pyiqa's luma, which it divides by 255 in float32; see `levels.fused_luma`."""
    import numpy as np
    import torch

    from bench.metrics.levels import fused_luma

    planes = image.detach().cpu().numpy()
    luma = np.empty((len(planes), 1, *planes.shape[2:]))
    for pixels, out in zip(planes, luma[:, 0], strict=True):
        for top in range(0, len(out), 32):  # a few rows at a time stay in the cache
            out[top : top + 32] = fused_luma(pixels[:, top : top + 32].astype(np.float32)) / np.float32(255)
    return torch.from_numpy(luma).to(image.device)


def _levels(image: Tensor) -> np.ndarray:
    """8-bit levels [B,3,H,W] as int32."""
    import numpy as np

    return np.rint(image.detach().cpu().numpy() * 255).astype(np.int32)


def _gray_levels(levels: np.ndarray, order: tuple[int, int, int]) -> np.ndarray:
    """OpenCV's 8-bit gray (BT.601 weights in 15-bit fixed point) of the channels taken in that order."""
    red, green, blue = (levels[:, channel] for channel in order)
    return (9798 * red + 19235 * green + 3735 * blue + (1 << 14)) >> 15


def _pillow_levels(levels: np.ndarray) -> np.ndarray:
    """Pillow's convert("L") of int32 [B,3,H,W]."""
    red, green, blue = levels.transpose(1, 0, 2, 3)
    gray: np.ndarray = (19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16
    return gray


def _gray_u8(image: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(_pillow_levels(_levels(image))[:, None] / 255.0).to(image.device)


def _gray_u8_swapped(image: Tensor) -> Tensor:
    import torch

    gray = _gray_levels(_levels(image), (2, 1, 0))[:, None]
    return torch.from_numpy(gray / 255.0).to(image.device)


def _mean_gray_u8(image: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(_gray_levels(_levels(image), (0, 1, 2)).mean(axis=(1, 2))).to(image.device)


def _mean_gray_float(image: Tensor, weights: tuple[float, float, float] = (0.299, 0.587, 0.114)) -> Tensor:
    import torch

    planes = image.detach().cpu().numpy()
    gray = weights[0] * planes[:, 0] + weights[1] * planes[:, 1] + weights[2] * planes[:, 2]
    return torch.from_numpy(gray.mean(axis=(1, 2))).to(image.device)


def _mean_gray_swapped(image: Tensor) -> Tensor:
    return _mean_gray_float(image, (0.114, 0.587, 0.299))


def _pil_bicubic(image: Tensor, height: int, width: int) -> Tensor:
    import numpy as np
    from PIL import Image

    return _eight_bit(
        image,
        lambda levels: np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)),
    )


def _pil_bilinear(image: Tensor, height: int, width: int) -> Tensor:
    import numpy as np
    from PIL import Image

    return _eight_bit(
        image,
        lambda levels: np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR)),
    )


def _cv2_linear(image: Tensor, height: int, width: int) -> Tensor:
    import cv2

    return _eight_bit(image, lambda levels: cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR))


def _eight_bit(image: Tensor, resize: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Each image as 8-bit levels [H,W,3] through `resize`, and back to [0,1]."""
    import numpy as np
    import torch

    levels = _levels(image).astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = np.stack([resize(np.ascontiguousarray(one)) for one in levels]).transpose(0, 3, 1, 2) / 255.0
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(image.device)


def _torch_corners(image: Tensor, height: int, width: int) -> Tensor:
    import torch.nn.functional as F

    return F.interpolate(image, size=(height, width), mode="bilinear", align_corners=True)


def _matlab_x4(image: Tensor, height: int, width: int) -> Tensor:
    import numpy as np
    import torch

    from bench.metrics.primitives.matlab import imresize

    if (height, width) != (4 * image.shape[-2], 4 * image.shape[-1]):
        have = f"{image.shape[-1]}×{image.shape[-2]}"
        raise ItemError(f"restored is {have}, reference is {width}×{height}; only a quarter of it is enlarged")
    planes = image.detach().cpu().numpy()
    enlarged = np.stack([[imresize(plane, 4.0) for plane in planes_of] for planes_of in planes])
    return torch.from_numpy(enlarged.clip(0, 1)).to(image.device)


_OF_FLOATS = ("torch-corners", "matlab-x4")
"""Rules whose images lie on no grid of 8 bits."""
_RESIZED = {
    "pil-bicubic": _pil_bicubic,
    "pil-bilinear": _pil_bilinear,
    "cv2-linear": _cv2_linear,
    "torch-corners": _torch_corners,
    "matlab-x4": _matlab_x4,
}
_MEAN = {"gray": _mean_gray_u8, "gray-float": _mean_gray_float, "gray-swapped": _mean_gray_swapped}
_COLOUR = {
    "bgr": _bgr,
    "y": _studio_luma,
    "yiq": _yiq_luma,
    "gray": _gray,
    "gray-u8": _gray_u8,
    "gray-u8-swapped": _gray_u8_swapped,
}


def _whole(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] → int32 [1,3,H,W]."""
    import numpy as np

    return image.transpose(2, 0, 1)[None].astype(np.int32)


def _yiq_levels(image: np.ndarray) -> np.ndarray:
    from bench.metrics.levels import yiq_luma

    return yiq_luma(image)[None]


def _planes(image: np.ndarray) -> np.ndarray:
    """uint8 [H,W,3] → uint8 [3,H,W]."""
    import cv2
    import numpy as np

    planes = np.empty((3, *image.shape[:2]), dtype=np.uint8)
    cv2.split(image, list(planes))
    return planes


_LEVELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rgb": _planes,
    "bgr": lambda image: _planes(image)[::-1],
    "yiq": _yiq_levels,
    "gray-u8": lambda image: _pillow_levels(_whole(image)).astype("uint8"),
    "gray-u8-swapped": lambda image: _gray_levels(_whole(image), (2, 1, 0)).astype("uint8"),
}
"""Spaces that leave 8-bit pixels on their levels: uint8 RGB [H,W,3] → uint8 [C,H,W]."""

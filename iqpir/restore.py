"""From images of any size to restored images: fitting to the network's size, gray photographs, range and dtype.

The network is trained on squares of one size in [-1,1]. What becomes of other sizes is a choice that is named
(`FITS`), never made silently, and never a crop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from iqpir.errors import IQPIRError

if TYPE_CHECKING:
    from iqpir.network.fast.optimized import OptimizedIQPIR
    from iqpir.network.model import IQPIR, Score
    from iqpir.network.photo import OptimizedPhoto, PhotoIQPIR

Fit = Literal["resize", "square", "tile", "native", "exact"]
FITS: dict[str, str] = {
    "resize": "squeezed to the network's square by bilinear interpolation, and the result brought back to the input's "
    "size by bicubic: nothing is cut off",
    "square": "squeezed likewise, and the square returned as it is: what the authors do with aligned faces",
    "tile": "squares of the network's size that overlap and are blended; a smaller image is extended by reflection",
    "native": "restored at its own size, extended by reflection to what the network's strides divide, and cut back: "
    "positions and score maps are stretched over it",
    "exact": "any other size is refused",
}
"""What becomes of an image that is not the network's square."""

_LUMA = (0.2989, 0.5870, 0.1140)
_DIFFERENCES = ((0, 1), (1, 2), (2, 0))
_GRAY_VARIANCE = 10.0
_EPSILON = 1e-5


@dataclass(frozen=True)
class Options:
    """How to restore."""

    score: float | tuple[float, ...] = 0.9
    """The quality asked for, in [0,1]; one number per IQA model for a network with several."""
    fidelity: float = 0.0
    """≥ 0; how far the generator is bent towards the input's features (w)."""
    adain: bool = True
    """Give the looked-up latent the statistics of the input's, as the authors do when they restore."""
    fit: Fit = "resize"
    """One of `FITS`."""
    overlap: int = 64
    """Pixels that neighbouring tiles share."""
    gray: bool = True
    """A gray photograph stays gray, with the brightness and contrast it had: the authors' rule."""

    def __post_init__(self) -> None:
        from iqpir.errors import suggest

        if self.fit not in FITS:
            raise IQPIRError(f"fit is {self.fit!r}, not one of {', '.join(FITS)}{suggest(str(self.fit), FITS)}")
        if not self.fidelity >= 0:
            raise IQPIRError(f"fidelity is {self.fidelity}; it must be 0 or more")
        scores = self.score if isinstance(self.score, tuple) else (self.score,)
        if not scores or not all(0 <= score <= 1 for score in scores):
            raise IQPIRError(f"the score is {self.score}; it must lie in 0 … 1")
        if self.overlap < 0:
            raise IQPIRError(f"the overlap is {self.overlap}; it must be 0 or more pixels")


class Restorer:
    """A network with the way it is used: images [B,3,H,W] in [0,1] → restored images in [0,1].

    `network` may also be the fast plan made from one, `net.optimize(…)`.
    """

    def __init__(self, network: IQPIR | OptimizedIQPIR, options: Options = Options()) -> None:
        self.network = network
        self.options = options
        self.side = network.config.image_size
        if options.fit == "tile" and options.overlap >= self.side:
            raise IQPIRError(f"the overlap is {options.overlap}; it must be less than a tile, {self.side} pixels")

    @torch.inference_mode()
    def restore(self, images: Tensor) -> Tensor:
        """float [B,3,H,W] in [0,1] → float32 in [0,1], [B,3,H,W], or squares of the network's size with fit `square`.

        Each image is treated alone: a batch gives what its members give. Raises `IQPIRError` for another shape, or a
        size that `exact` refuses.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise IQPIRError(f"images of shape {tuple(images.shape)}; they must be [B,3,H,W]")
        images = images.float()
        height, width = images.shape[-2:]
        square = (self.side, self.side)
        if (height, width) == square:
            restored = self._squares(images)
        elif self.options.fit == "exact":
            raise IQPIRError(f"{width}×{height} pixels; this network takes {self.side}×{self.side} (fit exact)")
        elif self.options.fit == "native":
            restored = self._native(images)
        elif self.options.fit == "tile":
            restored = _tiled(self._squares, images, self.side, self.options.overlap)
        else:
            squeezed = interpolate(images, square, mode="bilinear", align_corners=False)
            restored = self._squares(squeezed)
            if self.options.fit == "square":
                images = squeezed
            else:
                restored = interpolate(restored, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)
        return _keep_gray(restored, images) if self.options.gray else restored

    def _native(self, images: Tensor) -> Tensor:
        """At the images' own size, which no network of this kind is trained on."""
        from iqpir.network.conditioning import LEAST_GRID

        height, width = images.shape[-2:]
        step = self.network.config.downsampling
        rows, columns = (max(LEAST_GRID, -(-length // step)) * step for length in (height, width))
        return self._squares(_extended(images, rows, columns), any_size=True)[..., :height, :width]

    def _squares(self, images: Tensor, any_size: bool = False) -> Tensor:
        score = self._score(len(images))
        given = images * 2 - 1
        if isinstance(self.network, torch.nn.Module):  # a plan moves and casts by itself
            like = next(iter(self.network.parameters()))
            given = given.to(like.device, like.dtype)
        sizes = {"any_size": True} if any_size else {}
        found = self.network(given, score, fidelity=self.options.fidelity, adain=self.options.adain, **sizes)
        return ((found.image.float().clamp(-1, 1) + 1) / 2).to(images.device)

    def _score(self, batch: int) -> Score | None:
        config = self.network.config
        if config.conditioning == "none":
            return None
        score = self.options.score
        if config.conditioning == "add-list":
            scores = score if isinstance(score, tuple) else (score,) * len(config.bins)
            return [torch.full((batch,), one, dtype=torch.float64) for one in scores]
        if isinstance(score, tuple):
            if len(score) > 1:
                raise IQPIRError(f"{len(score)} scores were given, and this network takes one")
            (score,) = score
        return torch.full((batch,), score, dtype=torch.float64)


class PhotoRestorer:
    """A network for photographs with the way it is used: images [B,3,H,W] in [0,1] of any size → restored images."""

    USUAL: ClassVar[dict[str, Any]] = {"fidelity": 1.0, "adain": False, "fit": "native"}
    """Options that differ from those of `Options`."""

    def __init__(self, network: PhotoIQPIR | OptimizedPhoto, options: Options | None = None) -> None:
        """Raises `IQPIRError` for options that such a network cannot have."""
        self.network = network
        self.options = options or Options(**self.USUAL)
        if self.options.fit != "native":
            raise IQPIRError(f"fit is {self.options.fit!r}; a network for photographs takes any size as it is: native")
        if isinstance(self.options.score, tuple):
            raise IQPIRError(f"{len(self.options.score)} scores were given, and this network takes one")

    def restore(self, images: Tensor) -> Tensor:
        """float [B,3,H,W] in [0,1] → float32 in [0,1] of the same shape; each image is treated alone."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise IQPIRError(f"images of shape {tuple(images.shape)}; they must be [B,3,H,W]")
        images = images.float()
        score = self.options.score
        assert not isinstance(score, tuple)
        made = [self.network.restore(each[None], score, self.options.fidelity) for each in images]
        restored = made[0] if len(made) == 1 else torch.cat(made)
        return gray_only(restored, images) if self.options.gray else restored


def restorer(network: IQPIR | PhotoIQPIR, options: Mapping[str, Any], device: str, dtype: str) -> AnyRestorer:
    """A network with the way it is used, as fast as it goes. `options`: those of `Options` that were asked for.

    `dtype`: "float32", "bfloat16" or "float16". Raises `IQPIRError`.
    """
    target = getattr(torch, dtype)
    if isinstance(network, torch.nn.Module) and network.for_photographs:
        photo = cast("PhotoIQPIR", network)
        return PhotoRestorer(photo.optimize(target, device), Options(**{**PhotoRestorer.USUAL, **options}))
    plain = cast("IQPIR", network)
    if target == torch.float16:  # plans are made for the others
        return Restorer(plain.to(device, target), Options(**options))
    return Restorer(plain.optimize(dtype=target, device=device), Options(**options))


def without_effect(network: IQPIR | PhotoIQPIR, asked: Mapping[str, Any]) -> tuple[str, str] | None:
    """An option that this network cannot follow, and what the network is; None where it follows all of them.

    `asked`: values by name, None or absent where nobody has asked.
    """
    if network.for_photographs:
        return ("adain", "a network for photographs") if asked.get("adain") else None
    config = cast("IQPIR", network).config
    if asked.get("score") is not None and config.conditioning == "none":
        return "score", "which is not conditioned on quality"
    if asked.get("alpha") is not None and not config.hq_codebook:
        return "alpha", "which has one codebook"
    if asked.get("fidelity") and not config.connect:
        return "fidelity", "which has no fidelity blocks"
    return None


AnyRestorer: TypeAlias = "Restorer | PhotoRestorer"


def gray_only(restored: Tensor, images: Tensor) -> Tensor:
    """Where the input is gray, and not of one tint: the output's luma. Its brightness is what was to be restored, so
    that is not kept."""
    kept = torch.tensor([is_gray(each) and not is_tinted(each) for each in images], device=restored.device)
    if not bool(kept.any()):
        return restored
    weights = torch.tensor(_LUMA, device=restored.device)[:, None, None]
    gray = (restored * weights).sum(dim=1, keepdim=True).expand_as(restored)
    return torch.where(kept[:, None, None, None], gray, restored)


def is_gray(image: Tensor) -> bool:
    """Whether [3,H,W] in [0,1] is a gray photograph: the variances of the three differences of channels, on the scale
    of 255, are 10 or less on average."""
    variances = [(255 * (image[one].double() - image[other])).var(correction=0) for one, other in _DIFFERENCES]
    return bool(sum(variances) / 3 <= _GRAY_VARIANCE)  # one at a time: an image of 24 megapixels takes 200 MB each


def is_tinted(image: Tensor) -> bool:
    """Whether [3,H,W] in [0,1] has a colour on average: means of two channels that differ by more than the deviation
    that `is_gray` allows. A wall of one colour, or a gray print on yellow paper, has no variance in its differences."""
    red, green, blue = (255 * image.double().mean(dim=(1, 2))).tolist()
    return bool(max(red, green, blue) - min(red, green, blue) > _GRAY_VARIANCE**0.5)


def _keep_gray(restored: Tensor, images: Tensor) -> Tensor:
    """Where the input is gray: the output's luma, with the input's mean and deviation per channel, on 0 … 255."""
    kept = []
    for output, given in zip(restored, images, strict=True):
        if is_gray(given):
            weights = torch.tensor(_LUMA, dtype=output.dtype, device=output.device)
            luma = (output * weights[:, None, None]).sum(dim=0, keepdim=True).expand_as(output) * 255
            target = given * 255
            spread, mean = _statistics(luma)
            wanted_spread, wanted_mean = _statistics(target)
            output = (((luma - mean) / spread * wanted_spread + wanted_mean) / 255).clamp(0, 1)
        kept.append(output)
    return torch.stack(kept)


def _statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(image, dim=(1, 2), correction=0, keepdim=True)
    return (variance + _EPSILON).sqrt(), mean


def _tiled(restore: Callable[[Tensor], Tensor], images: Tensor, side: int, overlap: int) -> Tensor:
    """`restore` on overlapping squares, blended by linear ramps; images smaller than a square are extended first."""
    height, width = images.shape[-2:]
    images = _extended(images, max(height, side), max(width, side))
    total, weight = torch.zeros_like(images), images.new_zeros(images.shape[-2:])
    window = torch.outer(_ramp(side, overlap), _ramp(side, overlap)).to(images)
    for top in _starts(images.shape[-2], side, overlap):
        for left in _starts(images.shape[-1], side, overlap):
            place = (..., slice(top, top + side), slice(left, left + side))
            total[place] += restore(images[place]) * window
            weight[place] += window
    return (total / weight)[..., :height, :width]


def _extended(images: Tensor, height: int, width: int) -> Tensor:
    """Grown at the bottom and on the right by reflection, again and again where the image is very small."""
    while images.shape[-2:] != (height, width):
        bottom = min(height - images.shape[-2], images.shape[-2] - 1)
        right = min(width - images.shape[-1], images.shape[-1] - 1)
        if bottom == right == 0:  # a single row or column has nothing to reflect
            return pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]), mode="replicate")
        images = pad(images, (0, right, 0, bottom), mode="reflect")
    return images


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Where squares begin along an axis, evenly spaced, sharing `overlap` pixels or more."""
    if length <= side:
        return [0]
    count = -(-(length - overlap) // (side - overlap))
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _ramp(side: int, overlap: int) -> Tensor:
    """[side] weights: rising over the overlap, 1 between, falling; never zero, so that borders keep their pixels."""
    rise = ((torch.arange(side) + 1) / (overlap + 1)).clamp(max=1)
    return torch.minimum(rise, rise.flip(0))

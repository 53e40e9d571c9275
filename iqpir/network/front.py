"""The front end of a restorer of photographs: exposure, curve and colour of the whole image, from a thumbnail of it.

Most of what is wrong with a dark or submerged photograph is one curve per channel, and that differs over the image
slowly. The thumbnail is metered as a camera would; how much of that exposure an image needs, and what its curve adds to
it, is learned, as is a coarse grid of affine colour changes that is looked up by place and brightness (the bilateral
grid of Gharbi et al., "Deep bilateral learning for real-time image enhancement", SIGGRAPH 2017). All is applied to
each pixel alone, so at any size, and in tiles as in one piece.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

THUMBNAIL = 64
"""Side of what the front end sees, pixels."""
GRID = 8
"""Cells of the colour grid along each side, and in brightness."""
_HISTOGRAM = 16
METERED = 0.44
"""Mean pixel value that a camera exposes for, of an image in [0,1]; of well exposed photographs 0.4 to 0.48."""
_LIMITS = (-2.0, 8.0)
"""Stops that metering may change an image by."""
_METERED_SIDE = 48
"""Rows and columns whose crossings are metered. Means of areas have lost the shadows and lights within them, and the
curve bends: of noisy photographs in the dark they gave 0.426 where 0.44 was meant."""
_DARK = 2.1
"""Stops; a picture that metering would brighten by more is one that was taken too dark. Of 76 real ones the least dark
has 2.4; pictures against the light have up to 1.8, those under water up to 1.3."""
_STRENGTH_AT_FIRST = 1.0
"""A new network does most of its grade: the sigmoid of this, of a picture that is not dark."""
_SHARE = 1.2
"""A network may take so much of the exposure that is metered, at most."""
_SHARE_AT_FIRST = 1.6
"""With this, a new network takes it all: 1.2 times the sigmoid."""
_GRID_SCALE = 0.25
"""A grid that learned as fast as the curve would do the curve's work, in pixel values rather than in light."""


class Grade(NamedTuple):
    """What is to be done to an image's light and colour; of a batch of B images."""

    gain: Tensor
    """[B,3]: stops that each channel is brightened by."""
    gamma: Tensor
    """[B,3]: exponent on sRGB values."""
    offset: Tensor
    """[B,3]: linear light that is taken off first."""
    rolloff: Tensor
    """[B,1] in [0,1]: share of a curve that bends highlights where the other breaks them off."""
    strength: Tensor
    """[B,1] in [0,1]: how much of all this is done; 0 leaves the image as it is."""
    grid: Tensor
    """[B,12,D,h,w]: affine changes of colour, in cells of brightness and place; zero changes nothing."""


def to_linear(image: Tensor) -> Tensor:
    """sRGB in [0,1] → linear light (IEC 61966-2-1)."""
    return torch.where(image <= 0.04045, image / 12.92, ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """Linear light in [0,1] → sRGB (IEC 61966-2-1)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


class FrontEnd(nn.Module):
    """Images [B,3,H,W] in [0,1] and what the score says [B,C] → their `Grade`. A new one exposes as `metered` says."""

    def __init__(self, width: int, score_width: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(6, width, 3, padding=1),
                nn.Conv2d(width, width, 3, stride=2, padding=1),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            ]
        )
        told = 3 * _HISTOGRAM + score_width + 1
        self.whole = nn.Sequential(nn.Linear(told, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width), nn.SiLU())
        self.curve = nn.Linear(4 * width, 12)
        self.levels = nn.Linear(4 * width, 12 * GRID)
        self.local = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.spread = nn.Linear(4 * width, 2 * width)
        self.cells = nn.Conv2d(2 * width, 12 * GRID, 1)
        self.kept = nn.Parameter(torch.tensor(0.8))  # of the stops that a picture lacks, at the least score
        for head in (self.curve, self.levels, self.cells):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, image: Tensor, score: Tensor) -> Grade:
        thumbnail = F.interpolate(image, (THUMBNAIL, THUMBNAIL), mode="area")
        light = torch.log2(to_linear(thumbnail) + 2.0**-10) / 10 + 0.5
        features = torch.cat([thumbnail - 0.5, light], dim=1)
        for layer in self.convolutions:
            features = F.silu(layer(features))
        pixels = _sampled(image)
        first = metered(pixels)
        # Of the whole image, histograms alone: textures of generated images are not those of photographs.
        whole = self.whole(torch.cat([_histograms(light), score, first / 5], dim=1))
        raw = self.curve(whole)
        joint = F.silu(self.local(features) + self.spread(whole)[:, :, None, None])
        # A picture that is stops too dark is to be exposed anew, and nothing else: real ones are nearly one curve, and
        # a grid costs them 0.5 to 0.8 dB.
        # Of one that is nearly right it is learned how much of the exposure it needs, and what becomes of its colours.
        dark = torch.sigmoid(4 * (first - _DARK))
        levels = _GRID_SCALE * self.levels(whole).unflatten(1, (12, GRID))[..., None, None]
        cells = _GRID_SCALE * self.cells(joint).unflatten(1, (12, GRID))
        grade = Grade(
            gain=raw[:, 0:3],
            gamma=torch.exp(0.5 * raw[:, 3:6]),
            offset=0.01 * _positive(raw[:, 6:9]),  # light put back would lift every shadow: 0.8 dB
            rolloff=torch.sigmoid(raw[:, 9:10]),
            strength=dark + (1 - dark) * torch.sigmoid(raw[:, 11:12] + _STRENGTH_AT_FIRST),
            grid=(levels + cells) * (1 - dark)[:, :, None, None, None],
        )
        share = dark + (1 - dark) * _SHARE * torch.sigmoid(raw[:, 10:11] + _SHARE_AT_FIRST)
        share = share * (1 - self.kept * score[:, :1])
        return grade._replace(gain=share * _followed(metered(pixels, grade), pixels, grade) + grade.gain)


def _positive(raw: Tensor) -> Tensor:
    """max(0, raw), with a gradient below zero that leads back."""
    below = 0.05 * raw.clamp(max=0)
    return F.relu(raw) + below - below.detach()


def _sampled(image: Tensor) -> Tensor:
    """[B,3,H,W] → the pixels at crossings of at most `_METERED_SIDE` rows and columns."""
    size = [min(length, _METERED_SIDE) for length in image.shape[-2:]]
    return F.interpolate(image, size, mode="nearest-exact")


def _followed(stops: Tensor, image: Tensor, grade: Grade) -> Tensor:
    """The very same stops, with the gradient that halving has none of: they change as the mean has to stay.

    Of mean(stops, grade) = const follows d stops = −(∂mean/∂grade) / (∂mean/∂stops) · d grade.
    """
    if not torch.is_grad_enabled():
        return stops
    step = 0.05
    mean = _mean(image, grade, stops)
    with torch.no_grad():
        slope = ((_mean(image, grade, stops + step) - mean) / step).clamp_min(0.02)
    return stops - (mean - mean.detach()) / slope


def _mean(image: Tensor, grade: Grade, stops: Tensor) -> Tensor:
    """[B,1]: mean pixel value of what a grade and further stops make of an image."""
    changed = grade._replace(gain=grade.gain + stops, strength=torch.ones_like(grade.strength))
    return apply(image, changed).mean(dim=(1, 2, 3))[:, None]


@torch.no_grad()
def metered(image: Tensor, grade: Grade | None = None) -> Tensor:
    """[B,3,H,W] in [0,1] → [B,1]: stops by which light must change for the mean pixel value to be `METERED`.

    `grade`: what is done to the image beside these stops; none: it is clipped. Found by halving `_LIMITS`; a black
    image gets the upper end. No gradient passes it.
    """
    light = to_linear(image)
    low, high = (torch.full((len(image), 1), each, device=image.device, dtype=image.dtype) for each in _LIMITS)
    for _ in range(12):
        middle = (low + high) / 2
        if grade is None:
            clipped = to_srgb((light * torch.exp2(middle)[:, :, None, None]).clamp(max=1))
            mean = clipped.mean(dim=(1, 2, 3))[:, None]
        else:
            mean = _mean(image, grade, middle)
        low, high = torch.where(mean < METERED, middle, low), torch.where(mean < METERED, high, middle)
    return (low + high) / 2


def _histograms(light: Tensor) -> Tensor:
    """Images about [-0.5,0.5] → [B,3·N]: shares of pixels per channel and level, levels blending linearly."""
    levels = torch.linspace(-0.5, 0.5, _HISTOGRAM, device=light.device, dtype=light.dtype)
    near = 1 - (light.flatten(2)[:, :, None, :] - levels[None, None, :, None]).abs() * (_HISTOGRAM - 1)
    return near.clamp_min(0).mean(dim=3).flatten(1)


def apply(image: Tensor, grade: Grade, place: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """All of a grade: [B,3,H,W] in [0,1] → the same. `place`: see `recolour`; none: these are whole images."""
    if place is None:
        place = (places(image.shape[-2], device=image.device), places(image.shape[-1], device=image.device))
    changed = recolour(expose(image, grade), grade, place).clamp(0, 1)
    return image + grade.strength[:, :, None, None] * (changed - image)


def expose(image: Tensor, grade: Grade) -> Tensor:
    """The curve alone: [B,3,H,W] in [0,1] → the same."""

    def each(values: Tensor) -> Tensor:
        return values[:, :, None, None]

    light = (to_linear(image) - each(grade.offset)).clamp_min(0) * torch.exp2(each(grade.gain))
    bend = each(grade.rolloff)
    light = (1 - bend) * light.clamp(max=1) + bend * light / (1 + light)
    return to_srgb(light.clamp_min(1e-6)) ** each(grade.gamma)


def recolour(image: Tensor, grade: Grade, place: tuple[Tensor, Tensor]) -> Tensor:
    """The grid's affine change at each pixel's place and brightness: [B,3,H,W] → the same, not clamped.

    `place`: rows [H] and columns [W] of the pixels in the whole image, from −1 to 1 between its edges.
    """
    rows, columns = place
    brightness = image.mean(dim=1).clamp(0, 1) * 2 - 1
    shape = brightness.shape
    where = torch.stack([columns[None, None, :].expand(shape), rows[None, :, None].expand(shape), brightness], dim=3)
    found = F.grid_sample(grade.grid, where[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    changes = found.unflatten(1, (3, 4))
    return image + (changes[:, :, :3] * image[:, None]).sum(dim=2) + changes[:, :, 3]


def places(length: int, *, of: int | None = None, start: int = 0, device: torch.device | None = None) -> Tensor:
    """Centres of the pixels `start` … `start` + `length` of an axis that has `of` (default: `length`), −1 to 1."""
    at = torch.arange(start, start + length, device=device, dtype=torch.float32)
    return (2 * at + 1) / (of or length) - 1

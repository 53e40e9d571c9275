"""What the fast restorer computes with: fused norm–swish–convolution, on the CPU by bands of rows, else on whole maps.

Maps are contiguous [N,H,W,C] ("channels last"). On the CPU most of a plain network's time outside the convolutions goes
to memory: to traffic, and even more to fresh pages for every large result. So one image is taken at a time, a map is
normalised, activated and convolved in bands that stay in the cache, the statistics that the next norm needs are taken
from each band as it is written, and large maps live in memory that is used again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Kind = Literal["same", "point", "down", "up"]

BAND_ELEMENTS = 2**21
"""Elements of a band: few enough for a last-level cache, enough to keep the cores busy between two calls."""


class Norm(NamedTuple):
    """A GroupNorm; its numbers stay in float32."""

    weight: Tensor
    bias: Tensor
    groups: int
    eps: float


@dataclass(frozen=True)
class Conv:
    """A convolution of one of the network's four kinds, and what comes before it.

    `same`: 3×3. `point`: 1×1. `down`: 3×3 with stride 2, padded right and below. `up`: nearest ×2, then 3×3, folded
    into one transposed 4×4 convolution with stride 2; see `fold_upsampling`.
    """

    kind: Kind
    weight: Tensor
    bias: Tensor
    norm: Norm | None = None
    silu: bool = False
    out: torch.dtype = torch.float32
    """What the result is kept in: float32 on the residual stream, where roundings would add up."""

    @property
    def channels(self) -> int:
        return len(self.bias)


def plan_norm(norm: nn.GroupNorm, device: torch.device) -> Norm:
    weight, bias = (part.detach().to(device, torch.float32, copy=True) for part in (norm.weight, norm.bias))
    return Norm(weight, bias, norm.num_groups, norm.eps)


def plan_conv(
    conv: nn.Conv2d,
    dtype: torch.dtype,
    device: torch.device,
    kind: Kind = "same",
    norm: nn.GroupNorm | None = None,
    silu: bool = False,
    out: torch.dtype = torch.float32,
) -> Conv:
    """A copy of the weights as `convolve` wants them."""
    weight = fold_upsampling(conv.weight.detach()) if kind == "up" else conv.weight.detach()
    weight = weight.to(device, dtype, copy=True).contiguous(memory_format=torch.channels_last)
    bias = conv.bias.detach().to(device, dtype, copy=True)
    return Conv(kind, weight, bias, None if norm is None else plan_norm(norm, device), silu, out)


_FOLD = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Tap of the transposed 4-kernel × tap of the 3-kernel: which taps meet the same pixel before upsampling."""


def fold_upsampling(weight: Tensor) -> Tensor:
    """[O,I,3,3] after nearest ×2 → [I,O,4,4] of a transposed convolution with stride 2 and padding 1.

    Each output pixel meets 2×2 input pixels, whichever of the four parities it has: four 2×2 convolutions, 4/9 of the
    work. Exact but for rounding; the taps are summed in float64.
    """
    fold = torch.tensor(_FOLD, dtype=torch.float64, device=weight.device)
    return torch.einsum("ta,sb,oiab->iots", fold, fold, weight.double())


def nchw(x: Tensor) -> Tensor:
    """A contiguous [N,H,W,C] as the [N,C,H,W] that torch's convolutions take, without a copy."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def convolve(t: Tensor, conv: Conv, is_band: bool = False) -> Tensor:
    """[N,H,W,C] → [N,H',W',C']. A band brings the rows above and below it; for `down`, the padding is there already."""
    t = nchw(t.to(conv.weight.dtype))
    match conv.kind:
        case "same":
            y = F.conv2d(t, conv.weight, conv.bias, padding=(0 if is_band else 1, 1))
        case "point":
            y = F.conv2d(t, conv.weight, conv.bias)
        case "down":
            y = F.conv2d(t, conv.weight, conv.bias, stride=2)
        case "up":
            # Two rows come of each row that a band brings beside its own: they are cut off.
            y = F.conv_transpose2d(t, conv.weight, conv.bias, stride=2, padding=(3 if is_band else 1, 1))
    return nhwc(y)


class Map(NamedTuple):
    """A feature map [N,H,W,C] and, where the engine wants them, mean and variance of its channels, float32 [C]."""

    tensor: Tensor
    mean: Tensor | None = None
    variance: Tensor | None = None


class WholeMaps:
    """Whole maps of whole batches: for accelerators, and for `torch.compile`, which fuses the norms itself."""

    def __init__(self, fused: bool) -> None:
        self.fused = fused
        """Norms by the Triton kernels, else by torch's operations."""

    def map(self, tensor: Tensor) -> Map:
        return Map(tensor)

    def give(self, *maps: Map) -> None:
        """The maps are not needed any more."""

    def normalise(self, x: Map, norm: Norm, silu: bool, dtype: torch.dtype) -> Tensor:
        if self.fused:
            from iqpir.network.fast.triton_norm import group_norm

            return group_norm(x.tensor, norm.weight, norm.bias, norm.groups, norm.eps, silu, dtype)
        return group_norm_silu(x.tensor, norm, silu).to(dtype)

    def conv(self, x: Map, conv: Conv, add_to: Map | None = None) -> Map:
        """Norm, activation, convolution; added to `add_to` in place if that is given."""
        t = x.tensor if conv.norm is None else self.normalise(x, conv.norm, conv.silu, conv.weight.dtype)
        y = convolve(F.pad(t, (0, 0, 0, 1, 0, 1)) if conv.kind == "down" else t, conv)
        return Map(y.to(conv.out) if add_to is None else add_to.tensor.add_(y))


def group_norm_silu(x: Tensor, norm: Norm, silu: bool) -> Tensor:
    """GroupNorm, and swish if wanted, of [N,H,W,C] in float32, as one affine map per channel."""
    batch, height, width, channels = x.shape
    wide = x.float()
    grouped = wide.view(batch, height * width, norm.groups, channels // norm.groups)
    variance, mean = torch.var_mean(grouped, dim=(1, 3), correction=0)
    each = channels // norm.groups
    scale = norm.weight * (variance + norm.eps).rsqrt().repeat_interleave(each, dim=1)
    shift = norm.bias - scale * mean.repeat_interleave(each, dim=1)
    y = torch.addcmul(shift[:, None, None], wide, scale[:, None, None])
    return F.silu(y) if silu else y


class _Moments:
    """Mean and variance of each channel over all bands: each band's own, taken two-pass, and merged."""

    def __init__(self, channels: int) -> None:
        self._unused = torch.zeros(channels), torch.ones(channels)  # float32, which makes the statistics float32
        self._parts: list[tuple[int, Tensor, Tensor]] = []

    def add(self, band: Tensor) -> None:
        """[1,R,W,C]."""
        mean, variance = torch.batch_norm_update_stats(nchw(band), *self._unused, 0.1)
        self._parts.append((band.shape[1] * band.shape[2], mean, variance))

    def merged(self) -> tuple[Tensor, Tensor]:
        if len(self._parts) == 1:
            return self._parts[0][1:]
        counts, means, variances = zip(*self._parts, strict=True)
        shares = torch.tensor(counts)[:, None] / sum(counts)
        each = torch.stack(means)
        mean = (shares * each).sum(dim=0)
        return mean, (shares * (torch.stack(variances) + (each - mean).square())).sum(dim=0)


class Bands:
    """One image at a time, in bands of rows: for the CPU. Results lie in memory that later results use again."""

    def __init__(self, elements: int = BAND_ELEMENTS) -> None:
        self.elements = elements
        self._free: list[Tensor] = []

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor, in freed memory if some is large enough."""
        size = math.prod(shape) * dtype.itemsize
        fitting = [index for index, memory in enumerate(self._free) if len(memory) >= size]
        if fitting:
            memory = self._free.pop(min(fitting, key=lambda index: len(self._free[index])))
        else:
            if self._free:  # a larger one takes the place of the largest that is too small
                del self._free[max(range(len(self._free)), key=lambda index: len(self._free[index]))]
            memory = torch.empty(size, dtype=torch.uint8)
        return memory[:size].view(dtype).view(shape)

    def give(self, *maps: Map) -> None:
        """The maps are not needed any more: their memory is free for others."""
        for each in maps:
            storage = each.tensor.untyped_storage()
            self._free.append(torch.empty(0, dtype=torch.uint8).set_(storage))

    def release(self) -> None:
        self._free.clear()

    def map(self, tensor: Tensor) -> Map:
        moments = _Moments(tensor.shape[3])
        moments.add(tensor)
        return Map(tensor, *moments.merged())

    def normalise(self, x: Map, norm: Norm, silu: bool, dtype: torch.dtype) -> Tensor:
        return _affine(x.tensor, *_grouped(x, norm), norm, silu, dtype)

    def conv(self, x: Map, conv: Conv, add_to: Map | None = None) -> Map:
        """Norm, activation, convolution; added to `add_to` in place if that is given."""
        _, height, width, _ = x.tensor.shape
        if conv.kind == "up":
            height, width = 2 * height, 2 * width
        elif conv.kind == "down":
            height, width = height // 2, width // 2
        shape = (1, height, width, conv.channels)
        out = self.take(shape, conv.out) if add_to is None else add_to.tensor
        statistics = None if conv.norm is None else _grouped(x, conv.norm)
        moments = _Moments(conv.channels)
        widest = x.tensor[0, 0].numel() * x.tensor.shape[1] // height
        rows = max(2, self.elements // max(widest, out[0, 0].numel()) // 2 * 2)
        for start in range(0, height, rows):
            stop = min(start + rows, height)
            y = convolve(self._band(x.tensor, conv, statistics, start, stop), conv, is_band=True)
            band = out[:, start:stop]
            if add_to is None:
                band.copy_(y)
            else:
                band.add_(y.to(band.dtype))  # torch adds mixed dtypes ten times slower
            moments.add(band)
        return Map(out, *moments.merged())

    @staticmethod
    def _band(x: Tensor, conv: Conv, statistics: tuple[Tensor, Tensor] | None, start: int, stop: int) -> Tensor:
        """The rows that output rows `start` … `stop` need, ready for the convolution: zeros where the image ends."""
        first, last = {
            "same": (start - 1, stop + 1),
            "point": (start, stop),
            "down": (2 * start, 2 * stop + 1),
            "up": (start // 2 - 1, (stop + 1) // 2 + 1),
        }[conv.kind]
        above, below = max(-first, 0), max(last - x.shape[1], 0)
        t = x[:, first + above : last - below]
        if conv.norm is not None and statistics is not None:
            t = _affine(t, *statistics, conv.norm, conv.silu, conv.weight.dtype)
        right = int(conv.kind == "down")
        return F.pad(t, (0, 0, 0, right, above, below)) if above or below or right else t


def _grouped(x: Map, norm: Norm) -> tuple[Tensor, Tensor]:
    """The channels' statistics → those of the group of each channel, float32 [C]."""
    assert x.mean is not None and x.variance is not None
    means, variances = x.mean.view(norm.groups, -1), x.variance.view(norm.groups, -1)
    mean = means.mean(dim=1, keepdim=True)
    variance = (variances + (means - mean).square()).mean(dim=1, keepdim=True)
    return mean.expand_as(means).flatten(), variance.expand_as(means).flatten()


def _affine(x: Tensor, mean: Tensor, variance: Tensor, norm: Norm, silu: bool, dtype: torch.dtype) -> Tensor:
    y = F.batch_norm(
        nchw(x.float()), mean, variance, norm.weight, norm.bias, training=False, momentum=0.0, eps=norm.eps
    )
    return nhwc(F.silu(y, inplace=True) if silu else y).to(dtype)

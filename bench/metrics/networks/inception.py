"""Inception v3 as FID uses it: TensorFlow's network of 2015-12-05, with the names of its PyTorch port's checkpoint.

It differs from torchvision's in three places: average pools do not count their padding, the last block pools by
maximum, and nothing follows the global average. How pixels become its 299×299 input is not decided here. (Szegedy et
al., CVPR 2016; port: mseitzer/pytorch-fid.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIMENSIONS = 2048
SIDE = 299
"""Height and width of the input that the network was trained with."""

_Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, into: int, out: int, kernel: _Kernel, stride: int = 1, padding: _Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, their outputs concatenated. A branch is the names of its parts, applied one after another.

    A part is a convolution, a pool, or two convolutions (`a+b`) that see the same input and are concatenated.
    """

    def __init__(self, convolutions: Mapping[str, Conv], branches: str) -> None:
        super().__init__()
        for name, convolution in convolutions.items():
            self.add_module(name, convolution)
        self.branches = [branch.split() for branch in branches.split("|")]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._branch(x, parts) for parts in self.branches], 1)

    def _branch(self, x: Tensor, parts: list[str]) -> Tensor:
        for part in parts:
            if part == "average":
                x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            elif part == "maximum":
                x = F.max_pool2d(x, 3, 1, 1)
            elif part == "halve":
                x = F.max_pool2d(x, 3, 2)
            else:
                x = torch.cat([self.get_submodule(name)(x) for name in part.split("+")], 1)
        return x


def _wide(into: int, pooled: int) -> Mixed:
    """35×35: 1×1, 5×5 and double 3×3."""
    convolutions = {
        "branch1x1": Conv(into, 64, 1),
        "branch5x5_1": Conv(into, 48, 1),
        "branch5x5_2": Conv(48, 64, 5, padding=2),
        "branch3x3dbl_1": Conv(into, 64, 1),
        "branch3x3dbl_2": Conv(64, 96, 3, padding=1),
        "branch3x3dbl_3": Conv(96, 96, 3, padding=1),
        "branch_pool": Conv(into, pooled, 1),
    }
    return Mixed(
        convolutions,
        "branch1x1|branch5x5_1 branch5x5_2|branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3|average branch_pool",
    )


def _to_17(into: int) -> Mixed:
    """35×35 → 17×17."""
    convolutions = {
        "branch3x3": Conv(into, 384, 3, 2),
        "branch3x3dbl_1": Conv(into, 64, 1),
        "branch3x3dbl_2": Conv(64, 96, 3, padding=1),
        "branch3x3dbl_3": Conv(96, 96, 3, 2),
    }
    return Mixed(convolutions, "branch3x3|branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3|halve")


def _factored(width: int) -> Mixed:
    """17×17: 7×7 as 1×7 and 7×1, once and twice."""
    row: tuple[_Kernel, _Kernel] = (1, 7), (0, 3)
    column: tuple[_Kernel, _Kernel] = (7, 1), (3, 0)

    def conv(into: int, out: int, shape: tuple[_Kernel, _Kernel]) -> Conv:
        return Conv(into, out, shape[0], padding=shape[1])

    convolutions = {
        "branch1x1": Conv(768, 192, 1),
        "branch7x7_1": Conv(768, width, 1),
        "branch7x7_2": conv(width, width, row),
        "branch7x7_3": conv(width, 192, column),
        "branch7x7dbl_1": Conv(768, width, 1),
        "branch7x7dbl_2": conv(width, width, column),
        "branch7x7dbl_3": conv(width, width, row),
        "branch7x7dbl_4": conv(width, width, column),
        "branch7x7dbl_5": conv(width, 192, row),
        "branch_pool": Conv(768, 192, 1),
    }
    return Mixed(
        convolutions,
        "branch1x1|branch7x7_1 branch7x7_2 branch7x7_3|"
        "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5|average branch_pool",
    )


def _to_8(into: int) -> Mixed:
    """17×17 → 8×8."""
    convolutions = {
        "branch3x3_1": Conv(into, 192, 1),
        "branch3x3_2": Conv(192, 320, 3, 2),
        "branch7x7x3_1": Conv(into, 192, 1),
        "branch7x7x3_2": Conv(192, 192, (1, 7), padding=(0, 3)),
        "branch7x7x3_3": Conv(192, 192, (7, 1), padding=(3, 0)),
        "branch7x7x3_4": Conv(192, 192, 3, 2),
    }
    return Mixed(convolutions, "branch3x3_1 branch3x3_2|branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4|halve")


def _forked(into: int, pool: str) -> Mixed:
    """8×8: 3×3 as 1×3 beside 3×1."""
    convolutions = {
        "branch1x1": Conv(into, 320, 1),
        "branch3x3_1": Conv(into, 384, 1),
        "branch3x3_2a": Conv(384, 384, (1, 3), padding=(0, 1)),
        "branch3x3_2b": Conv(384, 384, (3, 1), padding=(1, 0)),
        "branch3x3dbl_1": Conv(into, 448, 1),
        "branch3x3dbl_2": Conv(448, 384, 3, padding=1),
        "branch3x3dbl_3a": Conv(384, 384, (1, 3), padding=(0, 1)),
        "branch3x3dbl_3b": Conv(384, 384, (3, 1), padding=(1, 0)),
        "branch_pool": Conv(into, 192, 1),
    }
    return Mixed(
        convolutions,
        "branch1x1|branch3x3_1 branch3x3_2a+branch3x3_2b|"
        f"branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a+branch3x3dbl_3b|{pool} branch_pool",
    )


class FidInception(nn.Module):
    """[B,3,299,299] in [-1,1] → [B,2048], the global average of the last block."""

    ignored_prefixes = ("fc.", "AuxLogits.")
    """The classifiers, which the checkpoint holds and FID does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.Mixed_5b = _wide(192, 32)
        self.Mixed_5c = _wide(256, 64)
        self.Mixed_5d = _wide(288, 64)
        self.Mixed_6a = _to_17(288)
        self.Mixed_6b = _factored(128)
        self.Mixed_6c = _factored(160)
        self.Mixed_6d = _factored(160)
        self.Mixed_6e = _factored(192)
        self.Mixed_7a = _to_8(768)
        self.Mixed_7b = _forked(1280, "average")
        self.Mixed_7c = _forked(2048, "maximum")

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, 2)
        for block in (
            self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d,
            self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c,
        ):  # fmt: skip
            x = block(x)
        return x.mean(dim=(2, 3))

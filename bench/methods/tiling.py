"""Restoring an image larger than memory allows, in overlapping tiles – only where the user asks for it.

Tiles change the output of any network that looks further than the overlap, so the choice is an option and part of the
method's identity; it is never taken silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along an axis: `overlap` shared with the one before, the last flush with the end.

    >>> starts(10, 4, 1)
    [0, 3, 6]
    >>> starts(11, 4, 1)
    [0, 3, 6, 7]
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} must be at least 0 and less than the tile {tile}")
    if length <= tile:
        return [0]
    step = tile - overlap
    return [*range(0, length - tile, step), length - tile]


def ramp(length: int, overlap: int, first: bool, last: bool) -> list[float]:
    """Weight of each pixel of a tile along an axis: rising over the overlap, flat, falling – never zero.

    The image's own borders (`first`, `last`) have no neighbour to blend with and keep weight 1.
    """
    rise = [1.0 if first else min(1.0, (i + 1) / (overlap + 1)) for i in range(length)]
    fall = [1.0 if last else min(1.0, (length - i) / (overlap + 1)) for i in range(length)]
    return [min(a, b) for a, b in zip(rise, fall, strict=True)]


def tiled(restore: Callable[[Tensor], Tensor], images: Tensor, tile: int, overlap: int, scale: int = 1) -> Tensor:
    """`restore` [B,3,h,w] → [B,3,s·h,s·w] tile by tile, overlaps blended linearly in float32.

    Where `restore` looks no further than a pixel's tile, the result equals that of the whole image.
    """
    import torch

    batch, _, height, width = images.shape
    rows, columns = starts(height, tile, overlap), starts(width, tile, overlap)
    total = weight = None
    for top in rows:
        for left in columns:
            window = images[:, :, top : top + tile, left : left + tile]
            output = restore(window).float()
            h, w = output.shape[-2:]
            vertical = ramp(h, overlap * scale, top == rows[0], top == rows[-1])
            horizontal = ramp(w, overlap * scale, left == columns[0], left == columns[-1])
            mask = torch.outer(
                *(torch.tensor(v, dtype=torch.float32, device=images.device) for v in (vertical, horizontal))
            )
            if total is None or weight is None:
                total = output.new_zeros(batch, output.shape[1], height * scale, width * scale)
                weight = output.new_zeros(height * scale, width * scale)
            where = (slice(top * scale, top * scale + h), slice(left * scale, left * scale + w))
            total[(..., *where)] += output * mask
            weight[where] += mask
    assert total is not None and weight is not None  # every image has at least one tile
    return total / weight

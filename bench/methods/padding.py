"""Growing images to the sizes that networks take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """[B,C,H,W] grown on the right and bottom until H and W are multiples.

    By reflection; by repetition of the edge along an axis that is too short to be reflected so far.
    """
    from torch.nn.functional import pad

    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if right:
        images = pad(images, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if bottom:
        images = pad(images, (0, 0, 0, bottom), mode="reflect" if bottom < height else "replicate")
    return images

"""What is done to pixels on either side of a method, and what is asked of what it gives.

By NumPy: torch would spread these small steps over threads that have to wait for cores which decode and score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import ItemError, kind_of

if TYPE_CHECKING:
    from torch import Tensor

FAR = (-0.5, 2.0)
"""Networks overshoot [0,1], and are clamped as their own code does it. What lies outside of this is no overshoot but
another scale: 0 to 255, or −1 to 1."""
SHARE = 1e-3
"""So many of the values may: a division by almost nothing blows up single pixels."""


def as_input(images: Sequence[np.ndarray]) -> np.ndarray:
    """Decoded [H,W,3] images of one size and depth as what `Method.restore` takes: float32 [B,3,H,W] in [0,1]."""
    planes = np.empty((len(images), 3, *images[0].shape[:2]), np.float32)
    for plane, image in zip(planes, images, strict=True):
        plane[...] = np.ascontiguousarray(image.transpose(2, 0, 1))
    planes /= np.float32(np.iinfo(images[0].dtype).max)
    return planes


def as_output(output: Tensor | Any, shape: tuple[int, ...]) -> np.ndarray:
    """What `Method.restore` returned as float32 [B,3,H,W]. Raises `ItemError` where it is no such thing.

    Its values are looked at image by image, by `quantised`.
    """
    import torch

    expected = f"expected floats {list(shape)} in [0,1]"
    if not isinstance(output, torch.Tensor):
        raise ItemError(f"restore returned {kind_of(output)}, not a tensor; {expected}")
    if not output.is_floating_point():
        raise ItemError(f"restore returned {kind_of(output)}{_range(output)}; {expected}")
    if tuple(output.shape) != shape:
        raise ItemError(f"output has shape {tuple(output.shape)}, expected {shape}")
    values: np.ndarray = output.detach().float().cpu().numpy()
    return values


def _range(output: Tensor) -> str:
    if output.is_complex() or not output.numel():
        return ""
    return f" with values {output.min().item()} to {output.max().item()}"


def quantised(output: np.ndarray, rule: str) -> tuple[np.ndarray | None, str | None]:
    """One output, float32 [3,H,W], as it is saved: uint8 [H,W,3], or float32 with the rule `none`; or why it cannot be.

    `round` goes to the nearest level (half to even), `truncate` cuts off, as `astype(uint8)` does. A small excess over
    [0,1] is clamped in silence; values of another scale are refused.
    """
    low, high = output.min(), output.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        finite = np.count_nonzero(np.isfinite(output))
        return None, f"output has {output.size - finite} non-finite values of {output.size}"
    if low < FAR[0] or high > FAR[1]:
        far = np.count_nonzero((output < FAR[0]) | (output > FAR[1])) / output.size
        if far > SHARE:
            return None, f"output has values {low:.4g} to {high:.4g} ({far:.0%} of them far outside), expected [0,1]"
    image = np.clip(output, 0, 1) if low < 0 or high > 1 else output
    if rule == "none":
        # A copy in any case: the method may use its memory again while these pixels are still to be scored.
        return np.array(image.transpose(1, 2, 0), order="C"), None
    levels = image * np.float32(255)
    if rule == "round":
        np.rint(levels, out=levels)
    return _interleaved(levels.astype(np.uint8)), None


def _interleaved(planes: np.ndarray) -> np.ndarray:
    """uint8 [3,H,W] → [H,W,3]; OpenCV does it several times faster than a transposing copy."""
    import cv2

    return cv2.merge(list(planes))

"""MUSIQ metrics on our own networks: Google's MUSIQ from its published conversions, and the papers' MUSIQ-GFIQA.

The two share a name and little else (see `networks`). pyiqa's MUSIQ stays in the catalogue under its own names; for the
same weights ours gives the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.metrics.learned import NetworkMetric, blank, fill, read_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Musiq(NetworkMetric):
    """MUSIQ (Ke et al., ICCV 2021) at any image size. Agrees with pyiqa's to 1e-5 relative.

    The number of classes of the head (1, or 10 for AVA) is read from the checkpoint.
    """

    def build(self, files: list[Path]) -> torch.nn.Module:
        from bench.metrics.networks.musiq import Musiq as Network

        where = f"metric {self.name!r}"
        state = read_state(files[-1], where=where)
        head = state.get("head.0.weight", state.get("head.weight"))
        if head is None:
            raise BenchError(f"{where}: {files[-1]} is not a MUSIQ checkpoint (it has no head.weight)")
        net = blank(lambda: Network(classes=len(head)))
        fill(net, state, where=where)
        return net

    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        return float(net(restored))


@dataclass(frozen=True)
class MusiqGfiqa(NetworkMetric):
    """The MUSIQ-GFIQA of the IQPIR and IQPFR papers, about 0 to 1, higher is better.

    Images of other sizes are brought to 512 × 512 as the authors' script does: bilinear, without antialiasing, whatever
    the aspect ratio, on 8-bit pixels (on floats where the view does not round).
    """

    def own_fields(self) -> list[tuple[str, object]]:
        return [("size", "512-bilinear")]

    def build(self, files: list[Path]) -> torch.nn.Module:
        from iqpir.quality.musiq_gfiqa import MusiqGfiqa as Network

        where = f"metric {self.name!r}"
        state = read_state(files[-1], where=where)
        parts = [state.get(f"model_{part}_state_dict", {}) for part in ("backbone", "transformer")]
        if not all(isinstance(part, dict) and part for part in parts):
            raise BenchError(
                f"{where}: {files[-1]} is not a MUSIQ-GFIQA checkpoint "
                "(it needs model_backbone_state_dict and model_transformer_state_dict)"
            )
        net = blank(Network)
        for module, part in zip((net.backbone, net.regression), parts, strict=True):
            fill(module, part, where=where)
        return net

    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        return float(net(_squared(restored, eight_bit=self.view.rounding != "none")))


def _squared(image: Tensor, *, eight_bit: bool) -> Tensor:
    """[1,3,H,W] → [1,3,512,512] by OpenCV's bilinear resize; a 512 × 512 image comes back as it is."""
    import cv2
    import numpy as np
    import torch

    from iqpir.quality.musiq_gfiqa import SIDE

    if image.shape[-2:] == (SIDE, SIDE):
        return image
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).cpu().numpy())
    if eight_bit:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    resized = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    floats = resized.astype(np.float32) / 255 if eight_bit else resized
    return torch.from_numpy(np.ascontiguousarray(floats.transpose(2, 0, 1)))[None].to(image.device)

"""A small no-reference quality network: a member of the prior that anybody can train where nothing can be downloaded.

It is trained on generated images (`iqpir.training.quality`) to foretell how similar a distorted image is to the one it
came from, seeing the distorted one alone. It knows blur, noise, compression and lost resolution, and nothing of
exposure, colours, content or beauty.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqpir.errors import ImageFailure, IQPIRError, one_line
from iqpir.weights import shipped

FORMAT = "iqpir-quality/1"
LEAST = 32
"""Pixels that the shorter side needs."""


class TinyQuality(nn.Module):
    """Five strided convolutions without normalisation, means and deviations over the image, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        at = torch.arange(7) - 3.0
        window = torch.exp(-0.5 * (at / (7 / 6)) ** 2)
        window = window[:, None] * window[None, :]
        self.register_buffer("window", (window / window.sum())[None, None], persistent=False)
        widths = (4, 24, 40, 56, 64, 64)
        kernels = (5, 3, 3, 3, 3)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2)
            for before, after, kernel in zip(widths, widths[1:], kernels, strict=False)
        )
        # What the finest layers see of noise and edges is used as it is, not only through the deeper ones.
        self.head = nn.Sequential(nn.Linear(2 * sum(widths[1:]), 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, images: Tensor) -> Tensor:
        """float32 RGB [B,3,H,W] in [0,1], H and W at least `LEAST` → quality [B] in (0,1), 1 the best."""
        return torch.sigmoid(self.logits(images))

    def logits(self, images: Tensor) -> Tensor:
        """The same before the sigmoid."""
        features = self.contrast(images)
        pooled = []
        for layer in self.layers:
            features = F.silu(layer(features))
            pooled += [features.mean(dim=(2, 3)), (features.var(dim=(2, 3), correction=0) + 1e-6).sqrt()]
        return self.head(torch.cat(pooled, dim=1))[:, 0]

    def contrast(self, images: Tensor) -> Tensor:
        """[B,4,H,W]: luminance, the same with its local mean and contrast divided out (Mittal et al., "No-reference
        image quality assessment in the spatial domain", TIP 2012), and two colour differences; each of order one."""
        red, green, blue = images.unbind(1)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        plane = F.pad(luma[:, None], (3, 3, 3, 3), mode="reflect")
        mean = F.conv2d(plane, self.window)[:, 0]
        square = F.conv2d(plane**2, self.window)[:, 0]
        spread = (square - mean**2).clamp_min(0).sqrt()
        normal = (luma - mean) / (spread + 4 / 255)
        return torch.stack([2 * luma - 1, normal, 2 * (red - luma), 2 * (blue - luma)], dim=1)

    def save(self, path: Path, note: dict[str, object]) -> None:
        """Safetensors with `note` (data, recipe, agreement) in its metadata, written atomically."""
        from iqpir.tensors import write_tensors

        write_tensors(self.state_dict(), path, {"format": FORMAT, "note": json.dumps(note, sort_keys=True)})

    @staticmethod
    def note_of(path: Path) -> dict[str, object]:
        """What `save` was given; empty for a file that is none of these."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                told = json.loads((file.metadata() or {}).get("note", "{}"))
        except (SafetensorError, OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    @classmethod
    def load(cls, path: Path) -> TinyQuality:
        """Raises `IQPIRError` for a file that is missing or is not such a network."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise IQPIRError(f"{path}: there is no such file; iqpir train quality makes one")
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise IQPIRError(f"{path} is no quality network of iqpir train quality")
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 – not a mapping
            network = cls()
            network.load_state_dict(state)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise IQPIRError(f"{path}: damaged, or of another version: {one_line(error, 120)}") from error
        return network.eval()


class TinyScorer:
    """The network as a member of a prior: `iqpir:FILE.safetensors`; `iqpir:iqpir-tiny-quality` comes along."""

    lower_better = False

    def __init__(self, name: str, device: str) -> None:
        path = shipped(name) or Path(name)
        if path.suffix != ".safetensors":
            raise IQPIRError(
                f"iqpir:{name} is not known: iqpir:FILE.safetensors is a file of iqpir train quality, and "
                "iqpir:iqpir-tiny-quality the one that comes along"
            )
        self.name = f"iqpir:{name}"
        self._network = TinyQuality.load(path).to(device)
        self._device = device
        import hashlib

        self.signature = f"iqpir-tiny-quality|{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"

    def __call__(self, images: Tensor) -> Tensor:
        """float32 RGB [B,3,H,W] in [0,1] → float64 [B]. Raises `ImageFailure` for an image that is too small."""
        if min(images.shape[2:]) < LEAST:
            raise ImageFailure(f"{images.shape[3]}×{images.shape[2]} is too small: {LEAST} pixels a side are needed")
        with torch.no_grad():
            return self._network(images.to(self._device)).double().cpu()

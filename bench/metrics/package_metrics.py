"""Metrics whose authors publish them as packages: ꟻLIP, SSIMULACRA 2, and VMAF and XPSNR through ffmpeg.

Each gets the pixels that the view left, as its own reader would have them from a PNG. The package's version is part of
the signature: the numbers are its.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, ItemError, one_line
from bench.metrics.base import ImageMetric, Signature
from bench.metrics.view import View

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_MODELS = {"vmaf": "vmaf_v0.6.1", "vmaf-neg": "vmaf_v0.6.1neg"}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


@dataclass(frozen=True)
class PackageMetric(ImageMetric):
    """What they share: a package by name, and a number for a pair of uint8 images."""

    view: View = field(default_factory=View)

    package = ""
    extra = ""
    """The extra of this project that brings the package; empty where it always comes along."""
    spaces = ("rgb",)
    serial = True

    def fields(self) -> list[tuple[str, object]]:
        """What of the metric's own fixes the number."""
        return []

    def signature(self) -> Signature:
        own = [*self.fields(), (self.package, _version(self.package)), ("v", 1)]
        return Signature.of(self.name, [*self.view.signature("FR"), *own])

    def load(self, device: str) -> None:
        if _version(self.package) == "none":
            brought = f"pip install 'iqpir-bench[{self.extra}]'" if self.extra else f"pip install {self.package}"
            raise BenchError(f"{self.name} needs the package {self.package}: {brought}")

    def score(self, restored: Tensor, reference: Tensor | None) -> Tensor:
        """Two float64 [B,3,H,W] in [0,1], as the view left them → float64 [B]."""
        import torch

        assert reference is not None
        values = [self.compare(*map(_pixels, pair)) for pair in zip(restored, reference, strict=True)]
        return torch.tensor(values, dtype=torch.float64, device=restored.device)

    def compare(self, restored: np.ndarray, reference: np.ndarray) -> float:
        """Two uint8 [H,W,3] → the value. Raises `ItemError` for what the package refuses."""
        raise NotImplementedError


def _pixels(image: Tensor) -> np.ndarray:
    import numpy as np

    return np.ascontiguousarray((image * 255).round().permute(1, 2, 0).cpu().numpy().astype(np.uint8))


@dataclass(frozen=True)
class Flip(PackageMetric):
    """ꟻLIP (Andersson et al., 2020), low dynamic range: the mean of what a flip between two images shows, 0 to 1."""

    name = "flip"
    higher_is_better = False
    package = "flip-evaluator"

    def fields(self) -> list[tuple[str, object]]:
        return [("ppd", 67)]

    def compare(self, restored: np.ndarray, reference: np.ndarray) -> float:
        import flip_evaluator
        import numpy as np

        images = [np.ascontiguousarray(image, dtype=np.float32) / 255 for image in (reference, restored)]
        _, mean, _ = flip_evaluator.evaluate(*images, "LDR", applyMagma=False)
        return float(mean)


@dataclass(frozen=True)
class Ssimulacra2(PackageMetric):
    """SSIMULACRA 2 (Sneyers, 2023): 100 for equal images, 90 where a difference is hard to see, below 0 the worst."""

    name = "ssimulacra2"
    package = "ssimulacra2"

    def compare(self, restored: np.ndarray, reference: np.ndarray) -> float:
        from ssimulacra2 import compute_ssimulacra2

        if min(restored.shape[:2]) < 8:
            raise ItemError(
                f"ssimulacra2 needs 8×8 pixels or more, the view is {restored.shape[1]}×{restored.shape[0]}"
            )
        return float(compute_ssimulacra2(*(io.BytesIO(_png(image)) for image in (reference, restored))))


def _png(pixels: np.ndarray) -> bytes:
    import cv2

    written, buffer = cv2.imencode(".png", pixels[:, :, ::-1])
    assert written
    return buffer.tobytes()


@dataclass(frozen=True)
class FfmpegMetric(PackageMetric):
    """A filter of ffmpeg on two stills, as one frame of YCbCr 4:4:4 each."""

    package = "imageio-ffmpeg"
    extra = "video"

    def fields(self) -> list[tuple[str, object]]:
        return [("pixels", "yuv444p")]

    def compare(self, restored: np.ndarray, reference: np.ndarray) -> float:
        import imageio_ffmpeg

        with tempfile.TemporaryDirectory() as name:
            for file, pixels in (("restored.png", restored), ("reference.png", reference)):
                (Path(name) / file).write_bytes(_png(pixels))
            graph = "[0:v]format=yuv444p[a];[1:v]format=yuv444p[b];[a][b]" + self.filter()
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-nostdin", "-i", "restored.png",
                       "-i", "reference.png", "-lavfi", graph, "-f", "null", "-"]  # fmt: skip
            done = subprocess.run(command, cwd=name, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode != 0:
                raise ItemError(
                    f"{self.name}: ffmpeg: {one_line((done.stderr.strip().splitlines() or ['failed'])[-1])}"
                )
            return self.value(done.stderr, Path(name))

    def filter(self) -> str:
        """The end of ffmpeg's graph, which gets the restored and the reference frame."""
        raise NotImplementedError

    def value(self, said: str, folder: Path) -> float:
        """The number in what ffmpeg said, or has written."""
        raise NotImplementedError


@dataclass(frozen=True)
class Vmaf(FfmpegMetric):
    """VMAF of one frame, 0 to 100, by libvmaf's own model for 1080p."""

    name = "vmaf"

    def fields(self) -> list[tuple[str, object]]:
        return [*super().fields(), ("model", _MODELS[self.name])]

    def filter(self) -> str:
        return f"libvmaf=model=version={_MODELS[self.name]}:log_fmt=json:log_path=log.json"

    def value(self, said: str, folder: Path) -> float:
        found = json.loads((folder / "log.json").read_text(encoding="utf-8"))
        return float(found["pooled_metrics"]["vmaf"]["mean"])


@dataclass(frozen=True)
class VmafNeg(Vmaf):
    """VMAF without what sharpening and contrast gain by (no enhancement gain)."""

    name = "vmaf-neg"


@dataclass(frozen=True)
class Xpsnr(FfmpegMetric):
    """XPSNR of one frame's luma, dB: the squared error weighed by how visible it is. Equal images give +inf."""

    name = "xpsnr"

    def fields(self) -> list[tuple[str, object]]:
        return [*super().fields(), ("plane", "y")]

    def filter(self) -> str:
        return "xpsnr=stats_file=log.txt"

    def value(self, said: str, folder: Path) -> float:
        found = re.search(r"XPSNR y: +(inf|[0-9.]+)", (folder / "log.txt").read_text(encoding="utf-8"), re.IGNORECASE)
        if found is None:
            raise ItemError("xpsnr: ffmpeg wrote no value")
        return float(found[1])

"""Feature extractors of the set metrics: what is done to an image before the network, and the network's vector.

Which extractors there are, and whose code each follows, stands in `catalog/features.yaml`. What the vectors of a set
add up to is the business of the metrics.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import yaml

from bench import paths
from bench.errors import BenchError, suggest
from bench.fetch.assets import Asset
from bench.metrics.weights import Weight, verified

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@functools.cache
def catalogue() -> Mapping[str, Any]:
    """`catalog/features.yaml`: `extractors` by name, `references` in order."""
    return yaml.safe_load((paths.catalog() / "features.yaml").read_text(encoding="utf-8"))


class Extractor(NamedTuple):
    """A network with everything that decides its features."""

    name: str
    """As options and signatures call it."""
    weight: Weight

    @property
    def tag(self) -> str:
        """How signatures name it: with eight digits of its weights' hash."""
        return f"{self.name}@{self.weight.tag}"

    def load(self, device: str) -> None:
        """Bring the network to the device. Raises `MissingFile`, or `BenchError` for the wrong file."""
        self._network(device)

    def extract(self, images: Tensor) -> np.ndarray:
        """float64 RGB [B,3,H,W] in [0,1], any size → float64 [B,D]; one image at a time, in full float32.

        D is 2048 for Inception and 512 for CLIP.
        """
        import torch

        from bench.metrics.pyiqa_metric import full_precision

        device = str(images.device)
        net, prepare = self._network(device), _PREPARE[self.name]
        with torch.no_grad(), full_precision(device):
            vectors = [net(prepare(image)) for image in images.split(1)]
        return torch.cat(vectors).double().cpu().numpy()

    def _network(self, device: str) -> Module:

        build = _clip if self.name == "clip" else _inception
        return build(verified(self.weight), self.weight.asset.digest(), device)


def extractor(name: str, owner: str) -> Extractor:
    """The extractor of that name, whose files `bench fetch OWNER` brings. Raises `BenchError` with the nearest name."""
    known = catalogue()["extractors"]
    if name not in known:
        raise BenchError(f"ext {name!r} is not one of {', '.join(known)}{suggest(name, known)}")
    fields = known[name]["weights"]
    return Extractor(name, Weight(Asset.from_fields(owner, fields)))


@functools.lru_cache(maxsize=2)
def _inception(path: Path, sha256: str, device: str) -> Module:
    """One network for all metrics of a process that use it; `sha256` tells one file from the next at the same path."""
    from bench.metrics.learned import blank, fill, read_state
    from bench.metrics.networks.inception import FidInception

    state = read_state(path, where="Inception")
    net = blank(FidInception)
    fill(net, {k: v for k, v in state.items() if not k.startswith(FidInception.ignored_prefixes)}, where="Inception")
    return net.to(device).eval().requires_grad_(False)


@functools.lru_cache(maxsize=1)
def _clip(path: Path, sha256: str, device: str) -> Module:
    """CLIP's image encoder with its projection, [B,3,224,224] normalised → [B,512], not scaled to unit length."""
    import timm
    import torch

    from bench.metrics.learned import blank, fill, read_state

    state = read_state(path, where="CLIP")
    net = blank(functools.partial(timm.create_model, "vit_base_patch32_clip_quickgelu_224.openai", pretrained=False))
    state.setdefault("head.bias", torch.zeros(512))  # the projection has none
    fill(net, state, where="CLIP")
    return net.to(device).eval().requires_grad_(False)


def _bilinear(image: Tensor) -> Tensor:
    """PyTorch's bilinear resizing without antialiasing, of values in [-1,1]."""
    from torch.nn.functional import interpolate

    from bench.metrics.networks.inception import SIDE

    return interpolate(image.float() * 2 - 1, (SIDE, SIDE), mode="bilinear", align_corners=False)


def _pil_bicubic(image: Tensor) -> Tensor:
    """Pillow's antialiased bicubic on channels of floats, clipped to 0…255 but not rounded, then (x − 128) / 128."""
    import torch
    from PIL import Image

    from bench.metrics.networks.inception import SIDE

    planes = (image[0] * 255).cpu().numpy().astype(np.float32)
    resized = [
        np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 255)
        for plane in planes
    ]
    return torch.from_numpy((np.stack(resized)[None] - np.float32(128)) / np.float32(128)).to(image.device)


_CLIP_SIDE = 224
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def _pil_bicubic_u8(image: Tensor) -> Tensor:
    """Pillow's antialiased bicubic on 8-bit RGB, then CLIP's mean and deviation."""
    import torch
    from PIL import Image

    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    resized = Image.fromarray(pixels).resize((_CLIP_SIDE, _CLIP_SIDE), Image.Resampling.BICUBIC)
    planes = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255
    mean, deviation = (torch.tensor(values)[None, :, None, None] for values in (_CLIP_MEAN, _CLIP_DEVIATION))
    return ((planes - mean) / deviation).to(image.device)


_PREPARE = {"basicsr": _bilinear, "clean-fid": _pil_bicubic, "clip": _pil_bicubic_u8}

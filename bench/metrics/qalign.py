"""Q-Align: how good a language model that sees the image would call it, from five words for quality.

Our own network, for the same reason as always: pyiqa's copy of the authors' code cannot be imported without a package
that pyiqa does not require, calls what transformers 5 has removed, and changes LLaMA for the whole process.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, one_line
from bench.fetch import memo
from bench.metrics.base import Signature
from bench.metrics.learned import NetworkMetric, read_state

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from bench.fetch.assets import Asset
    from bench.metrics.networks.one_align import Sizes

LEVELS = ("excellent", "good", "fair", "poor", "bad")
"""The words that the model chooses among; they count 5, 4, 3, 2 and 1."""
DTYPES = ("fp16", "bf16", "fp32", "4bit")
TASKS = ("quality", "aesthetics")
_BYTES = {"fp16": 2.0, "bf16": 2.0, "fp32": 4.0, "4bit": 0.6}
"""Memory per weight; four bits come with a scale per 64 weights, and the vocabulary stays in 16."""
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_SHARDS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class QAlign(NetworkMetric):
    """Q-Align (Wu et al., ICML 2024), 1 to 5, higher is better.

    softmax over the five words' logits, times 5 to 1. The image is laid onto a square of CLIP's mean colour and brought
    to the side of the vision model by Pillow's bicubic filter on 8-bit pixels, as the authors' scorer does; the softmax
    is taken in float32, theirs in the network's own precision (up to 0.002 away).
    """

    weights: str = ""
    """A folder as the hub has it (config.json, tokenizer.model, shards) in place of OneAlign. Its files are signed."""
    dtype: str = "fp16"
    """`fp16` (the authors' scorer), `bf16` (as the weights are published), `fp32`, or `4bit`: NF4 by bitsandbytes in
    all linear layers but the last, computing in fp16. The values differ, and so do the signatures."""
    task: str = "quality"
    """What the model is asked about: `quality`, or `aesthetics`, the papers' other score."""

    def __post_init__(self) -> None:
        for name, choices in (("dtype", DTYPES), ("task", TASKS)):
            if getattr(self, name) not in choices:
                value = getattr(self, name)
                raise BenchError(f"metric {self.name!r}: {name} {value!r} is not one of {', '.join(choices)}")

    @classmethod
    def check_weights(cls, given: Path, where: str) -> None:
        _folder_files(given, where)

    def signature(self) -> Signature:
        tags = [weight.tag for weight in self.files]
        if self.weights:
            whole = "".join(memo.digest(path) for path in self._own_files())
            tags = [hashlib.sha256(whole.encode()).hexdigest()[:8]]
        own = [("task", self.task), ("dtype", self.dtype), ("weights", "+".join(tags)), ("v", self.version)]
        return Signature.of(self.name, [("impl", "bench"), *self.view.signature(self.mode), *own])

    def assets(self) -> list[Asset]:
        return [] if self.weights else [weight.asset for weight in self.files]

    def _own_files(self) -> list[Path]:
        return _folder_files(Path(self.weights).expanduser(), f"metric {self.name!r}: weights")

    def _paths(self) -> list[Path]:
        return self._own_files() if self.weights else super()._paths()

    def build(self, files: list[Path]) -> torch.nn.Module:
        import torch

        from bench.metrics.networks.one_align import OneAlign

        where = f"metric {self.name!r}"
        with torch.device("meta"):
            net = OneAlign(_sizes(files, where))
        self._check_memory(net)
        if self.dtype == "4bit":
            _quantise_layers(net, where)
        shards = [path for path in files if path.suffix in (".bin", ".safetensors")]
        _fill(net, _tensors(shards, where), self.dtype, where)
        empty = [name for name, value in [*net.named_parameters(), *net.named_buffers()] if value.is_meta]
        if empty:
            raise BenchError(f"{where}: the checkpoint lacks {len(empty)} tensors, {empty[0]} among them")
        vocabulary = next(path for path in files if path.name == "tokenizer.model")
        for name, ids in _question(vocabulary, self.task, where).items():
            net.register_buffer(name, ids)
        return net

    def _check_memory(self, net: nn.Module) -> None:
        import psutil

        count = sum(parameter.numel() for parameter in net.parameters())
        needed, free = count * _BYTES[self.dtype], psutil.virtual_memory().available
        if needed > free:
            remedy = "" if self.dtype == "4bit" else "; option dtype: 4bit needs a third"
            raise BenchError(
                f"metric {self.name!r} needs {needed / 1e9:.1f} GB of memory in {self.dtype} to be loaded, "
                f"{free / 1e9:.1f} GB are free{remedy}"
            )

    def one(self, net: torch.nn.Module, restored: Tensor, reference: Tensor | None) -> float:
        import torch

        dtype = net.model.norm.weight.dtype
        image = _prepared(restored, net.sizes.side).to(restored.device, dtype)
        logits = net(image, net.before, net.after, net.levels)
        worth = torch.arange(len(LEVELS), 0, -1, dtype=torch.float32, device=logits.device)
        return float(logits.softmax(-1)[0] @ worth)


def _folder_files(folder: Path, where: str) -> list[Path]:
    """What of a user's folder the values depend on: configuration, vocabulary, then the shards by name."""
    if not folder.is_dir():
        raise BenchError(f"{where} folder {folder} does not exist, or is no folder")
    named = [folder / "config.json", folder / "tokenizer.model"]
    for path in named:
        if not path.is_file():
            raise BenchError(f"{where} folder {folder} lacks {path.name}")
    for pattern in _SHARDS:
        shards = sorted(path for path in folder.glob(pattern) if path.name != "training_args.bin")
        if shards:
            return [*named, *shards]
    raise BenchError(f"{where} folder {folder} holds no weights ({' or '.join(_SHARDS)})")


def _sizes(files: list[Path], where: str) -> Sizes:
    """Those of the folder's configuration, where there is one."""
    from bench.metrics.networks.one_align import Sizes

    config = next((path for path in files if path.name == "config.json"), None)
    if config is None:
        return Sizes()
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        return Sizes.from_config(found)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BenchError(f"{where}: {config} does not describe a Q-Align network: {one_line(error, 160)}") from None


def _question(vocabulary: Path, task: str, where: str) -> dict[str, Tensor]:
    """Ids of what is said before and after the image, and of the five words.

    Each piece is encoded for itself, with the space that sentencepiece puts before a text; a word stands for the first
    token that it begins with.
    """
    import torch
    from sentencepiece import SentencePieceProcessor

    try:
        encoder = SentencePieceProcessor(model_file=str(vocabulary))
    except (OSError, RuntimeError, ValueError) as error:
        raise BenchError(f"{where}: {vocabulary} is no sentencepiece model: {one_line(error, 160)}") from None
    said = [encoder.bos_id(), *encoder.encode(f"USER: How would you rate the {task} of this image?\n")]
    asked = encoder.encode(f"\nASSISTANT: The {task} of the image is")
    levels = [encoder.encode(word)[0] for word in LEVELS]
    if len(set(levels)) < len(LEVELS):
        raise BenchError(f"{where}: {vocabulary} cannot tell the words {', '.join(LEVELS)} apart by their first token")
    return {name: torch.tensor(ids) for name, ids in (("before", said), ("after", asked), ("levels", levels))}


def _prepared(image: Tensor, side: int) -> Tensor:
    """[1,3,H,W] in [0,1] → [1,3,side,side], CLIP's normalisation, on the CPU."""
    import numpy as np
    import torch
    from PIL import Image

    pixels = np.rint(image[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    longest = max(height, width)
    square = Image.new("RGB", (longest, longest), tuple(int(255 * value) for value in _MEAN))
    square.paste(Image.fromarray(pixels), ((longest - width) // 2, (longest - height) // 2))
    small = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    normal = (small - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normal.transpose(2, 0, 1)))[None]


def _tensors(shards: list[Path], where: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a checkpoint, one shard after the other, so that only one lies in memory."""
    for shard in shards:
        yield from read_state(shard, where=where, mapped=True).items()


def _fill(net: nn.Module, tensors: Iterator[tuple[str, Tensor]], dtype: str, where: str) -> None:
    """Give a blank network its weights in the precision asked for; raises `BenchError` for one that is not its own.

    Tables of rotary positions, which older checkpoints carry, are computed here.
    """
    import torch

    kind = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32, "4bit": torch.float16}[dtype]
    owners = {name: _setter(net, name) for name, _ in [*net.named_parameters(), *net.named_buffers()]}
    shapes = {name: value.shape for name, value in net.state_dict(keep_vars=True).items()}
    for name, value in tensors:
        if name.endswith("rotary_emb.inv_freq"):
            continue
        if name not in owners:
            raise BenchError(f"{where}: the checkpoint holds {one_line(name, 80)!r}, which Q-Align's network has not")
        if shapes[name] != value.shape:
            theirs, ours = tuple(value.shape), tuple(shapes[name])
            raise BenchError(f"{where}: {name} of the checkpoint is {theirs}, the network's is {ours}")
        owners[name](value.to(kind, copy=True))  # off the disk


def _setter(net: nn.Module, name: str) -> Callable[[Tensor], None]:
    """How one tensor is put in its place: quantised at once where the layer wants it so."""
    from torch import nn

    path, _, last = name.rpartition(".")
    module = net.get_submodule(path)

    def put(value: Tensor) -> None:
        quantise = getattr(module, "quantise", None)
        if last in module._buffers:
            module._buffers[last] = value
        elif quantise is not None and last == "weight":
            quantise(value)
        else:
            module._parameters[last] = nn.Parameter(value, requires_grad=False)

    return put


def _quantise_layers(net: nn.Module, where: str) -> None:
    """Every linear layer but the vocabulary's becomes one that holds its weight in four bits."""
    try:
        from bench.metrics.networks.four_bit import FourBitLinear
    except ImportError as error:
        raise BenchError(
            f"{where}: dtype 4bit needs bitsandbytes ({one_line(error, 100)}): pip install bitsandbytes"
        ) from None
    from torch import nn

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of every faster kernel that is not there
    for name, module in list(net.named_modules()):
        if type(module) is nn.Linear and name != "lm_head":
            parent, _, last = name.rpartition(".")
            four_bit = FourBitLinear(module.in_features, module.out_features, bias=module.bias is not None)
            setattr(net.get_submodule(parent), last, four_bit)

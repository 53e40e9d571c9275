"""The restorer's plan beside the authors' order of operations: times, peak memory and differences, as JSON.

`python tests/benchmarks/iqpir_speed.py [--repeat 5] [--threads 2] [--device cpu] [--faces DIR] [--bf16]
[--compiled]`. The eager
side is NCHW float32 with the network's own weights: cloned encoder features, one operation per step, attention by
products and a softmax, a softmax and top-1 for the codes, one-hot products for the lookup. All sides run in one process
in turn, so that each ratio is of neighbours in time; `ratio_median` is over those pairs, `ratio_fastest` of the fastest
of each. `ratio_cpu` is of processor time, which other work on the machine disturbs less. Memory: on the CPU, the growth
of the process's resident set while a call runs, sampled every millisecond, from after the plans are made and each
allocator trimmed, results included and what the plan keeps released beforehand; on CUDA, of torch's allocator.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.nn import functional as F

from iqpir.network.blocks import AttnBlock, Downsample, ResBlock, Upsample
from iqpir.network.config import preset
from iqpir.network.model import IQPIR
from iqpir.precision import choice, native_bfloat16

sys.path.insert(0, str(Path(__file__).parents[1]))


def eager(net: IQPIR, image: Tensor, score: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, logits, features at fidelity 0 with AdaIN, for the `full` settings."""
    taps, kept = {index: size for size, index in net.encoder.taps.items()}, {}
    x = image
    for index, block in enumerate(net.encoder.blocks):
        x = run(block, x)
        if index in taps:
            kept[taps[index]] = x.clone()
    x = x + net.score_embed((score * 10).int()).view(-1, 256, 16, 16)
    features = x
    position = net.position_emb.unsqueeze(1).repeat(1, len(image), 1)
    tokens = net.feat_emb(x.flatten(2).permute(2, 0, 1))
    for layer in net.ft_layers:
        normed = layer.norm1(tokens)
        query = normed + position
        tokens = tokens + attend(layer.self_attn, query, normed)
        tokens = tokens + layer.linear2(F.gelu(layer.linear1(layer.norm2(tokens))))
    logits = net.idx_pred_layer(tokens).view(256, -1, 1024, 2).permute(1, 0, 2, 3)
    _, codes = torch.topk(F.softmax(logits, dim=2), 1, dim=2)
    books = []
    for book, quantizer in enumerate((net.quantize_aesthetic, net.quantize)):
        chosen = codes[..., book].reshape(-1, 1)
        one_hot = torch.zeros(len(chosen), 1024, device=image.device).scatter_(1, chosen, 1)
        found = one_hot @ quantizer.embedding.weight
        books.append(found.view(-1, 16, 16, 256).permute(0, 3, 1, 2).contiguous())
    x = books[1] + net.alpha * books[0]
    (mean, deviation), (target_mean, target) = moments(x), moments(features)
    x = (x - mean) / deviation * target + target_mean
    for block in net.generator.blocks:
        x = run(block, x)
    return x, logits, features


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    flat = x.flatten(2)
    return flat.mean(dim=2)[..., None, None], (flat.var(dim=2) + 1e-5).sqrt()[..., None, None]


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def run(block: torch.nn.Module, x: Tensor) -> Tensor:
    if isinstance(block, ResBlock):
        hidden = block.conv1(swish(block.norm1(x)))
        hidden = block.conv2(swish(block.norm2(hidden)))
        return hidden + (x if block.conv_out is None else block.conv_out(x))
    if isinstance(block, AttnBlock):
        normed = block.norm(x)
        q, k, v = (layer(normed).flatten(2) for layer in (block.q, block.k, block.v))
        weights = F.softmax(torch.bmm(q.transpose(1, 2), k) * q.shape[1] ** -0.5, dim=2)
        return x + block.proj_out(torch.bmm(v, weights.transpose(1, 2)).view_as(x))
    if isinstance(block, Downsample):
        return block.conv(F.pad(x, (0, 1, 0, 1)))
    if isinstance(block, Upsample):
        return block.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return block(x)


def attend(attention: torch.nn.MultiheadAttention, query: Tensor, value: Tensor) -> Tensor:
    """[N,B,width] each; queries and keys are the same."""
    count, batch, width = query.shape
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    parts = [F.linear(x, w, b) for x, w, b in zip((query, query, value), weights, biases, strict=True)]
    heads = attention.num_heads
    q, k, v = (part.reshape(count, batch * heads, width // heads).transpose(0, 1) for part in parts)
    share = F.softmax(torch.bmm(q * (width // heads) ** -0.5, k.transpose(1, 2)), dim=2)
    return attention.out_proj(torch.bmm(share, v).transpose(0, 1).reshape(count, batch, width))


class Peak:
    """Growth of the resident set, or of torch's CUDA allocator, inside a `with`, in bytes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.grown = 0

    def __enter__(self) -> Peak:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_allocated(self.device)
            return self
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        self._before, self._stop = psutil.Process().memory_info().rss, threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def _sample(self) -> None:
        process = psutil.Process()
        while not self._stop.is_set():
            self.grown = max(self.grown, process.memory_info().rss - self._before)
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self.grown = torch.cuda.max_memory_allocated(self.device) - self._before
        else:
            self._stop.set()
            self._thread.join()


def timed(call: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Wall and processor seconds."""
    start, used = time.perf_counter(), time.process_time()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - used


def psnr(found: Tensor, expected: Tensor) -> float:
    """dB between images as they would be written: clamped to [-1,1], the peak is 2."""
    return float(10 * torch.log10(4 / (found.clamp(-1, 1) - expected.clamp(-1, 1)).double().square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--faces", type=Path, help="a folder of faces; else the procedural input alone")
    parser.add_argument("--limit", type=int, default=4)
    parser.add_argument(
        "--bf16", action="store_true", help="time bfloat16 even where it has no units and takes minutes"
    )
    parser.add_argument("--compiled", action="store_true", help="time torch.compile as well, with its start-up")
    arguments = parser.parse_args()
    from support.procedural import image, shapes_of, weights

    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    with torch.device("meta"):
        shapes = shapes_of(IQPIR(preset("full")))
    net = IQPIR.from_state_dict(weights(shapes)).eval().to(device)
    x, score = image().to(device), torch.tensor([0.9], device=device)
    kinds = {"fp32": torch.float32}
    if arguments.bf16 or native_bfloat16(str(device)):
        kinds["bf16"] = torch.bfloat16
    else:
        print(choice(str(device)).reason, file=sys.stderr)
    plans = {name: net.optimize(kind, device) for name, kind in kinds.items()}
    start_up = {name: plan.warm_up() for name, plan in plans.items()}
    if arguments.compiled:
        for name, kind in kinds.items():
            plans[f"{name} compiled"] = net.optimize(kind, device, compiled=True)
            start_up[f"{name} compiled"] = plans[f"{name} compiled"].warm_up()
    calls: dict[str, Callable[[], Any]] = {"eager": lambda: eager(net, x, score), "plain": lambda: net(x, score)}
    calls |= {name: (lambda plan=plan: plan(x, score)) for name, plan in plans.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    peaks: dict[str, int] = {}
    with torch.inference_mode():
        expected = eager(net, x, score)[0]
        differences = {"fp32": float((plans["fp32"](x, score).image - expected).abs().max())}
        differences["plain"] = float((net(x, score).image - expected).abs().max())
        for _ in range(arguments.repeat):
            for name, call in calls.items():
                times[name].append(timed(call, device))
        for plan in plans.values():
            plan.release()
        for name, call in calls.items():
            with Peak(device) as peak:
                call()
            peaks[name] = peak.grown
            if name in plans:
                plans[name].release()
        seen = (x, *faces(arguments)) if "bf16" in plans else ()
        accuracy = [agreement(net, plans["bf16"], each.to(device), score) for each in seen]
    report: dict[str, Any] = {
        "torch": torch.__version__, "device": str(device), "threads": arguments.threads, "repeat": arguments.repeat,
    }  # fmt: skip
    for name, found in times.items():
        walls, used = [wall for wall, _ in found], [cpu for _, cpu in found]
        report[name] = {
            "seconds_median": statistics.median(walls),
            "seconds_fastest": min(walls),
            "peak_bytes": peaks[name],
            "ratio_peak": peaks[name] / peaks["eager"],
            "ratio_median": statistics.median(a / b for a, (b, _) in zip(walls, times["eager"], strict=True)),
            "ratio_fastest": min(walls) / min(wall for wall, _ in times["eager"]),
            "ratio_cpu": min(used) / min(cpu for _, cpu in times["eager"]),
        }
    report["start_up_seconds"] = start_up
    report["max_difference_from_eager"] = differences
    report["auto"] = choice(str(device)).reason
    report["bf16_beside_fp32"] = accuracy
    print(json.dumps(report, indent=1))


def agreement(net: IQPIR, plan: Any, x: Tensor, score: Tensor) -> dict[str, float]:
    """bfloat16 beside the plain float32 network: with codes of its own, and with those of float32."""
    expected = net(x, score)
    codes = net.best_codes(expected.logits)
    found = plan(x, score, codes=codes)
    error = (found.logits - expected.logits).abs().max()
    flipped = net.best_codes(found.logits) != codes
    margin = expected.logits.topk(2, dim=2).values.diff(dim=2).abs().squeeze(2)
    return {
        "psnr_of_forced_codes": psnr(found.image, expected.image),
        "codes_equal": float((~flipped).double().mean()),
        "largest_logit_error": float(error),
        "largest_margin_of_a_flip": float(margin[flipped].max()) if flipped.any() else 0.0,
    }


def faces(arguments: argparse.Namespace) -> list[Tensor]:
    """float32 [1,3,512,512] in [-1,1]."""
    if arguments.faces is None:
        return []
    import numpy as np
    from PIL import Image

    made = []
    for path in sorted(arguments.faces.glob("*.png"))[: arguments.limit]:
        pixels = np.array(Image.open(path).convert("RGB").resize((512, 512), Image.Resampling.BILINEAR))
        made.append(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
    return made


if __name__ == "__main__":
    main()

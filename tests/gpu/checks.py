"""The checks behind `all.sh`: what a GPU computes, how fast, and what of it differs from a CPU.

`checks.py [--device cuda|cpu] [--minutes 8] [--out results/gpu] [--only NAME]`. Each check runs in a process of its own
and ends with the time that is left; the file is written after every one, so that nothing is lost where a machine is
taken away. Exit code 1: a check failed or found no time. On a CPU networks and images are small, and times say nothing
of a GPU's.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
LEAST = 5.0
"""Seconds that a check is not begun without."""
ABLATION = {"a": "baseline", "b": "score-only", "c": "dual-only", "d": "full"}
"""The rows of the papers' ablation and the presets that have their networks."""


class Place(NamedTuple):
    """Where checks run, and how large."""

    device: str

    @property
    def gpu(self) -> bool:
        return self.device.startswith("cuda")

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize(self.device)


class Skipped(Exception):
    """The machine lacks what a check needs."""


def network(place: Place, name: str = "full") -> Any:
    """A network with settled weights: as published on a GPU, small on a CPU."""
    from iqpir import IQPIR, preset
    from iqpir.network.config import PRESETS

    torch.manual_seed(0)
    kept = ("hq_codebook", "conditioning")
    changes = {key: value for key, value in PRESETS[name].items() if key in kept}
    net = IQPIR(preset(name) if place.gpu else preset("small", **changes))
    with torch.no_grad():  # a latent and codes of one size, so that codes matter in the output
        for book in (net.quantize, getattr(net, "quantize_aesthetic", net.quantize)):
            book.embedding.weight.normal_()
        net.position_emb.normal_()
    return net.eval().to(place.device)


def images(place: Place, net: Any, count: int = 1) -> Tensor:
    side = net.config.image_size
    drawn = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(drawn, size=(side, side), mode="bicubic", align_corners=False)
    return (smooth * 2 - 1).clamp(-1, 1).to(place.device)


def score_of(net: Any, place: Place, count: int = 1) -> Tensor | None:
    return None if net.config.conditioning == "none" else torch.full((count,), 0.9, device=place.device)


@torch.no_grad()
def plan(place: Place) -> dict[str, Any]:
    """The fast plan (graph captured, norms fused, upsampling folded) gives what the plain network gives."""
    from iqpir.network.fast.optimized import _has_triton
    from iqpir.precision import native_bfloat16

    net = network(place)
    first, other = images(place, net, 2).split(1)
    score = score_of(net, place)
    found: dict[str, Any] = {"triton": _has_triton()}
    for kind in (torch.float32, torch.bfloat16) if native_bfloat16(place.device) else (torch.float32,):
        made = net.optimize(kind, place.device)
        worst, codes = 0.0, []
        for given in (first, other, first):  # the third replays what the first has captured
            expected = net(given, score)
            answer = made(given, score)
            codes.append(float((net.best_codes(answer.logits) == net.best_codes(expected.logits)).double().mean()))
            forced = made(given, score, codes=net.best_codes(expected.logits))
            worst = max(worst, float((forced.image - expected.image).abs().max()))
        found[str(kind).removeprefix("torch.")] = {"largest difference": worst, "codes equal": min(codes)}
        if place.gpu:
            graphs = made._graphs
            assert graphs is not None and graphs._recorded, "no graph was captured"
            found["graphs"] = len(graphs._recorded)
    single = found["float32"]
    assert single["largest difference"] < 5e-3 and single["codes equal"] > 0.99, found
    assert "bfloat16" not in found or found["bfloat16"]["codes equal"] > 0.8, found
    return found


@torch.no_grad()
def metrics(place: Place) -> dict[str, Any]:
    """Batches in torch have the values of single images on the CPU; images a second of both."""
    missing = [name for name in ("cv2", "scipy", "numpy") if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"the metrics need {', '.join(missing)}")
    from bench.metrics.fsim import Fsim
    from bench.metrics.gmsd import Gmsd
    from bench.metrics.ms_ssim import MsSsim
    from bench.metrics.ssim import Ssim
    from bench.metrics.vif import Vif

    side, count = (512, 16) if place.gpu else (192, 2)
    random = torch.Generator().manual_seed(2)
    clean = torch.nn.functional.interpolate(
        torch.rand(count, 3, side // 16, side // 16, generator=random, dtype=torch.float64), size=(side, side),
        mode="bicubic", align_corners=False,
    ).clamp(0, 1)  # fmt: skip
    noisy = (clean + 0.05 * torch.randn(clean.shape, generator=random, dtype=torch.float64)).clamp(0, 1)
    found: dict[str, Any] = {}
    for metric in (Ssim(), MsSsim(), Gmsd(), Fsim(), Vif()):
        channels = 1 if metric.name in ("gmsd", "vif") else 3
        pair = noisy[:, :channels].contiguous(), clean[:, :channels].contiguous()
        there = tuple(each.to(place.device) for each in pair)
        start = time.perf_counter()
        expected = metric.score(*pair)
        alone = time.perf_counter() - start
        metric.score_batch(*there)
        place.wait()
        start = time.perf_counter()
        values = metric.score_batch(*there)
        place.wait()
        seconds = time.perf_counter() - start
        difference = float(((values.cpu() - expected) / expected).abs().max())
        assert difference < 1e-8, f"{metric.name}: {difference}"
        found[metric.name] = {
            "relative difference": difference,
            "images a second": {"batched": count / seconds, "CPU": count / alone},
        }
    return found


def milliseconds(call: Callable[[], object], place: Place, turns: int, mode: str = "synchronised") -> float:
    """Median of calls, after one that is not counted."""
    from bench.latency.clocks import clock

    timer = clock(place.device, mode)  # type: ignore[arg-type]
    timer.time(call)
    return statistics.median(timer.time(call).wall for _ in range(turns)) / 1e6


@torch.no_grad()
def ablation(place: Place) -> dict[str, Any]:
    """Milliseconds of an image through the networks (a)–(d), with and without graph, dispatch beside synchronised."""
    turns = 50 if place.gpu else 3
    kinds = (torch.float32, torch.bfloat16) if place.gpu else (torch.float32,)
    found: dict[str, Any] = {}
    for row, name in ABLATION.items():
        net = network(place, name)
        given, score = images(place, net), score_of(net, place)
        told: dict[str, Any] = {
            "network": name,
            "plain": milliseconds(lambda n=net, x=given, s=score: n(x, s), place, turns),
        }
        for kind in kinds:
            made = net.optimize(kind, place.device)

            def call(made: Any = made, given: Tensor = given, score: Tensor | None = score) -> object:
                return made(given, score)

            key = str(kind).removeprefix("torch.")
            told[key] = milliseconds(call, place, turns)
            if place.gpu:
                told[f"{key}, dispatch"] = milliseconds(call, place, turns, "dispatch")
                made._graphs = None
                told[f"{key}, no graph"] = milliseconds(call, place, turns)
            made.release()
        found[row] = told
    found["d over a"] = {
        key: found["d"][key] / found["a"][key] for key in found["a"] if isinstance(found["a"][key], float)
    }
    return found


@torch.no_grad()
def rar(place: Place) -> dict[str, Any]:
    """Milliseconds of one round of an untrained RAR, the assessor's and the restorer's."""
    from iqpir.rar import RAR, LoopOptions

    torch.manual_seed(0)
    system = RAR().eval().to(place.device)
    side = 512 if place.gpu else 64
    given = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3)).to(place.device)
    found: dict[str, Any] = {"side": side}
    for restorer in system.config.restorers:
        options = LoopOptions(rounds=1, adaptive=False, verify=False, restorer=restorer)
        found[restorer] = milliseconds(lambda o=options: system(given, o), place, 20 if place.gpu else 2)
        assert bool(torch.isfinite(system(given, options).image).all()), restorer
    return found


def training(place: Place) -> dict[str, Any]:
    """Steps a second of forward, backward and Adam, in float32 and where it is native in bfloat16."""
    from iqpir.precision import choice, native_bfloat16

    found: dict[str, Any] = {"auto": choice(place.device).reason}
    count = 4 if place.gpu else 1
    for kind in ("float32", "bfloat16") if native_bfloat16(place.device) else ("float32",):
        net = network(place).train()
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-5)
        given, score = images(place, net, count), score_of(net, place, count)

        def step(
            net: Any = net, optimiser: Any = optimiser, given: Any = given, score: Any = score, kind: str = kind
        ) -> None:
            with torch.autocast(place.device.split(":")[0], torch.bfloat16, enabled=kind == "bfloat16"):
                loss = (net(given, score, adain=False, detach_16=False).image.float() - given).abs().mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            assert torch.isfinite(loss), kind

        ms = milliseconds(step, place, 10 if place.gpu else 2)
        found[kind] = {"steps a second": 1000 / ms, "images a step": count}
    return found


def workers(place: Place) -> dict[str, Any]:
    """Two processes on one device: the same pixels as one alone, and images a second of both together."""
    seconds = 10.0 if place.gpu else 1.0
    alone = _working(place, seconds, 1)
    both = _working(place, seconds, 2)
    assert {told["pixels"] for told in (*alone, *both)} == {alone[0]["pixels"]}, (alone, both)
    rates = {count: sum(told["images"] / told["seconds"] for told in done) for count, done in ((1, alone), (2, both))}
    return {"one": rates[1], "two": rates[2], "two over one": rates[2] / rates[1]}


def _working(place: Place, seconds: float, count: int) -> list[dict[str, Any]]:
    command = [sys.executable, __file__, "--device", place.device, "--work", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    answers = [process.communicate()[0] for process in running]
    assert all(process.returncode == 0 for process in running), answers
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


@torch.no_grad()
def work(place: Place, seconds: float) -> dict[str, Any]:
    """What one worker does: images through a plan until the time is over."""
    net = network(place)
    made, given, score = net.optimize(torch.float32, place.device), images(place, net), score_of(net, place)
    pixels = made(given, score).image
    place.wait()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        made(given, score)
        place.wait()
        done += 1
    digest = hashlib.sha256(pixels.cpu().numpy().tobytes()).hexdigest()
    return {"images": done, "seconds": time.perf_counter() - start, "pixels": digest}


CHECKS: dict[str, Callable[[Place], dict[str, Any]]] = {
    each.__name__: each for each in (plan, ablation, metrics, training, rar, workers)
}
"""In the order of their worth, should time run out."""


def machine(place: Place) -> dict[str, Any]:
    """What the numbers were measured on."""
    told = {"device": place.device, "torch": torch.__version__, "python": platform.python_version()}
    if not place.gpu:
        return {**told, "name": f"{platform.system()} {platform.machine()} CPU", "threads": torch.get_num_threads()}
    properties = torch.cuda.get_device_properties(place.device)
    capability = ".".join(map(str, torch.cuda.get_device_capability(place.device)))
    return {**told, "name": properties.name, "memory": properties.total_memory, "capability": capability}


def one(name: str, place: Place) -> dict[str, Any]:
    """A check in this process, as it is told in the file."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        return {"status": "ok", **CHECKS[name](place)}
    except Skipped as reason:
        return {"status": "skipped", "reason": str(reason)}


def apart(name: str, place: Place, seconds: float) -> dict[str, Any]:
    """A check in a process of its own, that ends with the time that is left."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--device", place.device, "--only", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        lines = done.stdout.splitlines()
        told = json.loads(lines[-1]) if done.returncode == 0 and lines else None
    except subprocess.TimeoutExpired:
        told = {"status": "failed", "reason": f"no time was left after {seconds:.0f} s"}
    if told is None:
        told = {"status": "failed", "reason": done.stderr[-2000:]}
    return {**told, "seconds": round(time.perf_counter() - start, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--only", choices=CHECKS)
    parser.add_argument("--work", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    place = Place(given.device)
    if place.gpu and not torch.cuda.is_available():
        print(f"{place.device} is not on this machine", file=sys.stderr)
        return 2
    if given.work is not None or given.only:
        print(json.dumps(one(given.only, place) if given.only else work(place, given.work)))
        return 0
    end = time.monotonic() + 60 * given.minutes - 10  # seconds to write and to leave
    report: dict[str, Any] = {"machine": machine(place), "checks": {}}
    name = re.sub(r"[^a-z0-9]+", "-", report["machine"]["name"].lower()).strip("-")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / f"{name}.json"
    for check in CHECKS:
        left = end - time.monotonic()
        none = {"status": "failed", "reason": "no time was left"}
        report["checks"][check] = told = apart(check, place, left) if left > LEAST else none
        written = file.with_suffix(".part")
        written.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        written.replace(file)
        print(f"{check}: {told['status']} {told.get('reason', '')}".rstrip(), file=sys.stderr)
    print(file)
    return int(any(told["status"] == "failed" for told in report["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())

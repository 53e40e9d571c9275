"""What classical metrics cost: each against pyiqa's network, and whole folders against pyiqa's command and decoding.

`python tests/benchmarks/compare_classical.py [--mirror DIR] [--size 512] [--repeat 3] [--pairs 6] [--decoded 100]`;
with `--write docs/performance.md` the figures become a section of that document. All of it is one process on one
thread, in which turns alternate, so that whatever else the machine does falls on both sides; the ratios are of the
fastest turns. Ours runs under `pyiqa/default`, whose options are pyiqa's, from the decoded 8-bit image on: the
conversion to luma is counted on both sides. NIQE, BRISQUE and the whole pass need LIVE's parameters, which `--mirror`
holds as for `bench fetch --mirror`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import compare_pass
import numpy as np
from compare_pyiqa import write_pairs
from store_scale import put

from bench import provenance

PAIRS = {
    "psnr": ("psnr", {}), "ssim": ("ssim", {}), "ms-ssim": ("ms_ssim", {}),
    "ms-ssim rgb": ("ms_ssim", {"test_y_channel": False}), "gmsd": ("gmsd", {}), "fsim": ("fsim", {}),
    "vif": ("vif", {}), "piqe": ("piqe", {}), "niqe": ("niqe", {}), "brisque": ("brisque", {}),
}  # fmt: skip
"""Row → pyiqa's name and options."""
FITTED = ("niqe", "brisque")
"""Rows that need LIVE's parameters."""
TARGETS = {"psnr": 3, "ssim": 45, "gmsd": 3, "fsim": 3, "vif": 8, "piqe": 5, "niqe": 4, "brisque": 4}
"""How many times faster than pyiqa a metric ought to be."""
PASS = "all of them over a folder, by both commands"
FOLDER = "`bench score` of PSNR and SSIM over {pairs:,} pairs against decoding them by OpenCV on as many threads"
HEADING = "## Classical metrics"
_QUICK = 0.3
"""Seconds of the processor."""


def photographs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph that ships with scikit-image, and its blurred and noisy copy; uint8 [size,size,3]."""
    import cv2
    from skimage import data

    reference = cv2.resize(data.astronaut(), (size, size), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).normal(0, 8, reference.shape)
    return np.clip(np.rint(cv2.GaussianBlur(reference, (0, 0), 1.0) + noise), 0, 255).astype(np.uint8), reference


def turns(sides: list[Callable[[], float]], repeat: int) -> tuple[list[float], list[float]]:
    """Seconds of the fastest turn of each side, by the clock and of the processor.

    What is quick takes more turns, up to fifty: there are more that nothing disturbs.
    """
    walls, used = ([float("inf")] * len(sides) for _ in range(2))
    begun = time.process_time()
    for turn in range(50):
        if turn >= repeat and time.process_time() - begun > _QUICK:
            break
        for place, side in enumerate(sides):
            start, before = time.perf_counter(), time.process_time()
            side()
            walls[place] = min(walls[place], time.perf_counter() - start)
            used[place] = min(used[place], time.process_time() - before)
    return walls, used


def compare(rows: Mapping[str, tuple[str, dict[str, Any]]], size: int, repeat: int) -> dict[str, dict[str, Any]]:
    """Row → both values, their relative difference, milliseconds and the ratio."""
    import pyiqa
    import torch

    from bench.catalog.registry import registry
    from bench.metrics.build import build_metric
    from bench.metrics.protocols import protocol
    from bench.metrics.scorer import Scorer

    pair = photographs(size)
    found: dict[str, dict[str, Any]] = {}
    for row, (name, options) in rows.items():
        net = pyiqa.create_metric(name, device="cpu", **options).net
        asked = {"space": "rgb"} if row.endswith("rgb") else {}
        metric = build_metric(registry("metric").get(row.split()[0]), asked, protocol("pyiqa/default"))
        scorer = Scorer([metric], "cpu")
        scorer.load()

        def ours(scorer: Scorer = scorer) -> float:
            (outcome,) = scorer.score(*pair)
            assert outcome.value is not None, outcome.reason
            return outcome.value

        def theirs(net: torch.nn.Module = net, both: bool = metric.mode == "FR") -> float:
            planes = [torch.from_numpy(np.ascontiguousarray(one.transpose(2, 0, 1))) for one in pair[: 1 + both]]
            with torch.no_grad():
                return float(net(*(plane[None].float() / 255 for plane in planes)))

        values = ours(), theirs()
        seconds, used = turns([ours, theirs], repeat)
        found[row] = {
            "ours": values[0],
            "pyiqa": values[1],
            "relative difference": abs(values[0] - values[1]) / abs(values[1]),
            "ours ms": round(used[0] * 1e3, 2),
            "pyiqa ms": round(used[1] * 1e3, 1),
            "ratio by the clock": round(seconds[1] / seconds[0], 1),
            "ratio": round(used[1] / used[0], 1),
            "target": TARGETS.get(row),
        }
        print(row, json.dumps(found[row]), file=sys.stderr)
    return found


def whole_pass(folder: Path, repeat: int) -> float:
    """Processor time of pyiqa's command over ours, both in this process, of every metric."""
    _, used = turns([lambda: compare_pass.ours(folder), lambda: compare_pass.theirs(folder)], repeat)
    return used[1] / used[0]


class Decoded(NamedTuple):
    """Processor time beside that of decoding the same files by OpenCV on as many threads."""

    scored: float
    """Of `bench score` of PSNR and SSIM."""
    read: float
    """Of our decoding alone, which checks what OpenCV does not."""


def beside_decoding(folder: Path, repeat: int) -> Decoded:
    """Two threads of one core slow each other down, and all sides are to pay for it."""
    from concurrent.futures import ThreadPoolExecutor

    import cv2

    from bench.cli.score import command
    from bench.data.images import decode
    from bench.machine import usable_cores

    files = sorted(folder.glob("*/*.png"))
    asked = [str(folder / "restored"), "--reference", str(folder / "gt"), "--metric", "psnr,ssim", "--format", "json"]

    def score() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            command.main(asked, standalone_mode=False)

    def all_by(decoder: Callable[[Path], np.ndarray]) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(usable_cores()) as pool:
                for _ in pool.map(lambda file: decoder(file).shape, files):
                    pass

        return run

    def opencv(file: Path) -> np.ndarray:
        return cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)

    score()
    _, used = turns([score, all_by(decode), all_by(opencv)], repeat)
    return Decoded(used[0] / used[2], used[1] / used[2])


def table(rows: Mapping[str, Mapping[str, Any]], passed: float | None, decoded: Decoded, pairs: int) -> str:
    """Markdown: every figure beside its target."""
    lines = ["| metric | ours | pyiqa | faster | target |", "|:--|--:|--:|--:|--:|"]
    for name, row in rows.items():
        ratio, target = row["ratio"], row["target"]
        aim = f"≥ {target}×" if target else "–"
        lines.append(
            f"| {name} | {row['ours ms']:.1f} ms | {row['pyiqa ms']:.0f} ms "
            f"| {_judged(f'{ratio:.1f}×', target is None or ratio >= target)} | {aim} |"
        )
    if passed is not None:
        lines.append(f"| {PASS} | – | – | {_judged(f'{passed:.0f}×', passed >= 25)} | ≥ 25× |")
    against = _judged(f"{decoded.scored:.2f}×", decoded.scored <= 1.3)
    lines += [
        "",
        f"{FOLDER.format(pairs=pairs)}: {against} its processor time (target: ≤ 1.3×), of which our decoding alone is "
        f"{decoded.read:.2f}×.",
    ]
    return "\n".join(lines)


def _judged(text: str, reached: bool) -> str:
    return text if reached else f"**{text}**"


def section(size: int, text: str) -> str:
    """What a document says of it."""
    return (
        f"{HEADING}\n\nProcessor time of a decoded pair of {size}² under `pyiqa/default`, beside pyiqa in one process "
        f"on one thread of {provenance.processor()}, which other work shared: the ratios count, not the milliseconds. "
        "Loops that Numba compiles are compiled before: a few seconds, once per machine. What misses its target is "
        "bold. Made by `python tests/benchmarks/compare_classical.py --mirror DIR --write docs/performance.md`."
        f"\n\n{text}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, help="holds LIVE's parameters of NIQE and BRISQUE")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=6, help="of the whole pass")
    parser.add_argument("--decoded", type=int, default=100, help="pairs that are scored beside decoding alone")
    parser.add_argument("--write", type=Path, metavar="FILE", help="make the figures a section of this document")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, arguments.pairs, arguments.size)
        wanted = {row: theirs for row, theirs in PAIRS.items() if row not in FITTED or arguments.mirror}
        passed = None
        with contextlib.ExitStack() as stack:
            if arguments.mirror:
                stack.enter_context(compare_pass.parameters(folder, arguments.mirror))
            rows = compare(wanted, arguments.size, arguments.repeat)
            if arguments.mirror:
                passed = whole_pass(folder, 2)
        (folder / "many").mkdir()
        write_pairs(folder / "many", arguments.decoded, arguments.size)
        decoded = beside_decoding(folder / "many", 2)
    text = table(rows, passed, decoded, arguments.decoded)
    print(text)
    if arguments.write is not None:
        put(arguments.write, section(arguments.size, text), HEADING)


if __name__ == "__main__":
    main()

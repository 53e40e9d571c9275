"""Which of the classical methods undoes each degradation best: the order of the tools of `tool-agent`.

Degrades photographs of scikit-image by one degradation each, as RAR's training does, restores them by every tool that
some degradation has, and prints per degradation the mean gain in PSNR (dB) and in SSIM, best first by the mean of their
ranks.

    python tests/benchmarks/tool_order.py [--draws 3] [--side 192]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm import tqdm

from bench.catalog.registry import registry
from bench.methods.toolbox import Tool, Toolbox
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.training.degrade import Composite

PHOTOGRAPHS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
)


def photographs(side: int) -> list[torch.Tensor]:
    """[3,side,side] in [0,1] of those that this scikit-image has."""
    home, made = Path(skimage.__file__).parent / "data", []
    for name in PHOTOGRAPHS:
        if not (home / name).exists():
            continue
        image = Image.open(home / name).convert("RGB")
        square = min(image.size)
        pixels = np.asarray(image.crop((0, 0, square, square)).resize((side, side), Image.Resampling.LANCZOS))
        made.append(torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255)
    return made


def scores(image: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """PSNR and SSIM, scikit-image's."""
    pair = reference.numpy().astype(float), image.clamp(0, 1).numpy().astype(float)
    psnr = peak_signal_noise_ratio(*pair, data_range=1)
    return float(psnr), float(structural_similarity(*pair, data_range=1, channel_axis=0))


def gains(kind: str, tools: list[Tool], clean: list[torch.Tensor], draws: int) -> dict[str, np.ndarray]:
    """Tool's name → mean [PSNR, SSIM] gained over the input."""
    spoil = Composite(kinds=(kind,), counts=(0, 1, 0, 0), dark="any")
    found: dict[str, list[np.ndarray]] = {tool.name: [] for tool in tools}
    for place, reference in enumerate(clean):
        for draw in range(draws):
            given = spoil(reference, np.random.default_rng([23, place, draw])).image
            before = np.array(scores(given, reference))
            for tool in tools:
                made = tool.method.restore(given[None])[0]
                found[tool.name].append(np.array(scores(made, reference)) - before)
    return {name: np.mean(each, axis=0) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--side", type=int, default=192)
    asked = parser.parse_args()
    box = Toolbox(registry("method").get("tool-agent"), None)
    box.load("cpu", "float32")
    tools = list({tool.name: tool for tool in box}.values())
    clean = photographs(asked.side)
    for kind in tqdm(DEGRADATIONS):
        found = gains(kind, tools, clean, asked.draws)
        values = np.array(list(found.values()))
        ranks = (-values).argsort(axis=0).argsort(axis=0).mean(axis=1)
        names = list(found)
        best = [names[place] for place in ranks.argsort(kind="stable")]
        tqdm.write(f"{kind}: " + ", ".join(f"{name} {found[name][0]:+.2f} {found[name][1]:+.3f}" for name in best[:6]))


if __name__ == "__main__":
    main()

"""How well the assessor of a RAR system sees: on datasets that say what was done to their images.

Prints, per dataset: the average precision of each degradation that it has, and their mean; Spearman's correlation of
the judged quality with PSNR and SSIM of the inputs; of all pairs of latents that four rounds run through,
each with the next, the share that the assessor puts in the order of PSNR and of SSIM against the reference (pairs
closer than 0.1 dB or 0.002 are none), and how many of the steps that the loop takes are for the better.

    python tests/benchmarks/rar_assessment.py [builtin-composite …] [--weights rar-tiny]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import spearmanr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm import tqdm

from bench.catalog.registry import registry
from bench.data.build import build_dataset
from bench.data.items import Item
from iqpir.rar import RAR, LoopOptions
from iqpir.rar.kinds import DEGRADATIONS
from iqpir.rar.loop import rounds

APART = {"psnr": 0.1, "ssim": 0.002}
"""Differences below which a step is neither for the better nor for the worse."""


class Seen(NamedTuple):
    """What one image gave."""

    done: tuple[str, ...]
    odds: np.ndarray
    """Of each degradation."""
    quality: float
    scores: dict[str, float]
    """Of the input."""
    steps: list[tuple[float, dict[str, float]]]
    """Probability that a step is for the better, as judged, and by how much it is, by each of `APART`."""
    taken: list[dict[str, float]]
    """By how much those steps are that the loop takes."""


def average_precision(odds: np.ndarray, there: np.ndarray) -> float:
    """The mean, over what is there, of the share of what is there among all that is ranked at least as high."""
    hits = there[np.argsort(-odds, kind="stable")].astype(float)
    return float((hits * hits.cumsum() / np.arange(1, len(hits) + 1)).sum() / hits.sum())


def scored(image: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
    """PSNR and SSIM, scikit-image's, of images [3,H,W] in [0,1]; one of another size is brought to the reference's."""
    if image.shape != reference.shape:
        size = reference.shape[-2:]
        image = torch.nn.functional.interpolate(image[None], size, mode="bicubic", align_corners=False)[0].clamp(0, 1)
    pair = reference.numpy().astype(float), image.numpy().astype(float)
    return {
        "psnr": float(peak_signal_noise_ratio(*pair, data_range=1)),
        "ssim": float(structural_similarity(*pair, data_range=1, channel_axis=0)),
    }


@torch.no_grad()
def seen(system: RAR, item: Item) -> Seen:
    assert item.gt is not None
    given, clean = (torch.from_numpy(each.load()).permute(2, 0, 1).float() / 255 for each in (item.lq, item.gt))
    height, width = given.shape[-2:]
    states = rounds(system, system.encode(given[None]), LoopOptions(4, adaptive=False), keep=True).states
    judged = [system.assess(state) for state in states]
    scores = [scored(system.decode(state, height, width)[0], clean) for state in states]
    steps = []
    for turn in range(1, len(states)):
        odds = float((judged[turn].utility - judged[turn - 1].utility).sigmoid())
        steps.append((odds, {name: scores[turn][name] - scores[turn - 1][name] for name in APART}))
    first, odds = judged[0], judged[0].logits[0].sigmoid().numpy()
    count = rounds(system, states[0], LoopOptions(4)).traces[0].taken
    taken = [gains for _, gains in steps[:count]]
    return Seen(tuple(item.done), odds, float(first.quality), scored(given, clean), steps, taken)


def lines(name: str, found: list[Seen]) -> Iterator[str]:
    yield f"\n{name}: {len(found)} images\n"
    present = [kind for kind in DEGRADATIONS if 0 < sum(kind in each.done for each in found) < len(found)]
    odds = np.stack([each.odds for each in found])
    precisions = {
        kind: average_precision(odds[:, DEGRADATIONS.index(kind)], np.array([kind in each.done for each in found]))
        for kind in present
    }
    for kind, value in precisions.items():
        yield f"average precision, {kind}: {value:.3f} (by chance {np.mean([kind in each.done for each in found]):.3f})"
    if precisions:
        yield f"mean average precision: {np.mean(list(precisions.values())):.3f}"
    for metric in APART:
        rho = spearmanr([each.quality for each in found], [each.scores[metric] for each in found]).statistic
        yield f"rank correlation of quality with {metric} of the input: {rho:.3f}"
    for metric, apart in APART.items():
        pairs = [(odds, gain[metric]) for each in found for odds, gain in each.steps if abs(gain[metric]) > apart]
        right = [(odds > 0.5) == (gain > 0) for odds, gain in pairs]
        good = np.mean([gain > 0 for _, gain in pairs])
        yield f"steps by {metric}: {len(pairs)}, {good:.1%} for the better; told right {np.mean(right):.1%}"
        run = [gain[metric] > 0 for each in found for gain in each.taken if abs(gain[metric]) > apart]
        if run:
            yield f"  of {len(run)} that the loop takes {np.mean(run):.1%} are for the better"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="*", default=["builtin-composite"])
    parser.add_argument("--weights", default="rar-tiny")
    given = parser.parse_args()
    system = RAR.from_checkpoint(given.weights).eval()
    for name in given.datasets:
        entry = registry("dataset").get(name)
        options = {"available": True} if entry.fields.get("kind") == "official" else {}
        items = build_dataset(entry, options, None).items
        print("\n".join(lines(name, [seen(system, item) for item in tqdm(items, desc=name, disable=None)])))


if __name__ == "__main__":
    main()

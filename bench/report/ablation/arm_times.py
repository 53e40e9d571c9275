"""How long the arms take, by turns on one CPU thread: the harness's clock, its median and its ratio of medians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from bench.latency.clocks import CpuClock
from bench.report.ablation.evaluation_section import Trained
from bench.results.samples import Ratio, Summary, ratio, summarise
from iqpir.checkpoint import load_restorer

ROUNDS = 300
WARM = 20


class Timed(NamedTuple):
    arm: str
    summary: Summary
    """Nanoseconds of one image of the network's size."""
    against: Ratio | None
    """To the first arm."""


def measure(networks: Sequence[Trained], score: float, *, rounds: int = ROUNDS) -> list[Timed]:
    """One call of each in every round, batch 1, float32, torch's eager mode; the first network is what others are
    divided by."""
    calls = []
    for trained in networks:
        network = load_restorer(trained.restorer).eval()
        side = network.config.image_size
        image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        calls.append((network, image, None if network.config.conditioning == "none" else score))
    clock, before = CpuClock(), torch.get_num_threads()
    times: list[list[int]] = [[] for _ in calls]
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for turn in range(-WARM, rounds):
                for place, (network, image, asked) in enumerate(calls):
                    sample = clock.time(lambda network=network, image=image, asked=asked: network(image, asked))  # type: ignore[misc]
                    if turn >= 0:
                        times[place].append(sample.wall)
    finally:
        torch.set_num_threads(before)
    arrays = [np.array(each) for each in times]
    return [
        Timed(trained.arm.name, summarise(each), ratio(arrays[0], each) if place else None)
        for place, (trained, each) in enumerate(zip(networks, arrays, strict=True))
    ]

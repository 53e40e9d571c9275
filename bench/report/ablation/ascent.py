"""Does climbing the prior over-optimise? One network's latents and its codes climb it, image by image, under watch.

The watch is metrics that the ascent does not know: PSNR to the GT, and no-reference metrics of other make.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from bench.report.ablation.evaluation_section import Plan, Trained
from bench.report.ablation.measure import SWEPT, Judge, Row, kept, one_of_each, whole
from bench.report.ablation.photographs import Window, as_pixels
from iqpir.checkpoint import load_restorer
from iqpir.images import to_tensor
from iqpir.training.pursuit import SPACES, pursue

MOVED = "moved"


def measure(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> list[Row]:
    """Rows of both spaces, `score` holding the step; from the file if they are there already."""
    return kept("ascent", trained, plan, windows, judge, lambda: _climbed(trained, plan, one_of_each(windows), judge))


def _climbed(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> Iterator[Row]:
    asked = plan.evaluation
    network = load_restorer(trained.restorer).eval().requires_grad_(False)
    score = None if network.config.conditioning == "none" else asked.score
    for full in windows:
        window = whole(full, network.config.image_size)
        given = to_tensor(window.lq)[None] * 2 - 1
        for space in SPACES:
            rate = asked.continuous_rate if space == "continuous" else asked.discrete_rate
            steps = pursue(network, given, score, judge.prior, space=space, rate=rate, steps=asked.pursue_steps)
            for step in steps:
                image = as_pixels(step.images[0])
                found = judge.score(image, window.gt, SWEPT) | {MOVED: float(step.moved[0])}
                for metric, value in found.items():
                    yield Row(
                        trained.arm.name, trained.seed, space, float(step.step), window.photograph, window.name,
                        metric, value,
                    )  # fmt: skip


def pictures(trained: Trained, plan: Plan, window: Window, judge: Judge) -> dict[str, torch.Tensor]:
    """What both ascents end with for one window, and where they began: float32 [3,H,W] in [0,1]."""
    asked = plan.evaluation
    network = load_restorer(trained.restorer).eval().requires_grad_(False)
    score = None if network.config.conditioning == "none" else asked.score
    given = to_tensor(whole(window, network.config.image_size).lq)[None] * 2 - 1
    last = max(asked.pursue_steps)
    found: dict[str, torch.Tensor] = {}
    for space in SPACES:
        rate = asked.continuous_rate if space == "continuous" else asked.discrete_rate
        first, end = pursue(network, given, score, judge.prior, space=space, rate=rate, steps=(0, last))
        found.setdefault("prediction", first.images[0])
        found[space] = end.images[0]
    return found

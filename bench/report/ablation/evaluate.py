"""From a folder of trained arms to a folder of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.errors import BenchError
from bench.report import style
from bench.report.ablation import arm_tables, arm_times, ascent, draw, measure
from bench.report.ablation.arm_tables import MAIN, Results
from bench.report.ablation.evaluation_section import Plan, Trained, read
from bench.report.ablation.measure import Judge, Row
from bench.report.ablation.photographs import Window, as_pixels, windows
from iqpir.checkpoint import load_restorer

SHOWN = ("astronaut-1", "coffee-0", "chelsea-0", "brick-0")
"""Windows that stand in the picture."""


def evaluate(
    config: Path, trained: Path, folder: Path, *, workers: int = 1, rounds: int = arm_times.ROUNDS, brief: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> list[Path]:  # fmt: skip
    """Measure what is trained, and write tables and figures; returns their files. `brief`: neither sweep nor ascent.

    Raises `BenchError` where nothing is trained yet.
    """
    plan = read(config, trained)
    ready = [network for network in plan.networks if network.done]
    if not ready or not plan.prior.is_file():
        raise BenchError(f"{trained}: nothing is trained: iqpir train ablation {config} -o {trained}")
    chosen = windows(plan.degradation, plan.evaluation.side)
    judge = Judge(plan.prior)
    rows = measure.inputs(chosen, judge)
    for number, found in enumerate(_measured(plan, ready, workers, brief), 1):
        rows += found
        note(f"{number}/{len(ready)} networks measured")
    times = arm_times.measure(_first_of_each(ready), plan.evaluation.score, rounds=rounds) if rounds else []
    names = {network.arm.name for network in ready}
    pending = {
        arm.name: "not trained yet" for arm in plan.ablation.arms if arm.name not in names
    }  # fmt: skip
    results = Results(plan, judge.columns, judge.lacking, rows, times, pending)
    written = arm_tables.write(results, folder)
    return written + _drawn(results, ready, chosen, judge, folder)


def _first_of_each(ready: Sequence[Trained]) -> list[Trained]:
    """The first seed of every main arm."""
    found: dict[str, Trained] = {}
    for network in ready:
        if network.arm.group == MAIN:
            found.setdefault(network.arm.name, network)
    return list(found.values())


def _measured(plan: Plan, ready: Sequence[Trained], workers: int, brief: bool) -> Sequence[list[Row]]:
    """Rows of each network, in the order given."""
    if workers == 1:
        return [measure_one(plan, network, brief) for network in ready]
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(measure_one, [plan] * len(ready), ready, [brief] * len(ready)))


def measure_one(plan: Plan, network: Trained, brief: bool) -> list[Row]:
    """All rows of one network: in a process of its own, or here, on one thread."""
    import torch

    torch.set_num_threads(1)
    chosen = windows(plan.degradation, plan.evaluation.side)
    judge = Judge(plan.prior)
    rows = measure.measure(network, plan, chosen, judge)
    if not brief and network.arm.name in plan.evaluation.sweep:
        rows = rows + measure.sweep(network, plan, chosen, judge)
    # An ascent takes as long as all the rest, so that one seed of its arm has to do.
    if not brief and network.arm.name == plan.evaluation.pursue and network.seed == network.arm.seeds[0]:
        rows = rows + ascent.measure(network, plan, chosen, judge)
    return rows


def _drawn(
    results: Results, ready: Sequence[Trained], chosen: Sequence[Window], judge: Judge, folder: Path
) -> list[Path]:  # fmt: skip
    plan = results.plan
    shown = [window for window in chosen if window.name in SHOWN] or list(chosen[:1])
    with style.applied():
        figures = {
            "main": draw.main(results), "sides": draw.sides(results), "sweep": draw.sweep(results),
            "ascent": draw.ascent(results), "pictures": draw.pictures(_restored(plan, ready, shown)),
        }  # fmt: skip
        climber = next((each for each in ready if each.arm.name == plan.evaluation.pursue), None)
        if climber is not None and figures["ascent"] is not None:
            figures["ascent-pictures"] = draw.pictures([_climbed(climber, plan, one, judge) for one in shown])
        files = []
        for name, figure in figures.items():
            if figure is not None:
                style.save(figure, folder / f"{name}.png")
                files.append(folder / f"{name}.png")
    return files


def _restored(plan: Plan, ready: Sequence[Trained], shown: Sequence[Window]) -> list[dict[str, np.ndarray]]:
    images: list[dict[str, np.ndarray]] = [{"LQ": window.lq} for window in shown]
    for network in _first_of_each(ready):
        made = measure.restore(
            load_restorer(network.restorer).eval(), [window.lq for window in shown], plan.evaluation.score, plan
        )
        for found, image in zip(images, made, strict=True):
            found[f"({network.arm.name})"] = image
    for found, window in zip(images, shown, strict=True):
        found["GT"] = window.gt
    return images


def _climbed(climber: Trained, plan: Plan, window: Window, judge: Judge) -> dict[str, np.ndarray]:
    window = measure.whole(window, load_restorer(climber.restorer).config.image_size)
    found = {"LQ": window.lq}
    found |= {name: as_pixels(image) for name, image in ascent.pictures(climber, plan, window, judge).items()}
    return found | {"GT": window.gt}

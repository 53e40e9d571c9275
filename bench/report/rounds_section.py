"""The part of a page that shows how restorations came about: a table of rounds, and strips of the images between them.

Whether a step that was taken was a true improvement is looked up against the reference, which the method never saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bench.errors import counted as number_of
from bench.methods.trace import Trace
from bench.report.crops import Encoded, thumbnail
from bench.report.gallery import Budget, Group
from bench.report.rounds_figure import quality_of
from bench.results.pictures import Pictures
from bench.results.traces import Told
from bench.results.view import RunView
from bench.tables.layout import printable
from bench.tables.rounds import counted

_SIDE = 200
_MOST_JUDGED = 400
"""Restorations of a method on a dataset whose steps are compared with the reference, at most."""


class Frame(NamedTuple):
    """One image of a strip, and what was said of it and done to it."""

    title: str
    picture: Encoded | None
    lines: Sequence[str]
    verdict: str


class Strip(NamedTuple):
    """One image's way through one method."""

    item: str
    method: str
    said: str
    frames: Sequence[Frame]
    curve: str
    """An <svg> of the quality, as assessed, after each round; empty where nobody said any."""


class Line(NamedTuple):
    """A method in the table of rounds."""

    method: str
    rounds: str
    taken: str
    rolled_back: str
    reasons: str
    true_steps: str


class Section(NamedTuple):
    """One dataset."""

    dataset: str
    lines: Sequence[Line]
    strips: Sequence[Strip]


def build(data: RunView, pictures: Pictures, groups: Sequence[Group], budget: Budget) -> list[Section]:
    """Of every dataset on which a method tells its rounds; strips of the items that the gallery shows."""
    shown = {group.dataset: [item.id for item in group.shown] for group in groups}
    lines: dict[str, list[Line]] = {}
    for dataset, method, one in counted(data):
        told = data.traces.get((dataset, method))
        if told and one.mean is not None:
            ended = ", ".join(f"{reason or 'not said'} {100 * n / one.n:.0f} %" for reason, n in one.reasons.items())
            rolled = f"{one.rolled_back} of {one.n}" + ("" if one.things == "images" else f" {one.things}")
            lines.setdefault(dataset, []).append(
                Line(
                    method, f"{one.mean:.2f}", f"{one.taken:.2f}", rolled, ended,
                    _true_steps(data, pictures, dataset, method, told),
                )
            )  # fmt: skip
    return [
        Section(dataset, found, list(_strips(data, pictures, dataset, shown.get(dataset, ()), budget)))
        for dataset, found in lines.items()
    ]


def judged(images: Sequence[np.ndarray], reference: np.ndarray) -> tuple[int, int]:
    """(steps that came nearer to the reference, steps) of the images before, between and after rounds, by their mean
    squared error, in whose order PSNR is."""
    errors = [float(np.square(one.astype(np.float64) - reference).mean()) for one in images]
    return sum(after < before for before, after in pairwise(errors)), len(errors) - 1


def _true_steps(data: RunView, pictures: Pictures, dataset: str, method: str, told: Sequence[Told]) -> str:
    better = steps = 0
    for one in [each for each in told if each.repeat == 0 and each.trace.taken][:_MOST_JUDGED]:
        reference = pictures.gt(dataset, one.item).pixels
        images = _images(pictures, dataset, method, one)
        if reference is None or images is None or any(each.shape != reference.shape for each in images):
            continue
        found = judged(images, reference)
        better, steps = better + found[0], steps + found[1]
    return f"{better} of {steps} ({100 * better / steps:.0f} %)" if steps else "–"


def _images(pictures: Pictures, dataset: str, method: str, told: Told) -> list[np.ndarray] | None:
    """Input, images between the rounds that were taken, output; None where one of them is gone."""
    given, made = pictures.lq(dataset, told.item).pixels, pictures.output(dataset, method, told.item).pixels
    between = pictures.stages(told)
    if given is None or made is None or len(between) != max(0, told.trace.taken - 1):
        return None
    return [given, *between.values(), made]


def _strips(data: RunView, pictures: Pictures, dataset: str, items: Sequence[str], budget: Budget) -> list[Strip]:
    found = []
    for item in items:
        for method in data.record.methods:
            told = data.traces.get((dataset, method.label), ())
            one = next((each for each in told if each.item == item and each.repeat == 0), None)
            if one is not None and not budget.spent:
                found.append(_strip(pictures, dataset, method.label, one, budget))
    return found


def _strip(pictures: Pictures, dataset: str, method: str, told: Told, budget: Budget) -> Strip:
    trace = told.trace
    between: Mapping[int, np.ndarray] = pictures.stages(told)
    last = max((number for number, step in enumerate(trace.steps, 1) if step.taken), default=0)

    def shown(pixels: np.ndarray | None) -> Encoded | None:
        return None if pixels is None or budget.spent else budget.take(thumbnail(pixels, _SIDE))

    frames = [Frame("Input", shown(pictures.lq(dataset, told.item).pixels), [], "")]
    for number, step in enumerate(trace.steps, 1):
        said = [text for text in (step.words, step.action) if text]
        if step.quality is not None:
            after = f" → {step.quality_after:.2f}" if step.quality_after is not None else ""
            said.append(f"quality {step.quality:.2f}{after}")
        if step.better is not None:
            said.append(f"better with {step.better:.2f}")
        pixels = pictures.output(dataset, method, told.item).pixels if number == last else between.get(number)
        frames.append(Frame(f"Round {number}", shown(pixels) if step.taken else None, said, step.verdict))
    seconds = f", {told.seconds:.2f} s" if told.seconds is not None else ""
    rounds = number_of(trace.rounds, "round")
    said_of_all = f"{rounds}, {trace.taken} taken{seconds}; ended: {trace.reason or 'not said'}"
    return Strip(told.item, method, said_of_all, frames, curve_of(trace))


def curve_of(trace: Trace) -> str:
    """The quality after each round as inline SVG, between 0 and 1."""
    curve = quality_of(trace)
    if len(curve) < 2:
        return ""
    width, height, pad = 160, 56, 8
    step = (width - 2 * pad) / (len(curve) - 1)
    points = [(pad + step * at, height - pad - (height - 2 * pad) * value) for at, value in enumerate(curve)]
    said = printable("Quality after each round: " + ", ".join(f"{value:.2f}" for value in curve))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in points)
    return (
        f'<svg class="strips curve s0" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>"
        f'<polyline fill="none" stroke="currentColor" stroke-width="1.6" points="{path}"/>{dots}</svg>'
    )

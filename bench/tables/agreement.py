"""How far metrics agree with people: rank and linear correlation, and how often a metric prefers what they prefer.

Pure: values and opinions come in as arrays. Intervals draw whole scenes, since the outputs of one scene are judged
beside each other and are no independent sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from bench.results.csv_text import of_records
from bench.tables.render import pipe

RESAMPLES = 1000
SEED = 12345
FORMATS = ("markdown", "csv", "json")


class Estimate(NamedTuple):
    """A number with its interval at 95 %; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Preferences(NamedTuple):
    """Comparisons of two outputs by their place: which was preferred, and how often it came."""

    better: np.ndarray
    worse: np.ndarray
    weight: np.ndarray


class Opinions(NamedTuple):
    """What people say of some outputs."""

    scores: np.ndarray
    """Per output, higher is better; NaN where nobody said anything."""
    scenes: np.ndarray
    """Per output, the number of its scene."""
    preferences: Preferences | None
    """None: between all outputs of a scene whose scores differ."""
    within: bool
    """True where scores compare the outputs of one scene alone: correlations are then means over scenes."""


class Agreement(NamedTuple):
    """One metric on one set of opinions."""

    dataset: str
    against: str
    """Which opinions, in words."""
    metric: str
    signature: str
    srocc: Estimate
    plcc: Estimate
    accuracy: Estimate
    """Part of the comparisons in which the metric prefers what people prefer; equal values count half."""
    outputs: int
    comparisons: float


def agree(
    dataset: str, against: str, metric: str, signature: str, values: np.ndarray, people: Opinions,
    *, logistic: bool = False,
) -> Agreement:  # fmt: skip
    """`values`: per output, turned so that higher is better; NaN ones are left out, infinite ones only of the linear
    correlation: a rank and a preference they have.

    `logistic`: correlate linearly after VQEG's logistic of four parameters, fitted to all outputs, as IQA papers do.
    """
    known = ~np.isnan(values)
    used = known & np.isfinite(people.scores)
    finite = used & np.isfinite(values)
    fitted = _fitted(values, people.scores, finite) if logistic and not people.within else values
    pairs = people.preferences or _all_pairs(people)
    kept = known[pairs.better] & known[pairs.worse]
    pairs = Preferences(pairs.better[kept], pairs.worse[kept], pairs.weight[kept])
    first, second = values[pairs.better], values[pairs.worse]
    right = np.where(first > second, 1.0, np.where(first == second, 0.5, 0.0))
    scenes = np.unique(people.scenes)
    of_pair = people.scenes[pairs.better]
    heft = np.array([(pairs.weight * (of_pair == scene)).sum() for scene in scenes])
    hits = np.array([(pairs.weight * right * (of_pair == scene)).sum() for scene in scenes])

    def correlation(
        kind: Callable[[np.ndarray, np.ndarray], float], of: np.ndarray, among: np.ndarray
    ) -> Callable[[np.ndarray], float]:
        each = [np.flatnonzero(among & (people.scenes == scene)) for scene in scenes]
        by_scene = np.array([kind(of[one], people.scores[one]) for one in each]) if people.within else None

        def value(drawn: np.ndarray) -> float:
            if by_scene is not None:
                some = by_scene[drawn]
                return float(np.nanmean(some)) if np.isfinite(some).any() else math.nan
            if among.sum() < 3:
                return math.nan  # two points always lie on a line
            joined = np.concatenate([each[scene] for scene in drawn])
            return kind(of[joined], people.scores[joined])

        return value

    def accuracy(drawn: np.ndarray) -> float:
        total = heft[drawn].sum()
        return float(hits[drawn].sum() / total) if total else math.nan

    return Agreement(
        dataset, against, metric, signature, _interval(correlation(_spearman, values, used), len(scenes)),
        _interval(correlation(_pearson, fitted, finite), len(scenes)), _interval(accuracy, len(scenes)),
        int(used.sum()),
        float(pairs.weight.sum()),
    )  # fmt: skip


def _all_pairs(people: Opinions) -> Preferences:
    better, worse = [], []
    for scene in np.unique(people.scenes):
        place = np.flatnonzero((people.scenes == scene) & np.isfinite(people.scores))
        one, other = np.nonzero(people.scores[place][:, None] > people.scores[place][None, :])
        better.append(place[one])
        worse.append(place[other])
    joined = np.concatenate(better) if better else np.array([], dtype=int)
    return Preferences(joined, np.concatenate(worse) if worse else joined, np.ones(len(joined)))


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    from scipy import stats

    return _pearson(stats.rankdata(one), stats.rankdata(other)) if len(one) > 1 else math.nan


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 2:
        return math.nan
    first, second = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else math.nan


def _fitted(values: np.ndarray, scores: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Values on the scale of the scores; as they are where no curve fits."""
    import warnings

    from scipy import optimize

    one, other = values[used], scores[used]
    if len(one) < 8 or one.std() == 0:
        return values
    start = (float(other.max()), float(other.min()), float(one.mean()), float(one.std()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", optimize.OptimizeWarning
            )  # of the parameters' covariance, which is not used
            found, _ = optimize.curve_fit(_curve, one, other, start, maxfev=20_000)
    except RuntimeError:
        return values
    return np.asarray(_curve(values, *found))


def _curve(value: np.ndarray, top: float, bottom: float, middle: float, slope: float) -> np.ndarray:
    return bottom + (top - bottom) / (1 + np.exp(np.clip(-(value - middle) / abs(slope or 1e-12), -500, 500)))


def _interval(value: Callable[[np.ndarray], float], scenes: int) -> Estimate:
    whole = value(np.arange(scenes)) if scenes else math.nan
    if scenes < 2 or not math.isfinite(whole):
        return Estimate(whole)
    draw = np.random.default_rng(SEED)
    drawn = [value(draw.integers(0, scenes, scenes)) for _ in range(RESAMPLES)]
    drawn = [one for one in drawn if math.isfinite(one)]
    if len(drawn) < RESAMPLES / 2:
        return Estimate(whole)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(whole, float(low), float(high))


def render(found: Sequence[Agreement], style: str, *, logistic: bool = False) -> str:
    """A table, best SROCC first within each dataset; `style` is one of `FORMATS`."""
    order = sorted(found, key=lambda one: -_sortable(one.srocc.value))
    shown = [one for dataset in dict.fromkeys((a.dataset, a.against) for a in found) for one in order
             if (one.dataset, one.against) == dataset]  # fmt: skip
    if style == "json":
        return json.dumps([_record(one, None) for one in shown], indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if style == "csv":
        return of_records(list(_record(shown[0], "") if shown else {}), (_record(one, "") for one in shown))
    rows = [
        [*map(pipe, (one.dataset, one.against, one.metric)),
         *map(_text, (one.srocc, one.plcc, one.accuracy)), one.outputs, f"{one.comparisons:g}"]
        for one in shown
    ]  # fmt: skip
    header = ["Dataset", "People", "Metric", "SROCC", "PLCC", "Pairs right", "Outputs", "Comparisons"]
    aligned = ["left"] * 3 + ["right"] * 5
    table = tabulate(rows, header, tablefmt="pipe", colalign=aligned, disable_numparse=True)
    fit = "after VQEG's logistic, fitted to all outputs" if logistic else "without a fitted curve"
    return (
        f"{table}\n\n- Metrics are turned so that 1 is full agreement, 0 (pairs: 0.5) is none. PLCC {fit}.\n"
        "- [95 % interval]: other scenes of the same kind, drawn again 1000 times.\n"
        "- Of pairs and rankings, correlations are within each scene, and their mean over scenes is shown.\n"
    )


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _text(one: Estimate) -> str:
    if not math.isfinite(one.value):
        return "–"
    return f"{one.value:.3f}" + ("" if math.isnan(one.low) else f" [{one.low:.3f}, {one.high:.3f}]")


def _record(one: Agreement, nothing: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dataset": one.dataset, "people": one.against, "metric": one.metric, "signature": one.signature
    }  # fmt: skip
    for name in ("srocc", "plcc", "accuracy"):
        for part, value in getattr(one, name)._asdict().items():
            found[name if part == "value" else f"{name}_{part}"] = value if math.isfinite(value) else nothing
    return {**found, "outputs": one.outputs, "comparisons": one.comparisons}

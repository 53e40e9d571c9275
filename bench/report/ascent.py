"""Does climbing a quality prior over-optimise? A run's IQPIR climbs it image by image, under watch (IQPIR, Fig. 7).

Once the latent of the generator climbs, once its codes do; the network stays as it is. The watch is metrics that the
ascent does not know. Of a method with members the first one climbs. What is climbed is what the network's codes stand
for: the whole image at the side that it is trained on, and of a network for photographs the front end's of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench import folder_scores
from bench.catalog.registry import registry
from bench.errors import BenchError, MissingFile, one_line
from bench.methods.build import build_method
from bench.methods.iqpir import IqpirMethod
from bench.metrics.scorer import Scorer
from bench.report import style
from bench.report.figures import FigureChoice, chosen
from bench.results.pictures import Pictures, bases
from bench.results.view import RunView
from bench.tables import statistics
from iqpir.errors import IQPIRError
from iqpir.weights import shipped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from iqpir.network.model import IQPIR
    from iqpir.training.losses import Quality

WATCHED = ("psnr", "ssim", "piqe")
PRIOR = "prior"
STEPS = (0, 1, 2, 5, 10, 20, 40, 80)
RATES = {"continuous": 0.05, "discrete": 0.1}
"""Of Adam, in standard deviations of a latent and of a logit."""


class CodedImage(NamedTuple):
    """One image as the codes see it."""

    given: Tensor
    """[1,3,S,S] in [-1,1]: what the core is given."""
    gt: np.ndarray
    """uint8 [S,S,3]."""


Heights = Mapping[tuple[str, str], np.ndarray]
"""(space, column) → values [images, steps]."""


def draw(
    data: RunView, pictures: Pictures, choice: FigureChoice, count: int, prior: str, width: float = style.PAGE
) -> Figure:  # fmt: skip
    """Columns over steps, a curve for each space. `prior`: a file of `iqpir train quality`, or a name of the package's.

    Raises `BenchError` for a method that has no codes, weights that are gone, and datasets without references.
    """
    heights = climbed(data, pictures, choice, count, prior)
    names = list(dict.fromkeys(column for _, column in heights))
    drawn = style.figure(width, 1.9)
    axes = drawn.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(f"{name} ↓" if name == "PIQE" else f"{name} ↑")
        axis.set_xlabel("steps")
        axis.set_xscale("symlog", linthresh=1)
        shown = [step for step in STEPS if step in (0, 1, 5, 20, 80)]
        axis.set_xticks(shown, [str(step) for step in shown])
        for number, space in enumerate(RATES):
            _line(axis, heights[space, name], number, space)
    drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(RATES))
    return drawn


def _line(axis: Axes, values: np.ndarray, number: int, label: str) -> None:
    """Means over the images with their intervals; an image without a value at some step is left out."""
    known = values[np.isfinite(values).all(axis=1)]
    if not len(known):
        return
    look: dict[str, Any] = {"color": style.colour(number)}
    axis.plot(STEPS, known.mean(axis=0), marker=style.marker(number), markersize=3, label=label, **look)
    spans = [statistics.bootstrap(list(column)) for column in known.T]
    if all(spans):
        low, high = zip(*(span for span in spans if span is not None), strict=True)
        axis.fill_between(STEPS, low, high, alpha=0.13, linewidth=0, **look)


def climbed(data: RunView, pictures: Pictures, choice: FigureChoice, count: int, prior: str) -> Heights:
    """Both ascents of the first `count` items of every dataset that is chosen."""
    from iqpir.quality.tiny import TinyQuality

    method = _method(data, choice)
    datasets = [one for one in data.record.datasets if not choice.datasets or one.label in choice.datasets]
    places = [(one.label, item) for one in datasets if one.paired for item in one.items[:count]]
    if not places:
        raise BenchError("an ascent is watched by metrics with references: name a --dataset that has them")
    score = float(method.identity()["options"]["score"])
    try:
        network = method.network().requires_grad_(False)
        judge = TinyQuality.load(shipped(prior) or Path(prior)).requires_grad_(False)
        watch = _Watch(judge)
        rows: dict[tuple[str, str], list[list[float]]] = {}
        for dataset, item in places:
            core, view = _view(network, pictures, dataset, item, score)
            for space, found in _ascents(core, view, score, judge, watch):
                for column in found[0]:
                    rows.setdefault((space, column), []).append([step[column] for step in found])
    except IQPIRError as error:
        raise BenchError(one_line(error)) from error
    return {place: np.array(values) for place, values in rows.items()}


def _ascents(
    core: IQPIR, view: CodedImage, score: float, judge: Quality, watch: _Watch
) -> Iterator[tuple[str, list[dict[str, float]]]]:
    from iqpir.training.pursuit import SPACES, pursue

    asked = None if core.config.conditioning == "none" else score
    for space in SPACES:
        steps = pursue(core, view.given, asked, judge, space=space, rate=RATES[space], steps=STEPS)
        yield space, [watch.values(_pixels(step.images[0]), view.gt) for step in steps]


class _Watch:
    """The prior, and the metrics that can be computed here."""

    def __init__(self, judge: Quality) -> None:
        self._judge = judge
        metrics = {}
        for name in WATCHED:
            [asked] = folder_scores.ask([name])
            try:
                asked.metric.load("cpu")
            except MissingFile:
                continue
            metrics[name.upper()] = asked.metric
        self._names = list(metrics)
        self._scorer = Scorer(list(metrics.values()), "cpu")

    def values(self, image: np.ndarray, gt: np.ndarray) -> dict[str, float]:
        import torch

        with torch.no_grad():
            found = {PRIOR: float(self._judge(_tensor(image))[0])}
        for outcome in self._scorer.score(image, gt, list(range(len(self._names)))):
            found[self._names[outcome.index]] = float("nan") if outcome.value is None else outcome.value
        return found


def _method(data: RunView, choice: FigureChoice) -> IqpirMethod:
    """The one method that is chosen, with the weights that the run used."""
    labels, entries = {cell.method for cell in chosen(data, choice)}, registry("method")
    known = [
        one for one in data.record.methods
        if one.unavailable is None and one.name in entries and entries.get(one.name).fields.get("kind") == "iqpir"
    ]  # fmt: skip
    found = [one for one in known if one.label in labels]
    if len(found) != 1:
        names = ", ".join(one.label for one in known)
        raise BenchError(
            f"an ascent is that of one method with IQPIR's codes: --method (this run has {names or 'none'})"
        )
    [wanted] = found
    identity, options = wanted.timed
    for base in bases(data):
        try:
            made = build_method(entries.get(wanted.name), options, base)
        except BenchError:
            continue
        if isinstance(made, IqpirMethod) and made.identity()["weights"] == identity["weights"]:
            return made
    raise BenchError(f"{wanted.label}: the weights that the run used are not there any more, or have changed since")


def _view(network: Any, pictures: Pictures, dataset: str, item: str, score: float) -> tuple[IQPIR, CodedImage]:
    """The network's IQPIR, and what it is given of an item."""
    from torch.nn.functional import interpolate

    lq, gt = pictures.lq(dataset, item), pictures.gt(dataset, item)
    for picture in (lq, gt):
        if picture.pixels is None:
            raise BenchError(f"{dataset}, {item}: {picture.label} cannot be shown: {picture.missing}")
    assert lq.pixels is not None and gt.pixels is not None
    if network.for_photographs and not network.config.codes:
        raise BenchError("this network for photographs has no codes to climb among")
    core = network.core if network.for_photographs else network
    square = (core.config.image_size, core.config.image_size)
    whole, target = (interpolate(_tensor(each), square, mode="area") for each in (lq.pixels, gt.pixels))
    if network.for_photographs:
        from iqpir.network.front import apply

        whole = apply(whole, network.grade(_tensor(lq.pixels), score))
    return core, CodedImage(whole.clamp(0, 1) * 2 - 1, _pixels(target[0]))


def _tensor(image: np.ndarray) -> Tensor:
    from iqpir.image_files import to_tensor

    return to_tensor(image)[None]


def _pixels(image: Tensor) -> np.ndarray:
    """float [3,H,W] in [0,1] → uint8 [H,W,3], rounded."""
    from bench.methods.pixels import quantised

    pixels, _ = quantised(image.numpy(), "round")
    assert pixels is not None
    return pixels

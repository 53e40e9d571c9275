"""Scores of an ablation's networks on held-out photographs, kept beside each network, so that running again resumes.

Per network: the restorations of the degraded windows at the score asked for (`restored`); the generator's images of the
windows' own codes, the best that stage 2 could do (`bound`); how many codes it predicts as stage 1 does (`codes`); and,
where asked, restorations at every score (`sweep`). The degraded windows themselves are scored too (`input`).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench import folder_scores
from bench.errors import BenchError, MissingFile, one_line
from bench.metrics.scorer import Scorer
from bench.report.ablation.evaluation_section import Plan, Trained
from bench.report.ablation.photographs import Window, as_pixels
from iqpir.checkpoint import load_autoencoder, load_restorer
from iqpir.images import to_tensor
from iqpir.network.model import IQPIR
from iqpir.quality.tiny import TinyQuality
from iqpir.restore import Options, Restorer
from iqpir.training.codes import gt_codes
from iqpir.training.pursuit import split

METRICS = ("psnr", "ssim", "gmsd", "vif", "brisque", "piqe")
"""Not NIQE, which compares the statistics of many blocks of 96×96 pixels: windows hold one or four."""
SWEPT = ("psnr", "ssim", "brisque", "piqe")
"""What is also measured at every score and along an ascent."""
PRIOR = "prior"
"""The small quality network, beside the metrics of the catalogue."""
VERSION = 1
BINS = 10


class Row(NamedTuple):
    """One number."""

    arm: str
    seed: int
    kind: str
    """`restored`, `bound`, `sweep`, `codes`, `input`, or a space of `iqpir.training.pursuit`."""
    score: float | None
    """The quality that was asked for."""
    photograph: str
    """Empty where a number is of all windows at once."""
    window: str
    metric: str
    value: float
    """NaN where a metric has none."""


class Column(NamedTuple):
    """A metric as tables show it."""

    name: str
    heading: str
    higher_better: bool
    reference: bool
    """Whether it compares with the GT."""
    signature: str
    digits: int = 3


class Judge:
    """The metrics that can be computed here, loaded once, and the prior."""

    def __init__(self, prior: Path, names: Sequence[str] = METRICS) -> None:
        """Metrics whose weights are not at hand are left out, and `lacking` says why."""
        self.lacking: dict[str, str] = {}
        self.columns: dict[str, Column] = {}
        metrics = []
        for name in names:
            [asked] = folder_scores.ask([name])
            try:
                asked.metric.load("cpu")
            except MissingFile as error:
                self.lacking[name] = one_line(error, 160)
                continue
            metrics.append(asked.metric)
            better, full = asked.metric.higher_is_better, asked.metric.mode == "FR"
            digits = 2 if name in ("psnr", "brisque", "niqe", "piqe") else 3
            self.columns[name] = Column(name, name.upper(), better, full, asked.signature, digits)
        self._scorer = Scorer(metrics, "cpu")
        self.prior = TinyQuality.load(prior).requires_grad_(False)
        digest = hashlib.sha256(prior.read_bytes()).hexdigest()[:12]
        self.columns[PRIOR] = Column(PRIOR, "prior", True, False, f"iqpir-tiny-quality|{digest}")

    def score(self, image: np.ndarray, reference: np.ndarray, names: Sequence[str] | None = None) -> dict[str, float]:
        """uint8 RGB [H,W,3], both → a value for every column, or those named; NaN where a metric has none."""
        known = [name for name in self.columns if name != PRIOR]
        wanted = [place for place, name in enumerate(known) if names is None or name in names]
        found = {
            known[outcome.index]: float("nan") if outcome.value is None else outcome.value
            for outcome in self._scorer.score(image, reference, wanted)
        }
        with torch.no_grad():
            found[PRIOR] = float(self.prior(to_tensor(image)[None])[0])
        return found


def restore(network: IQPIR, images: Sequence[np.ndarray], score: float, plan: Plan) -> list[np.ndarray]:
    """uint8 windows → restored ones, by tiles that overlap."""
    options = Options(score=score, adain=plan.evaluation.adain, fit="tile", overlap=plan.evaluation.overlap, gray=False)
    restorer = Restorer(network, options)
    made = restorer.restore(torch.stack([to_tensor(image) for image in images]))
    return [as_pixels(image) for image in made]


def measure(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> list[Row]:
    """Every number of one network, from its file if they are there already."""
    return kept("values", trained, plan, windows, judge, lambda: _measured(trained, plan, windows, judge))


def sweep(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> list[Row]:
    """One window of each photograph, restored at the middle of every score bin."""
    return kept("sweep", trained, plan, windows, judge, lambda: _swept(trained, plan, one_of_each(windows), judge))


def kept(
    name: str, trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge, make: Callable[[], Iterable[Row]]
) -> list[Row]:
    """Rows from a file beside the network, or made and written there; they belong to one network and one question."""
    asked = plan.evaluation
    settings: list[object] = [asked.score, asked.adain, asked.side, asked.overlap]
    if name == "ascent":
        settings += [asked.continuous_rate, asked.discrete_rate, asked.pursue_steps]
    belongs = digest(
        [VERSION, file_digest(trained.restorer), file_digest(trained.autoencoder), str(settings),
         [[window.name, digest(window.lq.tobytes().hex())] for window in windows],
         sorted(column.signature for column in judge.columns.values())]
    )  # fmt: skip
    path = trained.restorer.parent / f"{name}.csv"
    if known := read_rows(path, belongs):
        return known
    rows = list(make())
    write_rows(path, rows, belongs)
    return rows


def _measured(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> Iterator[Row]:
    arm, seed, score = trained.arm.name, trained.seed, plan.evaluation.score
    network, teacher = load_restorer(trained.restorer).eval(), load_autoencoder(trained.autoencoder).eval()

    def rows(kind: str, of: Sequence[Window], images: Iterable[np.ndarray], asked: float | None) -> Iterator[Row]:
        for window, image in zip(of, images, strict=True):
            for metric, value in judge.score(image, window.gt).items():
                yield Row(arm, seed, kind, asked, window.photograph, window.name, metric, value)

    yield from rows("restored", windows, restore(network, [window.lq for window in windows], score, plan), score)
    squares = [whole(window, network.config.image_size) for window in windows]
    yield from rows("bound", squares, [_decoded(network, teacher, window.gt) for window in squares], None)
    facts = _codes(network, teacher, squares, score)
    for window, values in zip(windows, facts.accuracy, strict=True):
        for metric, value in values.items():
            yield Row(arm, seed, "codes", score, window.photograph, window.name, metric, value)
    for metric, value in facts.perplexity.items():
        yield Row(arm, seed, "codes", score, "", "", metric, value)


def _swept(trained: Trained, plan: Plan, windows: Sequence[Window], judge: Judge) -> Iterator[Row]:
    network = load_restorer(trained.restorer).eval()
    for number in range(BINS):
        asked = (number + 0.5) / BINS
        images = restore(network, [window.lq for window in windows], asked, plan)
        for window, image in zip(windows, images, strict=True):
            for metric, value in judge.score(image, window.gt, SWEPT).items():
                row = (trained.arm.name, trained.seed, "sweep", asked, window.photograph, window.name)
                yield Row(*row, metric, value)


@torch.no_grad()
def _decoded(network: IQPIR, teacher: Any, image: np.ndarray) -> np.ndarray:
    """The generator's image of a window's own codes, of both books."""
    from iqpir.training.pursuit import join

    given = to_tensor(image)[None] * 2 - 1
    squares = network.generator(network.dequantize(gt_codes(teacher, split(given, network.config.image_size))))
    return as_pixels(((join(squares, given) + 1) / 2)[0])


def one_of_each(windows: Sequence[Window]) -> list[Window]:
    """The first window of each photograph: for what takes long."""
    return list({window.photograph: window for window in reversed(windows)}.values())[::-1]


def whole(window: Window, side: int) -> Window:
    """The part of a window that squares of `side` pixels fill: what is coded without tiles that overlap."""
    height, width = (length // side * side for length in window.gt.shape[:2])
    return window._replace(lq=window.lq[:height, :width], gt=window.gt[:height, :width])


class _Codes(NamedTuple):
    accuracy: list[dict[str, float]]
    """Per window: the share of its codes that are predicted as stage 1 has them, by book."""
    perplexity: dict[str, float]
    """Of the predicted codes of all windows, and of the true ones, by book."""


@torch.no_grad()
def _codes(network: IQPIR, teacher: Any, windows: Sequence[Window], score: float) -> _Codes:
    side, dual = network.config.image_size, network.config.dual
    books = {"common": (..., 1), "hq": (..., 0)} if dual else {"common": (...,)}
    accuracy, ours, theirs = [], [], []
    for window in windows:
        gt, lq = (split(to_tensor(image)[None] * 2 - 1, side) for image in (window.gt, window.lq))
        asked = None if network.config.conditioning == "none" else torch.full((len(lq),), score)
        theirs.append(gt_codes(teacher, gt))
        ours.append(network.best_codes(network.predict(lq, asked).logits))
        same = (ours[-1] == theirs[-1]).double()
        accuracy.append({f"{book} accuracy": float(same[place].mean()) for book, place in books.items()})
    found = {}
    for book, place in books.items():
        found[f"{book} perplexity"] = perplexity(torch.cat(ours)[place])
        found[f"{book} GT perplexity"] = perplexity(torch.cat(theirs)[place])
    return _Codes(accuracy, found)


def perplexity(codes: Tensor) -> float:
    """exp of the entropy of the codes: how many equally frequent ones they are worth."""
    shares = torch.bincount(codes.flatten()).double() / codes.numel()
    shares = shares[shares > 0]
    return float(torch.exp(-(shares * shares.log()).sum()))


def inputs(windows: Sequence[Window], judge: Judge) -> list[Row]:
    """Scores of the degraded windows as they are."""
    return [
        Row("input", 0, "input", None, window.photograph, window.name, metric, value)
        for window in windows
        for metric, value in judge.score(window.lq, window.gt).items()
    ]


# Files


def write_rows(path: Path, rows: Sequence[Row], belongs: str = "") -> None:
    """CSV, written whole or not at all; `belongs` goes into a file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(
            [*row[:3], "" if row.score is None else f"{row.score:g}", *row[4:-1], f"{row.value:.8g}"] for row in rows
        )
    partial.replace(path)
    if belongs:
        path.with_suffix(".json").write_text(json.dumps({"belongs to": belongs}), encoding="utf-8")


def read_rows(path: Path, belongs: str | None = None) -> list[Row]:
    """What `write_rows` wrote; nothing where the file is not there, or belongs to something else."""
    note = path.with_suffix(".json")
    if not path.is_file():
        return []
    if belongs is not None and (not note.is_file() or json.loads(note.read_text()).get("belongs to") != belongs):
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Row(row["arm"], int(row["seed"]), row["kind"], float(row["score"]) if row["score"] else None,
                    row["photograph"], row["window"], row["metric"], float(row["value"]))
                for row in csv.DictReader(file)
            ]  # fmt: skip
    except (KeyError, ValueError) as error:
        raise BenchError(f"{path}: not what bench ablation wrote ({one_line(error)}): remove it") from error


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

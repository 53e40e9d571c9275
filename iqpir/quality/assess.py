"""Score a folder of images by an ensemble and place every image in a bin: what `iqpir assess` does.

Raw scores are kept as they come, in `raw-scores.csv` under the SHA-256 of the image file and the scorer's signature, so
that running again computes only what is missing. The table, the statistics and the figures are made from them anew.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqpir import image_files
from iqpir.errors import ImageFailure, IQPIRError, one_line
from iqpir.quality.files import write_table
from iqpir.quality.prior import QualityPrior
from iqpir.quality.raw import RawScores, member_key
from iqpir.quality.report import TABLE, FolderAssessment, table
from iqpir.quality.scorers import Scorer, signature_of

if TYPE_CHECKING:
    import torch

RAW = "raw-scores.csv"
STATISTICS = "statistics.json"


def assess(
    folder: Path,
    scorers: Sequence[Scorer],
    out: Path,
    *,
    prior: QualityPrior | None = None,
    bins: int | None = None,
    threshold: float | None = None,
    batch: int = 1,
    progress: Callable[[int, int], object] | None = None,
) -> FolderAssessment:
    """Score the images of `folder` and write `scores.csv` and `statistics.json` to `out`.

    Without `prior` every member is normalised by the range of this folder (Eq. 15). `bins` and `threshold` override the
    prior's. `batch`: images of one size that a scorer gets at once. `progress` is called with (done, all) after each
    image. An image that cannot be read or scored is a row with a reason. Raises `IQPIRError` for a wrong request.
    """
    if prior is not None:
        check_prior(prior, scorers)
    files = _images(folder, out)
    raw, reasons = _collect(folder, files, scorers, RawScores(out / RAW), batch, progress)
    names = tuple(_name(path, folder) for path in files)
    silent = [name for name, values in raw.items() if not np.isfinite(values).any()]
    if prior is None and not silent:
        prior = QualityPrior.fit(
            raw,
            lower_better=[scorer.name for scorer in scorers if scorer.lower_better],
            signatures={scorer.name: signature_of(scorer) for scorer in scorers},
        )
    if prior is not None:
        prior = replace(
            prior,
            bins=prior.bins if bins is None else bins,
            threshold=prior.threshold if threshold is None else threshold,
        )
    found = FolderAssessment(folder, names, raw, reasons, prior)
    write_table(out / TABLE, *table(found))
    if prior is not None:
        prior.save(out / STATISTICS)
    return found


def check_prior(prior: QualityPrior, scorers: Sequence[Scorer]) -> None:
    """Raises `IQPIRError` unless the prior was fitted to the very numbers that these scorers give."""
    given = {scorer.name: scorer for scorer in scorers}
    if set(given) != set(prior.names):
        raise IQPIRError(
            f"the prior's members are {', '.join(prior.names)}, not {', '.join(given)}: leave --member out to use them"
        )
    for member in prior.members:
        scorer = given[member.name]
        if member.signature != signature_of(scorer):
            raise IQPIRError(
                f"member {member.name!r}: the prior was fitted to {member.signature}, this one is "
                f"{signature_of(scorer)}: their numbers are not comparable, fit the prior again"
            )
        if member.lower_better != scorer.lower_better:
            raise IQPIRError(f"member {member.name!r}: the prior and the scorer disagree about lower_better")


def _images(folder: Path, out: Path) -> list[Path]:
    """The images of the folder, without the figures of an earlier run that lie below it."""
    here = out.resolve()
    files = [path for path in image_files.find_images(folder) if not path.resolve().is_relative_to(here)]
    if not files:
        raise IQPIRError(f"every image of {folder} lies in {out}, where results go: choose another -o")
    return files


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _collect(
    folder: Path,
    files: Sequence[Path],
    scorers: Sequence[Scorer],
    known: RawScores,
    batch: int,
    progress: Callable[[int, int], object] | None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Raw scores by member, [N] in the order of `files`, and the reasons of those that lack one."""
    keys = {scorer.name: member_key(scorer) for scorer in scorers}
    raw = {scorer.name: np.full(len(files), math.nan) for scorer in scorers}
    reasons: dict[str, str] = {}
    waiting: list[_Waiting] = []
    done = 0

    def finish() -> None:
        nonlocal done
        if waiting:
            stacked = _stack([one.pixels for one in waiting if one.pixels is not None])
            for scorer in scorers:
                _score(scorer, waiting, stacked, keys[scorer.name], known, reasons)
            known.flush()
            for one in waiting:
                for name, key in keys.items():
                    raw[name][one.place] = known.scores.get((one.digest, key), math.nan)
        done += len(waiting)
        waiting.clear()
        if progress is not None and done:
            progress(done, len(files))

    with known:
        for place, path in enumerate(files):
            name = _name(path, folder)
            try:
                content = image_files.read_bytes(path)
                digest = hashlib.sha256(content).hexdigest()
                if all((digest, key) in known.scores for key in keys.values()):
                    one = _Waiting(place, name, digest, None)
                else:
                    one = _Waiting(place, name, digest, image_files.decode(content))
            except ImageFailure as error:
                reasons[name] = str(error)
                done += 1
                continue
            if waiting and (len(waiting) == batch or not one.like(waiting[0])):
                finish()
            waiting.append(one)
        finish()
    return raw, reasons


@dataclass(frozen=True)
class _Waiting:
    place: int
    name: str
    digest: str
    pixels: np.ndarray | None
    """None when every score is known."""

    def like(self, other: _Waiting) -> bool:
        """Both can stand in one batch."""
        mine, theirs = (one.pixels.shape if one.pixels is not None else None for one in (self, other))
        return mine == theirs


def _stack(pixels: list[np.ndarray]) -> torch.Tensor | None:
    if not pixels:
        return None
    import torch

    return torch.stack([image_files.to_tensor(one) for one in pixels])


def _score(
    scorer: Scorer,
    waiting: Sequence[_Waiting],
    stacked: torch.Tensor | None,
    key: str,
    known: RawScores,
    reasons: dict[str, str],
) -> None:
    """Let one scorer score those of a batch that it has not scored yet."""
    if stacked is None:
        return
    due = [place for place, one in enumerate(waiting) if (one.digest, key) not in known.scores]
    for place, outcome in zip(due, _values(scorer, stacked[due]), strict=True):
        one = waiting[place]
        if isinstance(outcome, float) and math.isfinite(outcome):
            known.add(one.digest, key, outcome)
        else:
            reason = f"{scorer.name}: {outcome if isinstance(outcome, str) else f'the score is {outcome}'}"
            reasons[one.name] = f"{reasons[one.name]}; {reason}" if one.name in reasons else reason


def _values(scorer: Scorer, batch: torch.Tensor) -> list[float | str]:
    """A number, or the reason why there is none, for each image of [B,3,H,W].

    A batch that fails – one bad image, or too little memory – is halved until each failure stands alone.
    """
    if not len(batch):
        return []
    try:
        scores = scorer(batch)
    except Exception as error:  # noqa: BLE001 – whatever a scorer throws at one image is that image's reason
        if len(batch) > 1:
            half = len(batch) // 2
            return [*_values(scorer, batch[:half]), *_values(scorer, batch[half:])]
        return [str(error) if isinstance(error, ImageFailure) else f"{type(error).__name__}: {one_line(error)}"]
    if tuple(scores.shape) != (len(batch),):
        raise IQPIRError(f"scorer {scorer.name!r} gave {tuple(scores.shape)} for {len(batch)} images, not [B]")
    return [float(value) for value in scores]

"""What an assessment of a folder found, and that as text: the table of every image, the summary for the console."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from iqpir.errors import shown
from iqpir.quality.files import NAME_COLUMNS, SCORE_COLUMN
from iqpir.quality.prior import QualityPrior

TABLE = "scores.csv"


@dataclass(frozen=True)
class FolderAssessment:
    """Every image of a folder with its scores. Arrays are [N], in the order of `names`."""

    folder: Path
    names: tuple[str, ...]
    """Paths below the folder, with forward slashes."""
    raw: dict[str, np.ndarray]
    """By member; NaN where there is none."""
    reasons: dict[str, str]
    """Why an image has no score, by name."""
    prior: QualityPrior | None
    """None when some member has scored no image, so that nothing can be normalised."""

    @property
    def normalised(self) -> dict[str, np.ndarray]:
        """By member, NaN where there is no raw score."""
        if self.prior is None:
            return {name: np.full(len(self.names), math.nan) for name in self.raw}
        return self.prior.normalise(self.raw)

    @property
    def score(self) -> np.ndarray:
        """The ensemble's score; NaN for images with a reason."""
        return np.full(len(self.names), math.nan) if self.prior is None else self.prior.score(self.raw)

    @property
    def scored(self) -> np.ndarray:
        """bool [N]: the image has a score, and so a bin."""
        return np.isfinite(self.score)

    @property
    def bins(self) -> np.ndarray:
        """int64 [N]; −1 for images without a score."""
        score, found = self.score, np.full(len(self.names), -1)
        if self.prior is not None:
            found[self.scored] = self.prior.bin(score[self.scored])
        return found


def table(found: FolderAssessment) -> tuple[list[str], list[list[object]]]:
    """Header and rows of `scores.csv`; its columns `imagename` and `score` are those of the authors' data loader."""
    normalised, score, bins = found.normalised, found.score, found.bins
    members = list(found.raw)
    header = [
        NAME_COLUMNS[0],
        *members,
        *(f"{name} normalised" for name in members),
        SCORE_COLUMN,
        "bin",
        "hq",
        "reason",
    ]
    rows: list[list[object]] = []
    for place, name in enumerate(found.names):
        placed = bins[place] >= 0 and found.prior is not None
        rows.append(
            [
                shown(name),
                *(float(found.raw[member][place]) for member in members),
                *(float(normalised[member][place]) for member in members),
                float(score[place]),
                int(bins[place]) if placed else None,
                int(score[place] > found.prior.threshold) if placed and found.prior else None,
                found.reasons.get(name, ""),
            ]
        )
    return header, rows


def _spread(raw: np.ndarray) -> list[str]:
    """Smallest, largest and mean of the scores that there are."""
    known = raw[np.isfinite(raw)]
    return [f"{value:.4f}" for value in (known.min(), known.max(), known.mean())] if known.size else ["", "", ""]


def _foreign_ranges(found: FolderAssessment) -> Iterator[str]:
    """By what members are normalised, where it is not what these images have."""
    for member in found.prior.members if found.prior is not None else ():
        known = found.raw[member.name][np.isfinite(found.raw[member.name])]
        if not known.size or (known.min(), known.max()) != (member.minimum, member.maximum):
            yield f"{member.name} {member.minimum:.4f} to {member.maximum:.4f}"


def summary(found: FolderAssessment) -> str:
    """What the command prints: the members, how many images lie in each bin, HQ+, and what failed."""
    from tabulate import tabulate

    scored = found.scored
    lines: list[str] = []
    if found.prior is not None:
        rows = [
            [
                f"{member.name} {'↓' if member.lower_better else '↑'}",
                int(np.isfinite(found.raw[member.name]).sum()),
                *_spread(found.raw[member.name]),
                _mean(found.normalised[member.name]),
            ]
            for member in found.prior.members
        ]
        rows.append(["ensemble", int(scored.sum()), "", "", "", _mean(found.score)])
        header = ["member", "images", "raw min", "raw max", "raw mean", "mean, normalised"]
        lines += [
            tabulate(rows, header, tablefmt="simple", disable_numparse=True, colalign=("left", *["right"] * 5)),
            "",
        ]
        if ranges := list(_foreign_ranges(found)):
            lines += [f"normalised by the prior's ranges: {', '.join(ranges)}", ""]
        counts = np.bincount(found.bins[scored], minlength=found.prior.bins)
        lines.append(
            tabulate([["images", *counts]], ["bin", *range(found.prior.bins)], tablefmt="simple", disable_numparse=True)
        )
        high = int((found.score[scored] > found.prior.threshold).sum())
        lines += ["", f"HQ+ (score > {found.prior.threshold:g}): {high} of {int(scored.sum())} images"]
        beyond = {name: count for name, count in found.prior.outside(found.raw).items() if count}
        if beyond:
            told = ", ".join(f"{name} {count}" for name, count in beyond.items())
            lines.append(f"outside the prior's range: {told}; the end bins take them")
    failed = [f"{shown(name)}: {reason}" for name, reason in found.reasons.items()]
    if failed:
        lines += [f"no score: {len(failed)} of {len(found.names)} images", *(f"  {line}" for line in failed[:12])]
        if len(failed) > 12:
            lines.append(f"  … and {len(failed) - 12} more (column reason of {TABLE})")
    return "\n".join(lines)


def flat(found: FolderAssessment) -> list[str]:
    """Members whose images all have one raw score: normalised it is 0 and says nothing."""
    return [one.name for one in found.prior.members if one.minimum == one.maximum] if found.prior else []


def _mean(values: np.ndarray) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite.mean():.4f}" if len(finite) else "–"
